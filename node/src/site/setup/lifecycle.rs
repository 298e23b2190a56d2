//! How a site comes to be, how it changes its federation, and how it is opened.
//!
//! `site.toml` is written last: a directory without it is no site. Making a site either succeeds or
//! leaves the directory as it was. Joining puts the store of a site that had been a federation of
//! one into `aside`, from where it comes back if nobody admits the site.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use uor_asl::disk::real::{DIR_MODE, RealDisk};
use uor_asl::disk::{Disk, DiskError, LockGuard, Mode};
use uor_asl::store::{CommitError, RESERVE_FILE, Store, StoreError};
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis, SITE_NAME_LEN_MAX};
use uor_index_format::record::Record;
use uor_index_format::ticket::Ticket;

use super::opening::Opening;
use crate::site::directory::files;
use crate::site::directory::files::{
    ADDRESSES_FILE, FileError, INVITES_FILE, KEPT_FILE, KEY_FILE, LOST_FILE, PEERS_FILE,
    RESTORED_FILE, SITE_FILE, TABLE_FILE, WITNESS_FILE,
};
use crate::site::directory::listing;
use crate::site::handle::Site;
use crate::site::integrity::loss::Loss;
use crate::site::json;

/// How far a commit's logseq may lie above everything its receiver has seen, in a federation
/// founded here.
const LOGSEQ_JUMP_MAX: u64 = 1 << 20;

const LOCK_FILE: &str = "lock";
const ASIDE_DIR: &str = "aside";
/// What belongs to one federation; `store` first, so that a half-moved store is no store.
const STORE_PARTS: [&str; 3] = ["store", "log", "blocks"];
/// What else belongs to one federation and is of no use in another.
const FEDERATION_FILES: [&str; 8] = [
    INVITES_FILE,
    KEPT_FILE,
    PEERS_FILE,
    ADDRESSES_FILE,
    WITNESS_FILE,
    RESTORED_FILE,
    LOST_FILE,
    TABLE_FILE,
];

/// A site that was just made, or is to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialised {
    /// The site.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// Its federation.
    #[serde(serialize_with = "json::text")]
    pub federation_id: FederationId,
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
}

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

impl Site {
    /// Makes the data directory, a key and a federation of one. `name` defaults to the host's name.
    ///
    /// # Errors
    /// [`InitError`]; the directory is as it was then.
    pub fn init(
        dir: &Path,
        name: Option<&str>,
        conflict_rule: ConflictRule,
    ) -> Result<Initialised, InitError> {
        let name = site_name(name)?;
        let key = SiteKey::from_seed(&random()?);
        let genesis = Genesis {
            founder: key.site_id(),
            name: name.clone(),
            nonce: random()?,
            conflict_rule,
            logseq_jump_max: LOGSEQ_JUMP_MAX,
        };
        let fresh = Fresh::begin(dir)?;
        let disk = disk_in(dir);
        files::write_key(dir, &key)?;
        Store::create(&disk, genesis.federation_id())?;
        let federation_id = genesis.federation_id();
        Store::open(disk.clone(), Mode::Write)?
            .commit(
                &key,
                vec![Record::genesis(genesis)],
                crate::clock::wall_ms(),
            )
            .map_err(InitError::Found)?;
        files::write_name(disk.as_ref(), &name)?;
        fresh.keep()?;
        Ok(Initialised {
            site_id: key.site_id(),
            federation_id,
            name,
            data: dir.to_owned(),
        })
    }

    /// Makes a site that is to join the ticket's federation: a key and an empty store. The
    /// admission comes over the network; then call [`Site::join_completed`], or
    /// [`join_abandoned`](Site::join_abandoned) if it is refused.
    ///
    /// A directory that holds a federation of one with nothing in it, or a site that was never
    /// admitted, will do: its key stays.
    ///
    /// # Errors
    /// [`InitError`]; the directory is as it was then.
    pub fn init_joining(
        dir: &Path,
        name: Option<&str>,
        ticket: &Ticket,
    ) -> Result<Initialised, InitError> {
        let disk = disk_in(dir);
        if files::exists(disk.as_ref(), SITE_FILE)? {
            return rejoin(dir, &disk, name, ticket.federation);
        }
        let name = site_name(name)?;
        let key = SiteKey::from_seed(&random()?);
        let fresh = Fresh::begin(dir)?;
        files::write_key(dir, &key)?;
        Store::create(&disk, ticket.federation)?;
        files::write_name(disk.as_ref(), &name)?;
        fresh.keep()?;
        Ok(Initialised {
            site_id: key.site_id(),
            federation_id: ticket.federation,
            name,
            data: dir.to_owned(),
        })
    }

