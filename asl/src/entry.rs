//! Entries of the log: their kinds, and what is read of the commits in them.

use uor_index_format::DecodeError;
use uor_index_format::codec::Reader;
use uor_index_format::commit::unverified::UnverifiedHeader;
use uor_index_format::commit::{Commit, CommitHeader};
use uor_index_format::id::CommitHash;
use uor_index_format::record::RecordHeader;

use crate::log::{Entry, LogPosition};
use crate::store::error::StoreError;

/// Kinds of entries: `FORMAT.md`, "Log".
pub(crate) mod kind {
    /// A commit, as it was signed.
    pub(crate) const COMMIT: u8 = 1;
    /// A fork proof.
    pub(crate) const FORK_PROOF: u8 = 2;
    /// A note of payloads that this site removed.
    pub(crate) const REMOVAL: u8 = 3;
}

/// The header of the commit in an entry, without a look at its signature; `None` if there is none.
pub(crate) fn commit_header(entry: &Entry) -> Option<UnverifiedHeader> {
    header_in(entry.kind, &entry.body)
}

/// The same, of an entry's kind and body.
pub(crate) fn header_in(kind: u8, body: &[u8]) -> Option<UnverifiedHeader> {
    (kind == kind::COMMIT)
        .then(|| UnverifiedHeader::read(body).ok())
        .flatten()
}

/// The commit in an entry.
///
/// # Errors
/// [`StoreError::Entry`] if it is none.
pub(crate) fn decode_commit(position: LogPosition, body: &[u8]) -> Result<Commit, StoreError> {
    Commit::decode(body).map_err(|source| StoreError::Entry { position, source })
}

/// Where each record lies of the commit in the entry at `position`, and its header. The commit was
/// decoded before.
///
/// # Errors
/// [`DecodeError`] if it cannot be one.
pub(crate) fn for_each_record(
    position: LogPosition,
    body: &[u8],
    mut on_record: impl FnMut(LogPosition, RecordHeader),
) -> Result<(), DecodeError> {
    let said = UnverifiedHeader::read(body)?;
    let learned_len = said.learned_count as usize * CommitHash::LEN;
    let mut reader = Reader::new(body);
    reader.take("commit header", CommitHeader::LEN)?;
    reader.take("membership commits", learned_len)?;
    for _ in 0..said.record_count {
        let at = position.body().plus(reader.offset());
        let header = RecordHeader::read(&mut reader)?;
        reader.take("record body", header.body_len as usize)?;
        on_record(at, header);
    }
    Ok(())
}
