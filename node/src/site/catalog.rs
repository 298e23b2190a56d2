//! What is here, and what is said about it: names, ids, edges, snapshots, the log.
//!
//! To be read in this order: `resolve`, `names`, `members`, `history`, `edges`, `snapshots`, `status`.

mod edges;
pub(super) mod history;
mod members;
mod names;
pub(super) mod resolve;
pub(super) mod snapshots;
mod status;

pub use self::edges::{EdgeAdded, EdgeDraft, EdgeError, EdgeListed};
pub use self::history::{
    ClaimListed, ConflictListed, HistoryError, LogListed, ResolutionError, Resolved,
};
pub use self::members::MemberListed;
pub use self::names::{RefError, RefListed, RefSet};
pub use self::resolve::{Candidate, ResolveError, Sort, Target};
pub use self::snapshots::{
    Applied, Change, DomainApplied, EntryListed, SnapshotCreated, SnapshotDiff, SnapshotError,
    SnapshotListed, SnapshotShown,
};
pub use self::status::{DiskUse, DomainStatus, Status, StatusError};
