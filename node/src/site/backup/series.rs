//! The directory of backups: one that is complete, and one that is being made.
//!
//! It holds `uor-backup-NNNNNNNN`, the last complete one, and while one is being made `partial`. A
//! backup gets its name when every byte of it has been written, synced and read back, and only then
//! the one before goes, if the new one is sound. One whose manifest cannot be read is left where it
//! is: it may hold commits that are nowhere else.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uor_asl::disk::FileLock;

use super::error::{BackupError, during};
use super::files::{remove, sync_dir};
use super::manifest::Manifest;
use crate::site::directory::files::MANIFEST_FILE;
use crate::site::directory::listing;

const PREFIX: &str = "uor-backup-";
pub(super) const PARTIAL: &str = "partial";
const LOCK_FILE: &str = "lock";
/// What of a backup was damaged when it was made, a line for each place; none in one that was
/// sound.
pub(super) const DAMAGED_FILE: &str = "damaged";

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

/// The backups that a directory holds.
pub(super) struct Series {
    dir: PathBuf,
    /// Those whose manifest can be read, the newest last.
    complete: Vec<(PathBuf, Manifest)>,
    /// Those whose manifest cannot be read: nobody knows what they hold.
    pub(super) unreadable: Vec<PathBuf>,
    number_max: u32,
}

impl Series {
    /// What `dir` holds.
    pub(super) fn read(dir: &Path) -> Result<Self, BackupError> {
        let entries = listing::sorted(dir).map_err(during("list", dir))?;
        let mut numbered: Vec<(u32, PathBuf)> = entries
            .iter()
            .filter_map(|entry| Some((number_of(&entry.path())?, entry.path())))
            .collect();
        numbered.sort_unstable();
        let mut series = Self {
            dir: dir.to_owned(),
            complete: Vec::new(),
            unreadable: Vec::new(),
            number_max: numbered.last().map_or(0, |(number, _)| *number),
        };
        for (_, path) in numbered {
            let manifest = fs::read(path.join(MANIFEST_FILE)).ok();
            match manifest.and_then(|bytes| Manifest::decode(&bytes).ok()) {
                Some(manifest) => series.complete.push((path, manifest)),
                None => series.unreadable.push(path),
            }
        }
        Ok(series)
    }

    /// Those whose manifest can be read, the newest last.
    pub(super) fn complete(&self) -> &[(PathBuf, Manifest)] {
        &self.complete
    }

    /// The newest that is complete.
    pub(super) fn last(&self) -> Option<&(PathBuf, Manifest)> {
        self.complete.last()
    }

    /// The newest that is complete and was sound when it was made.
    pub(super) fn last_sound(&self) -> Option<&(PathBuf, Manifest)> {
        let is_sound = |(path, _): &&(PathBuf, Manifest)| !path.join(DAMAGED_FILE).exists();
        self.complete.iter().rev().find(is_sound)
    }

    /// Gives what was made the next number, and only then, unless they are kept, removes the
    /// complete ones before it: more than one, if a crash came between or some were kept.
    pub(super) fn put_in_place(&self, keeps_earlier: bool) -> Result<PathBuf, BackupError> {
        let number = self.number_max + 1;
        let path = self.dir.join(format!("{PREFIX}{number:08}"));
        fs::rename(self.dir.join(PARTIAL), &path).map_err(during("put in place", &path))?;
        sync_dir(&self.dir)?;
        if !keeps_earlier {
            self.complete
                .iter()
                .try_for_each(|(before, _)| remove(before))?;
        }
        Ok(path)
    }
}
