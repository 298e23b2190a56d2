//! Payloads that come and go.

use std::sync::PoisonError;

use uor_index_format::id::Checksum;

use super::error::StoreError;
use super::handle::Store;
use super::removal::Reason;
use crate::blocks::{BlocksError, Erased};

impl Store {
    /// Erases a payload on request: its bytes go for good, and the log says when. Records that name
    /// it stay as they are. It comes back only if it is put again. Erasing what was erased already
    /// does nothing.
    ///
    /// The log's word comes last: what it calls erased is nowhere in the packs. Without it, as a
    /// crash may leave it, the packs know that the payload is not to be wanted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn erase(&self, checksum: Checksum, wall_ms: u64) -> Result<Erased, StoreError> {
        let _alone = self.hold_erasing();
        let _room = self.make_room();
        if self.validator().is_none() {
            return Err(StoreError::Poisoned);
        }
        if self.files.blocks.erased(checksum) && self.view().erased(&checksum).is_some() {
            // An erasure that failed looks the same; then this fails.
            self.files.blocks.sync()?;
            return Ok(Erased::default());
        }
        let erased = self.files.blocks.erase(checksum)?;
        self.note_removal(Reason::Erased, wall_ms, || Ok(vec![checksum]))?;
        Ok(erased)
    }

    /// Tells the store that payloads have been put into its blocks, wanted ones among them. Makes
    /// them durable: what is no longer wanted is here after a crash too, and for whoever reads the
    /// files beside this process.
    ///
    /// # Errors
    /// [`BlocksError`] if they could not be made durable.
    pub fn payloads_arrived(&self, checksums: &[Checksum]) -> Result<(), BlocksError> {
        let wanted: Vec<&Checksum> = {
            let view = self.view();
            let is_here = |checksum: &&Checksum| {
                view.wanted.contains_key(*checksum) && self.files.blocks.has(**checksum)
            };
            checksums.iter().filter(is_here).collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        self.files.blocks.sync()?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for checksum in wanted {
            view.wanted.remove(checksum);
        }
        Ok(())
    }
}