    /// Forgets the federation of one that this site was before it joined.
    ///
    /// # Errors
    /// [`InitError::Directory`].
    pub fn join_completed(&self) -> Result<(), InitError> {
        remove_all(&self.dir.join(ASIDE_DIR))
    }

    /// Takes [`Site::init_joining`] back, if nothing has arrived since: the site is again what it
    /// was before, or no site.
    ///
    /// # Errors
    /// [`InitError::HasHistory`] if something has arrived; [`InitError`].
    pub fn join_abandoned(dir: &Path) -> Result<(), InitError> {
        let disk = disk_in(dir);
        let commits = Self::open(dir, Mode::Write)?.commits_len();
        if commits > 0 {
            return Err(InitError::HasHistory {
                dir: dir.to_owned(),
                commits,
            });
        }
        let lock = take_lock(dir, &disk)?;
        let aside = dir.join(ASIDE_DIR);
        if !files::exists(disk.as_ref(), ASIDE_DIR)? {
            drop(lock);
            clear(dir);
            // Left in place if it holds what is not ours, or was there before and is a mount point.
            let _ = fs::remove_dir(dir);
            return Ok(());
        }
        STORE_PARTS
            .iter()
            .try_for_each(|part| remove_all(&dir.join(part)))?;
        STORE_PARTS
            .iter()
            .rev()
            .try_for_each(|part| move_if_there(&aside.join(part), &dir.join(part)))?;
        remove_all(&aside)
    }

    /// Opens a data directory: for reading beside any writer, or as its one writer. A site that has
    /// lost what it had acknowledged is opened to be read only, until [`Site::open_to_recover`] has
    /// brought it back or given it up.
    ///
    /// # Errors
    /// [`OpenError`], naming the directory.
    pub fn open(dir: &Path, mode: Mode) -> Result<Self, OpenError> {
        Opening::begin(dir)?.open(mode)
    }

    /// Opens the data directory of a site that has lost something, or has to ask before it writes,
    /// as its one writer. It is not to write before [`Site::recovered`]. Segments of the log that
    /// lost bytes are written anew, out of what is left.
    ///
    /// # Errors
    /// [`OpenError`], naming the directory.
    pub fn open_to_recover(dir: &Path) -> Result<Self, OpenError> {
        Opening::begin(dir)?.open_to_recover(false)
    }

    /// As [`Site::open_to_recover`], giving up the own commits that are lost: those that follow
    /// them are taken out of the log, since they count for nobody. Nobody else may have any of
    /// them: their numbers are used again.
    ///
    /// # Errors
    /// [`OpenError`], naming the directory.
    pub fn open_giving_up(dir: &Path) -> Result<Self, OpenError> {
        Opening::begin(dir)?.open_to_recover(true)
    }

    /// Whose data directory this is, for whoever reads the store in it and not the site.
    ///
    /// # Errors
    /// [`FileError`] if its key cannot be read.
    pub fn owner(dir: &Path) -> Result<SiteId, FileError> {
        Ok(files::read_key(disk_in(dir).as_ref())?.site_id())
    }

    /// Whether other users could look into the data directory until it was opened now, as earlier
    /// releases had made it.
    pub fn was_open_to_others(&self) -> bool {
        self.found.was_open_to_others
    }

