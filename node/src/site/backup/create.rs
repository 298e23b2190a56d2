//! A backup of a site that goes on writing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_index_format::id::SiteId;

use super::error::{BackupError, during};
use super::files::{make_dir, remove, sync_dir, write};
use super::making::Making;
use super::manifest::Manifest;
use super::series::{DAMAGED_FILE, PARTIAL, Series, take};
use super::soundness::damages;
use crate::site::handle::Site;
use crate::site::json;

/// A backup that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackedUp {
    /// Where it is.
    pub path: PathBuf,
    /// Whose.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// How many commits of the site's own it holds.
    pub commits: u64,
    /// How many files.
    pub files: u64,
    /// How many of them are shared with the backup before.
    pub files_shared: u64,
    /// Bytes in all; every one was read back.
    pub bytes: u64,
    /// Bytes that were copied.
    pub new_bytes: u64,
    /// What of it is damaged, as it is in the data directory: a line for each place. If anything
    /// is, the earlier backups are where they were.
    pub damaged: Vec<String>,
    /// Earlier backups there whose manifest cannot be read: they were left as they are.
    pub unreadable: Vec<PathBuf>,
}

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupProgress {
    /// Bytes that were copied and read back: so far, and in all.
    Copied(u64, u64),
    /// Bytes of payloads that were verified: so far, and in all.
    Verified(u64, u64),
}

/// What is being made; it goes unless it is given a name.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next backup.
        drop(remove(&self.0));
    }
}

impl Site {
    /// Makes a backup of this site in `dir`, beside whatever the site does meanwhile; garbage is
    /// not collected before it is done. If what was copied turns out to be damaged, there is no
    /// backup of it unless `keeps_damaged`: then there is, beside those before.
    ///
    /// # Errors
    /// [`BackupError`]; the backup before is in place then.
    pub fn backup(
        &self,
        dir: &Path,
        keeps_damaged: bool,
        on_progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<BackedUp, BackupError> {
        if self.mode == Mode::ReadOnly {
            return Err(BackupError::ReadOnly);
        }
        make_dir(dir)?;
        self.must_be_outside(dir)?;
        let _lock = take(dir)?;
        let series = Series::read(dir)?;
        let _collects_nothing = self.putting();
        self.store.blocks().sync()?;
        let (sources, commits) = self.sources()?;
        for (path, manifest) in series.complete() {
            self.must_follow(path, manifest, commits)?;
        }
        // What was damaged may be sound by now, and look as it did.
        let before = series.last_sound();
        let partial = Partial(dir.join(PARTIAL));
        let before = before.map(|(path, manifest)| (path.as_path(), manifest));
        let mut making = Making::begin(&self.dir, before, &partial.0, &self.cancel)?;
        let total = 2 * sources.iter().map(|source| source.len).sum::<u64>();
        let mut done = 0;
        let mut files = Vec::with_capacity(sources.len() + 1);
        for source in &sources {
            files.push(making.take(source)?);
            done += source.len;
            on_progress(BackupProgress::Copied(done, total));
        }
        let manifest = Manifest {
            site: self.site_id(),
            federation: self.federation(),
            commits,
            files,
        };
        let manifest = making.finish(manifest, &mut |read| {
            on_progress(BackupProgress::Copied(done + read, total));
        })?;
        let damaged = damages(&partial.0, &self.cancel, &mut |read, total| {
            on_progress(BackupProgress::Verified(read, total));
        })?;
        if let Some(first) = damaged.first().filter(|_| !keeps_damaged) {
            return Err(BackupError::Damaged {
                dir: self.dir.clone(),
                first: first.clone(),
                more: damaged.len() - 1,
            });
        }
        if !damaged.is_empty() {
            let lines = damaged.join("\n") + "\n";
            write(&partial.0.join(DAMAGED_FILE), lines.as_bytes())?;
            sync_dir(&partial.0)?;
        }
        self.cancel.check()?;
        let path = series.put_in_place(!damaged.is_empty())?;
        Ok(BackedUp {
            path,
            site_id: self.site_id(),
            commits,
            files: manifest.files.len() as u64,
            files_shared: making.shared,
            bytes: manifest.files.iter().map(|file| file.len).sum(),
            new_bytes: making.new_bytes,
            damaged,
            unreadable: series.unreadable,
        })
    }

    fn must_be_outside(&self, dir: &Path) -> Result<(), BackupError> {
        let real = |path: &Path| path.canonicalize().map_err(during("look at", path));
        if real(dir)?.starts_with(real(&self.dir)?) {
            // What was made for it goes again, if it is empty.
            drop(fs::remove_dir(dir));
            return Err(BackupError::Inside {
                dir: dir.to_owned(),
            });
        }
        Ok(())
    }

    fn must_follow(&self, path: &Path, before: &Manifest, here: u64) -> Result<(), BackupError> {
        let (path, site) = (path.to_owned(), self.site_id());
        if before.site != site || before.federation != self.federation() {
            return Err(BackupError::OtherSite {
                path,
                found: before.site,
                site,
            });
        }
        let found = before.commits;
        if found > here {
            Err(BackupError::Older { path, found, here })
        } else {
            Ok(())
        }
    }
}
