//! Versions of one id, without the bodies of their records: all that deciding needs.

use uor_index_format::id::Checksum;
use uor_index_format::order::Place;
use uor_index_format::record::{Kind, RecordHeader};

use crate::log::LogPosition;

/// A version without its record's body: all that deciding needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct VersionHeader {
    pub(super) place: Place,
    pub(super) number: u64,
    pub(super) at: LogPosition,
    pub(super) header: RecordHeader,
}

impl VersionHeader {
    pub(super) fn is_claim(&self) -> bool {
        !matches!(self.header.kind, Kind::Tombstone | Kind::Resolution)
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.header.payload.checksum
    }
}

/// Puts versions into the one order. A commit that was accepted late may be indexed twice, its
/// records are still one each.
pub(super) fn in_order(versions: &mut Vec<VersionHeader>) {
    versions.sort_unstable_by_key(|version| version.place);
    versions.dedup_by_key(|version| version.place);
}
