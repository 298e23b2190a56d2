//! Where every block is, and which of several with one name stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frame::{Header, Kind};
use super::pack::Pack;
use uor_index_format::id::Checksum;

/// Where a block starts; later blocks have greater places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) offset: u64,
}

impl Place {
    const FIRST: Self = Self { pack: 0, offset: 0 };
    const LAST: Self = Self { pack: u32::MAX, offset: u64::MAX };
}

/// Where a block is, and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) header: Header,
}

/// A block together with its pack, which can be read as long as this is held.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) pack: Arc<Pack>,
    pub(super) at: Location,
}

/// Rebuilt from the headers in the packs whenever they are opened.
#[derive(Default)]
pub(super) struct Index {
    pub(super) packs: BTreeMap<u32, Arc<Pack>>,
    blocks: BTreeMap<(Checksum, Place), Header>,
    /// Blocks that were erased or dropped.
    dead: BTreeSet<Place>,
    /// Blocks that were found to be damaged since the packs were opened: what needs them is stored again when it is put
    /// again.
    damaged: BTreeSet<Place>,
}

impl Index {
    pub(super) fn insert(&mut self, location: Location) {
        if location.header.kind.is_named() {
            self.blocks.insert((location.header.name, location.place), location.header);
        }
    }

    /// Takes blocks for absent.
    pub(super) fn bury(&mut self, places: impl IntoIterator<Item = Place>) {
        self.dead.extend(places);
    }

    pub(super) fn is_dead(&self, place: Place) -> bool {
        self.dead.contains(&place)
    }

    pub(super) fn note_damage(&mut self, place: Place) {
        self.damaged.insert(place);
    }

    /// Forgets packs that are no more.
    pub(super) fn remove_packs(&mut self, numbers: &BTreeSet<u32>) {
        let stays = |place: &Place| !numbers.contains(&place.pack);
        self.packs.retain(|number, _| !numbers.contains(number));
        self.blocks.retain(|(_, place), _| stays(place));
        self.dead.retain(stays);
        self.damaged.retain(stays);
    }

    /// All blocks of a name that are not dead, in the order in which they were appended.
    pub(super) fn blocks(&self, name: Checksum) -> impl Iterator<Item = Location> {
        let named = self.blocks.range((name, Place::FIRST)..=(name, Place::LAST));
        let locations = named.map(|((_, place), header)| Location { place: *place, header: *header });
        locations.filter(|location| !self.is_dead(location.place))
    }

    /// The block by which a payload is visible.
    pub(super) fn payload(&self, payload: Checksum) -> Option<Found> {
        let erased = self.blocks(payload).filter(|at| at.header.kind == Kind::Erased).last();
        let since = erased.map_or(Place::FIRST, |at| at.place);
        self.best(self.blocks(payload).filter(|at| at.header.kind.is_payload() && at.place > since))
    }

    /// The block that holds the bytes of a chunk.
    pub(super) fn chunk(&self, digest: Checksum) -> Option<Found> {
        self.best(self.blocks(digest).filter(|at| at.header.kind.is_chunk()))
    }

    /// Whether the last that happened to a payload is that it was erased.
    pub(super) fn is_erased(&self, payload: Checksum) -> bool {
        let last =
            self.blocks(payload).filter(|at| at.header.kind == Kind::Erased || at.header.kind.is_payload()).last();
        last.is_some_and(|at| at.header.kind == Kind::Erased)
    }

    /// Unless it is known to be damaged, the last stands: a block is only put again if the one before was.
    fn best(&self, blocks: impl Iterator<Item = Location>) -> Option<Found> {
        self.locate(&blocks.max_by_key(|at| (!self.damaged.contains(&at.place), at.place))?)
    }

    /// `found`, unless it is known to be damaged.
    pub(super) fn sound(&self, found: Option<Found>) -> Option<Found> {
        found.filter(|found| !self.damaged.contains(&found.at.place))
    }

    /// A block that this index gave, if its pack is still there.
    pub(super) fn locate(&self, at: &Location) -> Option<Found> {
        Some(Found { pack: Arc::clone(self.packs.get(&at.place.pack)?), at: *at })
    }

    /// Whether the block of this name and place is one that is read.
    pub(super) fn is_used(&self, at: &Location) -> bool {
        let is_it = |found: Option<Found>| found.is_some_and(|found| found.at.place == at.place);
        is_it(self.payload(at.header.name)) || is_it(self.chunk(at.header.name))
    }

    /// Names of all blocks, ascending, each once.
    fn names(&self) -> impl Iterator<Item = Checksum> {
        let mut last = None;
        self.blocks.keys().map(|(name, _)| *name).filter(move |name| last.replace(*name) != Some(*name))
    }

    /// Digests of all payloads, ascending.
    pub(super) fn payloads(&self) -> Vec<Checksum> {
        self.names().filter(|name| self.payload(*name).is_some()).collect()
    }

    /// All blocks that are read, by place.
    pub(super) fn used(&self) -> Vec<Location> {
        let all = self.blocks.iter().map(|((_, place), header)| Location { place: *place, header: *header });
        let mut used: Vec<Location> = all.filter(|at| self.is_used(at)).collect();
        used.sort_unstable_by_key(|at| at.place);
        used
    }
}
