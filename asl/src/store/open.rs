//! Opening a store: its files, and what they amount to.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, RwLock};

use uor_index_format::membership::ConflictRule;

use super::attempt::Attempt;
use super::checkpoint::Checkpoint;
use super::error::StoreError;
use super::handle::Store;
use super::maintenance::state::{Maintenance, MaintenanceState};
use super::maintenance::wakeup::Wakeup;
use super::mend::Mender;
use super::opened::Opened;
use super::options::Options;
use super::reserve::{self, Reserve};
use super::view::View;
use super::{beside, recover};
use crate::blocks::Blocks;
use crate::disk::{Context as _, Disk, Mode};
use crate::group::GroupCommit;
use crate::index::Index;
use crate::log::Log;
use crate::state::State;

/// Held by the one writer.
pub(super) const LOCK_FILE: &str = "lock";

impl Store {
    /// Opens the store on `disk`: for reading beside any writer, or as its one writer.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::InUse`], or whatever is wrong with its files, by name.
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<Self, StoreError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the store on `disk` with these options. On a full disk a writer gives its reserve back
    /// first, if it must.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<Self, StoreError> {
        let open = || match mode {
            Mode::ReadOnly => beside::open(&disk, options),
            Mode::Write => Self::open_once(disk.clone(), mode, options, &Attempt::ALONE)
                .map(|opened| opened.unwrap_or_else(|| unreachable!("nobody else writes"))),
        };
        let mut opened = open();
        let mut released_len = 0;
        if mode == Mode::Write
            && opened
                .as_ref()
                .err()
                .is_some_and(StoreError::is_out_of_space)
        {
            released_len = reserve::release(&*disk);
            if released_len > 0 {
                opened = open();
            }
        }
        let mut store = opened?;
        if mode == Mode::Write {
            store.reserve = Reserve::keep(&*store.disk, options.reserve_bytes, released_len);
        }
        Ok(store)
    }

    /// Opens the store on `disk` as it is now; `None` if its index was changed while it was read.
    pub(super) fn open_once(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
        attempt: &Attempt,
    ) -> Result<Option<Self>, StoreError> {
        let federation = Self::identity(&disk)?;
        let lock = match mode {
            Mode::ReadOnly => None,
            Mode::Write => Some(
                disk.try_lock(LOCK_FILE)
                    .during("take the lock that is file", LOCK_FILE)?
                    .ok_or(StoreError::InUse)?,
            ),
        };
        // Before the log: what it names is in the log then, whatever a writer beside appends
        // meanwhile.
        let checkpoint = Checkpoint::load(disk.as_ref())?;
        let (blocks, blocks_recovery) = Blocks::open_with(disk.clone(), mode, options.blocks)?;
        let (log, log_recovery) = Log::open_with(disk.clone(), mode, options.log)?;
        let state = State::new(
            ConflictRule::default(),
            Index::new(options.shards.get(), options.seed),
            log.view(),
        );
        let (log, wakeup) = (Arc::new(log), Arc::<Wakeup>::default());
        let mut store = Self {
            federation,
            mode,
            options,
            disk,
            mender: Arc::new(Mender::new(Arc::clone(&log), Arc::clone(&wakeup))),
            log,
            blocks,
            group: GroupCommit::new(),
            validator: Mutex::new(None),
            view: RwLock::new(View::new(state)),
            maintenance: Maintenance::default(),
            run_numbers: AtomicU32::new(0),
            wakeup,
            has_maintenance_thread: AtomicBool::new(false),
            opened: Opened {
                log: log_recovery,
                blocks: blocks_recovery,
                ..Opened::default()
            },
            reserve: Reserve::default(),
            erasing: Mutex::default(),
            _lock: lock,
        };
        let mut maintenance = MaintenanceState::default();
        let opened = recover::open(&store, checkpoint, &mut maintenance, attempt)?;
        let Some((validator, view, found)) = opened else {
            return Ok(None);
        };
        if mode == Mode::Write {
            maintenance.sweep(store.disk.as_ref())?;
        }
        store.maintenance = Maintenance::of(maintenance);
        store.validator = Mutex::new(Some(validator));
        store.view = RwLock::new(view);
        (store.opened.index, store.opened.cut) = (found.rebuilt, found.cut);
        store.keep_erased()?;
        Ok(Some(store))
    }
}
