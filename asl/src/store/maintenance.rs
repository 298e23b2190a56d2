//! Background maintenance: the index is written as it grows, and its runs are merged. Readers and
//! writers go on meanwhile.
//!
//! A *seal* takes what is in the index's memtable, writes it as a run of files, and then a
//! checkpoint that names them. A *merge* rewrites several runs as one, from the part of the log
//! that they cover: a sequential read. In both, files are durable before the checkpoint that names
//! them, and what it no longer names is removed after it; so a crash at any point leaves a
//! checkpoint whose files are there, or none.
//!
//! What maintenance knows is owned by whoever is at it: [`Maintenance`](state::Maintenance) lends
//! it to one at a time, for a whole piece, and nobody who holds the validator or the view can ask
//! for it. So there is one order of locks: maintenance, validator, view. A writer that rebuilds
//! everything from the log meanwhile leaves word in the view, by its generation; what was captured
//! of another generation is of no use, and its capture says so itself.
//!
//! To be read in this order: `beginning`, `capture`, `state` (what is remembered), this file (what
//! is due), `runs` (the files), `source`, `seal`, `merge`, `wakeup`, `thread` (who does it).

pub(super) mod beginning;
mod capture;
mod merge;
pub(crate) mod runs;
mod seal;
mod source;
pub(super) mod state;
pub(super) mod thread;
pub(super) mod wakeup;

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use self::beginning::Beginning;
use self::runs::{give_up, remove_files};
use self::state::MaintenanceState;
use super::error::StoreError;
use super::handle::Store;
use crate::disk::{self, Mode};
use crate::index::{merge_all, merge_due};

/// Most commits after a checkpoint, which are read again when a store is opened: each has a
/// signature to be checked.
const COMMITS_UNSEALED_MAX: u64 = 1024;

/// A memtable is due when its records lie in this share, in percent, of the log that one run can
/// name places of: few records can be long.
const SHARE_DUE: usize = 25;

impl Store {
    /// Does the next piece of maintenance, if one is due, and says whether it was. Readers and
    /// writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses: nothing is lost, and it is tried again next time.
    pub fn maintain(&self) -> Result<bool, StoreError> {
        self.with_maintenance(|store, maintenance| {
            store.view().state().fold();
            if store.mend(maintenance)? {
                return Ok(true);
            }
            if store.is_seal_due() || !maintenance.are_runs_named() {
                return store.seal(maintenance);
            }
            let due = merge_due(&maintenance.sizes(&store.view()));
            due.map_or(Ok(false), |runs| {
                store.merge_runs(maintenance, runs).map(|()| true)
            })
        })
    }

    /// Writes the index for everything that is here, so that opening the store reads no log.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn seal_index(&self) -> Result<(), StoreError> {
        self.with_maintenance(|store, maintenance| {
            store.mend(maintenance)?;
            store.seal(maintenance)
        })
        .map(drop)
    }

    /// Writes the index for everything that is here, in as few runs as can be.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.seal_index()?;
        self.with_maintenance(|store, maintenance| {
            store.view().state().fold();
            loop {
                let runs = merge_all(&maintenance.sizes(&store.view()));
                let Some(runs) = runs else { return Ok(true) };
                store.merge_runs(maintenance, runs)?;
                store.take_up_generation(maintenance)?;
            }
        })?;
        Ok(())
    }

    /// Sees to it that what is due is done: now, or by the maintenance thread while it keeps up.
    /// What fails takes nothing back and is tried again with the next commit.
    pub(super) fn maintain_if_due(&self) {
        if !self.is_seal_due() {
            return;
        }
        self.files.wakeup.notify();
        let has_room = self.has_room();
        if self.has_maintenance_thread.load(Ordering::SeqCst) && has_room {
            return;
        }
        while self.maintain().unwrap_or(false) {}
    }

    fn is_seal_due(&self) -> bool {
        let view = self.view();
        let (index, commits) = (view.state().index(), view.state().commits());
        self.files.mode == Mode::Write
            && (index.memtable_len() >= self.files.options.memtable_records_max
                || commits.unstored_len() >= COMMITS_UNSEALED_MAX
                || view.memtable_share() >= SHARE_DUE)
    }

    /// Whether the memtable may grow while the maintenance thread is at work.
    fn has_room(&self) -> bool {
        let view = self.view();
        let records_max = self.files.options.memtable_records_max.saturating_mul(2);
        view.state().index().memtable_len() < records_max && view.memtable_share() < 2 * SHARE_DUE
    }

    /// Runs one piece of maintenance at a time.
    fn with_maintenance(
        &self,
        action: impl FnOnce(&Self, &mut MaintenanceState) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        if self.files.mode == Mode::ReadOnly {
            return Ok(false);
        }
        // A panic in between has left nothing half-done: what was begun is still there, and what is
        // on disk is whole.
        let mut maintenance = self
            .maintenance
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.take_up_generation(&mut maintenance)?;
        action(self, &mut maintenance)
    }

    /// If everything has been rebuilt from the log, forgets what was known before, here and on
    /// disk.
    fn take_up_generation(&self, maintenance: &mut MaintenanceState) -> Result<(), StoreError> {
        let Beginning { generation, runs } = self.view().beginning.clone();
        if generation != maintenance.generation {
            give_up(self.files.disk.as_ref())?;
            remove_files(self.files.disk.as_ref(), &maintenance.runs)?;
            *maintenance = MaintenanceState {
                runs,
                generation,
                ..MaintenanceState::default()
            };
        }
        Ok(())
    }

    /// Puts what was found in the log in the place of what was damaged of the index; says whether
    /// there was any. If something could not be found, everything is rebuilt from the log.
    fn mend(&self, maintenance: &mut MaintenanceState) -> Result<bool, StoreError> {
        if self.files.mender.take_beyond_mending() {
            let mut validator = self.validator();
            self.rebuild_from_log(validator.as_mut().ok_or(StoreError::Poisoned)?)?;
            drop(validator);
            self.take_up_generation(maintenance)?;
            return Ok(true);
        }
        let (runs, tables) = {
            let view = self.view();
            (
                view.state().index().runs().to_vec(),
                view.state().commits().rebuilt(),
            )
        };
        let mut any = !tables.is_empty();
        for table in tables {
            disk::replace(self.files.disk.as_ref(), &table.path, &table.bytes)?;
            table.stored();
        }
        for run in runs {
            any |= run.store_rebuilt(|path, bytes| {
                disk::replace(self.files.disk.as_ref(), path, bytes)
            })?;
        }
        Ok(any)
    }
}
