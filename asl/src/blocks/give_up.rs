//! Giving packs up: what lives in one is appended again, then the list says that it is no more,
//! then its file goes.
//!
//! Packs are given up one by one, those in which least lives first, so that no more room is needed
//! at any time than for what lives in one, and what that frees is there for the next. Where even
//! that is not free, the space of dead blocks is given back inside the packs, as far as the file
//! system can, and what lives moves a part at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{Found, read_block, read_places, read_stored};
use super::error::BlocksError;
use super::frame::{HEADER_LEN, Header, Kind};
use super::handle::Blocks;
use super::list::List;
use super::pack::{Pack, remove_files};
use super::place::{Location, Place};
use super::record::PLACES_MAX;
use super::scan::{self, End, Walk};
use super::seal;
use super::tail::Append;
use crate::disk::{Context, Mode};
use uor_index_format::id::Checksum;

/// The part of what lives that may be dead in packs that stay.
const DEAD_SHARE: u64 = 20;
/// The part of the longest pack that may be dead besides; as much must be dead in the last pack
/// before that is closed early.
const DEAD_PACK_SHARE: u64 = 64;
/// Room beside what is moved: for headers, marks, lists, and whoever else writes on this disk.
const SPARE_LEN: u64 = 1 << 20;

/// A pack that is given up, and what moves out of it.
pub(super) struct Victim {
    number: u32,
    len: u64,
    live: Vec<Location>,
    live_len: u64,
}

impl Victim {
    /// A pack, of which these blocks move.
    pub(super) fn new(walk: &Walk, live: Vec<Location>) -> Self {
        let live_len = live.iter().map(|at| at.header.block_len()).sum();
        Self {
            number: walk.pack,
            len: walk.end,
            live,
            live_len,
        }
    }

    /// By how much the packs shrink.
    pub(super) fn freed_len(&self) -> u64 {
        self.len.saturating_sub(self.live_len)
    }
}

impl Blocks {
    /// The packs to be given up: all that are half dead, and of the others as many of those with
    /// the greatest dead share as it takes until what stays dead is little.
    pub(super) fn victims(
        &self,
        walks: &[Walk],
        dead: &BTreeSet<Place>,
    ) -> Result<Vec<Victim>, BlocksError> {
        let tail = self.tail()?;
        let pack_share = tail.pack_len_max() / DEAD_PACK_SHARE;
        let last = walks.last().map(|walk| walk.pack);
        let (mut live_len, mut dead_len) = (0, 0);
        let mut candidates = Vec::new();
        for walk in walks {
            let candidate = self.candidate(walk, dead)?;
            live_len += candidate.live_len;
            let is_worth_it = Some(walk.pack) != last || candidate.freed_len() > pack_share;
            // What is damaged is kept for whoever wants to mend it.
            let is_damaged = !walk.damages.is_empty() || self.index().is_kept_for_damage(walk.pack);
            if is_worth_it && !is_damaged {
                dead_len += candidate.freed_len();
                candidates.push(candidate);
            }
        }
        let share = |pack: &Victim| {
            u128::from(pack.freed_len()) * u128::from(u64::MAX) / u128::from(pack.len.max(1))
        };
        candidates.sort_by_key(|pack| std::cmp::Reverse(share(pack)));
        let allowed = live_len / DEAD_SHARE + pack_share;
        let mut victims = Vec::new();
        for candidate in candidates {
            if candidate.live_len <= candidate.len / 2 || dead_len > allowed {
                dead_len -= candidate.freed_len();
                victims.push(candidate);
            }
        }
        Ok(victims)
    }

    /// What lives in a pack. Records of what was erased do as long as it is.
    fn candidate(&self, walk: &Walk, dead: &BTreeSet<Place>) -> Result<Victim, BlocksError> {
        let mut live = Vec::new();
        let mut live_len = 0;
        for at in &walk.blocks {
            if at.header.kind == Kind::Erased
                && self.ask(|index| index.is_erased(at.header.name))?
            {
                live_len += at.header.block_len() + HEADER_LEN as u64;
            } else if at.header.kind.is_stored()
                && !dead.contains(&at.place)
                && self.ask(|index| index.is_there(at))?
            {
                live_len += at.header.block_len();
                live.push(*at);
            }
        }
        Ok(Victim {
            number: walk.pack,
            len: walk.end,
            live,
            live_len,
        })
    }

