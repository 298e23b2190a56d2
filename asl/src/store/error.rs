//! Why something could not be done at a store.

use std::io;

use uor_index_format::DecodeError;
use uor_index_format::commit::SealError;
use uor_index_format::id::{FederationId, SiteId};

use super::identity;
use crate::blocks::BlocksError;
use crate::chain::Break;
use crate::disk::DiskError;
use crate::group::GroupError;
use crate::log::{LogError, LogPosition};
use crate::state::error::ReadError;
use crate::validator::Rejection;

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store here.
    #[error("there is no store here")]
    Absent,
    /// There is a store here already.
    #[error("there is a store here already")]
    Exists,
    /// Another process has the store open for writing.
    #[error("another process is using this store")]
    InUse,
    /// The file that names the federation cannot be understood.
    #[error(
        "file `{}` is damaged: expected `{}{}` and the federation's id",
        identity::FILE,
        identity::TITLE,
        identity::VERSION
    )]
    Identity,
    /// The file that names the federation names another than the log is of.
    #[error(
        "file `{}` is damaged: it names federation {named}, the log is of federation {found}",
        identity::FILE
    )]
    OtherFederation {
        /// The federation in the file.
        named: FederationId,
        /// The federation that the log's genesis founds.
        found: FederationId,
    },
    /// The store was written by a newer release.
    #[error(
        "file `{}` has format version {found}; this release reads up to {}: upgrade uor",
        identity::FILE,
        identity::VERSION
    )]
    NewerVersion {
        /// Version found.
        found: u16,
    },
    /// Whoever asked for it does not want it any more.
    #[error("cancelled before it was done: nothing was changed")]
    Cancelled,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Payloads could not be read or written.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// An entry of the log passes its own checksum and is still no valid commit.
    #[error("the log's entry in segment {} at offset {} is no valid commit", position.segment, position.offset)]
    Entry {
        /// Where it is.
        position: LogPosition,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A commit does not continue its domain's chain.
    #[error("commit {number} of site {domain} does not continue its chain")]
    Chain {
        /// The domain.
        domain: SiteId,
        /// The commit's number.
        number: u64,
        /// What is wrong with it.
        #[source]
        source: Break,
    },
    /// The log is shorter than it was when the checkpoint was written. A crash does not do that.
    #[error(
        "the log ends in segment {} at offset {}, and the index reaches to segment {} at offset {}: acknowledged commits are \
         missing",
        end.segment, end.offset, through.segment, through.offset
    )]
    LogCut {
        /// Where the log ends.
        end: LogPosition,
        /// Up to where the checkpoint covers it.
        through: LogPosition,
    },
    /// The store could not be read: each time a writer beside had changed its files meanwhile.
    #[error(
        "the store was changed each of {attempts} times that it was read: a writer beside is busy; try again"
    )]
    Restless {
        /// How many times it was tried.
        attempts: u32,
        /// What was not there the last time.
        #[source]
        source: Box<StoreError>,
    },
    /// An entry of the log is of a kind that this release does not know.
    #[error("the log's entry in segment {} at offset {} is of kind {kind}: upgrade uor", position.segment, position.offset)]
    UnknownEntry {
        /// Where it is.
        position: LogPosition,
        /// Its kind.
        kind: u8,
    },
    /// An earlier write failed: what is in the log is known only after opening the store again.
    #[error("the store takes nothing in since a write failed; open it again")]
    Poisoned,
    /// The group of writers this call belonged to failed.
    #[error("the write failed")]
    Group(#[from] GroupError<StoreErrorInGroup>),
}

impl StoreError {
    /// Whether the disk is full.
    pub(super) fn is_out_of_space(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// A [`StoreError`] shared by all writers of a group.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreErrorInGroup(#[from] Box<StoreError>);

/// Why a site's own records did not become a commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// They do not fit a commit.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The federation would refuse the commit.
    #[error("this site may not write")]
    Rejected(#[from] Rejection),
    /// The commit cannot be validated yet.
    #[error("this site cannot write yet: {reason}")]
    Parked {
        /// What is missing.
        reason: String,
    },
    /// The 64-bit clock is exhausted.
    #[error("the federation's logical clock is exhausted")]
    ClockExhausted,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}
