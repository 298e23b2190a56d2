//! Proves stores: one from its bytes up, several against each other, receipts by running them
//! again.
//!
//! A synchronous library over open stores, as `site` is over one that is written. Every part
//! returns a plain value that carries its verdict; `uor-replay` opens stores, calls one of these
//! and renders what it gets, as text or as JSON.
//!
//! To be read in this order: `verdict`, `error`; `subject`, `snapshot` (what is audited, and as of
//! when); `finding`; `verify` with `artifacts`, `replay` (one store); `compare` (two); `execute`
//! with `stored_artifacts` (receipts); `report` (all of these across sites).
//!
//! Invariant: nothing here modifies a store. Stores are open for reading beside any writer;
//! evidence is left as found, and what is damaged is read as far as it can be.

mod artifacts;
mod compare;
mod error;
mod execute;
mod finding;
mod replay;
mod report;
mod snapshot;
mod stored_artifacts;
mod subject;
mod verdict;
mod verify;

pub use self::compare::{
    Claim, Difference, FirstDifference, Fork, FrontierDifference, RivalClaim, common, compare,
};
pub use self::error::AuditError;
pub use self::execute::{Diverged, Executed, Inconclusive, Proven, Receipts, execute};
pub use self::finding::Finding;
pub use self::replay::{Replayed, replay};
pub use self::report::{Report, audit};
pub use self::snapshot::{SnapshotBytesError, SnapshotError, snapshot_in};
pub use self::stored_artifacts::StoredArtifacts;
pub use self::subject::{Audited, OpenError, OtherFederation, one_federation};
pub use self::verdict::{Progress, Verdict};
pub use self::verify::{Verification, verify};
