//! Why the state could not be read.

use uor_index_format::DecodeError;

use crate::commits;
use crate::damage::Damage;
use crate::disk::DiskError;
use crate::index::IndexError;
use crate::log::{LogError, LogPosition};

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A row of a commit table is not what was written.
    #[error("{file} is damaged at offset {offset}: the check should be {expected}, it is {found}")]
    Damaged {
        /// The file's path inside the store.
        file: String,
        /// Where the row begins.
        offset: u64,
        /// The check in the row.
        expected: String,
        /// The check of its bytes.
        found: String,
    },
    /// There is no record where the index says.
    #[error("the log holds no record in segment {} at offset {}, where the index has one", position.segment, position.offset)]
    Record {
        /// Where it should be.
        position: LogPosition,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The index names a commit that the commit table does not have.
    #[error(
        "the index names commit {number} of domain {domain}, which the commit table does not have"
    )]
    Commit {
        /// The domain's ordinal.
        domain: u32,
        /// The commit's number.
        number: u64,
    },
}

impl ReadError {
    /// Whether the index is to blame, which can be rebuilt from the log.
    #[must_use]
    pub fn is_of_index(&self) -> bool {
        match self {
            Self::Log(_) => false,
            Self::Index(_) | Self::Damaged { .. } | Self::Record { .. } | Self::Commit { .. } => {
                true
            }
            Self::Disk(error) => error.path.starts_with("index/"),
        }
    }

    /// The file that is to blame, and the offset in it, as far as they are known.
    pub(crate) fn place(&self) -> (Option<String>, Option<u64>) {
        match self {
            Self::Index(IndexError::Damaged(Damage { file, offset, .. }))
            | Self::Damaged { file, offset, .. } => (Some(file.clone()), Some(*offset)),
            Self::Index(
                IndexError::Seal { file, .. }
                | IndexError::Content { file, .. }
                | IndexError::Version { file, .. },
            ) => (Some(file.clone()), Some(0)),
            Self::Disk(error) => (Some(error.path.clone()), None),
            Self::Commit { domain, .. } => (Some(commits::path(*domain)), None),
            Self::Log(_) | Self::Record { .. } => (None, None),
        }
    }
}
