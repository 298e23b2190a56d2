//! Why something was not added.

use std::io;
use std::path::{Path, PathBuf};

use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::reference::NameError;
use uor_index_format::tree::TreeError;

use super::excludes::ExcludeError;
use super::left_out::Obstacle;
use crate::cancel::Cancelled;
use crate::site::catalog::sort::Sort;

/// Why something was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a socket, a device or the like.
    #[error("{} is neither a file nor a directory: {reason}", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        reason: Obstacle,
    },
    /// It is a data directory, or lies in one.
    #[error("{} is not added: {} is a data directory of uor, or a copy of one", path.display(), dir.display())]
    DataDirectory {
        /// The path.
        path: PathBuf,
        /// The data directory.
        dir: PathBuf,
    },
    /// It is the private key of a site.
    #[error("{} is not added: it is the private key of a site", path.display())]
    Key {
        /// The path.
        path: PathBuf,
    },
    /// It changed each time it was read.
    #[error("{} keeps changing while it is read: what would be stored is a mixture of before and after", path.display())]
    Changing {
        /// The path.
        path: PathBuf,
    },
    /// What is not wanted cannot be told.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// The type tag has a meaning of its own.
    #[error("type tag {tag} is the tag of {}, which files do not get by hand", sort.with_article())]
    ReservedTag {
        /// The tag.
        tag: u32,
        /// What it marks.
        sort: Sort,
    },
    /// A name was given for several things.
    #[error("one name cannot be given to {sources} things: add them one by one")]
    NameForMany {
        /// How many sources there are.
        sources: usize,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A directory entry cannot stand in a tree.
    #[error("could not make a tree of {}", path.display())]
    Tree {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// The payload could not be stored.
    #[error("could not store {path}")]
    Blocks {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The records could not be written.
    #[error("could not write the records")]
    Commit(#[from] CommitError),
}

pub(super) fn storing(path: &str) -> impl FnOnce(BlocksError) -> AddError {
    move |source| AddError::Blocks {
        path: path.to_owned(),
        source,
    }
}

/// Names what could not be read.
pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> AddError {
    move |source| AddError::Read {
        path: path.to_owned(),
        source,
    }
}
