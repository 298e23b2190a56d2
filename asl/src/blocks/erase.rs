//! Erasing payloads on request: what only they need is overwritten with zeros, and a record says
//! so.
//!
//! The record is durable before the first byte is overwritten, so a crash in between is finished
//! when the packs are opened; headers stay, so packs are walked as before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::PoisonError;

use super::block::{Found, read_manifest, read_stored};
use super::compress::compress_block;
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::frame::{HEADER_LEN, Header, Kind};
use super::handle::Blocks;
use super::index::Index;
use super::pack::Pack;
use super::place::{Location, Place};
use super::record::{self, PLACES_MAX};
use super::scan::{self, End};
use super::tail::Append;
use crate::disk::{Context, Disk, DiskFile, Mode};
use uor_index_format::id::Checksum;

const ZEROS_LEN: usize = 1 << 20;
/// Space is given back in pages of at most this many bytes.
const PUNCHED_LEN: u64 = 64 << 10;

/// What erasing a payload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// How many blocks were overwritten.
    pub blocks: u64,
    /// How many bytes they held.
    pub bytes: u64,
}

impl Blocks {
    /// Whether this payload was erased, and has not been put since.
    #[must_use]
    pub fn erased(&self, checksum: Checksum) -> bool {
        self.ask(|index| index.is_erased(checksum)).unwrap_or(false)
    }

    /// Overwrites with zeros whatever of this payload no other payload needs, every copy of it, and
    /// remembers that it was erased; that it is durable when this returns. A payload that is not
    /// here is remembered too. Putting it again ends that. What a put under way rests on stays; if
    /// it is this payload that was put meanwhile, it was put again.
    ///
    /// # Errors
    /// [`BlocksError::Damaged`] where headers or manifests that must be read are damaged, and
    /// nothing was erased; [`BlocksError::TooLarge`] where it has more blocks than a record has
    /// room for; [`BlocksError::Poisoned`]; [`BlocksError::ReadOnly`]; [`BlocksError::Disk`], after
    /// which opening the packs finishes what was begun.
    pub fn erase(&self, checksum: Checksum) -> Result<Erased, BlocksError> {
        let tail = self.tail()?;
        let _alone = self
            .maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let watch = self.pins.watch();
        let mut doomed = self.blocks_of_only(checksum, tail.end()?)?;
        if doomed.len() > PLACES_MAX {
            return Err(BlocksError::TooLarge {
                len: doomed.len() as u64,
                max: PLACES_MAX as u64,
            });
        }
        // Until the record is there nothing more is put: it would be hidden behind it, and its
        // bytes would stay.
        let pinned = watch.pinned();
        if pinned.contains_payload(checksum) {
            return Ok(Erased::default());
        }
        doomed.retain(|at| !pinned.contains(at.header.name));
        let places: Vec<Place> = doomed.iter().map(|at| at.place).collect();
        let found = {
            let mut index = self.index_mut();
            index.bury(places.iter().copied());
            doomed
                .iter()
                .filter_map(|at| index.locate(at))
                .collect::<Vec<_>>()
        };
        self.append_record(Kind::Erased, checksum, &places, true)?;
        drop(pinned);
        let erased = self
            .sync()
            .and_then(|()| tail.attempt(|| zero(&*self.disk, &found)));
        let recorded = erased.and_then(|()| self.append_zeroed(checksum));
        tail.release();
        recorded?;
        let bytes = doomed
            .iter()
            .map(|at| u64::from(at.header.stored_len))
            .sum();
        Ok(Erased {
            blocks: doomed.len() as u64,
            bytes,
        })
    }

    /// The blocks before `end` that only this payload needs: its manifests, and every copy of its
    /// chunks that no other payload has.
    fn blocks_of_only(&self, checksum: Checksum, end: Place) -> Result<Vec<Location>, BlocksError> {
        let mut blocks = Vec::new();
        for walked in self.scan(end)? {
            if let Some(damage) = walked.damages.into_iter().next() {
                return Err(BlocksError::Damaged(damage));
            }
            blocks.extend(walked.blocks);
        }
        let only_its = self.chunks_of_only(checksum, &blocks)?;
        blocks.retain(|at| match at.header.kind {
            Kind::Manifest => at.header.name == checksum,
            kind => kind.is_chunk() && only_its.contains(&at.header.name),
        });
        Ok(blocks)
    }

    /// Digests of the chunks of a payload that no other payload has, going by every manifest of it
    /// that still lies in the packs: what garbage collection dropped is not asked for any more, and
    /// its bytes are there all the same. Where a manifest cannot be read, and so might list
    /// anything, all chunks that no payload has are taken.
    fn chunks_of_only(
        &self,
        checksum: Checksum,
        blocks: &[Location],
    ) -> Result<BTreeSet<Checksum>, BlocksError> {
        let mut chunks: BTreeSet<Checksum> = [checksum].into();
        for at in blocks
            .iter()
            .filter(|at| at.header.kind == Kind::Manifest && at.header.name == checksum)
        {
            let Some(found) = self.index().locate(at) else {
                continue;
            };
            match read_manifest(&found) {
                Ok(manifest) => chunks.extend(manifest.chunks.iter().map(|chunk| chunk.digest)),
                Err(BlocksError::Damaged(_)) if is_zero(&read_stored(&found)?) => {}
                Err(BlocksError::Damaged(_)) => {
                    let parts = blocks.iter().filter(|at| at.header.kind.is_chunk());
                    chunks.extend(parts.map(|at| at.header.name));
                }
                Err(error) => return Err(error),
            }
        }
        for (_, needed) in self
            .index()
            .forgotten()
            .iter()
            .filter(|(other, _)| **other != checksum)
        {
            let needed = needed.clone().map_err(BlocksError::Damaged)?;
            chunks.retain(|chunk| !needed.contains(chunk));
        }
        let others = self.ask(Index::payloads)?;
        for other in others.into_iter().filter(|other| *other != checksum) {
            for chunk in self.chunks(other)? {
                chunks.remove(&chunk.digest);
            }
        }
        Ok(chunks)
    }

