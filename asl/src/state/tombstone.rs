//! What a tombstone shadows.

use uor_index_format::record::Kind;

use super::version::VersionHeader;

/// Those of the versions of one id, given in the one order, that no tombstone shadows: a tombstone
/// shadows all that come before it (specification, 4.2).
pub(super) fn unshadowed(versions: &[VersionHeader]) -> &[VersionHeader] {
    let is_tombstone = |version: &VersionHeader| version.header.kind == Kind::Tombstone;
    let last = versions.iter().rposition(is_tombstone);
    last.map_or(versions, |last| &versions[last + 1..])
}
