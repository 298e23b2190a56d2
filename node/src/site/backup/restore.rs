//! Restoring: a data directory from a backup. The site in it asks the others before it writes, so
//! that what it wrote after the backup comes back from them and is not written over.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_asl::disk::real::{DIR_MODE, RealDisk};
use uor_index_format::id::SiteId;

use super::error::{BackupError, during};
use super::files::{copy, sync_dir};
use super::manifest::Manifest;
use super::series::{DAMAGED_FILE, Series};
use super::sources::commits_of;
use crate::cancel::{Cancel, Cancelled};
use crate::site::directory::files::{MANIFEST_FILE, RESTORED_FILE, RESTORING_FILE, SITE_FILE};
use crate::site::handle::Site;
use crate::site::integrity::hold::mark_restored;
use crate::site::json;
use crate::site::setup::error::{InitError, OpenError};
use crate::site::setup::fresh::Fresh;

/// A site that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The site.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// Its data directory.
    pub data: PathBuf,
    /// The backup it comes from.
    pub from: PathBuf,
    /// How many commits of its own it has.
    pub commits: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Whether there are other sites, which it asks before it writes.
    pub asks_first: bool,
    /// What was damaged when the backup was made, a line for each place.
    pub damaged: Vec<String>,
    /// If something was: the newest backup beside it that was sound.
    pub sound: Option<PathBuf>,
    /// Backups beside it whose manifest cannot be read.
    pub unreadable: Vec<PathBuf>,
}

