//! What a header covers of the body behind it, and proofs that a record is in a commit.
//!
//! Version 1 covers the body's checksum. Version 2 covers a root over the records beside it, so
//! that one record can be shown with neither the body nor the other records.

use std::thread;

use crate::chain::History;
use crate::id::{Checksum, CommitHash, context, derive};
use crate::many::derive_many;
use crate::merkle::{Digest, ProofError, RECORDS};
use crate::record::RecordHeader;

/// The fixed part of a record and zeros: whole blocks of BLAKE3, which can be hashed side by side.
const LEAF_LEN: usize = 128;
/// How many are laid out before they are hashed.
const LEAVES_AT_ONCE: usize = 64;
/// Leaves of a subtree that is finished before the next is begun, a power of two: all of a commit's
/// would not stay in the processor's cache.
const SUBTREE_LEAVES: usize = 256;
/// Length of a body in bytes from which on its checksum takes longer than starting a thread.
const PARALLEL_LEN_MIN: usize = 1 << 20;

/// The two digests that a header of version 2 covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// Plain BLAKE3 of the body.
    pub(super) body: Checksum,
    /// Root over the records.
    pub(super) records: Digest,
}

impl Content {
    /// That of a body that begins with `learned_count` membership commits and holds `record_count`
    /// records behind them; `None` if it does not. What the records say is not looked at.
    pub(super) fn of(body: &[u8], learned_count: u32, record_count: u32) -> Option<Self> {
        let records = body.get(learned_count as usize * CommitHash::LEN..)?;
        let (body, records) = beside(
            body.len() >= PARALLEL_LEN_MIN,
            || Checksum::of(body),
            || records_root(records, record_count),
        );
        Some(Self {
            body,
            records: records?,
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

/// Does two things, on two threads if that is worth it and there is a thread to be had.
fn beside<A: Send, B>(
    is_worth_it: bool,
    one: impl Fn() -> A + Sync,
    other: impl FnOnce() -> B,
) -> (A, B) {
    thread::scope(|scope| {
        let spawned = is_worth_it.then(|| thread::Builder::new().spawn_scoped(scope, &one));
        let other = other();
        let one = match spawned {
            Some(Ok(thread)) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Some(Err(_)) | None => one(),
        };
        (one, other)
    })
}

/// The root over `count` records, which lie one after the other; `None` if `bytes` are not as many.
fn records_root(bytes: &[u8], count: u32) -> Option<Digest> {
    let (mut rest, mut left) = (bytes, count as usize);
    let mut inputs = [[0; LEAF_LEN]; LEAVES_AT_ONCE];
    let mut leaves = Vec::with_capacity(SUBTREE_LEAVES);
    let mut roots = Vec::with_capacity(bytes.len() / RecordHeader::LEN / SUBTREE_LEAVES + 1);
    while left > 0 {
        let count = left.min(LEAVES_AT_ONCE);
        for input in &mut inputs[..count] {
            let (record, behind) = rest.split_first_chunk::<{ RecordHeader::LEN }>()?;
            input[..RecordHeader::LEN].copy_from_slice(record);
            rest = behind.get(RecordHeader::body_len_in(record) as usize..)?;
        }
        derive_many(&context::RECORD_LEAF, &inputs[..count], &mut leaves);
        left -= count;
        if leaves.len() == SUBTREE_LEAVES || left == 0 {
            roots.push(RECORDS.root(&leaves));
            leaves.clear();
        }
    }
    rest.is_empty().then(|| RECORDS.root(&roots))
}

/// What stands for a record in the tree over a commit's records. A record's fixed part fixes its
/// body too: by the checksum, or of a receipt, whose checksum is its payload's, by the id.
pub fn record_leaf(record: &RecordHeader) -> Digest {
    let zeros = [0; LEAF_LEN - RecordHeader::LEN];
    derive(&context::RECORD_LEAF, &[&record.encode(), &zeros])
}

/// What shows, beside the header of a commit and the fixed part of a record, that the record is in
/// the commit: [`CommitHeader::verify_record`](super::CommitHeader::verify_record). That is what
/// the commit's writer signed; whether the commit is accepted is another question.
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
    /// What the header of a commit with `record_count` records covers, if this record is in it.
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
