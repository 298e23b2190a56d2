//! The one order of records: `(logseq, canonical_id, tombstone, domain)`.
//!
//! The specification's pair comes first (§3.3). Two more fields make it total: at the same place a
//! tombstone comes after what it shadows, and the domain breaks the last tie. Within a commit each
//! id occurs at most once and logseq rises within a domain, so no two records of valid logs ever
//! compare equal.
//!
//! The order decides what is seen, never who may write.

use crate::id::{CanonicalId, LogSeq, SiteId};

/// A record's place. The field order is the comparison; nothing else in the project orders records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Lamport time of the commit that carries the record.
    pub logseq: LogSeq,
    /// The id the record is about.
    pub id: CanonicalId,
    /// Whether the record is a tombstone: `false < true`, so it shadows its own place.
    pub tombstone: bool,
    /// The domain whose commit carries the record.
    pub domain: SiteId,
}
