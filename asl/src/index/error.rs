//! Why an index could not be read.

use crate::damage::Damage;

/// Why the index could not be read. It can be rebuilt from the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A page is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The checks of a file's pages are not what was written.
    #[error("{file} is damaged: the check of its page checks should be {expected}, it is {found}")]
    Seal {
        /// The file's path inside the store.
        file: String,
        /// The check in the file.
        expected: String,
        /// The check of its bytes.
        found: String,
    },
    /// What a file says cannot be.
    #[error("{file} is damaged: {what}")]
    Content {
        /// The file's path inside the store.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A file of a newer format.
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Version {
        /// The file's path inside the store.
        file: String,
        /// The version the file states.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
}
