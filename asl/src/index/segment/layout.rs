//! How the parts of a segment's sections are laid out.

use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;

use crate::index::mend::SEAL_LEN;
use crate::index::row::{Class, CommitRef};
use crate::log::LogPosition;

/// Sections begin at multiples of this.
pub(super) const ALIGN: usize = 64;
pub(super) const CLASS_LEN: usize = 8;
pub(super) const COMMIT_LEN: usize = 24;
pub(super) const STRIDE_LEN: usize = 8;
/// Length of a page's check in bytes.
pub(super) const CHECK_LEN: usize = 8;

pub(super) const PAGE_ROLE: &str = "uor-asl index segment page v1";
pub(super) const SEAL_KEY: &[u8; 32] = b"uor-asl index segment seal, v. 1";

/// A record on its way into a segment.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Item {
    /// The id's first eight bytes.
    pub(in crate::index) prefix: u64,
    pub(in crate::index) at: LogPosition,
    pub(in crate::index) class: Class,
    /// Index of its commit among those given with it.
    pub(in crate::index) commit: u32,
}

/// The shard a prefix belongs to, and what is left of the prefix there.
#[inline]
pub(in crate::index) fn shard_of(prefix: u64, shard_bits: u32) -> (u32, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "shard_bits is at most 16")]
    match shard_bits {
        0 => (0, prefix),
        bits => ((prefix >> (64 - bits)) as u32, prefix << bits),
    }
}

/// The id's own prefix.
pub(in crate::index) fn prefix_of(id: &CanonicalId) -> u64 {
    id.prefix()
}

/// What names the file with these page checks and no other.
pub(super) fn seal_of(file_number: u64, len: usize, checks: &[u8]) -> [u8; SEAL_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(SEAL_KEY);
    hasher
        .update(&file_number.to_le_bytes())
        .update(&(len as u64).to_le_bytes())
        .update(checks);
    let mut seal = [0; SEAL_LEN];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL_LEN]);
    seal
}

pub(super) fn encode_class(class: &Class) -> [u8; CLASS_LEN] {
    let mut bytes = [0; CLASS_LEN];
    bytes[0] = class.kind as u8;
    bytes[1] = u8::from(class.type_tag.is_some());
    bytes[4..].copy_from_slice(&class.type_tag.unwrap_or(0).to_le_bytes());
    bytes
}

pub(super) fn encode_commit(commit: CommitRef) -> [u8; COMMIT_LEN] {
    let mut bytes = [0; COMMIT_LEN];
    bytes[..4].copy_from_slice(&commit.domain.to_le_bytes());
    bytes[8..16].copy_from_slice(&commit.number.to_le_bytes());
    bytes[16..].copy_from_slice(&commit.logseq.0.to_le_bytes());
    bytes
}

pub(super) fn decode_class(bytes: &[u8]) -> Option<Class> {
    let kind = Kind::from_u8(bytes[0])?;
    let tag = u32_at(bytes, 4);
    Some(Class {
        kind,
        type_tag: (bytes[1] == 1).then_some(tag),
    })
}

#[inline]
pub(super) fn decode_commit(bytes: &[u8]) -> CommitRef {
    CommitRef {
        domain: u32_at(bytes, 0),
        number: u64_at(bytes, 8),
        logseq: LogSeq(u64_at(bytes, 16)),
    }
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
