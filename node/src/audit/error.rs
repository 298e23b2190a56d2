//! Why an audit ends before it has looked at everything.

use uor_asl::state::ReadError;
use uor_asl::store::StoreError;
use uor_pel::engine::wasmtime::StartError;

use super::snapshot::SnapshotError;
use super::subject::OtherFederation;

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
    #[error(transparent)]
    OtherFederation(#[from] OtherFederation),
    /// A store lacks commits of the snapshot.
    #[error("store {store} does not hold all of snapshot {snapshot}")]
    SnapshotNotHere {
        /// How the store was named.
        store: String,
        /// The snapshot's id.
        snapshot: String,
    },
}
