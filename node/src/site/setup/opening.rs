//! Opening a data directory: its small files, its store, and whether it is all there.

use std::path::Path;
use std::sync::Arc;

use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{self, MaintenanceThread, Store, StoreError};
use uor_index_format::id::SiteId;
use uor_index_format::key::SiteKey;

use super::error::OpenError;
use super::parts::disk_in;
use crate::cancel::Cancel;
use crate::site::directory::files::{self, FileError, MANIFEST_FILE, SITE_FILE};
use crate::site::directory::private;
use crate::site::handle::Site;
use crate::site::integrity::found::Found;
use crate::site::integrity::hold::{hold_of, unmark_restored};
use crate::site::integrity::loss::{Loss, Witnessed};
use crate::site::integrity::permission::Permission;
use crate::site::integrity::witness::{SharedWitness, Witness};

/// What is kept of the disk so that things can be removed when it is full. Little beside a pack,
/// much beside what removing writes.
const RESERVE_BYTES: u64 = 8 << 20;

impl Site {
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
    /// lost bytes are rewritten, out of what is left.
    ///
    /// # Errors
    /// [`OpenError`], naming the directory.
    pub fn open_to_recover(dir: &Path) -> Result<Self, OpenError> {
        Opening::begin(dir)?.open_to_recover(false)
    }

    /// As [`Site::open_to_recover`], giving up the own commits that are lost: those that follow
    /// them are taken out of the log, since nobody accepts them. Nobody else may have any of
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
}

/// A data directory whose small files have been read.
struct Opening<'a> {
    dir: &'a Path,
    disk: Arc<dyn Disk>,
    name: String,
    key: SiteKey,
    witnessed: Witnessed,
}

impl<'a> Opening<'a> {
    fn begin(dir: &'a Path) -> Result<Self, OpenError> {
        let disk = disk_in(dir);
        let failed = |source| OpenError::File {
            dir: dir.to_owned(),
            source,
        };
        if !files::exists(disk.as_ref(), SITE_FILE).map_err(failed)? {
            return Err(OpenError::Absent {
                dir: dir.to_owned(),
            });
        }
        let name = files::read_name(disk.as_ref()).map_err(failed)?;
        let key = files::read_key(disk.as_ref()).map_err(failed)?;
        let witnessed = Witnessed::read(disk.as_ref()).map_err(failed)?;
        Ok(Self {
            dir,
            disk,
            name,
            key,
            witnessed,
        })
    }

    fn open(self, mode: Mode) -> Result<Site, OpenError> {
        if mode == Mode::Write {
            self.refuse_backup()?;
        }
        let was_open_to_others = mode == Mode::Write && private::tighten(self.dir);
        let (store, cut) = match self.store(mode, false) {
            // What others wrote comes again by itself; what this site wrote must not be forgotten.
            Err(OpenError::Store {
                source: StoreError::LogCut { .. },
                ..
            }) if mode == Mode::Write => {
                let read = self.store(Mode::ReadOnly, false)?;
                self.refuse_loss(&read)?;
                (self.store(mode, true)?, read.opened().cut.clone())
            }
            store => (store?, None),
        };
        if mode == Mode::Write {
            self.refuse_loss(&store)?;
        }
        let loss = self.loss(&store)?;
        let found = Found {
            was_open_to_others,
            loss,
            cut,
            salvaged: Vec::new(),
        };
        self.site(store, mode, loss, found)
    }

    /// Opens it whatever was lost. Damaged segments of the log are rewritten, and with
    /// `gives_up` without what follows own commits that are lost.
    fn open_to_recover(self, gives_up: bool) -> Result<Site, OpenError> {
        self.refuse_backup()?;
        let mut salvaged = Store::salvage(&self.disk).map_err(|source| self.failed(source))?;
        if gives_up {
            let dropped = Store::drop_unaccepted(&self.disk, &self.key.site_id());
            salvaged.extend(dropped.map_err(|source| self.failed(source))?);
        }
        let loss = self.loss(&self.store(Mode::ReadOnly, false)?)?;
        let store = self.store(Mode::Write, loss.is_some())?;
        let loss_now = self.loss(&store)?;
        let found = Found {
            was_open_to_others: false,
            loss,
            cut: None,
            salvaged,
        };
        self.site(store, Mode::Write, loss_now, found)
    }