/// Why nothing was restored; the data directory is as it was then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is nothing at all.
    #[error("there is no directory {}", dir.display())]
    NoDirectory {
        /// Where backups were looked for.
        dir: PathBuf,
    },
    /// There is no backup.
    #[error("there is no complete backup in {}", dir.display())]
    Absent {
        /// Where one was looked for.
        dir: PathBuf,
    },
    /// The list of its files cannot be read.
    #[error("the manifest of the backup in {} is damaged: {problem}", path.display())]
    Manifest {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file of the backup is not what was backed up.
    #[error("{} is damaged: its digest should be {expected}, it is {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// As the manifest says.
        expected: uor_index_format::id::Checksum,
        /// As it was read.
        found: uor_index_format::id::Checksum,
    },
    /// The data directory is not empty, or could not be made.
    #[error(transparent)]
    Directory(#[from] InitError),
    /// The backup could not be read, or the data directory not be written.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// What was restored cannot be opened.
    #[error("what was restored cannot be opened")]
    Open(#[from] OpenError),
    /// What was restored holds other commits than the backup says.
    #[error("the backup says that it holds {expected} commits of its site, and {found} were found")]
    Commits {
        /// As the manifest says.
        expected: u64,
        /// As they were counted.
        found: u64,
    },
}

impl Site {
    /// Makes the data directory `dir`, which is empty or not there, from the newest complete backup
    /// in `from`, or from the backup that `from` itself is. Every byte is held against the backup's
    /// manifest. What an earlier restoring left there that was ended by force is removed before.
    /// `on_progress` is told how many bytes, of how many, have been copied.
    ///
    /// # Errors
    /// [`RestoreError`]; the directory is as it was then.
    pub fn restore(
        from: &Path,
        dir: &Path,
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Restored, RestoreError> {
        let Found {
            path,
            manifest,
            sound,
            unreadable,
        } = find(from)?;
        let fresh = Fresh::begin_again(dir)?;
        take(
            &path,
            &manifest,
            SITE_FILE,
            &dir.join(RESTORING_FILE),
            cancel,
        )?;
        prepare(dir)?;
        mark_restored(&RealDisk::new(dir), &format!("from {}\n", path.display()))
            .map_err(InitError::from)?;
        let bytes = copy_all(&path, &manifest, dir, cancel, on_progress)?;
        for synced in [dir.join("log"), dir.join("blocks"), dir.to_owned()] {
            sync_dir(&synced)?;
        }
        put_in_place(dir)?;
        let asks_first = check(dir, &manifest)?;
        cancel.check()?;
        fresh.keep()?;
        let (site_id, commits) = (manifest.site, manifest.commits);
        let damaged = damages_of(&path);
        let sound = sound.filter(|_| !damaged.is_empty());
        Ok(Restored {
            site_id,
            data: dir.to_owned(),
            from: path,
            commits,
            bytes,
            asks_first,
            damaged,
            sound,
            unreadable,
        })
    }
}

/// Takes a new data directory from everybody but its owner, and makes the directories in it.
fn prepare(dir: &Path) -> Result<(), BackupError> {
    fs::set_permissions(dir, Permissions::from_mode(DIR_MODE)).map_err(during("protect", dir))?;
    for part in ["log", "blocks"] {
        let part = dir.join(part);
        fs::create_dir(&part).map_err(during("make", &part))?;
    }
    Ok(())
}

/// Copies every file of a backup, and holds it against the manifest; says how many bytes that were.
fn copy_all(
    backup: &Path,
    manifest: &Manifest,
    dir: &Path,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, RestoreError> {
    let (total, mut bytes) = (manifest.files.iter().map(|line| line.len).sum(), 0);
    for line in &manifest.files {
        // What makes the directory a site was taken first, under another name, and the new
        // directory has a mark of its own.
        if line.path != RESTORED_FILE && line.path != SITE_FILE {
            take(backup, manifest, &line.path, &dir.join(&line.path), cancel)?;
        }
        bytes += line.len;
        on_progress(bytes, total);
    }
    Ok(bytes)
}

/// Copies a file of a backup, if it has it, and holds it against the manifest.
fn take(
    backup: &Path,
    manifest: &Manifest,
    path: &str,
    to: &Path,
    cancel: &Cancel,
) -> Result<(), RestoreError> {
    let Some(line) = manifest.line(path) else {
        return Ok(());
    };
    let (source, expected) = (backup.join(path), line.digest);
    let found = copy(&source, to, line.len, cancel)?;
    if found == expected {
        Ok(())
    } else {
        Err(RestoreError::Damaged {
            path: source,
            expected,
            found,
        })
    }
}

/// Makes the directory a site, now that all of it is there.
fn put_in_place(dir: &Path) -> Result<(), BackupError> {
    let restoring = dir.join(RESTORING_FILE);
    if restoring.exists() {
        let site = dir.join(SITE_FILE);
        fs::rename(&restoring, &site).map_err(during("put in place", &site))?;
        sync_dir(dir)?;
    }
    Ok(())
}

/// Opens what was restored, to be read; says whether it has to ask before it writes.
fn check(dir: &Path, manifest: &Manifest) -> Result<bool, RestoreError> {
    let site = Site::open(dir, Mode::ReadOnly)?;
    let found = commits_of(&site.store().view(), &manifest.site);
    if found != manifest.commits {
        return Err(RestoreError::Commits {
            expected: manifest.commits,
            found,
        });
    }
    Ok(site.hold().is_some())
}

/// What is to be restored.
struct Found {
    path: PathBuf,
    manifest: Manifest,
    /// The newest that was sound.
    sound: Option<PathBuf>,
    unreadable: Vec<PathBuf>,
}

/// What was damaged when a backup was made; that it was, if no more can be read.
fn damages_of(backup: &Path) -> Vec<String> {
    let path = backup.join(DAMAGED_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![format!("{} cannot be read: {error}", path.display())],
    }
}

fn find(from: &Path) -> Result<Found, RestoreError> {
    let path = from.to_owned();
    if let Ok(bytes) = fs::read(from.join(MANIFEST_FILE)) {
        return match Manifest::decode(&bytes) {
            Ok(manifest) => Ok(Found {
                path,
                manifest,
                sound: None,
                unreadable: Vec::new(),
            }),
            Err(problem) => Err(RestoreError::Manifest { path, problem }),
        };
    }
    if !from.exists() {
        return Err(RestoreError::NoDirectory { dir: path });
    }
    if !from.is_dir() {
        return Err(RestoreError::Absent { dir: path });
    }
    let series = Series::read(from)?;
    match series.last() {
        Some((newest, manifest)) => Ok(Found {
            path: newest.clone(),
            manifest: manifest.clone(),
            sound: series.last_sound().map(|(path, _)| path.clone()),
            unreadable: series.unreadable.clone(),
        }),
        None => Err(RestoreError::Absent { dir: path }),
    }
}
