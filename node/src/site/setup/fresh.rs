//! A data directory that is being made: it is as it was before, unless all of it is there.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use uor_asl::disk::FileLock;
use uor_asl::disk::real::DIR_MODE;

use super::error::InitError;
use super::parts::{clear, during};
use crate::site::directory::files::{RESTORING_FILE, SITE_FILE};
use crate::site::directory::listing;

/// A directory that is empty again unless what was begun in it is kept.
pub(in crate::site) struct Fresh<'a> {
    dir: &'a Path,
    /// The uppermost directory that did not exist before.
    made: Option<PathBuf>,
    keep: bool,
    /// Keeps others away who would begin again what is under way.
    lock: Option<FileLock>,
}

impl<'a> Fresh<'a> {
    pub(in crate::site) fn begin(dir: &'a Path) -> Result<Self, InitError> {
        match listing::sorted(dir) {
            Ok(entries) if entries.is_empty() => Ok(Self {
                dir,
                made: None,
                keep: false,
                lock: None,
            }),
            Ok(entries) if entries.iter().any(|entry| entry.file_name() == SITE_FILE) => {
                Err(InitError::Exists {
                    dir: dir.to_owned(),
                })
            }
            Ok(_) => Err(InitError::NotEmpty {
                dir: dir.to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let absent =
                    |ancestor: &&Path| !ancestor.as_os_str().is_empty() && !ancestor.exists();
                let made = dir
                    .ancestors()
                    .take_while(absent)
                    .last()
                    .map(Path::to_owned);
                let fresh = Self {
                    dir,
                    made,
                    keep: false,
                    lock: None,
                };
                let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
                above
                    .map_or(Ok(()), fs::create_dir_all)
                    .map_err(during("make", dir))?;
                DirBuilder::new()
                    .recursive(true)
                    .mode(DIR_MODE)
                    .create(dir)
                    .map_err(during("make", dir))?;
                Ok(fresh)
            }
            Err(error) => Err(during("read", dir)(error)),
        }
    }

    /// As [`Fresh::begin`], in place of what was begun to be restored there and ended by force.
    pub(in crate::site) fn begin_again(dir: &'a Path) -> Result<Self, InitError> {
        let taken = take(dir)?;
        if dir.join(RESTORING_FILE).exists() && !dir.join(SITE_FILE).exists() {
            clear(dir);
        }
        let mut fresh = Self::begin(dir)?;
        fresh.lock = if taken.is_some() {
            taken
        } else {
            // Whoever was quicker goes on in what both have made.
            take(dir).inspect_err(|_| fresh.keep = true)?
        };
        Ok(fresh)
    }

    /// Makes the names of the directories that were made durable, and keeps them.
    pub(in crate::site) fn keep(mut self) -> Result<(), InitError> {
        if let Some(made) = &self.made {
            let above = self
                .dir
                .ancestors()
                .skip(1)
                .take_while(|ancestor| ancestor.starts_with(made));
            for dir in above.chain(made.parent()) {
                // The parent of a relative path is the working directory.
                let dir = if dir.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    dir
                };
                fs::File::open(dir)
                    .and_then(|dir| dir.sync_all())
                    .map_err(during("sync", dir))?;
            }
        }
        // One that was there before may belong to somebody else: what is in it is private all the
        // same.
        let _ = fs::set_permissions(self.dir, Permissions::from_mode(DIR_MODE));
        self.keep = true;
        Ok(())
    }
}

/// Takes a directory for whoever restores into it, if it is there and can be taken at all.
fn take(dir: &Path) -> Result<Option<FileLock>, InitError> {
    let Ok(file) = fs::File::open(dir) else {
        return Ok(None);
    };
    match FileLock::try_take(file) {
        Ok(None) => Err(InitError::InUse {
            dir: dir.to_owned(),
        }),
        Ok(taken) => Ok(taken),
        // Some file systems lock no directories.
        Err(_) => Ok(None),
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        clear(self.dir);
        if let Some(made) = &self.made {
            // The error that led here is the one to report.
            let _ = fs::remove_dir_all(made);
        }
    }
}
