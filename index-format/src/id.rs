//! Names. Every id is 32 bytes; every digest is BLAKE3.
//!
//! Each kind of id is a `derive_key` digest with a context of its own, so that no id of one kind
//! can be taken for another: the contexts are the whole list in [`context`]. Only [`Checksum`] is a
//! plain digest: it is what `b3sum` prints.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};

use crate::codec::{from_hex, hex};

/// The `derive_key` contexts of all ids and digests. A context never changes its meaning; a new
/// meaning gets a new one.
pub mod context {
    use super::Context;

    /// [`ArtifactKey`](super::ArtifactKey) of an artifact.
    pub static ARTIFACT: Context = Context::new("uor 2026-11 artifact key v1");
    /// [`ArtifactKey`](super::ArtifactKey) of a receipt: its derivation.
    pub static RECEIPT: Context = Context::new("uor 2026-11 receipt derivation v1");
    /// Id of a TGK edge.
    pub static EDGE: Context = Context::new("uor 2026-11 tgk edge v1");
    /// Id of a ref.
    pub static REF: Context = Context::new("uor 2026-11 ref v1");
    /// [`FederationId`](super::FederationId): the id of a genesis record.
    pub static FEDERATION: Context = Context::new("uor 2026-11 federation v1");
    /// Id of an admission.
    pub static ADMISSION: Context = Context::new("uor 2026-11 admission v1");
    /// [`CommitHash`](super::CommitHash).
    pub static COMMIT: Context = Context::new("uor 2026-11 commit v1");
    /// A node of the tree over the hashes of a domain's commits:
    /// [`HistoryRoot`](super::HistoryRoot).
    pub static HISTORY_NODE: Context = Context::new("uor 2026-11 history node v1");
    /// What a commit of version 2 signs of its body.
    pub static CONTENT: Context = Context::new("uor 2026-11 commit content v1");
    /// A leaf of the tree over a commit's records.
    pub static RECORD_LEAF: Context = Context::new("uor 2026-11 commit record v1");
    /// A node of the tree over a commit's records.
    pub static RECORDS_NODE: Context = Context::new("uor 2026-11 commit records node v1");
    /// What a member signs to let another key read for a while. Version 1 had no expiry, and is
    /// refused.
    pub static READER: Context = Context::new("uor 2026-11 reader credential v2");
    /// The set of domains that a site knows to be forked, in a frame.
    pub static FORK_SET: Context = Context::new("uor 2026-11 fork set v1");
    /// [`FederationState`](super::FederationState).
    pub static FEDERATION_STATE: Context = Context::new("uor 2026-11 federation state v1");
    /// Expansion of one visible entry into the lanes of the state's set hash.
    pub static STATE_ENTRY: Context = Context::new("uor 2026-11 state entry v1");
    /// [`StateRoot`](super::StateRoot).
    pub static STATE_ROOT: Context = Context::new("uor 2026-11 state root v1");
    /// Digest of a state's sum alone, without a snapshot.
    pub static STATE_SUM: Context = Context::new("uor 2026-11 state sum v1");
    /// The check inside an invitation ticket.
    pub static TICKET: Context = Context::new("uor 2026-11 ticket v1");
    /// What an inviter remembers of a ticket's token.
    pub static TICKET_TOKEN: Context = Context::new("uor 2026-11 ticket token v1");
}

/// One context of [`context`]: its text, and the key that BLAKE3 makes of it once.
#[derive(Debug)]
pub struct Context {
    text: &'static str,
    key: OnceLock<ContextKey>,
}

impl Context {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            key: OnceLock::new(),
        }
    }

    /// The text, as `blake3::derive_key` takes it.
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// A hasher that has seen nothing but the context.
    pub(crate) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_from_context_key(self.key())
    }

    /// The key of every digest under this context.
    pub(crate) fn key(&self) -> &ContextKey {
        self.key.get_or_init(|| hash_derive_key_context(self.text))
    }
}

/// A `derive_key` digest of `parts`, one after the other.
pub(crate) fn derive(context: &Context, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = context.hasher();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A text that is not a full id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: expected 64 hexadecimal digits")]
pub struct ParseIdError {
    /// The text as it was given.
    pub text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 32;

            /// Takes bytes that are already known to be such an id.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits: for people, never compared.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                from_hex(text)
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned() })
            }
        }
    )*};
}

ids! {
    /// The id of any record: what tombstones name, what the order and the index sort by.
    CanonicalId;
    /// The name of an artifact or of a receipt (specification §2).
    ArtifactKey;
    /// The plain BLAKE3 digest of a payload, as `b3sum` prints it.
    Checksum;
    /// The Ed25519 public key of a site. It names the site, its domain (its published log) and its
    /// libp2p peer.
    SiteId;
    /// The hash of a commit's header: what later commits name, what the signature signs.
    CommitHash;
    /// The root over the hashes of a domain's first commits: what the next one names.
    HistoryRoot;
    /// The id of the genesis record of a federation.
    FederationId;
    /// The digest of the membership commits that the writer of a commit knew.
    FederationState;
    /// The digest of everything visible at a snapshot.
    StateRoot;
}

/// A snapshot is an artifact: its id is the key of its payload.
pub type SnapshotId = ArtifactKey;

impl From<ArtifactKey> for CanonicalId {
    fn from(key: ArtifactKey) -> Self {
        Self(key.0)
    }
}

impl From<FederationId> for CanonicalId {
    fn from(id: FederationId) -> Self {
        Self(id.0)
    }
}

impl From<CanonicalId> for ArtifactKey {
    fn from(id: CanonicalId) -> Self {
        Self(id.0)
    }
}

impl CanonicalId {
    /// The first eight bytes as a number: ids ascend as their prefixes do, and digests hardly ever
    /// share one.
    pub fn prefix(&self) -> u64 {
        let mut prefix = 0;
        for byte in &self.0[..8] {
            prefix = prefix << 8 | u64::from(*byte);
        }
        prefix
    }
}

impl Checksum {
    /// The checksum of `payload`.
    pub fn of(payload: &[u8]) -> Self {
        Self(*blake3::hash(payload).as_bytes())
    }
}

impl CommitHash {
    /// What the first commit of a domain names as the one before it.
    pub const NONE: Self = Self([0; 32]);
}

impl FederationState {
    /// The state of a writer that knows exactly these membership commits, given in ascending order.
    pub fn of<'a>(membership_commits: impl IntoIterator<Item = &'a CommitHash>) -> Self {
        let mut hasher = context::FEDERATION_STATE.hasher();
        for hash in membership_commits {
            hasher.update(hash.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Lamport time of a commit: one more than the highest its site had seen. Zero is before
/// everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogSeq(pub u64);

impl LogSeq {
    /// The time that no commit is beyond.
    pub const MAX: Self = Self(u64::MAX);

    /// The next time; `None` when a 64-bit clock is exhausted.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for LogSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