    /// The headers of all packs, up to `end`.
    pub(super) fn scan(&self, end: Place) -> Result<Vec<scan::Walk>, BlocksError> {
        let packs: Vec<_> = self
            .index()
            .packs
            .range(..=end.pack)
            .map(|(_, pack)| pack.clone())
            .collect();
        let len = |pack: &Pack| {
            if pack.number == end.pack {
                Ok(end.offset)
            } else {
                pack.len()
            }
        };
        packs
            .iter()
            .map(|pack| scan::walk_to(pack, len(pack)?, End::Closed))
            .collect()
    }

    /// Appends that the erasing of a payload is complete.
    pub(super) fn append_zeroed(&self, name: Checksum) -> Result<(), BlocksError> {
        let header = Header::named(Kind::Zeroed, name);
        self.append_unless(
            || false,
            &Append {
                header,
                stored: &[],
                buries: &[],
                hold: false,
                generation: None,
            },
        )?;
        Ok(())
    }

    /// Appends a record of blocks that are no more.
    pub(super) fn append_record(
        &self,
        kind: Kind,
        name: Checksum,
        places: &[Place],
        hold: bool,
    ) -> Result<(), BlocksError> {
        let raw = record::encode(name, places);
        let (header, stored) = compress_block(kind, name, &raw)?;
        self.append_unless(
            || false,
            &Append {
                header,
                stored: &stored,
                buries: places,
                hold,
                generation: None,
            },
        )?;
        Ok(())
    }
}

/// Blocks, and where there should be one and is none.
#[derive(Default)]
pub(super) struct Located {
    pub(super) found: Vec<Found>,
    pub(super) damages: Vec<BlockDamage>,
}

/// The blocks at these places, as far as their packs are still there.
pub(super) fn located(index: &Index, places: &[Place]) -> Result<Located, BlocksError> {
    let mut all = Located::default();
    for place in places {
        let Some(pack) = index.packs.get(&place.pack) else {
            continue;
        };
        match scan::header_at(pack, place.offset)? {
            Ok(header) => all.found.push(Found {
                pack: pack.clone(),
                at: Location {
                    place: *place,
                    header,
                },
            }),
            Err(mismatch) => all
                .damages
                .push(mismatch.at(&pack.path, place.offset).into()),
        }
    }
    Ok(all)
}

/// Overwrites the stored bytes of these blocks with zeros, durably.
pub(super) fn zero(disk: &dyn Disk, blocks: &[Found]) -> Result<(), BlocksError> {
    let mut by_pack: BTreeMap<u32, Vec<&Location>> = BTreeMap::new();
    for found in blocks {
        by_pack
            .entry(found.at.place.pack)
            .or_default()
            .push(&found.at);
    }
    let zeros = vec![0; ZEROS_LEN];
    for (number, blocks) in by_pack {
        let path = Pack::path(number);
        let file = disk.open(&path, Mode::Write).during("open", &path)?;
        for at in blocks {
            let mut offset = at.place.offset + HEADER_LEN as u64;
            let end = offset + u64::from(at.header.stored_len);
            while offset < end {
                let len = usize::try_from(end - offset)
                    .unwrap_or(ZEROS_LEN)
                    .min(ZEROS_LEN);
                zero_range(&*file, offset, &zeros[..len]).during("erase in", &path)?;
                offset += len as u64;
            }
        }
        file.sync().during("sync", &path)?;
    }
    Ok(())
}

/// Overwrites a range with zeros. Where what is written takes new space and the disk is full, as
/// after garbage was collected or on a file system that copies what it overwrites, the space is
/// given back instead, and only what is no whole page is written.
fn zero_range(file: &dyn DiskFile, offset: u64, zeros: &[u8]) -> io::Result<()> {
    match file.write_at(offset, zeros) {
        Err(error)
            if error.kind() == io::ErrorKind::StorageFull
                && file.punch(offset, zeros.len() as u64)? => {}
        written => return written,
    }
    let edge = |len: u64| {
        let len = usize::try_from(len).expect("it is shorter than a page that is punched");
        len.min(zeros.len())
    };
    let first = edge(offset.next_multiple_of(PUNCHED_LEN) - offset);
    file.write_at(offset, &zeros[..first])?;
    let end = offset + zeros.len() as u64;
    let last = edge(end % PUNCHED_LEN);
    file.write_at(end - last as u64, &zeros[..last])
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
