//! Why nothing was tombstoned.

use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::id::ArtifactKey;

use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;

/// Why nothing was tombstoned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// Membership does not end by tombstone.
    #[error("`{text}` is {}; only artifacts, receipts, refs and edges can be removed", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// Nothing is inside of it.
    #[error("`{text}` is {}, which holds nothing: remove it by itself", found.with_article())]
    NotASet {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// It is in a tree, which is what it is by what is in it.
    #[error(
        "`{text}` is inside a tree, and a tree cannot lose a part: shadowing {key} would take it from every tree and name \
         that has the same bytes"
    )]
    InsideTree {
        /// The text as it was given.
        text: String,
        /// The key of what is there.
        key: ArtifactKey,
    },
    /// Something else shows it.
    #[error("`{text}` is still shown by {by}")]
    StillShown {
        /// The text as it was given.
        text: String,
        /// What shows it.
        by: Bounded<String>,
    },
    /// What shows it is not known.
    #[error(
        "{count} that are visible are not here, the first {first}, so what they show is not known"
    )]
    NotHere {
        /// How many trees, programs and receipts.
        count: u64,
        /// The first of them.
        first: ArtifactKey,
    },
    /// Something is being added or run.
    #[error("something is being added or run here: remove it when that is done")]
    Busy,
    /// A tree could not be read.
    #[error("could not read {key}")]
    Blocks {
        /// The tree.
        key: ArtifactKey,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It could not be written.
    #[error("could not write the tombstone")]
    Commit(#[from] CommitError),
}
