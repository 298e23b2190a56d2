//! The open packs, and what all operations on them share: asking for the index, appending a block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::block::Found;
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::index::Index;
use super::pack::Pack;
use super::pins::PinBoard;
use super::place::Location;
use super::tail::{Append, Tail};
use crate::disk::Disk;

/// The open packs. Threads share them: reading waits for nothing, putting only to append.
pub struct Blocks {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: RwLock<Index>,
    /// Where the next block goes; a reader has none.
    pub(super) tail: Option<Tail>,
    /// Where the last pack's valid blocks ended when the packs were opened.
    pub(super) end: u64,
    /// What was passed over: by a reader in packs, and in what can be rebuilt.
    pub(super) damages: Mutex<Vec<BlockDamage>>,
    /// What puts under way rest on.
    pub(super) pins: PinBoard,
    /// Held while something is erased or collected.
    pub(super) maintenance: Mutex<()>,
    /// How many threads name and compress the chunks of one payload.
    pub(super) threads: usize,
}

impl Blocks {
    /// Makes everything put so far durable; free if it already is.
    ///
    /// # Errors
    /// [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`], after which the
    /// packs are poisoned.
    pub fn sync(&self) -> Result<(), BlocksError> {
        self.tail()?.sync()
    }

    /// Where the next block goes.
    pub(super) fn tail(&self) -> Result<&Tail, BlocksError> {
        self.tail.as_ref().ok_or(BlocksError::ReadOnly)
    }

    /// Closes the pack of this number, if it is the last.
    pub(super) fn close(&self, number: u32) -> Result<(), BlocksError> {
        self.tail()?
            .close(&self.disk, number, |pack| self.begun(pack))
    }

    /// Takes a pack that was begun, and seals the one before.
    fn begun(&self, pack: Arc<Pack>) {
        let closed = pack.number - 1;
        self.index_mut().packs.insert(pack.number, pack);
        self.seal_closed(closed);
    }

    /// Appends a block unless it is `already` here, and says by how much the packs grew.
    pub(super) fn append_unless(
        &self,
        already: impl FnOnce() -> bool,
        block: &Append<'_>,
    ) -> Result<u64, BlocksError> {
        self.tail()?.append(
            &self.disk,
            block,
            already,
            |pack| self.begun(pack),
            |place| {
                let mut index = self.index_mut();
                index.append(Location {
                    place,
                    header: block.header,
                });
                index.record(place.pack, block.buries.iter().copied());
            },
        )
    }

    /// Remembers that a block is damaged, if reading it said so.
    pub(super) fn noting<T>(
        &self,
        found: &Found,
        result: Result<T, BlocksError>,
    ) -> Result<T, BlocksError> {
        if matches!(result, Err(BlocksError::Damaged(_))) {
            self.index_mut().note_damage(found.at.place);
        }
        result
    }

    pub(super) fn damages(&self) -> MutexGuard<'_, Vec<BlockDamage>> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
