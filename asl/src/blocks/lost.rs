//! After packs have lost something: what was erased stays erased, what is damaged is put again, and
//! going on without what is gone.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::block::read_block;
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::frame::Kind;
use super::give_up::Victim;
use super::handle::Blocks;
use super::index::Index;
use super::list::List;
use super::place::Place;
use super::scan::{self, End, Walk};
use uor_index_format::id::Checksum;

impl Blocks {
    /// Takes for erased which of these payloads are here as if they had never been: they were
    /// erased on request, and the packs say neither that nor that they were put again since. So the
    /// record was lost, and what is here is what it was about, or older. Says which; putting such a
    /// payload again ends it, and so does opening the packs.
    ///
    /// # Errors
    /// [`BlocksError::Disk`].
    pub fn hide_erased(
        &self,
        erased: impl IntoIterator<Item = Checksum>,
    ) -> Result<Vec<Checksum>, BlocksError> {
        let mut back = BTreeSet::new();
        for name in erased {
            let is_told = |index: &Index| {
                Ok(index.payload(name)?.is_none()
                    || index
                        .blocks(name)?
                        .iter()
                        .any(|at| at.header.kind == Kind::Erased))
            };
            if !self.ask(is_told)? {
                back.insert(name);
            }
        }
        if back.is_empty() {
            return Ok(Vec::new());
        }
        let packs: Vec<_> = self.index().packs.values().cloned().collect();
        for pack in packs {
            for at in scan::walk(&pack, End::Open)?
                .blocks
                .iter()
                .filter(|at| at.header.kind == Kind::Zeroed)
            {
                // What garbage collection leaves of a record whose payload was put again.
                back.remove(&at.header.name);
            }
        }
        self.index_mut().hide(back.iter().copied());
        Ok(back.into_iter().collect())
    }

    /// Reads every byte, and takes payloads for absent that cannot be read because of damage, so
    /// that they are fetched or put again: what is put then stands for good. Says which. Nothing is
    /// removed, not as garbage either: what is not put again is back, and damaged, when the packs
    /// are opened next. `on_progress` is told how many bytes were read, of how many, and may break
    /// off.
    ///
    /// # Errors
    /// [`BlocksError::Cancelled`] if `on_progress` broke off; [`BlocksError::Disk`].
    pub fn forget_damaged(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<BTreeSet<Checksum>, BlocksError> {
        let damages = self.verify_while(on_progress)?.damages;
        let concerned: BTreeSet<Checksum> = damages
            .into_iter()
            .flat_map(|damage| damage.payloads)
            .collect();
        let mut lost = BTreeSet::new();
        for payload in concerned {
            let chunks = match self.chunks(payload) {
                Ok(chunks) => Ok(chunks
                    .iter()
                    .map(|chunk| chunk.digest)
                    .collect::<BTreeSet<_>>()),
                Err(BlocksError::Damaged(damage)) => Err(damage),
                // Collected meanwhile.
                Err(BlocksError::Unknown { .. }) => continue,
                Err(error) => return Err(error),
            };
            // What is put again from now on is another block.
            let places = self.unreadable_places(payload, chunks.iter().flatten())?;
            // There may be a second copy of what is damaged.
            if self.is_readable(payload) {
                continue;
            }
            self.index_mut().forget(payload, chunks, &places);
            lost.insert(payload);
        }
        Ok(lost)
    }

    /// Where the blocks lie by which a payload is here, and those of its chunks that are damaged.
    fn unreadable_places<'a>(
        &self,
        payload: Checksum,
        chunks: impl Iterator<Item = &'a Checksum>,
    ) -> Result<BTreeSet<Place>, BlocksError> {
        let mut places: BTreeSet<Place> = self
            .ask(|index| index.blocks(payload))?
            .iter()
            .map(|at| at.place)
            .collect();
        for chunk in chunks {
            let blocks = self.ask(|index| index.blocks(*chunk))?;
            let index = self.index();
            places.extend(
                blocks
                    .iter()
                    .filter(|at| index.is_damaged(at))
                    .map(|at| at.place),
            );
        }
        Ok(places)
    }

    fn is_readable(&self, payload: Checksum) -> bool {
        self.read(payload)
            .is_ok_and(|mut reader| io::copy(&mut reader, &mut io::sink()).is_ok())
    }

    /// Goes on without what the packs have lost. What is sound in damaged packs is moved out of
    /// them, and these are given up; packs that are missing are not asked for any more. Says how
    /// many packs that concerned.
    ///
    /// # Errors
    /// [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`].
    pub fn accept_damage(&self) -> Result<u32, BlocksError> {
        let tail = self.tail()?;
        let _alone = self
            .maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut walks, mut victims) = (Vec::new(), Vec::new());
        let damaged: Vec<_> = {
            let index = self.index();
            index
                .damaged_packs
                .iter()
                .filter_map(|number| index.packs.get(number).cloned())
                .collect()
        };
        for pack in damaged {
            let walk = scan::walk(&pack, End::Closed)?;
            victims.push(self.salvage(&walk)?);
            walks.push(walk);
        }
        self.give_up(&walks, &victims, &BTreeSet::new())?;
        let mut missing = 0;
        tail.attempt(|| {
            let mut list = List::read(&*self.disk)?;
            let here: BTreeSet<u32> = self.index().packs.keys().copied().collect();
            let gone: Vec<u32> = list.missing(&here).collect();
            missing = gone.len();
            list.removed.extend(gone);
            if missing == 0 {
                Ok(())
            } else {
                list.write(&*self.disk)
            }
        })?;
        self.damages().retain(BlockDamage::is_of_index);
        Ok(u32::try_from(victims.len() + missing).expect("packs have numbers of 32 bits"))
    }

    /// What of a damaged pack is read, and is sound.
    fn salvage(&self, walk: &Walk) -> Result<Victim, BlocksError> {
        let mut live = Vec::new();
        for at in walk.blocks.iter().filter(|at| at.header.kind.is_stored()) {
            let Some(found) = self.index().locate(at) else {
                continue;
            };
            if !self.ask(|index| index.is_used(at))? {
                continue;
            }
            match self.noting(&found, read_block(&found)) {
                Ok(_) => live.push(*at),
                Err(BlocksError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Victim::new(walk, live))
    }
}