    /// Where the last pack is to be given up: begins another, and looks at what was put into it
    /// since it was walked.
    pub(super) fn close_victim(
        &self,
        last: u32,
        walks: &mut [Walk],
        victims: &mut [Victim],
        dead: &BTreeSet<Place>,
    ) -> Result<(), BlocksError> {
        let Some(victim) = victims.iter_mut().find(|victim| victim.number == last) else {
            return Ok(());
        };
        self.close(last)?;
        let pack = self.index().packs.get(&last).cloned();
        let (Some(pack), Some(walk)) = (pack, walks.last_mut()) else {
            return Ok(());
        };
        *walk = scan::walk(&pack, End::Closed)?;
        if let Some(damage) = walk.damages.pop() {
            return Err(BlocksError::Damaged(damage));
        }
        *victim = Victim {
            len: victim.len,
            ..self.candidate(walk, dead)?
        };
        Ok(())
    }

    /// Records what is dead, and gives the victims up. Says how many bytes each of those would free
    /// that had to stay.
    pub(super) fn give_up_all(
        &self,
        walks: &[Walk],
        mut victims: Vec<Victim>,
        dead: &BTreeSet<Place>,
    ) -> Result<Vec<u64>, BlocksError> {
        victims.sort_by_key(|victim| (!victim.live.is_empty(), victim.live_len, victim.number));
        let others = victims.split_off(victims.partition_point(|victim| victim.live.is_empty()));
        self.give_up(walks, &victims, dead)?;
        let mut held = Vec::new();
        let mut is_punched = false;
        for mut victim in others {
            let freed_len = victim.freed_len();
            if !self.has_room(&victim) && !std::mem::replace(&mut is_punched, true) {
                let blocks = walks
                    .iter()
                    .flat_map(|walk| &walk.blocks)
                    .filter(|at| dead.contains(&at.place));
                self.punch(blocks)?;
            }
            self.lighten(&mut victim)?;
            let goes = self.has_room(&victim)
                && self.give_up(walks, std::slice::from_ref(&victim), &BTreeSet::new())?;
            held.extend((!goes).then_some(freed_len));
        }
        self.shrink_runs();
        Ok(held)
    }

    /// Where there is no room for all that moves out of a pack: moves what there is room for, and
    /// gives back the space that this had, until there is room for the rest, or none for anything.
    fn lighten(&self, victim: &mut Victim) -> Result<(), BlocksError> {
        while !self.has_room(victim) {
            let room = self.free_space().unwrap_or(0).saturating_sub(SPARE_LEN) / 2;
            let mut taken = 0;
            let fits = |at: &&Location| {
                taken += at.header.block_len();
                taken <= room
            };
            let moved: Vec<Location> = victim.live.iter().take_while(fits).copied().collect();
            if moved.is_empty() || !self.move_out(&moved)? {
                return Ok(());
            }
            let places: Vec<Place> = moved.iter().map(|at| at.place).collect();
            for places in places.chunks(PLACES_MAX) {
                self.append_record(Kind::Dropped, Checksum::from_bytes([0; 32]), places, false)?;
            }
            self.sync()?;
            self.punch(moved.iter())?;
            victim.live.drain(..moved.len());
            victim.live_len -= moved.iter().map(|at| at.header.block_len()).sum::<u64>();
        }
        Ok(())
    }

    /// Whether there is room to append again what lives in a pack, as far as is known.
    fn has_room(&self, victim: &Victim) -> bool {
        let needed = victim
            .live_len
            .saturating_add(victim.live_len / 64)
            .saturating_add(SPARE_LEN);
        self.free_space().is_none_or(|free| free >= needed)
    }

    fn free_space(&self) -> Option<u64> {
        self.disk.free_space().ok().flatten()
    }

