//! What the network reports to its owner.

use libp2p::Multiaddr;

use super::command::ResponseToken;
use super::key::SiteKey;

/// What the network reports to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetEvent {
    /// This site can be dialled at this concrete address, which ends in `/p2p/<peer id>`.
    Listening(Multiaddr),
    /// A listening socket failed; others go on.
    ListenFailed {
        /// The chain of causes.
        reason: String,
    },
    /// The first connection to a peer opened.
    Connected {
        /// The peer, proven by the connection's handshake.
        peer: SiteKey,
        /// The remote end.
        address: Multiaddr,
        /// Whether this site dialled.
        outbound: bool,
    },
    /// The last connection to a peer closed. Its unanswered requests fail, before or after this.
    Disconnected {
        /// The peer that is gone.
        peer: SiteKey,
    },
    /// No connection came of a dial.
    DialFailed {
        /// The address dialled, if this dial was commanded.
        address: Option<Multiaddr>,
        /// The peer expected there.
        peer: Option<SiteKey>,
        /// The chain of causes.
        reason: String,
    },
    /// A connected member announces that there is something to ask for.
    Announced {
        /// The member.
        from: SiteKey,
        /// At most [`ANNOUNCEMENT_LEN_MAX`](super::ANNOUNCEMENT_LEN_MAX) bytes.
        body: Vec<u8>,
    },
    /// A peer asks.
    Request {
        /// The connected peer asking.
        peer: SiteKey,
        /// Goes into [`NetCommand::Respond`](super::NetCommand::Respond).
        token: ResponseToken,
        /// At most [`NetConfig::question_len_max`](super::NetConfig::question_len_max) bytes.
        body: Vec<u8>,
    },
    /// An inbound request can no longer be answered, or its response was not delivered.
    RespondFailed {
        /// The peer that asked.
        peer: SiteKey,
        /// The request's token, which is now void.
        token: ResponseToken,
        /// The cause.
        reason: String,
    },
    /// A peer answered.
    Response {
        /// As given in [`NetCommand::Request`](super::NetCommand::Request).
        id: u64,
        /// The peer asked.
        peer: SiteKey,
        /// At most [`NetConfig::frame_len_max`](super::NetConfig::frame_len_max) bytes.
        body: Vec<u8>,
    },
    /// A request will not be answered; whether the peer saw it is unknown.
    RequestFailed {
        /// As given in [`NetCommand::Request`](super::NetCommand::Request).
        id: u64,
        /// The peer asked.
        peer: SiteKey,
        /// The cause.
        reason: String,
    },
    /// The shell has ended. The last event; lost if the owner has let the channel fill, but then
    /// the channel's end says the same.
    Stopped,
}
