//! Backups: copies of a site that are consistent, although the site goes on writing, and share what
//! has not changed.
//!
//! A directory of backups holds `uor-backup-NNNNNNNN`, the last complete one, and while one is
//! being made `partial`. Each is laid out as a data directory is, with a `manifest`; files that
//! have not changed since the one before are hard links to its. The log is taken first, up to a
//! mark, then the packs, which hold at least what that log names; what is appended meanwhile is not
//! in it. A backup gets its name when every byte of it has been written, synced and read back, and
//! only then the one before goes.
//!
//! Not in a backup: what can be derived (`index`, `seen`), what is under way (`staging`), the
//! witness, which would be ahead of the log, and open tickets: a ticket that was used since must
//! not be good again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use uor_asl::blocks::BlocksError;
use uor_asl::disk::{FileLock, Mode};
use uor_index_format::id::{Checksum, SiteId};

use super::manifest::{self, Line, Manifest, Stamp};
use crate::site::directory::files::{
    ADDRESSES_FILE, KEPT_FILE, KEY_FILE, LOST_FILE, PEERS_FILE, RESTORED_FILE, SITE_FILE,
    TABLE_FILE,
};
use crate::site::directory::listing;
use crate::site::handle::Site;
use crate::site::json;

const PREFIX: &str = "uor-backup-";
const PARTIAL: &str = "partial";
const LOCK_FILE: &str = "lock";
const PACKS_LIST: &str = "blocks/packs.list";
/// Small files that a backup takes along, where they are.
const SMALL_FILES: [&str; 8] = [
    SITE_FILE,
    KEY_FILE,
    "store",
    KEPT_FILE,
    PEERS_FILE,
    ADDRESSES_FILE,
    LOST_FILE,
    TABLE_FILE,
];
const RESTORED_TEXT: &str =
    "This directory comes from a backup. Its site asks the others before it writes.\n";
const PART_LEN: usize = 1 << 20;

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
}

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
    /// Payloads could not be made durable.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
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

