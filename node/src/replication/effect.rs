//! What the core wants done: the only way in which it acts.

use std::collections::BTreeSet;

use uor_index_format::id::SiteId;

use super::notice::Notice;

/// What the core wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Ask a peer; the answer comes back with the same `id`.
    Request {
        /// Whom.
        peer: SiteId,
        /// Which question.
        id: u64,
        /// An encoded [`Request`](uor_index_format::wire::Request).
        frame: Vec<u8>,
        /// The longest answer that makes sense, in bytes.
        answer_len_max: u32,
    },
    /// Answer a peer's question.
    Respond {
        /// Which question: the token it came with.
        token: u64,
        /// An encoded [`Response`](uor_index_format::wire::Response).
        frame: Vec<u8>,
    },
    /// Announce to every connected member that this site has grown.
    Announce {
        /// An encoded [`Announcement`](uor_index_format::wire::Announcement).
        frame: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// A multiaddress.
        address: String,
    },
    /// Close every connection with a peer.
    Disconnect {
        /// The peer.
        peer: SiteId,
    },
    /// Let a peer that is no member stay connected for a while, longer than strangers may.
    LetStay {
        /// The peer.
        peer: SiteId,
        /// For how long, in milliseconds from now.
        for_ms: u64,
    },
    /// From now on, these are the peers that are spoken to.
    Trust(BTreeSet<SiteId>),
    /// A stranger shows a ticket. The site that holds the invitations decides; the answer goes to
    /// [`Replicator::handle_redeemed`](super::Replicator::handle_redeemed).
    Redeem {
        /// The question's token.
        token: u64,
        /// Who asks.
        site: SiteId,
        /// The ticket's secret.
        secret: [u8; 16],
        /// The name it wants to be known by.
        name: String,
    },
    /// Tell the people who run this node.
    Notice(Notice),
}