    fn store(&self, mode: Mode, rebuild_index: bool) -> Result<Store, OpenError> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(OpenError::Randomness)?;
        let seed = u64::from_le_bytes(seed);
        let options = store::Options {
            seed,
            rebuild_index,
            are_packs_cut: self.are_packs_cut(),
            reserve_bytes: RESERVE_BYTES,
            ..store::Options::default()
        };
        Store::open_with(self.disk.clone(), mode, options).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: StoreError) -> OpenError {
        let dir = self.dir.to_owned();
        match source {
            StoreError::InUse => OpenError::InUse { dir },
            source => OpenError::Store { dir, source },
        }
    }

    /// Whether the packs end earlier than they did. A store that says of no federation is not
    /// opened.
    fn are_packs_cut(&self) -> bool {
        Store::identity(&self.disk).is_ok_and(|federation| self.witnessed.are_packs_cut(federation))
    }

    fn loss(&self, store: &Store) -> Result<Option<Loss>, OpenError> {
        self.witnessed
            .loss(store)
            .map_err(|source| self.failed(source))
    }

    /// Refuses to write in a backup, before anything is: it could not be restored any more.
    fn refuse_backup(&self) -> Result<(), OpenError> {
        let is_backup = files::exists(self.disk.as_ref(), MANIFEST_FILE);
        if is_backup.map_err(|source| self.unread(source))? {
            Err(OpenError::Backup {
                dir: self.dir.to_owned(),
            })
        } else {
            Ok(())
        }
    }

    fn refuse_loss(&self, store: &Store) -> Result<(), OpenError> {
        let lost = |loss| {
            Err(OpenError::Lost {
                dir: self.dir.to_owned(),
                loss,
            })
        };
        self.loss(store)?.map_or(Ok(()), lost)
    }

    /// The site in the store, which has lost `loss_now`.
    fn site(
        self,
        store: Store,
        mode: Mode,
        loss_now: Option<Loss>,
        found: Found,
    ) -> Result<Site, OpenError> {
        let has_lost_nothing = loss_now.is_none();
        let is_alone = has_lost_nothing && self.is_only_member(&store);
        let reason = hold_of(self.dir, self.disk.as_ref(), &self.witnessed)
            .map_err(|source| self.unread(source))?;
        let permission = Permission::new(reason, is_alone);
        // While something is lost, the witness goes on saying what there was.
        let witness = if mode == Mode::Write && has_lost_nothing {
            self.witness(&store, permission.hold().is_none())?
        } else {
            None
        };
        if mode == Mode::Write && is_alone {
            unmark_restored(self.disk.as_ref()).map_err(|source| self.unread(source))?;
        }
        let store = Arc::new(store);
        let witness = SharedWitness::new(witness, Arc::clone(&self.disk), Arc::clone(&store));
        let maintenance = (mode == Mode::Write)
            .then(|| self.maintenance(&store))
            .transpose()?;
        Ok(Site {
            dir: self.dir.to_owned(),
            disk: self.disk,
            mode,
            name: self.name,
            key: self.key,
            store,
            _maintenance: maintenance.map(Arc::new),
            locks: Arc::default(),
            cancel: Cancel::default(),
            witness: Arc::new(witness),
            permission: Arc::new(permission),
            found: Arc::new(found),
        })
    }

    fn is_only_member(&self, store: &Store) -> bool {
        let me = self.key.site_id();
        store.view().members().iter().all(|member| *member == me)
    }

    /// Takes up the witness, unless there is no room for it: then it lags until there is, which is
    /// no reason not to make some.
    fn witness(&self, store: &Store, here_now: bool) -> Result<Option<Witness>, OpenError> {
        let disk = self.disk.as_ref();
        match Witness::open(self.dir, disk, store, self.key.site_id(), here_now) {
            Err(error) if error.is_out_of_space() => Ok(None),
            Err(error) => Err(self.unread(error.into())),
            Ok(witness) => Ok(Some(witness)),
        }
    }

    fn maintenance(&self, store: &Arc<Store>) -> Result<MaintenanceThread, OpenError> {
        MaintenanceThread::start(Arc::clone(store)).map_err(|source| OpenError::Thread {
            dir: self.dir.to_owned(),
            source,
        })
    }

    fn unread(&self, source: FileError) -> OpenError {
        OpenError::File {
            dir: self.dir.to_owned(),
            source,
        }
    }
}
