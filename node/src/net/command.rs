//! What the owner asks of the network.

use std::collections::BTreeSet;

use libp2p::Multiaddr;

use super::key::SiteKey;

/// Names one inbound request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseToken(pub u64);

/// What the owner asks of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetCommand {
    /// Connect to the peer at this address, which must end in `/p2p/<peer id>`. Ends in
    /// [`NetEvent::Connected`](super::NetEvent::Connected) or
    /// [`NetEvent::DialFailed`](super::NetEvent::DialFailed); does nothing if the peer is connected
    /// or already being dialled at this address.
    Dial(Multiaddr),
    /// Announce to every connected member that there is something to ask for, in at most
    /// [`ANNOUNCEMENT_LEN_MAX`](super::ANNOUNCEMENT_LEN_MAX) bytes.
    Announce(Vec<u8>),
    /// From now on, these are the members.
    Trust(BTreeSet<SiteKey>),
    /// Let a peer that is no member stay for a while, if there is a place for it.
    LetStay {
        /// The peer.
        peer: SiteKey,
        /// How long, in milliseconds from now.
        for_ms: u64,
    },
    /// Ask a connected peer; never dials.
    Request {
        /// The peer asked.
        peer: SiteKey,
        /// The owner's name for this request, given back with its outcome.
        id: u64,
        /// At most [`NetConfig::question_len_max`](super::NetConfig::question_len_max) bytes.
        body: Vec<u8>,
        /// The longest answer that is taken, in bytes.
        answer_len_max: u32,
    },
    /// Answer an inbound request. Without effect if the asker has gone meanwhile.
    Respond {
        /// The token that came with the request.
        token: ResponseToken,
        /// At most [`NetConfig::frame_len_max`](super::NetConfig::frame_len_max) bytes.
        body: Vec<u8>,
    },
    /// Close every connection to this peer.
    Disconnect(SiteKey),
    /// `true` cuts the network: every connection is closed and every new one refused, in both
    /// directions, until `false`. Listening sockets stay open, so addresses survive the cut.
    Cut(bool),
    /// Close every connection, report [`NetEvent::Stopped`](super::NetEvent::Stopped) and end.
    /// Commands behind this one are dropped.
    Shutdown,
}
