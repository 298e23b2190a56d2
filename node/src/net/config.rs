//! What a shell needs to know before it starts.

use std::collections::BTreeSet;

use libp2p::Multiaddr;

use super::key::SiteKey;
use super::places::Limits;

/// What a shell needs to know before it starts.
#[derive(Clone)]
pub struct NetConfig {
    /// The Ed25519 seed of this site. Its public key is the site's key and, with libp2p's prefix,
    /// its peer id.
    pub secret: [u8; 32],
    /// The addresses to listen on, without a peer id; `/ip4/0.0.0.0/…` listens on every interface.
    pub listen: Vec<Multiaddr>,
    /// Who is a member, until [`NetCommand::Trust`](super::NetCommand::Trust) says otherwise.
    pub members: BTreeSet<SiteKey>,
    /// The longest question, in bytes, sent or received.
    pub question_len_max: u32,
    /// The longest answer, in bytes, sent or received.
    pub frame_len_max: u32,
    /// How many connections may be open at the same time, in both directions.
    pub limits: Limits,
}

impl NetConfig {
    /// A site that listens nowhere and knows no members, with questions of up to 4 KiB and answers
    /// of up to 9 MiB.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            listen: Vec::new(),
            members: BTreeSet::new(),
            question_len_max: 4096,
            frame_len_max: 9 * 1024 * 1024,
            limits: Limits {
                members: 64,
                members_inbound: 48,
                guests: 8,
                strangers: 8,
            },
        }
    }
}
