//! Where every block is, and which of several with one name stands: runs for packs that are closed,
//! a map for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::block::Found;
use super::damage::BlockDamage;
use super::frame::{Header, Kind};
use super::pack::Pack;
use super::place::{Location, Place};
use super::run::Run;
use crate::damage::Damage;
use uor_index_format::id::Checksum;

/// Where everything is.
#[derive(Default)]
pub(super) struct Index {
    pub(super) packs: BTreeMap<u32, Arc<Pack>>,
    /// Of closed packs, ascending; no pack is in two.
    pub(super) runs: Vec<Arc<Run>>,
    /// Packs that are damaged where that keeps what is in them from being known. They are put into
    /// no run: whoever opens the packs looks at them again, and says so, and finds what was put
    /// back in their place.
    pub(super) damaged_packs: BTreeSet<u32>,
    /// Blocks in packs that are in no run.
    recent: BTreeMap<(Checksum, Place), Header>,
    /// Blocks that are no more, with the pack in which a record says so, one that is in no run.
    dead: BTreeMap<Place, u32>,
    /// Blocks that are taken for absent until the packs are opened again.
    buried: BTreeSet<Place>,
    /// Payloads that are taken for erased until they are put again, or the packs are opened again.
    hidden: BTreeSet<Checksum>,
    /// Payloads that are taken for absent because they cannot be read, until they are put again, or
    /// the packs are opened again; and the chunks of each, which stay for that, or why they are not
    /// known.
    forgotten: BTreeMap<Checksum, Result<BTreeSet<Checksum>, BlockDamage>>,
    /// Packs with blocks that are taken for absent for that reason.
    forgotten_in: BTreeSet<u32>,
    /// Blocks that were found to be damaged since the packs were opened: what needs them is stored
    /// again when it is put again.
    damaged: BTreeSet<Place>,
    /// Manifests whose chunks, all of them read since the packs were opened, had the payload's
    /// digest.
    proven: BTreeSet<Place>,
}

/// What a run of some packs is to hold.
pub(super) struct Content {
    pub(super) blocks: Vec<Location>,
    /// Blocks of other packs that records in these say are no more.
    pub(super) dead: Vec<Place>,
}

impl Index {
    pub(super) fn insert(&mut self, location: Location) {
        if location.header.kind.is_named() {
            self.recent
                .insert((location.header.name, location.place), location.header);
        }
    }

    /// Notes what a record in `pack` says.
    pub(super) fn record(&mut self, pack: u32, places: impl IntoIterator<Item = Place>) {
        self.dead
            .extend(places.into_iter().map(|place| (place, pack)));
    }

    /// Takes blocks for absent.
    pub(super) fn bury(&mut self, places: impl IntoIterator<Item = Place>) {
        self.buried.extend(places);
    }

    /// Takes a payload of these chunks for absent, and blocks with it: it is damaged, and what is
    /// left of it stays.
    pub(super) fn forget(
        &mut self,
        payload: Checksum,
        chunks: Result<BTreeSet<Checksum>, BlockDamage>,
        places: &BTreeSet<Place>,
    ) {
        self.forgotten.insert(payload, chunks);
        self.forgotten_in
            .extend(places.iter().map(|place| place.pack));
        self.bury(places.iter().copied());
    }

    /// Payloads that are taken for absent because they are damaged, and their chunks or why these
    /// are not known.
    pub(super) const fn forgotten(
        &self,
    ) -> &BTreeMap<Checksum, Result<BTreeSet<Checksum>, BlockDamage>> {
        &self.forgotten
    }

    /// Whether the block at this place was found to be damaged.
    pub(super) fn is_damaged(&self, at: &Location) -> bool {
        self.damaged.contains(&at.place)
    }

    /// Whether a pack has to stay because of what is damaged in it.
    pub(super) fn is_kept_for_damage(&self, pack: u32) -> bool {
        self.damaged_packs.contains(&pack) || self.forgotten_in.contains(&pack)
    }

    /// Takes payloads for erased.
    pub(super) fn hide(&mut self, payloads: impl IntoIterator<Item = Checksum>) {
        self.hidden.extend(payloads);
    }

    /// The payloads that are taken for erased; they are not any more.
    pub(super) fn take_hidden(&mut self) -> BTreeSet<Checksum> {
        std::mem::take(&mut self.hidden)
    }

    /// Takes a block that was just appended.
    pub(super) fn append(&mut self, location: Location) {
        if location.header.kind.is_payload() {
            self.hidden.remove(&location.header.name);
            self.forgotten.remove(&location.header.name);
        }
        self.insert(location);
    }

    pub(super) fn note_damage(&mut self, place: Place) {
        self.proven.remove(&place);
        self.damaged.insert(place);
    }

