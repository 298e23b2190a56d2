//! Collecting garbage: payloads that nobody needs, chunks of no payload, and the space of what was put again. Packs that
//! are mostly dead are given up, after what lives in them has been appended anew; what is dead in others is recorded, so
//! that no manifest comes back without its parts.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::frame::{Header, Kind};
use super::index::{Found, Index, Location, Place};
use super::list::List;
use super::pack::Append;
use super::pins::Watch;
use super::read::{read_block, read_stored};
use super::record::PLACES_MAX;
use super::scan::Walk;
use super::{Blocks, BlocksError, recover};
use uor_index_format::id::Checksum;

/// What collecting freed, or would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// How many payloads.
    pub payloads: u64,
    /// How many blocks, those of the payloads included.
    pub blocks: u64,
    /// By how many bytes the packs shrink. What dies in a pack that is mostly alive is freed once that is mostly dead.
    pub bytes_freed: u64,
    /// How many packs are given up.
    pub packs_rewritten: u32,
}

/// What of the packs stays.
#[derive(Default)]
struct Live {
    payloads: BTreeSet<Checksum>,
    chunks: BTreeSet<Checksum>,
}

/// A pack that is given up, and what moves out of it.
struct Victim {
    number: u32,
    live: Vec<Location>,
}

impl Blocks {
    /// Frees the payloads that are not `live`, and all space that no payload needs. What was put since this began stays,
    /// and so does what a put under way rests on; what was put before is judged by `live` alone. With `dry_run` nothing is
    /// modified. Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`BlocksError::Damaged`] where the manifest of a live payload is damaged, and nothing was freed;
    /// [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`].
    pub fn collect(&self, live: &mut dyn FnMut(Checksum) -> bool, dry_run: bool) -> Result<Collected, BlocksError> {
        let tail = self.tail()?;
        let _alone = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = self.pins.watch();
        let start = tail.end()?;
        let walks = self.scan(start)?;
        let (live, doomed) = self.judge(live, start, &walks)?;
        let dead = self.bury(&watch, doomed, dry_run);
        let mut collected = Collected { blocks: dead.len() as u64, ..Collected::default() };
        let named = |at: &&Location| at.header.kind.is_payload() && dead.contains(&at.place);
        let gone: BTreeSet<Checksum> =
            walks.iter().flat_map(|walk| &walk.blocks).filter(named).map(|at| at.header.name).collect();
        collected.payloads = gone.difference(&live.payloads).count() as u64;
        let mut victims = Vec::new();
        for walk in walks.iter().filter(|walk| walk.pack != start.pack && walk.damages.is_empty()) {
            let mut live = Vec::new();
            for at in walk.blocks.iter().filter(|at| at.header.kind.is_stored()) {
                if !dead.contains(&at.place) && self.ask(|index| index.is_there(at))? {
                    live.push(*at);
                }
            }
            let live_len: u64 = live.iter().map(|at| at.header.block_len()).sum();
            if live_len <= walk.end / 2 {
                collected.bytes_freed += walk.end - live_len;
                collected.packs_rewritten += 1;
                victims.push(Victim { number: walk.pack, live });
            }
        }
        if !dry_run {
            self.give_up(&walks, &victims, &dead)?;
        }
        Ok(collected)
    }

    /// What lives, and which blocks before `start` do not.
    fn judge(
        &self,
        is_live: &mut dyn FnMut(Checksum) -> bool,
        start: Place,
        walks: &[Walk],
    ) -> Result<(Live, Vec<Location>), BlocksError> {
        let mut live = Live::default();
        for name in self.ask(Index::payloads)? {
            let is_new = self.ask(|index| index.payload(name))?.is_some_and(|found| found.at.place >= start);
            if is_new || is_live(name) {
                live.payloads.insert(name);
                live.chunks.extend(self.chunks(name)?.iter().map(|chunk| chunk.digest));
            }
        }
        let mut doomed = Vec::new();
        for at in walks.iter().flat_map(|walk| &walk.blocks).filter(|at| at.header.kind.is_stored()) {
            let name = at.header.name;
            let is_it = |found: Option<Found>| found.is_some_and(|found| found.at.place == at.place);
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

    /// Takes from the index what no put has come to rest on meanwhile; from now on it would be stored anew.
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

    /// Records what is dead in packs that stay, appends what lives in those that do not, and removes those.
    fn give_up(&self, walks: &[Walk], victims: &[Victim], dead: &BTreeSet<Place>) -> Result<(), BlocksError> {
        let mut removed = BTreeSet::new();
        for victim in victims {
            if self.move_out(&victim.live)? {
                removed.insert(victim.number);
            }
        }
        let stays = |place: &Place| !removed.contains(&place.pack);
        let mut dropped: Vec<Place> = dead.iter().copied().filter(stays).collect();
        for walk in walks.iter().filter(|walk| removed.contains(&walk.pack)) {
            for at in &walk.blocks {
                let Some(found) = self.index().locate(at).filter(|_| at.header.kind.is_record()) else { continue };
                let places: Vec<Place> = recover::places(&found)?.into_iter().filter(stays).collect();
                let name = at.header.name;
                if at.header.kind == Kind::Erased && self.ask(|index| index.is_erased(name))? {
                    self.append_record(Kind::Erased, name, &places, false)?;
                    let header = Header::named(Kind::Zeroed, name);
                    self.append_unless(|| false, &Append { header, stored: &[], buries: &[], hold: false })?;
                } else {
                    dropped.extend(places);
                }
            }
        }
        for places in dropped.chunks(PLACES_MAX) {
            self.append_record(Kind::Dropped, Checksum::from_bytes([0; 32]), places, false)?;
        }
        self.sync()?;
        if removed.is_empty() {
            return Ok(());
        }
        self.tail()?.attempt(|| {
            let mut list = List::read(&*self.disk)?;
            list.removed.extend(&removed);
            list.write(&*self.disk)?;
            self.index_mut().remove_packs(&removed);
            recover::remove_packs(&*self.disk, &removed)
        })
    }

    /// Appends these blocks anew; `false` if one is damaged, and its pack has to stay.
    fn move_out(&self, blocks: &[Location]) -> Result<bool, BlocksError> {
        for at in blocks {
            let Some(found) = self.index().locate(at) else { return Ok(false) };
            match self.noting(&found, read_block(&found)) {
                Ok(_) => {}
                Err(BlocksError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
            // Behind the record that its payload was erased, a whole block would bring that back.
            let is_shared = at.header.kind == Kind::Whole && self.ask(|index| index.is_erased(at.header.name))?;
            let header = Header { kind: if is_shared { Kind::Part } else { at.header.kind }, ..at.header };
            let block = Append { header, stored: &read_stored(&found)?, buries: &[], hold: false };
            self.append_unless(|| false, &block)?;
        }
        Ok(true)
    }
}
