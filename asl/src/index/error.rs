//! Why an index could not be read.

use crate::pages::PageDamage;

/// Why the index could not be read. It can be rebuilt from the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A page is not what was written.
    #[error("{file} is damaged at offset {offset}: {what} expected {expected}, found {found}")]
    Page {
        /// The file's path inside the store.
        file: String,
        /// Where the page starts, or the bytes that were asked for.
        offset: u64,
        /// Which check failed.
        what: &'static str,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
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

impl From<PageDamage> for IndexError {
    fn from(damage: PageDamage) -> Self {
        let PageDamage {
            file,
            offset,
            what,
            expected,
            found,
        } = damage;
        Self::Page {
            file,
            offset,
            what,
            expected,
            found,
        }
    }
}
