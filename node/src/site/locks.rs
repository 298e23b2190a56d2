//! What is done one at a time in a site: replacing a small file, and freeing what nothing shows,
//! which nobody puts anything beside.
//!
//! After a failed write log and packs are opened again, in a process that goes on.

use std::sync::{MutexGuard, PoisonError, RwLockReadGuard, TryLockError};

use uor_asl::disk::Mode;
use uor_asl::store::StoreError;

use super::handle::Site;
use crate::site::directory::files::FileError;

impl Site {
    /// Taken before a small file is read in order to be replaced.
    pub(super) fn files_for_writing(&self) -> Result<MutexGuard<'_, ()>, FileError> {
        match self.mode {
            Mode::ReadOnly => Err(FileError::ReadOnly),
            Mode::Write => Ok(self.files.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// To be held from putting the first payload of something until what names it is committed.
    pub(super) fn putting(&self) -> RwLockReadGuard<'_, ()> {
        // If a write has failed and still does, what is put fails, and says so.
        drop(self.reopen());
        self.putting.read().unwrap_or_else(PoisonError::into_inner)
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
        match self.putting.try_write() {
            Err(TryLockError::WouldBlock) => Ok(false),
            Ok(_) | Err(TryLockError::Poisoned(_)) => self.reopen_alone(),
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
