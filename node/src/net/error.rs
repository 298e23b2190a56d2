//! Why a shell could not start.

use libp2p::Multiaddr;

/// Why a shell could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Called outside a runtime.
    #[error("the network needs a running tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The secret is no Ed25519 seed.
    #[error("site secret refused")]
    Secret(#[from] libp2p::identity::DecodingError),
    /// The encryption of TCP connections could not be set up.
    #[error("noise handshake could not be prepared")]
    Noise(#[from] libp2p::noise::Error),
    /// Another program listens there.
    #[error("cannot listen on {address}: another program listens there")]
    Taken {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address refused.
        address: Multiaddr,
        /// The transport's reason.
        #[source]
        source: libp2p::TransportError<std::io::Error>,
    },
}
