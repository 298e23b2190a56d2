//! Proves stores: one from its bytes up, several against each other, receipts by running them again.
//!
//! A synchronous library over open stores, as `site` is over one that is written. Every part
//! returns a plain value that carries its verdict; `uor-replay` opens stores, calls one of these
//! and renders what it gets, as text or as JSON.
//!
//! To be read in this order: `subject`, `snapshot` (what is audited, and as of when); `finding`;
//! `verify` with `artifacts`, `replay` (one store); `compare` (two); `execute` with `shelf` (receipts);
//! `report` (all of these across sites).
//!
//! Invariant: nothing here modifies a store. Stores are open for reading beside any writer;
//! evidence is left as found, and what is damaged is read as far as it can be.

mod artifacts;
mod compare;
mod execute;
mod finding;
mod replay;
mod report;
mod shelf;
mod snapshot;
mod subject;
mod verify;

use serde::{Serialize, Serializer};
use uor_asl::state::ReadError;
use uor_asl::store::StoreError;
use uor_index_format::id::FederationId;
use uor_pel::engine::wasmtime::StartError;

pub use self::compare::{
    Claim, Difference, FirstDifference, Fork, FrontierDifference, RivalClaim, common, compare,
};
pub use self::execute::{Diverged, Executed, Inconclusive, Proven, Receipts, execute};
pub use self::finding::Finding;
pub use self::replay::{Replayed, replay};
pub use self::report::{Report, audit};
pub use self::shelf::StoreShelf;
pub use self::snapshot::{SnapshotBytesError, SnapshotError, snapshot_in};
pub use self::subject::{Audited, OpenError, one_federation};
pub use self::verify::{Verification, verify};

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything agrees.
    Agrees,
    /// Something differs or is damaged.
    Diverges,
    /// The audit could not be completed.
    Incomplete,
}

impl Verdict {
    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Diverges => "diverges",
            Self::Incomplete => "incomplete",
        }
    }

    /// The verdict over both: a proven difference outweighs what could not be looked at.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Diverges, _) | (_, Self::Diverges) => Self::Diverges,
            (Self::Incomplete, _) | (_, Self::Incomplete) => Self::Incomplete,
            _ => Self::Agrees,
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How far an audit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of payloads that were read, of how many.
    Payloads(u64, u64),
    /// Bytes of the log that were read, of how many.
    Log(u64, u64),
    /// The index is held against the log.
    Index,
    /// Commits that were replayed, of how many.
    Commits(u64, u64),
    /// So many snapshots are replayed.
    Snapshots(u64),
    /// Claims about receipts that were looked at, of how many.
    Claims(u64, u64),
}

/// Why an audit could not be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] ReadError),
    /// A text names no snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot is looked for in none.
    #[error("no stores")]
    NoStores,
    /// There is no engine to run receipts.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// No receipt of the store is meant.
    #[error("there is no receipt `{text}` here")]
    UnknownReceipt {
        /// What was given.
        text: String,
    },
    /// Several receipts of the store may be meant.
    #[error("`{text}` is ambiguous: {count} receipts begin like this")]
    AmbiguousReceipt {
        /// What was given.
        text: String,
        /// How many ids begin like it.
        count: usize,
    },
    /// Stores of two federations have nothing in common.
    #[error(
        "{} belongs to federation {}, {} to {}: there is nothing to compare",
        first.0, first.1, other.0, other.1
    )]
    OtherFederation {
        /// How the first store was named, and its federation.
        first: (String, FederationId),
        /// One of another federation.
        other: (String, FederationId),
    },
    /// A store lacks commits of the snapshot.
    #[error("store {store} does not hold all of snapshot {snapshot}")]
    SnapshotNotHere {
        /// How the store was named.
        store: String,
        /// The snapshot's id.
        snapshot: String,
    },
}
