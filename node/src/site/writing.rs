//! What every writer goes through first: the locks, and opening log and packs again after a failed
//! write, in a process that goes on.

use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

use uor_asl::disk::Mode;
use uor_asl::store::StoreError;

use super::handle::Site;
use crate::site::directory::files::FileError;

impl Site {
    /// Taken before a small file is read in order to be replaced.
    pub(super) fn files_for_writing(&self) -> Result<MutexGuard<'_, ()>, FileError> {
        match self.mode {
            Mode::ReadOnly => Err(FileError::ReadOnly),
            Mode::Write => Ok(self.locks.small_files()),
        }
    }

    /// To be held from putting the first payload of something until what names it is committed.
    pub(super) fn putting(&self) -> RwLockReadGuard<'_, ()> {
        // If a write has failed and still does, what is put fails, and says so.
        drop(self.reopen());
        self.locks.putting()
    }

    /// To be held while payloads are freed, or what names them is removed; nothing if something is
    /// being added or run. Whoever has it opens log and packs again by [`Site::reopen_alone`].
    pub(super) fn freeing(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.locks.freeing()
    }

    /// Opens log and packs again if a write has failed; says whether that was so and was done.
    /// While something is being added or run it is not done: what was put for it and is not durable
    /// might be gone.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is taken in then, as before.
    pub fn reopen(&self) -> Result<bool, StoreError> {
        if self.mode == Mode::ReadOnly || !self.store.is_poisoned() {
            return Ok(false);
        }
        match self.freeing() {
            None => Ok(false),
            Some(_alone) => self.reopen_alone(),
        }
    }

    /// As [`Site::reopen`], for one beside whom nothing is being added or run.
    pub(super) fn reopen_alone(&self) -> Result<bool, StoreError> {
        if self.store.is_poisoned() {
            self.store.reopen()
        } else {
            Ok(false)
        }
    }
}
