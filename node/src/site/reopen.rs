//! After a failed write, in a process that goes on: log and packs are opened again.

use std::sync::TryLockError;

use uor_asl::disk::Mode;
use uor_asl::store::StoreError;

use super::Site;

impl Site {
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