    /// Refuses a data directory of a newer format, for whoever reads the store in it and not the
    /// site.
    ///
    /// # Errors
    /// [`FileError::Newer`] alone: what else may be wrong with the small files is not the store's.
    pub fn refuse_newer(dir: &Path) -> Result<(), FileError> {
        match files::read_name(disk_in(dir).as_ref()) {
            Err(error @ FileError::Newer { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn commits_len(&self) -> u64 {
        let view = self.store.view();
        view.commits_len() + view.uncounted()
    }
}

/// Gives a site that is there the empty store of another federation.
fn rejoin(
    dir: &Path,
    disk: &Arc<dyn Disk>,
    name: Option<&str>,
    federation: FederationId,
) -> Result<Initialised, InitError> {
    let site_id = files::read_key(disk.as_ref())?.site_id();
    let name = name.map_or_else(
        || Ok(files::read_name(disk.as_ref())?),
        |name| site_name(Some(name)),
    )?;
    let in_place = files::exists(disk.as_ref(), STORE_PARTS[0])?;
    if in_place && !must_be_replaced(dir, federation)? {
        files::write_name(disk.as_ref(), &name)?;
        return Ok(Initialised {
            site_id,
            federation_id: federation,
            name,
            data: dir.to_owned(),
        });
    }
    let _lock = take_lock(dir, disk)?;
    let aside = dir.join(ASIDE_DIR);
    // What is aside already comes from an earlier attempt and is the site's own; what is here now
    // is that attempt's.
    if files::exists(disk.as_ref(), ASIDE_DIR)? {
        STORE_PARTS
            .iter()
            .try_for_each(|part| remove_all(&dir.join(part)))?;
    } else {
        DirBuilder::new()
            .mode(DIR_MODE)
            .create(&aside)
            .map_err(during("make", &aside))?;
        STORE_PARTS
            .iter()
            .try_for_each(|part| move_if_there(&dir.join(part), &aside.join(part)))?;
    }
    FEDERATION_FILES
        .iter()
        .try_for_each(|file| remove_all(&dir.join(file)))?;
    Store::create(disk, federation)?;
    files::write_name(disk.as_ref(), &name)?;
    Ok(Initialised {
        site_id,
        federation_id: federation,
        name,
        data: dir.to_owned(),
    })
}

/// Whether the store in place belongs to another federation; refuses if anything would be lost.
fn must_be_replaced(dir: &Path, federation: FederationId) -> Result<bool, InitError> {
    let site = Site::open(dir, Mode::Write).map_err(|error| match error {
        OpenError::InUse { dir } => InitError::InUse { dir },
        error => error.into(),
    })?;
    let commits = site.commits_len();
    if site.federation() == federation {
        return if commits == 0 {
            Ok(false)
        } else {
            Err(InitError::AlreadyMember {
                dir: dir.to_owned(),
            })
        };
    }
    let only_founded = commits == 1
        && site
            .store()
            .view()
            .genesis()
            .is_some_and(|it| it.founder == site.site_id());
    if commits > 0 && !(only_founded && site.store().view().state().entries_len() == 1) {
        return Err(InitError::HasHistory {
            dir: dir.to_owned(),
            commits,
        });
    }
    Ok(true)
}

fn take_lock(dir: &Path, disk: &Arc<dyn Disk>) -> Result<LockGuard, InitError> {
    let failed = |source| DiskError {
        action: "take the lock that is file",
        path: LOCK_FILE.to_owned(),
        source,
    };
    let lock = disk
        .try_lock(LOCK_FILE)
        .map_err(failed)
        .map_err(FileError::from)?;
    lock.ok_or_else(|| InitError::InUse {
        dir: dir.to_owned(),
    })
}

pub(in crate::site) fn disk_in(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(dir))
}

fn random<const N: usize>() -> Result<[u8; N], InitError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(InitError::Randomness)?;
    Ok(bytes)
}

/// The name that was given, or the host's as far as it can be one.
fn site_name(given: Option<&str>) -> Result<String, InitError> {
    let strange = |character: char| character.is_control() || matches!(character, '"' | '\\');
    if let Some(name) = given {
        let fits =
            (1..=SITE_NAME_LEN_MAX as usize).contains(&name.len()) && !name.chars().any(strange);
        return if fits {
            Ok(name.to_owned())
        } else {
            Err(InitError::Name {
                name: name.to_owned(),
            })
        };
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"));
    let host = host.unwrap_or_default();
    let host = host.trim();
    let fits = (1..=SITE_NAME_LEN_MAX as usize).contains(&host.len()) && !host.chars().any(strange);
    Ok(if fits {
        host.to_owned()
    } else {
        "site".to_owned()
    })
}

/// A directory that is empty again unless what was begun in it is kept.
pub(in crate::site) struct Fresh<'a> {
    dir: &'a Path,
    /// The uppermost directory that did not exist before.
    made: Option<PathBuf>,
    keep: bool,
}

impl<'a> Fresh<'a> {
    pub(in crate::site) fn begin(dir: &'a Path) -> Result<Self, InitError> {
        match listing::sorted(dir) {
            Ok(entries) if entries.is_empty() => Ok(Self {
                dir,
                made: None,
                keep: false,
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

/// Removes everything that makes a directory a site, `site.toml` first, as far as possible.
fn clear(dir: &Path) {
    let files = [SITE_FILE, KEY_FILE, LOCK_FILE, ASIDE_DIR, RESERVE_FILE];
    let files = files.into_iter().chain(STORE_PARTS).chain(FEDERATION_FILES);
    for file in files {
        let _ = remove_all(&dir.join(file));
    }
}

fn remove_all(path: &Path) -> Result<(), InitError> {
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

fn move_if_there(from: &Path, to: &Path) -> Result<(), InitError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(during("move", from)(error)),
        _ => Ok(()),
    }
}

fn during(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InitError {
    move |source| InitError::Directory {
        action,
        path: path.to_owned(),
        source,
    }
}