fn during(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

impl Site {
    /// Makes a backup of this site in `dir`, beside whatever the site does meanwhile; garbage is
    /// not collected before it is done. `on_progress` is told how many bytes, of how many, have
    /// been written and read back.
    ///
    /// # Errors
    /// [`BackupError`]; the backup before is in place then.
    pub fn backup(
        &self,
        dir: &Path,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BackedUp, BackupError> {
        if self.mode == Mode::ReadOnly {
            return Err(BackupError::ReadOnly);
        }
        make_dir(dir)?;
        self.must_be_outside(dir)?;
        let _lock = take(dir)?;
        let before = last_complete(dir)?;
        let _collects_nothing = self.putting();
        self.store.blocks().sync()?;
        let (sources, commits) = self.sources()?;
        if let Some((path, manifest)) = &before {
            self.must_follow(path, manifest, commits)?;
        }
        let partial = dir.join(PARTIAL);
        remove(&partial)?;
        for made in [partial.clone(), partial.join("log"), partial.join("blocks")] {
            make_dir(&made)?;
        }
        let before = before
            .as_ref()
            .map(|(path, manifest)| (path.as_path(), manifest));
        let mut making = Making {
            site: &self.dir,
            before,
            to: &partial,
            shared: 0,
            new_bytes: 0,
        };
        let total = 2 * sources.iter().map(|source| source.len).sum::<u64>();
        let mut done = 0;
        let mut files = Vec::with_capacity(sources.len() + 1);
        for source in &sources {
            files.push(making.take(source)?);
            done += source.len;
            on_progress(done, total);
        }
        let manifest = Manifest {
            site: self.site_id(),
            federation: self.federation(),
            commits,
            files,
        };
        let manifest = making.finish(manifest, &mut |read| on_progress(done + read, total))?;
        let number = before
            .and_then(|(path, _)| number_of(path))
            .map_or(1, |number| number + 1);
        let path = dir.join(format!("{PREFIX}{number:08}"));
        fs::rename(&partial, &path).map_err(during("put in place", &path))?;
        sync_dir(dir)?;
        if let Some((old, _)) = before {
            remove(old)?;
        }
        Ok(BackedUp {
            path,
            site_id: self.site_id(),
            commits,
            files: manifest.files.len() as u64,
            files_shared: making.shared,
            bytes: manifest.files.iter().map(|file| file.len).sum(),
            new_bytes: making.new_bytes,
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

    /// What a backup takes now, in the order in which it is to be taken, and how many own commits
    /// that holds.
    fn sources(&self) -> Result<(Vec<Source>, u64), BackupError> {
        let (end, commits) = {
            let view = self.store.view();
            let own = view
                .head()
                .frontier
                .get(&self.site_id())
                .map_or(0, |head| head.number);
            (
                view.log_end(),
                own.max(view.uncounted_head(&self.site_id()).unwrap_or_default()),
            )
        };
        let mut sources = Vec::new();
        for segment in 1..end.segment {
            sources.push(self.source(&format!("log/{segment:08}.log"))?);
        }
        // Bytes behind the mark may be half written.
        let last = format!("log/{:08}.log", end.segment);
        sources.push(Source {
            len: end.offset.into(),
            stamp: Stamp::default(),
            path: last,
        });
        // Before the packs: a pack that is begun meanwhile is not in it.
        let list = self.source_if_there(PACKS_LIST)?;
        let list_bytes = list.is_some().then(|| self.read(PACKS_LIST)).transpose()?;
        let last = list_bytes
            .as_deref()
            .and_then(|bytes| bytes.get(12..16)?.try_into().ok());
        let last = last.map_or(u32::MAX, u32::from_le_bytes);
        sources.extend(list);
        for name in self.names("blocks")? {
            let number = name
                .strip_suffix(".pack")
                .and_then(|number| number.parse::<u32>().ok());
            if number.is_some_and(|number| number <= last) {
                sources.push(self.source(&format!("blocks/{name}"))?);
            }
        }
        for file in SMALL_FILES {
            sources.extend(self.source_if_there(file)?);
        }
        Ok((sources, commits))
    }

    fn source(&self, path: &str) -> Result<Source, BackupError> {
        let full = self.dir.join(path);
        let metadata = fs::metadata(&full).map_err(during("look at", &full))?;
        Ok(Source {
            path: path.to_owned(),
            len: metadata.len(),
            stamp: Stamp::of(&metadata),
        })
    }

    fn source_if_there(&self, path: &str) -> Result<Option<Source>, BackupError> {
        if self.dir.join(path).exists() {
            self.source(path).map(Some)
        } else {
            Ok(None)
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, BackupError> {
        let full = self.dir.join(path);
        fs::read(&full).map_err(during("read", &full))
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, BackupError> {
        let full = self.dir.join(dir);
        let entries = if full.exists() {
            listing::sorted(&full).map_err(during("list", &full))?
        } else {
            Vec::new()
        };
        Ok(entries
            .iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }
}

/// A file to be taken, and how much of it.
struct Source {
    path: String,
    len: u64,
    stamp: Stamp,
}

/// A backup that is being made.
struct Making<'a> {
    site: &'a Path,
    before: Option<(&'a Path, &'a Manifest)>,
    to: &'a Path,
    shared: u64,
    new_bytes: u64,
}

impl Making<'_> {
    /// Takes a file: as a link to what the backup before has of it, if it has not changed since.
    fn take(&mut self, source: &Source) -> Result<Line, BackupError> {
        let to = self.to.join(&source.path);
        let same = self
            .before
            .and_then(|(path, manifest)| Some((path, manifest.line(&source.path)?)));
        let same = same.filter(|(_, line)| {
            line.len == source.len && line.stamp == source.stamp && line.stamp != Stamp::default()
        });
        // Where links are not to be had, it is copied.
        if let Some((path, line)) = same
            && fs::hard_link(path.join(&source.path), &to).is_ok()
        {
            self.shared += 1;
            return Ok(line.clone());
        }
        let digest = copy(&self.site.join(&source.path), &to, source.len)?;
        self.new_bytes += source.len;
        Ok(Line {
            path: source.path.clone(),
            len: source.len,
            digest,
            stamp: source.stamp,
        })
    }

    /// Reads everything back, and writes the manifest.
    fn finish(
        &mut self,
        mut manifest: Manifest,
        on_read: &mut dyn FnMut(u64),
    ) -> Result<Manifest, BackupError> {
        let to = self.to.join(RESTORED_FILE);
        write(&to, RESTORED_TEXT.as_bytes())?;
        let (len, digest) = (
            RESTORED_TEXT.len() as u64,
            Checksum::of(RESTORED_TEXT.as_bytes()),
        );
        manifest.files.push(Line {
            path: RESTORED_FILE.to_owned(),
            len,
            digest,
            stamp: Stamp::default(),
        });
        let mut read = 0;
        for line in &mut manifest.files {
            let path = self.to.join(&line.path);
            if verify(&path, line).is_err() && line.path != RESTORED_FILE {
                // A link to bytes that have gone bad since, perhaps: the site's own may be better.
                remove(&path)?;
                line.digest = copy(&self.site.join(&line.path), &path, line.len)?;
                self.new_bytes += line.len;
                verify(&path, line)?;
            }
            read += line.len;
            on_read(read);
        }
        let path = self.to.join(manifest::FILE);
        write(&path, manifest.encode().as_bytes())?;
        for dir in [
            self.to.join("log"),
            self.to.join("blocks"),
            self.to.to_owned(),
        ] {
            sync_dir(&dir)?;
        }
        Ok(manifest)
    }
}

/// Copies so many bytes of a file durably, readable by its owner alone; gives their digest.
pub(in crate::site) fn copy(from: &Path, to: &Path, len: u64) -> Result<Checksum, BackupError> {
    let mut source = File::open(from).map_err(during("open", from))?.take(len);
    let mut target = create(to)?;
    let (mut hasher, mut part, mut found) = (blake3::Hasher::new(), vec![0; PART_LEN], 0);
    loop {
        let count = source.read(&mut part).map_err(during("read", from))?;
        if count == 0 {
            break;
        }
        hasher.update(&part[..count]);
        target
            .write_all(&part[..count])
            .map_err(during("write", to))?;
        found += count as u64;
    }
    if found != len {
        return Err(BackupError::Short {
            path: from.to_owned(),
            expected: len,
            found,
        });
    }
    target.sync_all().map_err(during("sync", to))?;
    Ok(Checksum::from_bytes(*hasher.finalize().as_bytes()))
}

/// Reads a file from the disk, as far as the system lets us, and holds it against its line.
pub(in crate::site) fn verify(path: &Path, line: &Line) -> Result<(), BackupError> {
    let mut file = File::open(path).map_err(during("open", path))?;
    // What was just written would be read from memory. Where that is not to be had, it is.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let (mut hasher, mut part) = (blake3::Hasher::new(), vec![0; PART_LEN]);
    loop {
        match file.read(&mut part).map_err(during("read", path))? {
            0 => break,
            count => drop(hasher.update(&part[..count])),
        }
    }
    let (expected, found) = (
        line.digest,
        Checksum::from_bytes(*hasher.finalize().as_bytes()),
    );
    if found == expected {
        Ok(())
    } else {
        Err(BackupError::ReadBack {
            path: path.to_owned(),
            expected,
            found,
        })
    }
}

fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(during("create", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(during("write", path))
}

/// Makes a directory, and those above it, that only its owner may enter.
fn make_dir(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(during("make", dir))
}

pub(in crate::site) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(during("sync", dir))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(during("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Takes a directory of backups for the one that is being made.
fn take(dir: &Path) -> Result<FileLock, BackupError> {
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
pub(in crate::site) fn last_complete(
    dir: &Path,
) -> Result<Option<(PathBuf, Manifest)>, BackupError> {
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
