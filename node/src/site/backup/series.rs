//! The directory of backups: one that is complete, and one that is being made.
//!
//! It holds `uor-backup-NNNNNNNN`, the last complete one, and while one is being made `partial`. A
//! backup gets its name when every byte of it has been written, synced and read back, and only then
//! the one before goes.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uor_asl::disk::FileLock;

use super::error::{BackupError, during};
use super::files::{remove, sync_dir};
use super::manifest::{self, Manifest};
use crate::site::directory::listing;

const PREFIX: &str = "uor-backup-";
pub(super) const PARTIAL: &str = "partial";
const LOCK_FILE: &str = "lock";

/// Takes a directory of backups for the one that is being made.
pub(super) fn take(dir: &Path) -> Result<FileLock, BackupError> {
    for entry in listing::sorted(dir).map_err(during("list", dir))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name == LOCK_FILE || name == PARTIAL || number_of(&entry.path()).is_some()) {
            return Err(BackupError::NotOurs {
                dir: dir.to_owned(),
                name,
            });
        }
    }
    let path = dir.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let lock = lock.map_err(during("open", &path))?;
    FileLock::try_take(lock)
        .map_err(during("lock", &path))?
        .ok_or_else(|| BackupError::Busy {
            dir: dir.to_owned(),
        })
}

fn number_of(path: &Path) -> Option<u32> {
    path.file_name()?
        .to_str()?
        .strip_prefix(PREFIX)?
        .parse()
        .ok()
}

/// The newest backup in a directory whose manifest can be read.
pub(super) fn last_complete(dir: &Path) -> Result<Option<(PathBuf, Manifest)>, BackupError> {
    let entries = listing::sorted(dir).map_err(during("list", dir))?;
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .iter()
        .filter_map(|entry| Some((number_of(&entry.path())?, entry.path())))
        .collect();
    numbered.sort_unstable();
    let readable = numbered.into_iter().rev().find_map(|(_, path)| {
        let manifest = fs::read(path.join(manifest::FILE)).ok()?;
        Some((path, Manifest::decode(&manifest).ok()?))
    });
    Ok(readable)
}

/// Gives what was made its name, and only then removes the backup before.
pub(super) fn put_in_place(dir: &Path, before: Option<&Path>) -> Result<PathBuf, BackupError> {
    let number = before.and_then(number_of).map_or(1, |number| number + 1);
    let path = dir.join(format!("{PREFIX}{number:08}"));
    fs::rename(dir.join(PARTIAL), &path).map_err(during("put in place", &path))?;
    sync_dir(dir)?;
    if let Some(before) = before {
        remove(before)?;
    }
    Ok(path)
}
