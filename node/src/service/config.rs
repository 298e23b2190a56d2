//! What a node needs to know when it starts, and what it reports.

/// What a node needs to know when it starts.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Multiaddresses to listen on; if there are none, every interface, at the port of the last
    /// time if it is free.
    pub listen: Vec<String>,
    /// Multiaddresses of peers, each ending in `/p2p/PEER`, beside those that are remembered.
    pub peers: Vec<String>,
    /// Whether SIGINT and SIGTERM end the node.
    pub ends_on_signals: bool,
}

/// What a running node reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceEvent {
    /// It listens here; the address ends in `/p2p/PEER`.
    Listening(String),
    /// It is ready: everything after this point is replicated.
    Ready,
    /// Something worth a line.
    Notice(String),
}
