//! Opening the store's writer again in the same process, after a write has failed: a full disk,
//! mostly, on which there has to be a way out.

use super::error::StoreError;
use super::handle::Store;
use crate::validator::CommitValidator;

impl Store {
    /// Whether a write has failed, so that nothing is taken in until the store is opened again.
    pub fn is_poisoned(&self) -> bool {
        self.files.blocks.is_poisoned()
            || self.files.log.is_poisoned()
            || self.validator().is_none()
    }

    /// Opens packs and log again, if a write has failed, and rebuilds everything from the log where
    /// that was not finished. Says whether that was so. Readers go on meanwhile. What was put and
    /// not yet named in a commit may be gone; the caller sees to it that nobody is about to name
    /// such.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is taken in then, as before.
    pub fn reopen(&self) -> Result<bool, StoreError> {
        let _alone = self.hold_erasing();
        let _room = self.make_room();
        let mut validator = self.validator();
        let is_validated = validator.is_some() && !self.files.log.is_poisoned();
        let reopened = self.files.blocks.reopen()?.is_some();
        if is_validated {
            return Ok(reopened);
        }
        self.files.log.reopen()?;
        let mut revalidated = CommitValidator::new(self.files.federation);
        self.rebuild_from_log(&mut revalidated)?;
        *validator = Some(revalidated);
        Ok(true)
    }
}
