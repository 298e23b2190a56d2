//! What a header covers of the body behind it, and proofs that a record is in a commit.
//!
//! Version 1 covers the body's checksum. Version 2 covers a root over the records beside it, so
//! that one record can be shown with neither the body nor the other records.

use crate::chain::History;
use crate::id::{Checksum, CommitHash, context, derive};
use crate::many::derive_many;
use crate::merkle::{Digest, ProofError, RECORDS};
use crate::record::RecordHeader;

/// The fixed part of a record and zeros: whole blocks of BLAKE3, which can be hashed side by side.
const LEAF_LEN: usize = 128;
/// How many are laid out before they are hashed.
const LEAVES_AT_ONCE: usize = 64;

/// The two digests that a header of version 2 covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// Plain BLAKE3 of the body.
    pub(super) body: Checksum,
    /// Root over the records.
    pub(super) records: Digest,
}

impl Content {
    /// That of a body that begins with so many membership commits and holds so many records behind
    /// them; `None` if it does not. What the records say is not looked at.
    pub(super) fn of(body: &[u8], learned_count: u32, record_count: u32) -> Option<Self> {
        let mut rest = body.get(learned_count as usize * CommitHash::LEN..)?;
        let mut leaves = Vec::with_capacity(rest.len() / RecordHeader::LEN);
        // Laid out some at a time: all of them would not stay in the cache until they are hashed.
        let mut inputs = [[0; LEAF_LEN]; LEAVES_AT_ONCE];
        let mut left = record_count as usize;
        while left > 0 {
            let count = left.min(LEAVES_AT_ONCE);
            for input in &mut inputs[..count] {
                let (record, behind) = rest.split_first_chunk::<{ RecordHeader::LEN }>()?;
                input[..RecordHeader::LEN].copy_from_slice(record);
                rest = behind.get(RecordHeader::body_len_in(record) as usize..)?;
            }
            derive_many(&context::RECORD_LEAF, &inputs[..count], &mut leaves);
            left -= count;
        }
        rest.is_empty().then(|| Self {
            body: Checksum::of(body),
            records: RECORDS.root(&leaves),
        })
    }

    /// What stands in the header of a commit that names the ones before it like this.
    pub(super) fn covered_by(&self, history: &History) -> Digest {
        match history {
            History::Previous(_) => *self.body.as_bytes(),
            History::Root(_) => derive(&context::CONTENT, &[self.body.as_bytes(), &self.records]),
        }
    }
}

/// What stands for a record in the tree over a commit's records. A record's fixed part fixes its
/// body too: by the checksum, or of a receipt, whose checksum is its payload's, by the id.
pub fn record_leaf(record: &RecordHeader) -> Digest {
    let zeros = [0; LEAF_LEN - RecordHeader::LEN];
    derive(&context::RECORD_LEAF, &[&record.encode(), &zeros])
}

/// What shows, beside the header of a commit and the fixed part of a record, that the record is in
/// the commit: [`CommitHeader::verify_record`](super::CommitHeader::verify_record).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    /// Plain BLAKE3 of the commit's body.
    pub body: Checksum,
    /// Where the record stands among those of the commit, from 0.
    pub index: u32,
    /// From its leaf to the root over the records.
    pub path: Vec<Digest>,
}

impl RecordProof {
    /// What the header of a commit with so many records covers, if this record is in it.
    pub(super) fn content(
        &self,
        record: &RecordHeader,
        record_count: u32,
    ) -> Result<Content, ProofError> {
        let place = (self.index.into(), record_count.into());
        Ok(Content {
            body: self.body,
            records: RECORDS.root_of_inclusion(&record_leaf(record), place, &self.path)?,
        })
    }
}