    pub(super) fn note_proof(&mut self, place: Place) {
        self.proven.insert(place);
    }

    pub(super) fn is_proven(&self, place: Place) -> bool {
        self.proven.contains(&place)
    }

    /// Forgets packs that are no more.
    pub(super) fn remove_packs(&mut self, numbers: &BTreeSet<u32>) {
        let stays = |place: &Place| !numbers.contains(&place.pack);
        self.packs.retain(|number, _| !numbers.contains(number));
        self.damaged_packs
            .retain(|number| !numbers.contains(number));
        self.recent.retain(|(_, place), _| stays(place));
        self.dead.retain(|place, _| stays(place));
        self.buried.retain(stays);
        self.forgotten_in.retain(|number| !numbers.contains(number));
        self.damaged.retain(stays);
        self.proven.retain(stays);
    }

    /// All blocks of a name that are there, in the order in which they were appended.
    pub(super) fn blocks(&self, name: Checksum) -> Result<Vec<Location>, Damage> {
        let recent = self
            .recent
            .range((name, Place::FIRST)..=(name, Place::LAST));
        let mut all: Vec<Location> = recent
            .map(|((_, place), header)| Location {
                place: *place,
                header: *header,
            })
            .collect();
        for run in &self.runs {
            all.append(&mut run.blocks(name)?);
        }
        let mut found = Vec::new();
        for at in all {
            if self.is_recorded(&at)? && !self.buried.contains(&at.place) {
                found.push(at);
            }
        }
        found.sort_unstable_by_key(|at| at.place);
        Ok(found)
    }

