//! What is here, and what is said about it: ids, names, payloads, snapshots, the log, edges.
//!
//! To be read in this order: `sort`, `target`, `payload`, `resolve` (from what a person types to
//! the one thing it means), `names`, `members`, `origin`, `snapshots`, `history`, `edges`,
//! `status`.

mod edges;
pub(super) mod history;
mod members;
mod names;
pub(super) mod origin;
pub(super) mod payload;
pub(super) mod resolve;
pub(super) mod snapshots;
pub(super) mod sort;
mod status;
pub(super) mod target;

pub use self::edges::{EdgeAdded, EdgeDraft, EdgeError, EdgeListed};
pub use self::history::{
    ClaimListed, ConflictListed, HistoryError, LogListed, ResolutionError, Resolved,
};
pub use self::members::MemberListed;
pub use self::names::{RefError, RefListed, RefSet};
pub use self::origin::ZfsIdentity;
pub use self::payload::{OpenedPayload, ReadError};
pub use self::resolve::ResolveError;
pub use self::snapshots::{
    Applied, Change, DomainApplied, EntryListed, SnapshotCreated, SnapshotDiff, SnapshotError,
    SnapshotListed, SnapshotShown,
};
pub use self::sort::Sort;
pub use self::status::{DiskUse, DomainStatus, Status, StatusError};
pub use self::target::{Candidate, Target};
