//! Opening packs: `FORMAT.md`, "Blocks: every way a crash can fall".
//!
//! Only headers are read, except behind the offset that the last mark calls durable: there a block may be torn behind a
//! sound header, so its contents are verified too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};

use super::erase;
use super::frame::{HEADER_LEN, Header, Invalid, Kind};
use super::index::{Found, Index, Location, Place};
use super::list::List;
use super::pack::{Pack, Tail};
use super::pins::PinBoard;
use super::read::read_block;
use super::scan::{End, Walk, walk};
use super::{Blocks, BlocksError, Cut, DIR, EXTENSION, Options, Recovery, VERSION, record};
use crate::disk::{self, Context, Disk, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

pub(super) fn open(disk: Arc<dyn Disk>, mode: Mode, options: Options) -> Result<(Blocks, Recovery), BlocksError> {
    if mode == Mode::Write {
        disk::create_dir_durably(&*disk, DIR)?;
    }
    let mut recovery = Recovery::default();
    let (numbers, listed) = numbers(&*disk, mode, &mut recovery)?;
    let mut opening =
        Opening { disk: &*disk, mode, index: Index::default(), gone: Vec::new(), end: 0, outdated: false };
    for number in &numbers {
        let end = match Some(number) == numbers.last() {
            false => End::Closed,
            true if *number <= listed => End::Open,
            true => End::Unlisted,
        };
        opening.pack(*number, end, &mut recovery)?;
    }
    let Opening { mut index, gone, mut end, outdated, .. } = opening;
    index.bury(gone);
    if mode == Mode::Write && index.packs.is_empty() {
        let number = List::read(&*disk)?.last + 1;
        index.packs.insert(number, Arc::new(Pack::create(&*disk, number)?));
        end = file_header::LEN as u64;
    }
    recovery.packs = u32::try_from(index.packs.len()).unwrap_or(u32::MAX);
    recovery.payloads = index.payloads().len() as u64;
    let last = index.packs.values().next_back().filter(|_| mode == Mode::Write);
    let tail = last.map(|pack| Tail::new(Arc::clone(pack), end, outdated, options.pack_bytes));
    let damages = recovery.damages.clone();
    let (index, pins, maintenance) = (RwLock::new(index), PinBoard::default(), Mutex::default());
    Ok((Blocks { disk, index, tail, damages, pins, maintenance, threads: options.threads() }, recovery))
}

/// The numbers of the packs that there are, which are those that there should be, and the last that was listed.
fn numbers(disk: &dyn Disk, mode: Mode, recovery: &mut Recovery) -> Result<(BTreeSet<u32>, u32), BlocksError> {
    let mut list = read_list(disk, mode, recovery)?;
    let found = loop {
        // The list first: a writer lists a pack after it has begun it.
        let found: BTreeSet<u32> = disk::list_numbered(disk, DIR, EXTENSION)?.into_iter().collect();
        let Some(missing) = list.missing(&found) else { break found };
        let again = read_list(disk, mode, recovery)?;
        if again == list {
            return Err(BlocksError::MissingPack { file: Pack::path(missing) });
        }
        list = again;
    };
    if mode == Mode::Write {
        let leftover: BTreeSet<u32> = found.intersection(&list.removed).copied().collect();
        remove_packs(disk, &leftover)?;
        if let Some(last) = found.last().copied().filter(|last| *last > list.last) {
            List { last, ..list.clone() }.write(disk)?;
        }
    }
    Ok((found.difference(&list.removed).copied().collect(), list.last))
}

/// The list of packs; a reader passes over a damaged one.
fn read_list(disk: &dyn Disk, mode: Mode, recovery: &mut Recovery) -> Result<List, BlocksError> {
    match List::read(disk) {
        Err(BlocksError::Damaged(damage)) if mode == Mode::ReadOnly => {
            let found = disk::list_numbered(disk, DIR, EXTENSION)?;
            recovery.damages = vec![damage];
            let last = found.last().copied().unwrap_or(0);
            // Which should be there is not known.
            Ok(List { last, removed: (1..=last).filter(|number| !found.contains(number)).collect() })
        }
        read => read,
    }
}

/// Removes the files of packs that the list says are no more.
pub(super) fn remove_packs(disk: &dyn Disk, numbers: &BTreeSet<u32>) -> Result<(), BlocksError> {
    for number in numbers {
        let path = Pack::path(*number);
        disk.remove(&path).during("remove", &path)?;
    }
    if !numbers.is_empty() {
        disk.sync_dir(DIR).during("sync", DIR)?;
    }
    Ok(())
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    mode: Mode,
    index: Index,
    /// Blocks that records say are no more.
    gone: Vec<Place>,
    /// Where the last pack ends.
    end: u64,
    /// Whether the last pack is of an older version.
    outdated: bool,
}

impl Opening<'_> {
    fn pack(&mut self, number: u32, end: End, recovery: &mut Recovery) -> Result<(), BlocksError> {
        let last = end != End::Closed;
        // Closed packs are never opened to write.
        let mode = if last { self.mode } else { Mode::ReadOnly };
        let pack = Arc::new(Pack::open(self.disk, number, mode)?);
        let mut walk = walk(&pack, end)?;
        if last {
            verify_tail(&pack, &mut walk)?;
            recovery.cut = cut(&pack, &walk)?;
        } else if !walk.sealed && walk.damages.is_empty() {
            let (expected, found) = ("a seal".to_owned(), "the end of the file".to_owned());
            walk.damages.push(Invalid { what: "end of pack", expected, found }.damage(&pack, walk.end, None));
        }
        if self.mode == Mode::Write {
            if let Some(damage) = walk.damages.into_iter().next() {
                return Err(BlocksError::Damaged(damage));
            }
            walk.damages = Vec::new();
            if last {
                (self.end, self.outdated) = (repair(self.disk, &pack, &walk)?, (1..VERSION).contains(&walk.version));
            }
        }
        recovery.damages.append(&mut walk.damages);
        self.index.packs.insert(number, Arc::clone(&pack));
        let mut unfinished = BTreeMap::new();
        for at in walk.blocks {
            let found = Found { pack: Arc::clone(&pack), at };
            match at.header.kind {
                Kind::Erased | Kind::Dropped => match places(&found) {
                    Ok(places) => {
                        self.gone.extend_from_slice(&places);
                        if at.header.kind == Kind::Erased {
                            unfinished.insert(at.header.name, places);
                        }
                    }
                    Err(BlocksError::Damaged(damage)) if self.mode == Mode::ReadOnly => recovery.damages.push(damage),
                    Err(error) => return Err(error),
                },
                Kind::Zeroed => drop(unfinished.remove(&at.header.name)),
                _ => {}
            }
            self.index.insert(at);
        }
        if last && self.mode == Mode::Write {
            self.finish_erasing(&pack, &unfinished)?;
        }
        Ok(())
    }

    /// Erases what a crash kept from being erased. A pack in which that is begun is not closed before it is done.
    fn finish_erasing(&mut self, pack: &Pack, unfinished: &BTreeMap<Checksum, Vec<Place>>) -> Result<(), BlocksError> {
        for (name, places) in unfinished {
            let found: Vec<Found> = erase::located(&self.index, places)?;
            erase::zero(self.disk, &found)?;
            pack.write(self.end, &Header::named(Kind::Zeroed, *name).encode(pack.number, self.end))?;
            self.end += HEADER_LEN as u64;
        }
        Ok(())
    }
}