    /// Whether a block is still there, going by packs and records alone.
    pub(super) fn is_recorded(&self, at: &Location) -> Result<bool, Damage> {
        if !self.packs.contains_key(&at.place.pack) || self.dead.contains_key(&at.place) {
            return Ok(false);
        }
        // Packs that are in no run come before some that are where theirs was lost.
        let later = self
            .runs
            .partition_point(|run| run.packs.0 <= at.place.pack);
        for run in &self.runs[later..] {
            if run.buries(at.place)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The block by which a payload is visible.
    pub(super) fn payload(&self, payload: Checksum) -> Result<Option<Found>, Damage> {
        Ok(self.best(&self.payload_blocks_of(payload)?))
    }

    /// The block by which a payload is visible when the packs are opened again, and nothing is
    /// known of damage.
    pub(super) fn last_payload(&self, payload: Checksum) -> Result<Option<Found>, Damage> {
        Ok(self
            .payload_blocks_of(payload)?
            .last()
            .and_then(|at| self.locate(at)))
    }

    /// The block that holds the bytes of a chunk.
    pub(super) fn chunk(&self, digest: Checksum) -> Result<Option<Found>, Damage> {
        Ok(self.best(&self.chunk_blocks_of(digest)?))
    }

    /// As [`Index::last_payload`], of a chunk.
    pub(super) fn last_chunk(&self, digest: Checksum) -> Result<Option<Found>, Damage> {
        Ok(self
            .chunk_blocks_of(digest)?
            .last()
            .and_then(|at| self.locate(at)))
    }

    fn payload_blocks_of(&self, payload: Checksum) -> Result<Vec<Location>, Damage> {
        if self.hidden.contains(&payload) {
            return Ok(Vec::new());
        }
        let mut blocks = self.blocks(payload)?;
        let erased = blocks.iter().rposition(|at| at.header.kind == Kind::Erased);
        blocks.drain(..erased.map_or(0, |position| position + 1));
        blocks.retain(|at| at.header.kind.is_payload());
        Ok(blocks)
    }

    fn chunk_blocks_of(&self, digest: Checksum) -> Result<Vec<Location>, Damage> {
        let mut blocks = self.blocks(digest)?;
        blocks.retain(|at| at.header.kind.is_chunk());
        Ok(blocks)
    }

    /// Whether the last that happened to a payload is that it was erased.
    pub(super) fn is_erased(&self, payload: Checksum) -> Result<bool, Damage> {
        if self.hidden.contains(&payload) {
            return Ok(true);
        }
        let blocks = self.blocks(payload)?;
        let last = blocks
            .iter()
            .rfind(|at| at.header.kind == Kind::Erased || at.header.kind.is_payload());
        Ok(last.is_some_and(|at| at.header.kind == Kind::Erased))
    }

    /// Unless it is known to be damaged, the last stands: a block is only put again if the one
    /// before was.
    fn best(&self, blocks: &[Location]) -> Option<Found> {
        self.locate(
            blocks
                .iter()
                .max_by_key(|at| (!self.damaged.contains(&at.place), at.place))?,
        )
    }

    /// `found`, unless it is known to be damaged.
    pub(super) fn sound(&self, found: Option<Found>) -> Option<Found> {
        found.filter(|found| !self.damaged.contains(&found.at.place))
    }

    /// A block that this index gave, if its pack is still there.
    pub(super) fn locate(&self, at: &Location) -> Option<Found> {
        Some(Found {
            pack: Arc::clone(self.packs.get(&at.place.pack)?),
            at: *at,
        })
    }

    /// Whether the block at this place is there.
    pub(super) fn is_there(&self, at: &Location) -> Result<bool, Damage> {
        Ok(self
            .blocks(at.header.name)?
            .iter()
            .any(|found| found.place == at.place))
    }

    /// Whether the block at this place is one that is read.
    pub(super) fn is_used(&self, at: &Location) -> Result<bool, Damage> {
        let is_it = |found: Option<Found>| found.is_some_and(|found| found.at.place == at.place);
        Ok(is_it(self.payload(at.header.name)?) || is_it(self.chunk(at.header.name)?))
    }

    /// Digests of all payloads, ascending.
    pub(super) fn payloads(&self) -> Result<Vec<Checksum>, Damage> {
        let mut names: BTreeSet<Checksum> = self.recent.keys().map(|(name, _)| *name).collect();
        for run in &self.runs {
            for at in run.all() {
                names.insert(at?.header.name);
            }
        }
        let mut payloads = Vec::new();
        for name in names {
            if self.payload(name)?.is_some() {
                payloads.push(name);
            }
        }
        Ok(payloads)
    }

    /// All records of what was erased.
    pub(super) fn erasures(&self) -> Result<Vec<Location>, Damage> {
        let recent = self.recent.iter().map(|((_, place), header)| Location {
            place: *place,
            header: *header,
        });
        let mut erasures: Vec<Location> =
            recent.filter(|at| at.header.kind == Kind::Erased).collect();
        for run in &self.runs {
            for at in run.all() {
                erasures.extend(Some(at?).filter(|at| at.header.kind == Kind::Erased));
            }
        }
        Ok(erasures)
    }

    /// How many blocks make payloads visible; one that was stored again counts twice.
    pub(super) fn payload_blocks(&self) -> u64 {
        let sealed: u64 = self.runs.iter().map(|run| run.payloads).sum();
        sealed
            + self
                .recent
                .values()
                .filter(|header| header.kind.is_payload())
                .count() as u64
    }

    /// The packs up to `last` that belong into a run and are in none, as ranges without a damaged
    /// one between.
    pub(super) fn unsealed(&self, last: u32) -> Vec<(u32, u32)> {
        let runs = self.runs.iter().map(|run| run.packs);
        let mut taken: Vec<(u32, u32)> = runs
            .chain(self.damaged_packs.iter().map(|number| (*number, *number)))
            .collect();
        taken.sort_unstable();
        let (mut next, mut unsealed) = (1, Vec::new());
        for (first, end) in taken {
            unsealed.push((next, first.saturating_sub(1)));
            next = next.max(end + 1);
        }
        unsealed.push((next, last));
        unsealed
            .retain(|(first, end)| first <= end && self.packs.range(first..=end).next().is_some());
        unsealed
    }

    /// What a run of these packs, which are in none, is to hold.
    pub(super) fn content(&self, packs: (u32, u32)) -> Content {
        let is_inside = |number: u32| (packs.0..=packs.1).contains(&number);
        let is_dead = |place: &Place| {
            self.dead
                .get(place)
                .is_some_and(|record| is_inside(*record))
        };
        let inside = self
            .recent
            .iter()
            .filter(|((_, place), _)| is_inside(place.pack) && !is_dead(place));
        let blocks = inside
            .map(|((_, place), header)| Location {
                place: *place,
                header: *header,
            })
            .collect();
        let dead = self
            .dead
            .iter()
            .filter(|(place, record)| is_inside(**record) && !is_inside(place.pack));
        Content {
            blocks,
            dead: dead.map(|(place, _)| *place).collect(),
        }
    }

    /// Takes a run of packs that were in none.
    pub(super) fn seal(&mut self, run: Run) {
        let is_inside = |number: u32| (run.packs.0..=run.packs.1).contains(&number);
        self.recent.retain(|(_, place), _| !is_inside(place.pack));
        self.dead.retain(|_, record| !is_inside(*record));
        let position = self
            .runs
            .partition_point(|other| other.packs.1 < run.packs.0);
        self.runs.insert(position, Arc::new(run));
    }

    /// Takes a run in the place of those it was made of.
    pub(super) fn merged(&mut self, run: Run) {
        self.runs
            .retain(|other| other.packs.0 < run.packs.0 || other.packs.1 > run.packs.1);
        let position = self
            .runs
            .partition_point(|other| other.packs.1 < run.packs.0);
        self.runs.insert(position, Arc::new(run));
    }
}
