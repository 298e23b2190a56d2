//! Why a snapshot's objects are no file system.

use std::io;

use crate::zap::ZapError;

/// Why a snapshot's objects are no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesystemError {
    /// A table is damaged.
    #[error(transparent)]
    Zap(#[from] ZapError),
    /// The master node lacks something.
    #[error("the master node does not say {what}")]
    Master {
        /// What is missing.
        what: &'static str,
    },
    /// The root is something else.
    #[error("root is not a directory: object {object}")]
    Root {
        /// What it is.
        object: u64,
    },
    /// A name cannot be one.
    #[error("bad name `{}` in directory {directory}: {problem}", name.escape_ascii())]
    Name {
        /// The directory's object.
        directory: u64,
        /// The name.
        name: Vec<u8>,
        /// The rule it breaks.
        problem: &'static str,
    },
    /// A name is there twice.
    #[error("duplicate name `{}` in directory {directory}", name.escape_ascii())]
    DuplicateName {
        /// The directory's object.
        directory: u64,
        /// The name.
        name: Vec<u8>,
    },
    /// An entry's object is not there.
    #[error("missing object {object}, named `{}` in directory {directory}", name.escape_ascii())]
    MissingObject {
        /// The directory's object.
        directory: u64,
        /// The name.
        name: Vec<u8>,
        /// The object.
        object: u64,
    },
    /// Attributes make no sense.
    #[error("bad attributes of object {object}: {problem}")]
    Attributes {
        /// The object.
        object: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A directory is inside itself.
    #[error("directory cycle: directory {object} is inside itself")]
    Cycle {
        /// Its object.
        object: u64,
    },
    /// A directory has two names.
    #[error("directory has two parents: object {object}")]
    TwoParents {
        /// Its object.
        object: u64,
    },
    /// Contents could not be read.
    #[error("could not read object {object}")]
    Read {
        /// The object.
        object: u64,
        /// What reading said.
        #[source]
        source: io::Error,
    },
}
