//! Collecting garbage: payloads that nobody needs, chunks of no payload, and the space of what was
//! put again. Packs are given up, the last one included, after what lives in them has been appended
//! again, until little of what stays is dead; what is dead in others is recorded, so that no
//! manifest comes back without its parts. Which packs are given up, and how that goes where the
//! disk is full: `give_up`.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::block::Found;
use super::error::BlocksError;
use super::give_up::Victim;
use super::handle::Blocks;
use super::index::Index;
use super::pins::Watch;
use super::place::{Location, Place};
use super::scan::Walk;
use uor_index_format::id::Checksum;

/// What collecting freed, or would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// How many payloads.
    pub payloads: u64,
    /// How many blocks, those of the payloads included.
    pub blocks: u64,
    /// By how many bytes the packs shrink.
    pub bytes_freed: u64,
    /// How many packs are given up.
    pub packs_rewritten: u32,
    /// How many bytes more would be free if there were room to append again what lives beside them,
    /// or it were not damaged.
    pub bytes_held: u64,
}

/// What of the packs stays.
#[derive(Default)]
struct Live {
    payloads: BTreeSet<Checksum>,
    chunks: BTreeSet<Checksum>,
}

impl Blocks {
    /// Frees the payloads that are not `live`, and the space that no payload needs, but for a
    /// twentieth of what lives and a thirty-second of a pack. What was put since this began stays,
    /// and so does what a put under way rests on; what was put before is decided by `live` alone.
    /// With `dry_run` nothing is modified. Readers and writers go on meanwhile. On a disk that is
    /// full, what can be freed without room is, and then what fits.
    ///
    /// # Errors
    /// [`BlocksError::Damaged`] where the manifest of a live payload is damaged, and nothing was
    /// freed; [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`].
    pub fn collect(
        &self,
        live: &mut dyn FnMut(Checksum) -> bool,
        dry_run: bool,
    ) -> Result<Collected, BlocksError> {
        let tail = self.tail()?;
        let _alone = self
            .maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let watch = self.pins.watch();
        let start = tail.end()?;
        let mut walks = self.scan(start)?;
        let (live, doomed) = self.partition(live, start, &walks)?;
        let dead = self.bury(&watch, doomed, dry_run);
        let named = |at: &&Location| at.header.kind.is_payload() && dead.contains(&at.place);
        let gone: BTreeSet<Checksum> = walks
            .iter()
            .flat_map(|walk| &walk.blocks)
            .filter(named)
            .map(|at| at.header.name)
            .collect();
        let mut victims = self.victims(&walks, &dead)?;
        let mut collected = Collected {
            payloads: gone.difference(&live.payloads).count() as u64,
            blocks: dead.len() as u64,
            bytes_freed: victims.iter().map(Victim::freed_len).sum(),
            packs_rewritten: count(victims.len()),
            bytes_held: 0,
        };
        if !dry_run {
            self.close_victim(start.pack, &mut walks, &mut victims, &dead)?;
            let held = self.give_up_all(&walks, victims, &dead)?;
            collected.bytes_held = held.iter().sum();
            collected.bytes_freed = collected.bytes_freed.saturating_sub(collected.bytes_held);
            collected.packs_rewritten -= count(held.len());
        }
        Ok(collected)
    }

    /// What lives, and which blocks before `start` do not.
    fn partition(
        &self,
        is_live: &mut dyn FnMut(Checksum) -> bool,
        start: Place,
        walks: &[Walk],
    ) -> Result<(Live, Vec<Location>), BlocksError> {
        let mut live = Live::default();
        for (_, chunks) in self
            .index()
            .forgotten()
            .iter()
            .filter(|(name, _)| is_live(**name))
        {
            let chunks = chunks.clone().map_err(BlocksError::Damaged)?;
            live.chunks.extend(chunks);
        }
        for name in self.ask(Index::payloads)? {
            let is_new = self
                .ask(|index| index.payload(name))?
                .is_some_and(|found| found.at.place >= start);
            if is_new || is_live(name) {
                live.payloads.insert(name);
                live.chunks
                    .extend(self.chunks(name)?.iter().map(|chunk| chunk.digest));
            }
        }
        let mut doomed = Vec::new();
        for at in walks
            .iter()
            .flat_map(|walk| &walk.blocks)
            .filter(|at| at.header.kind.is_stored())
        {
            let name = at.header.name;
            let is_it =
                |found: Option<Found>| found.is_some_and(|found| found.at.place == at.place);
            let dies = self.ask(|index| {
                let lives = (live.payloads.contains(&name) && is_it(index.payload(name)?))
                    || (live.chunks.contains(&name) && is_it(index.chunk(name)?));
                Ok(!lives && index.is_there(at)?)
            })?;
            if dies {
                doomed.push(*at);
            }
        }
        Ok((live, doomed))
    }

    /// Takes from the index what no put has come to rest on meanwhile; from now on it would be
    /// stored again.
    fn bury(&self, watch: &Watch<'_>, mut doomed: Vec<Location>, dry_run: bool) -> BTreeSet<Place> {
        let pinned = watch.pinned();
        let mut index = self.index_mut();
        doomed.retain(|at| !pinned.contains(at.header.name));
        let dead: BTreeSet<Place> = doomed.iter().map(|at| at.place).collect();
        if !dry_run {
            index.bury(dead.iter().copied());
        }
        dead
    }
}

fn count(packs: usize) -> u32 {
    u32::try_from(packs).expect("packs have numbers of 32 bits")
}
