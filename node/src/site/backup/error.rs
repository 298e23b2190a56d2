//! Why there is no new backup.

use std::io;
use std::path::{Path, PathBuf};

use uor_asl::blocks::BlocksError;
use uor_asl::log::LogError;
use uor_index_format::id::{Checksum, SiteId};

use crate::cancel::Cancelled;

/// Why there is no new backup; the one before is still there then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory holds other things.
    #[error("{} holds `{name}`, which is no backup's: choose an empty directory, or one with backups of this site", dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// What was found there.
        name: String,
    },
    /// The directory lies inside the data directory.
    #[error("{} lies inside the data directory, and would be lost with it: choose another", dir.display())]
    Inside {
        /// The directory.
        dir: PathBuf,
    },
    /// Another backup is being made there.
    #[error("another backup is being made in {}", dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// The backups there are of another site.
    #[error("{} is a backup of site {found}, this is site {site}: choose another directory", path.display())]
    OtherSite {
        /// The backup that is there.
        path: PathBuf,
        /// Whose it is.
        found: SiteId,
        /// This site.
        site: SiteId,
    },
    /// The backup that is there knows more than the site.
    #[error(
        "the backup in {} holds {found} commits of this site, the site itself has {here}: it is older than its backup, which \
         is left as it is",
        path.display()
    )]
    Older {
        /// The backup that is there.
        path: PathBuf,
        /// How many own commits it holds.
        found: u64,
        /// How many own commits the site has.
        here: u64,
    },
    /// What was written reads back otherwise.
    #[error("{} reads back otherwise than it was written: its digest should be {expected}, it is {found}", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// Digest of what was written.
        expected: Checksum,
        /// Digest of what was read.
        found: Checksum,
    },
    /// What was copied is damaged as it is in the data directory.
    #[error(
        "the site in {} is damaged, and no backup was made: {first}{}",
        dir.display(),
        and_more(*more)
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// The first damaged place: file, offset, and the payload that cannot be read.
        first: String,
        /// How many further places are damaged.
        more: usize,
    },
    /// A file got shorter while it was copied.
    #[error("{} ended after {found} of {expected} bytes", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes that should be there.
        expected: u64,
        /// Bytes that were.
        found: u64,
    },
    /// The site was opened to be read.
    #[error("the site was opened to be read")]
    ReadOnly,
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// Payloads could not be made durable, or what was copied of them could not be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// What was copied of the log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk refused.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => ", and 1 more place".to_owned(),
        more => format!(", and {more} more places"),
    }
}

pub(super) fn during(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
