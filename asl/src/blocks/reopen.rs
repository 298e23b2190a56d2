//! Opening the packs again in the same process, after a write or sync has failed.
//!
//! What the failed write left is found on the disk, as at any opening: nothing that was in memory
//! is believed, and what is not known to be durable is verified, written once more and synced.
//! Readers go on meanwhile.

use std::sync::PoisonError;

use super::error::BlocksError;
use super::handle::Blocks;
use super::layout::Options;
use super::recover;
use super::recovery::Recovery;
use super::tail::Tail;
use crate::disk::Mode;

impl Blocks {
    /// Whether a write or sync has failed, so that nothing is put until the packs are opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.tail.as_ref().is_some_and(Tail::is_poisoned)
    }

    /// Opens the packs again, if a write or sync has failed. Puts that began before fail. What was
    /// put and not yet durable may be gone: whoever is about to name it has to put it again.
    ///
    /// # Errors
    /// As [`Blocks::open_with`]; nothing is put then, as before. [`BlocksError::ReadOnly`].
    pub fn reopen(&self) -> Result<Option<Recovery>, BlocksError> {
        let tail = self.tail()?;
        let _alone = self
            .maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !tail.is_poisoned() {
            return Ok(None);
        }
        let options = Options {
            pack_bytes: tail.pack_len_max(),
            threads: self.threads,
        };
        let (opened, recovery) = recover::open(&self.disk, Mode::Write, options)?;
        let Self {
            index: opened,
            tail: Some(opened_tail),
            ..
        } = opened
        else {
            return Err(BlocksError::ReadOnly);
        };
        let opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        {
            let mut index = self.index_mut();
            let hidden = index.take_hidden();
            *index = opened;
            index.hide(hidden);
        }
        *self.damages() = recovery.damages.clone();
        tail.replace(opened_tail);
        Ok(Some(recovery))
    }
}
