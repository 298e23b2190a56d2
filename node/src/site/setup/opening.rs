//! Opening a data directory: its small files, its store, and whether it is all there.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{self, MaintenanceThread, Store, StoreError};
use uor_index_format::key::SiteKey;

use super::lifecycle::{OpenError, disk_in};
use crate::cancel::Cancel;
use crate::site::directory::files::{self, SITE_FILE};
use crate::site::directory::private;
use crate::site::handle::Site;
use crate::site::integrity::standing::{self, Loss, Standing, Witnessed, Witnessing};
use crate::site::integrity::witness::Witness;

/// What is kept of the disk so that things can be removed when it is full. Little beside a pack,
/// much beside what removing writes.
const RESERVE_BYTES: u64 = 8 << 20;

/// A data directory whose small files have been read.
pub(in crate::site) struct Opening<'a> {
    dir: &'a Path,
    disk: Arc<dyn Disk>,
    name: String,
    key: SiteKey,
    witnessed: Witnessed,
    /// Whether other users could look into the directory until now.
    was_open_to_others: bool,
}

impl<'a> Opening<'a> {
    pub(in crate::site) fn begin(dir: &'a Path) -> Result<Self, OpenError> {
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
            was_open_to_others: false,
        })
    }

    pub(in crate::site) fn open(mut self, mode: Mode) -> Result<Site, OpenError> {
        self.was_open_to_others = mode == Mode::Write && private::tighten(self.dir);
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
        let mut site = self.site(store, mode)?;
        site.cut = cut;
        Ok(site)
    }

    /// Opens it whatever was lost. Damaged segments of the log are written anew, and with
    /// `gives_up` without what follows own commits that are lost.
    pub(in crate::site) fn open_to_recover(self, gives_up: bool) -> Result<Site, OpenError> {
        let mut salvaged = Store::salvage(&self.disk).map_err(|source| self.failed(source))?;
        if gives_up {
            let dropped = Store::drop_uncounted(&self.disk, &self.key.site_id());
            salvaged.extend(dropped.map_err(|source| self.failed(source))?);
        }
        let loss = self.loss(&self.store(Mode::ReadOnly, false)?)?;
        let store = self.store(Mode::Write, loss.is_some())?;
        let mut site = self.site(store, Mode::Write)?;
        (site.loss, site.salvaged) = (loss, salvaged);
        Ok(site)
    }

    fn store(&self, mode: Mode, anew: bool) -> Result<Store, OpenError> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(OpenError::Randomness)?;
        let seed = u64::from_le_bytes(seed);
        let options = store::Options {
            seed,
            anew,
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

    fn refuse_loss(&self, store: &Store) -> Result<(), OpenError> {
        let lost = |loss| {
            Err(OpenError::Lost {
                dir: self.dir.to_owned(),
                loss,
            })
        };
        self.loss(store)?.map_or(Ok(()), lost)
    }

    fn site(self, store: Store, mode: Mode) -> Result<Site, OpenError> {
        let loss = self.loss(&store)?;
        let Self {
            dir,
            disk,
            name,
            key,
            witnessed,
            was_open_to_others,
        } = self;
        let failed = |source| OpenError::File {
            dir: dir.to_owned(),
            source,
        };
        let me = key.site_id();
        let is_alone = store.view().members().iter().all(|member| *member == me) && loss.is_none();
        let held = standing::hold_of(dir, disk.as_ref(), &witnessed).map_err(failed)?;
        let hold = held.filter(|_| !is_alone);
        let is_kept = mode == Mode::Write;
        // While something is lost, the witness goes on saying what there was.
        let witness = (is_kept && loss.is_none())
            .then(|| Witness::open(dir, disk.as_ref(), &store, me, hold.is_none()));
        let witness = match witness.transpose() {
            // It lags until there is room: no reason not to make some.
            Err(error) if error.is_out_of_space() => None,
            witness => witness.map_err(|error| failed(error.into()))?,
        };
        if is_kept && is_alone && loss.is_none() {
            standing::unmark_restored(disk.as_ref()).map_err(failed)?;
        }
        let store = Arc::new(store);
        let witness = Arc::new(Witnessing::new(
            witness,
            Arc::clone(&disk),
            Arc::clone(&store),
        ));
        let maintenance = is_kept
            .then(|| MaintenanceThread::start(Arc::clone(&store)))
            .transpose();
        let maintenance = maintenance
            .map_err(|source| OpenError::Thread {
                dir: dir.to_owned(),
                source,
            })?
            .map(Arc::new);
        let site = Site {
            dir: dir.to_owned(),
            disk,
            mode,
            name,
            key,
            store,
            _maintenance: maintenance,
            files: Arc::default(),
            putting: Arc::default(),
            was_open_to_others,
            cancel: Cancel::default(),
            witness,
            loss,
            cut: None,
            salvaged: Vec::new(),
            is_lone_copy: held.is_some() && is_alone,
            standing: Arc::new(Mutex::new(hold.map_or(Standing::Free, Standing::Held))),
            asked: Arc::new(Condvar::new()),
        };
        Ok(site)
    }
}