/// The places in a record.
pub(super) fn places(found: &Found) -> Result<Vec<Place>, BlocksError> {
    let bytes = read_block(found)?;
    record::decode(found.at.header.name, &bytes).map_err(|(expected, actual)| {
        BlocksError::Damaged(found.damage("record", expected.to_string(), actual.to_string()))
    })
}

/// Verifies the contents of blocks that may not be durable; the first that is torn ends the pack. Those of a block that is
/// being erased may be anything: all before the record that says so is durable.
fn verify_tail(pack: &Arc<Pack>, walk: &mut Walk) -> Result<(), BlocksError> {
    let found = |at: &Location| Found { pack: Arc::clone(pack), at: *at };
    let first = walk.blocks.partition_point(|at| at.place.offset < walk.durable);
    let mut erased = BTreeSet::new();
    for at in walk.blocks[first..].iter().filter(|at| at.header.kind == Kind::Erased) {
        match places(&found(at)) {
            Ok(places) => erased.extend(places),
            Err(BlocksError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for position in first..walk.blocks.len() {
        let at = walk.blocks[position];
        match read_block(&found(&at)) {
            Err(BlocksError::Damaged(damage)) if !erased.contains(&at.place) => {
                walk.end = at.place.offset;
                walk.blocks.truncate(position);
                walk.stopped = Some(damage);
                return Ok(());
            }
            Ok(_) | Err(BlocksError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut(pack: &Pack, walk: &Walk) -> Result<Option<Cut>, BlocksError> {
    let bytes = pack.len()?.saturating_sub(walk.end);
    let torn = walk.stopped.is_some() && bytes > 0;
    Ok(torn.then(|| Cut { file: pack.path.clone(), offset: walk.end, bytes }))
}

/// Makes the last pack one that can be appended to, and says where it ends: cuts the torn tail, and writes what may not be
/// durable once more. A kernel that failed to sync may still show bytes it has given up writing.
fn repair(disk: &dyn Disk, pack: &Arc<Pack>, walk: &Walk) -> Result<u64, BlocksError> {
    if walk.stopped.is_some() {
        pack.file.set_len(walk.end).during("cut the torn tail of", &pack.path)?;
        pack.sync()?;
    }
    if walk.end == 0 {
        Pack::create(disk, pack.number)?;
        return Ok(file_header::LEN as u64);
    }
    let mut offset = walk.durable;
    while offset < walk.end {
        let len = usize::try_from(walk.end - offset).unwrap_or(usize::MAX).min(super::CHUNK_LEN_MAX);
        pack.write(offset, &pack.read(offset, len)?)?;
        offset += len as u64;
    }
    let only_marks = walk.durable > 0 && walk.blocks.last().is_none_or(|block| block.place.offset < walk.durable);
    if only_marks {
        return Ok(walk.end);
    }
    pack.sync()?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    pack.write(walk.end, &Header::mark(Kind::Mark, walk.end).encode(pack.number, walk.end))?;
    Ok(walk.end + HEADER_LEN as u64)
}