    /// Gives back the space of these blocks in closed packs, as far as the file system can. They
    /// are dead, and a record that says so is durable.
    fn punch<'a>(&self, blocks: impl Iterator<Item = &'a Location>) -> Result<(), BlocksError> {
        let last = self.tail()?.written().pack;
        let mut by_pack: BTreeMap<u32, Vec<&Location>> = BTreeMap::new();
        for at in blocks.filter(|at| at.place.pack != last) {
            by_pack.entry(at.place.pack).or_default().push(at);
        }
        for (number, blocks) in by_pack {
            if !self.index().packs.contains_key(&number) {
                continue;
            }
            let path = Pack::path(number);
            let file = self.disk.open(&path, Mode::Write).during("open", &path)?;
            for at in blocks {
                let start = at.place.offset + HEADER_LEN as u64;
                if !file
                    .punch(start, u64::from(at.header.stored_len))
                    .during("free space in", &path)?
                {
                    return Ok(());
                }
            }
            file.sync().during("sync", &path)?;
        }
        Ok(())
    }

    /// Records what is dead in packs that stay, appends what lives in those that do not, and
    /// removes those. Says whether all victims went; where a block is damaged, its pack stays.
    pub(super) fn give_up(
        &self,
        walks: &[Walk],
        victims: &[Victim],
        dead: &BTreeSet<Place>,
    ) -> Result<bool, BlocksError> {
        let mut removed = BTreeSet::new();
        for victim in victims {
            if self.move_out(&victim.live)? {
                removed.insert(victim.number);
            }
        }
        let stays = |place: &Place| {
            !removed.contains(&place.pack) && self.index().packs.contains_key(&place.pack)
        };
        let mut dropped: Vec<Place> = dead.iter().copied().filter(stays).collect();
        let gone = walks.iter().filter(|walk| removed.contains(&walk.pack));
        dropped.extend(self.carry_over_records(gone.flat_map(|walk| &walk.blocks), &stays)?);
        for places in dropped.chunks(PLACES_MAX) {
            self.append_record(Kind::Dropped, Checksum::from_bytes([0; 32]), places, false)?;
        }
        self.sync()?;
        if removed.is_empty() {
            return Ok(victims.is_empty());
        }
        self.tail()?.attempt(|| {
            let mut list = List::read(&*self.disk)?;
            list.removed.extend(&removed);
            list.write(&*self.disk)?;
            self.index_mut().remove_packs(&removed);
            remove_files(&*self.disk, &removed)
        })?;
        Ok(removed.len() == victims.len())
    }

    /// Appends again what records among these blocks, whose packs go, say of what was erased. Gives
    /// the other places they name, of those that stay.
    fn carry_over_records<'a>(
        &self,
        blocks: impl Iterator<Item = &'a Location>,
        stays: &dyn Fn(&Place) -> bool,
    ) -> Result<Vec<Place>, BlocksError> {
        let mut dropped = Vec::new();
        let mut put_again = BTreeSet::new();
        for at in blocks {
            let (name, kind) = (at.header.name, at.header.kind);
            let is_erasure = matches!(kind, Kind::Erased | Kind::Zeroed);
            let is_erased = is_erasure && self.ask(|index| index.is_erased(name))?;
            if is_erasure && !is_erased {
                put_again.insert(name);
            }
            let located = self.index().locate(at).filter(|_| kind.is_record());
            let Some(found) = located else { continue };
            let mut places = places_as_far_as_known(&found)?;
            places.retain(stays);
            if kind == Kind::Erased && is_erased {
                self.append_record(Kind::Erased, name, &places, false)?;
                self.append_zeroed(name)?;
            } else {
                dropped.extend(places);
            }
        }
        // Nothing is left to erase; but who only has the log's word must not take them for what was
        // erased.
        put_again
            .into_iter()
            .try_for_each(|name| self.append_zeroed(name))?;
        Ok(dropped)
    }

    /// Appends these blocks again; `false` if one is damaged, and its pack has to stay.
    fn move_out(&self, blocks: &[Location]) -> Result<bool, BlocksError> {
        for at in blocks {
            let Some(found) = self.index().locate(at) else {
                return Ok(false);
            };
            match self.noting(&found, read_block(&found)) {
                Ok(_) => {}
                Err(BlocksError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
            // Behind the record that its payload was erased, a whole block would bring that back.
            let is_shared = at.header.kind == Kind::Whole
                && self.ask(|index| index.is_erased(at.header.name))?;
            let header = Header {
                kind: if is_shared {
                    Kind::Part
                } else {
                    at.header.kind
                },
                ..at.header
            };
            let block = Append {
                header,
                stored: &read_stored(&found)?,
                buries: &[],
                hold: false,
                generation: None,
            };
            self.append_unless(|| false, &block)?;
        }
        Ok(true)
    }

    /// Rewrites runs most of whose blocks are no more.
    fn shrink_runs(&self) {
        let runs = self.index().runs.clone();
        for run in runs {
            let shrunk = seal::shrink(&*self.disk, &self.index(), &run);
            // Nothing depends on it: a run that was not rewritten is only longer than it needs
            // to be.
            if let Ok(Some(shrunk)) = shrunk {
                self.index_mut().merged(shrunk);
            }
        }
    }
}

/// The places in a record; none if it is damaged, which it may be in a pack that is given up
/// because of damage.
fn places_as_far_as_known(record: &Found) -> Result<Vec<Place>, BlocksError> {
    match read_places(record) {
        Err(BlocksError::Damaged(_)) => Ok(Vec::new()),
        places => places,
    }
}
