//! Why a site must ask the others for its own log before it writes: as a copy, or one that was put
//! back, it may not know how far that log has come.

use std::path::Path;

use serde::Serialize;
use uor_asl::disk::{Disk, DiskError, replace};

use super::loss::Witnessed;
use crate::site::directory::files::{self, FileError, RESTORED_FILE};

/// Why a site must ask the others for its own log before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The data directory is a copy.
    Copied,
    /// The data directory was restored from a backup.
    Restored,
    /// Others had commits of this site that it had not, when it had asked and was writing.
    Elsewhere,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copied => "the data directory of this site was copied, or moved to another file system",
            Self::Restored => "the data directory of this site was restored from a backup",
            Self::Elsewhere => {
                "other sites had commits of this site that it had not: it runs elsewhere too, or its disk was put back"
            }
        })
    }
}

/// Why a site may not write now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It has to ask first.
    #[error(
        "{hold}, and other sites may hold later commits of this site: before it writes, it has to ask them, or it would \
         sign a second history and be shut out for good"
    )]
    Held {
        /// Why.
        hold: Hold,
    },
    /// The others are still being asked.
    #[error(
        "the node is still asking the other sites for this site's own commits: try again in a moment"
    )]
    Asking,
}

/// Why the site in `dir` would have to ask before it writes, if there is anybody to ask.
pub(in crate::site) fn hold_of(
    dir: &Path,
    disk: &dyn Disk,
    witnessed: &Witnessed,
) -> Result<Option<Hold>, FileError> {
    let is_restored = files::exists(disk, RESTORED_FILE)?;
    let is_copied = witnessed
        .acknowledged
        .as_ref()
        .is_some_and(|acknowledged| acknowledged.is_copied(dir));
    Ok(if is_restored {
        Some(Hold::Restored)
    } else {
        is_copied.then_some(Hold::Copied)
    })
}

/// Marks a data directory as restored, so that the site in it asks before it writes.
pub(in crate::site) fn mark_restored(disk: &dyn Disk, text: &str) -> Result<(), FileError> {
    Ok(replace(disk, RESTORED_FILE, text.as_bytes())?)
}

/// Takes back [`mark_restored`].
pub(in crate::site) fn unmark_restored(disk: &dyn Disk) -> Result<(), FileError> {
    let failed = |source| DiskError {
        action: "remove",
        path: RESTORED_FILE.to_owned(),
        source,
    };
    if files::exists(disk, RESTORED_FILE)? {
        disk.remove(RESTORED_FILE)
            .and_then(|()| disk.sync_dir(""))
            .map_err(failed)?;
    }
    Ok(())
}
