//! The digest of a state: a homomorphic set hash (LtHash over BLAKE3's extendable output, 1,024
//! lanes of 16 bits) of the visible entries, finalised together with the snapshot.
//!
//! Adding or removing an entry costs constant time, and the sum does not depend on the order of
//! additions or on how a node shards its index. Construction: Lewi, Kim, Maykov, Weis, "Securing
//! Update Propagation with Homomorphic Hashing", 2019.

use crate::id::{CanonicalId, Checksum, LogSeq, StateRoot, context, derive};
use crate::record::Kind;
use crate::snapshot::Snapshot;

/// Lanes of the sum, of 16 bits each.
pub const LANES: usize = 1024;

/// What is visible about one id at a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The id.
    pub id: CanonicalId,
    /// What it is.
    pub kind: Kind,
    /// The type tag of the claim that stands.
    pub type_tag: Option<u32>,
    /// Checksum of the claim that stands; `None` while a conflict withholds all of them (rule
    /// `manual`).
    pub checksum: Option<Checksum>,
    /// Length of the payload or body that stands, in bytes. Not hashed: the checksum covers it.
    pub payload_len: u64,
    /// Lamport time of the claim that stands; while none does, of the first claim.
    pub logseq: LogSeq,
    /// Whether claims differ and nothing has settled it.
    pub conflict: bool,
    /// How many domains made the claim that stands: corroboration. Not hashed.
    pub domains: u32,
}

impl Entry {
    /// Length of [`Entry::encode`].
    pub const ENCODED_LEN: usize = 78;

    /// The bytes that enter the set hash.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let flags = u8::from(self.type_tag.is_some())
            | u8::from(self.conflict) << 1
            | u8::from(self.checksum.is_none()) << 2;
        let mut bytes = [0; Self::ENCODED_LEN];
        bytes[..32].copy_from_slice(self.id.as_bytes());
        bytes[32..34].copy_from_slice(&[self.kind as u8, flags]);
        bytes[34..38].copy_from_slice(&self.type_tag.unwrap_or(0).to_le_bytes());
        bytes[38..70].copy_from_slice(
            self.checksum
                .unwrap_or(Checksum::from_bytes([0; 32]))
                .as_bytes(),
        );
        bytes[70..].copy_from_slice(&self.logseq.0.to_le_bytes());
        bytes
    }
}

/// The running sum over a set of entries.
#[derive(Clone, PartialEq, Eq)]
pub struct StateHash {
    lanes: Box<[u16; LANES]>,
    entries: u64,
}

impl Default for StateHash {
    fn default() -> Self {
        Self {
            lanes: Box::new([0; LANES]),
            entries: 0,
        }
    }
}

impl std::fmt::Debug for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateHash({} entries)", self.entries)
    }
}

impl StateHash {
    /// The sum with these lanes over this many entries, as [`StateHash::lanes`] and
    /// [`StateHash::entries`] gave them.
    pub fn from_parts(lanes: &[u16; LANES], entries: u64) -> Self {
        Self {
            lanes: Box::new(*lanes),
            entries,
        }
    }

    /// The lanes.
    pub fn lanes(&self) -> &[u16; LANES] {
        &self.lanes
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.combine(entry, u16::wrapping_add);
        self.entries = self.entries.wrapping_add(1);
    }

    /// Takes away an entry; of a sum that does not hold it, the difference to one that does is
    /// left.
    pub fn remove(&mut self, entry: &Entry) {
        self.combine(entry, u16::wrapping_sub);
        self.entries = self.entries.wrapping_sub(1);
    }

    /// Adds a whole sum: of another shard or range, or what has changed since.
    pub fn merge(&mut self, other: &Self) {
        self.lanes
            .iter_mut()
            .zip(other.lanes.iter())
            .for_each(|(lane, value)| *lane = lane.wrapping_add(*value));
        self.entries = self.entries.wrapping_add(other.entries);
    }

    /// How many entries are in the sum.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    fn combine(&mut self, entry: &Entry, operation: impl Fn(u16, u16) -> u16) {
        let mut expanded = [0; LANES * 2];
        context::STATE_ENTRY
            .hasher()
            .update(&entry.encode())
            .finalize_xof()
            .fill(&mut expanded);
        let (pairs, _) = expanded.as_chunks();
        for (lane, pair) in self.lanes.iter_mut().zip(pairs) {
            *lane = operation(*lane, u16::from_le_bytes(*pair));
        }
    }

    /// The state root at `snapshot`.
    pub fn root(&self, snapshot: &Snapshot) -> StateRoot {
        let lanes: Vec<u8> = self
            .lanes
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect();
        StateRoot::from_bytes(derive(
            &context::STATE_ROOT,
            &[&snapshot.encode_position(), &lanes],
        ))
    }

    /// Digest of the sum alone: equal for equal sets, whatever the snapshot. Ranges are compared by
    /// it.
    pub fn digest(&self) -> [u8; 32] {
        let lanes: Vec<u8> = self
            .lanes
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect();
        derive(&context::STATE_SUM, &[&lanes])
    }
}
