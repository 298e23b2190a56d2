//! Why a site could not be made, or not be opened.

use std::io;
use std::path::PathBuf;

use uor_asl::store::{CommitError, StoreError};
use uor_index_format::membership::SITE_NAME_LEN_MAX;

use crate::site::directory::files::FileError;
use crate::site::integrity::loss::Loss;

/// Why no site was made, or why it cannot join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is a site already.
    #[error("there is a site in {} already", dir.display())]
    Exists {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory holds other things.
    #[error("{} holds files that are no site's", dir.display())]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The site has written or received records, which joining would lose.
    #[error(
        "the site in {} has a history of {commits} commits in another federation, which joining would lose",
        dir.display()
    )]
    HasHistory {
        /// The data directory.
        dir: PathBuf,
        /// How many commits its store holds.
        commits: u64,
    },
    /// The site belongs to the federation already.
    #[error("the site in {} is a member of this federation already", dir.display())]
    AlreadyMember {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process is using the directory.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The name cannot be a site's.
    #[error(
        "`{name}` cannot be a site's name: it needs 1 to {SITE_NAME_LEN_MAX} bytes without quotes, backslashes or control characters"
    )]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// The directory could not be made or changed.
    #[error("could not {action} {}", path.display())]
    Directory {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gave no randomness for a key.
    #[error("the system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// A small file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The founding commit could not be written.
    #[error("could not found the federation")]
    Found(#[source] CommitError),
    /// The site that is there could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a site could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none.
    #[error("there is no site in {}", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process is using it.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It is a backup: writing there would spoil it.
    #[error("{} is a backup, and nothing is written there, so that it can be restored", dir.display())]
    Backup {
        /// The directory.
        dir: PathBuf,
    },
    /// A small file could not be read.
    #[error("could not open the site in {}", dir.display())]
    File {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        #[source]
        source: FileError,
    },
    /// The store could not be opened.
    #[error("could not open the store in {}", dir.display())]
    Store {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        #[source]
        source: StoreError,
    },
    /// The site has lost what it had acknowledged: it is opened to be read only.
    #[error("the site in {} has lost something and does not write: {loss}", dir.display())]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// What it has lost.
        loss: Loss,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The system gave no thread.
    #[error("the system gave no thread to keep the site in {}", dir.display())]
    Thread {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
