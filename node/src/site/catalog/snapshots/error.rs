//! Why there is no such snapshot, or why it cannot be read or stored here.

use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::{CommitError, StoreError};
use uor_index_format::id::{SiteId, SnapshotId};
use uor_index_format::reference::NameError;

use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::ResolveError;
use crate::site::catalog::sort::Sort;
use crate::site::directory::files::FileError;

/// The word for the state as it is now, wherever a snapshot is named.
pub(super) const HEAD: &str = "head";

/// Why there is no such snapshot, or why it cannot be read or stored here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// No snapshot is meant.
    #[error(
        "there is no snapshot `{text}`: it is neither a label nor an id or its beginning, nor `{HEAD}`"
    )]
    Unknown {
        /// The text as it was given.
        text: String,
        /// What else may be said.
        #[source]
        source: ResolveError,
    },
    /// The id is something else's.
    #[error("`{text}` is {}, not a snapshot", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// It includes commits that are not here.
    #[error(
        "snapshot {id} includes commits up to {needed} of domain {domain}; here are {here} (or others): wait for them"
    )]
    Behind {
        /// The snapshot.
        id: SnapshotId,
        /// The first domain that lacks something.
        domain: SiteId,
        /// How many commits of it the snapshot includes.
        needed: u64,
        /// How many are here.
        here: u64,
    },
    /// Its payload could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The label cannot be a name.
    #[error(transparent)]
    Label(#[from] NameError),
    /// The label has a meaning of its own.
    #[error("`{HEAD}` is not a label: it means the state as it is now")]
    ReservedLabel,
    /// A snapshot that is retained has the label.
    #[error("label `{label}` is that of snapshot {id}, which is kept")]
    LabelTaken {
        /// The label.
        label: String,
        /// Whose it is.
        id: SnapshotId,
    },
    /// The payload could not be stored.
    #[error("could not store the snapshot")]
    Blocks(#[from] BlocksError),
    /// The records could not be written.
    #[error("could not write the snapshot")]
    Commit(#[from] CommitError),
    /// The list of retained snapshots could not be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
}
