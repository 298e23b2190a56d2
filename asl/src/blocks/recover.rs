//! Opening packs: `FORMAT.md`, "Blocks: every way a crash can fall".
//!
//! Of closed packs, runs say what is in them. Of others the headers are read, and behind the offset
//! that the last mark calls durable, where a block may be torn behind a sound header, the contents
//! too.
//!
//! No damage keeps packs from being opened. What is damaged is said and left as it is: nothing is
//! appended to such a pack, cut from it, or removed, and no run says what is in it, so that it is
//! looked at again whenever packs are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};

use super::block::{Found, read_places};
use super::damage::BlockDamage;
use super::erase;
use super::error::{BlocksError, Interrupted};
use super::frame::{HEADER_LEN, Header, Kind};
use super::handle::Blocks;
use super::index::Index;
use super::layout::{DIR, INDEX_DIR, Options, VERSION};
use super::list::List;
use super::pack::{Pack, remove_files};
use super::pins::PinBoard;
use super::place::Place;
use super::present::Present;
use super::recovery::Recovery;
use super::repair::{cut, repair, verify_tail};
use super::run::{self, Run};
use super::scan::{self, End, Walk, walk};
use super::seal;
use super::tail::Tail;
use crate::disk::{self, Context, Disk, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// How often a reader begins again when a writer changes the packs under it.
const ATTEMPTS_MAX: u32 = 64;

impl Blocks {
    /// Opens the packs on `disk`; see [`Blocks::open_with`].
    ///
    /// # Errors
    /// As [`Blocks::open_with`].
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<(Self, Recovery), BlocksError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the packs in directory `blocks` of `disk`, reading every header, and every byte of
    /// what is not known to be durable. What is damaged or missing is said and passed over. A
    /// writer creates the directory if there is none, cuts a torn tail, makes every block durable
    /// that is not known to be, and appends behind what is damaged. A reader changes nothing, and
    /// begins again where a writer has meanwhile replaced what it had listed.
    ///
    /// # Errors
    /// [`BlocksError::Newer`]; [`BlocksError::Unsettled`] to a reader beside a writer that does not
    /// come to rest; [`BlocksError::Disk`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<(Self, Recovery), BlocksError> {
        open(&disk, mode, options)
    }
}

/// Opens the packs. A reader that finds that a file has gone since it was listed begins again with
/// what is there now: its writer has merged it, or given it up.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    mode: Mode,
    options: Options,
) -> Result<(Blocks, Recovery), BlocksError> {
    let mut attempt = 1;
    loop {
        match open_once(disk, mode, options) {
            Err(Interrupted::Changed { file }) if attempt == ATTEMPTS_MAX => {
                return Err(BlocksError::Unsettled {
                    file,
                    attempts: attempt,
                });
            }
            Err(Interrupted::Changed { .. }) => attempt += 1,
            Err(Interrupted::Failed(error)) => return Err(error),
            Ok(opened) => return Ok(opened),
        }
    }
}

fn open_once(
    disk: &Arc<dyn Disk>,
    mode: Mode,
    options: Options,
) -> Result<(Blocks, Recovery), Interrupted> {
    let failed = Interrupted::of(mode);
    if mode == Mode::Write {
        disk::create_dir_durably(&**disk, DIR).map_err(|error| failed(error.into()))?;
    }
    let mut recovery = Recovery::default();
    let present = Present::find(disk, mode)?;
    let mut opening = Opening::new(disk, mode);
    opening.packs(&present, &mut recovery)?;
    if mode == Mode::Write {
        if !opening.is_appendable {
            opening.begin_pack(&present.list).map_err(&failed)?;
        }
        if !recovery.has_lost() {
            // Their blocks lie elsewhere, and all of that is there.
            remove_files(&**disk, &present.leftover).map_err(&failed)?;
        }
    }
    recovery.packs =
        u32::try_from(opening.index.packs.len()).expect("packs have numbers of 32 bits");
    recovery.payloads = opening.index.payload_blocks();
    let blocks = opening.finish(options, recovery.damages.clone());
    Ok((blocks, recovery))
}

struct Opening<'a> {
    disk: &'a Arc<dyn Disk>,
    mode: Mode,
    index: Index,
    /// Where a writer appends to the last pack.
    end: u64,
    /// Where its valid blocks end.
    durable_end: u64,
    /// Whether a writer may append to it.
    is_appendable: bool,
    /// Whether the last pack is of an older version.
    outdated: bool,
}

impl<'a> Opening<'a> {
    fn new(disk: &'a Arc<dyn Disk>, mode: Mode) -> Self {
        Self {
            disk,
            mode,
            index: Index::default(),
            end: 0,
            durable_end: 0,
            is_appendable: false,
            outdated: false,
        }
    }

    /// The open packs; `damages` were passed over.
    fn finish(self, options: Options, damages: Vec<BlockDamage>) -> Blocks {
        let last = self.index.packs.values().next_back();
        let last = last.filter(|_| self.mode == Mode::Write);
        let tail = last.map(|pack| {
            Tail::new(
                Arc::clone(pack),
                self.end,
                self.outdated,
                options.pack_bytes,
            )
        });
        Blocks {
            disk: Arc::clone(self.disk),
            index: RwLock::new(self.index),
            tail,
            end: self.durable_end,
            damages: Mutex::new(damages),
            pins: PinBoard::default(),
            maintenance: Mutex::default(),
            threads: options.threads(),
        }
    }
}

impl Opening<'_> {
    /// Opens these packs.
    fn packs(&mut self, present: &Present, recovery: &mut Recovery) -> Result<(), Interrupted> {
        let failed = Interrupted::of(self.mode);
        recovery.damages.extend(present.missing.iter().cloned());
        if let Some(damage) = &present.list_damage {
            if self.mode == Mode::Write {
                present.list.write(&**self.disk).map_err(&failed)?;
            }
            self.rebuilds(recovery).push(damage.clone());
        }
        let closed = present.closed();
        let sealed = self
            .runs(&closed, present.closed_last(), recovery)
            .map_err(&failed)?;
        for number in closed.difference(&sealed) {
            self.pack(*number, End::Closed, recovery)?;
        }
        match present.open() {
            Some((number, end)) => {
                self.pack(number, end, recovery)?;
                if self.mode == Mode::Write && (present.is_list_new || end == End::Unlisted) {
                    // Not before it has a header: of a listed pack, a torn one is damage.
                    List {
                        last: number,
                        ..present.list.clone()
                    }
                    .write(&**self.disk)
                    .map_err(&failed)?;
                }
            }
            None => {
                self.durable_end = self
                    .index
                    .packs
                    .values()
                    .next_back()
                    .map_or(Ok(0), |pack| pack.len())
                    .map_err(&failed)?
            }
        }
        self.seal(present.closed_last(), recovery).map_err(&failed)
    }

    /// Begins a pack behind all that were ever begun.
    fn begin_pack(&mut self, list: &List) -> Result<(), BlocksError> {
        let last = self
            .index
            .packs
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        let number = list.last.max(last) + 1;
        self.index
            .packs
            .insert(number, Arc::new(Pack::create(self.disk, number)?));
        (self.end, self.outdated) = (file_header::LEN as u64, false);
        Ok(())
    }

    /// Where to note damage of what a writer rebuilds.
    fn rebuilds<'a>(&self, recovery: &'a mut Recovery) -> &'a mut Vec<BlockDamage> {
        if self.mode == Mode::Write {
            &mut recovery.mended
        } else {
            &mut recovery.damages
        }
    }

    /// Opens the runs that fit the packs, and says which packs those are.
    fn runs(
        &mut self,
        closed: &BTreeSet<u32>,
        closed_last: u32,
        recovery: &mut Recovery,
    ) -> Result<BTreeSet<u32>, BlocksError> {
        let mut sealed = BTreeSet::new();
        for packs in self.listed_runs()? {
            if self
                .index
                .runs
                .last()
                .is_some_and(|run| packs.0 <= run.packs.1)
            {
                // What a merge has made of this is there.
                self.remove_run(packs)?;
                continue;
            }
            match Run::open(&**self.disk, packs)? {
                Ok(run) if packs.1 <= closed_last && self.fits(&run, closed, recovery)? => {
                    sealed.extend(closed.range(packs.0..=packs.1));
                    self.index.runs.push(Arc::new(run));
                    continue;
                }
                Ok(_) => {}
                Err(damage) => self.rebuilds(recovery).push(damage.into()),
            }
            self.remove_run(packs)?;
            recovery.rebuilt.push(run::path(packs));
        }
        Ok(sealed)
    }

    /// The packs of all runs, in the order in which they are tried: of two that begin alike, the
    /// longer first. A writer removes what was not finished.
    fn listed_runs(&self) -> Result<Vec<(u32, u32)>, BlocksError> {
        if !self.disk.exists(INDEX_DIR).during("look for", INDEX_DIR)? {
            return Ok(Vec::new());
        }
        let names = self.disk.list(INDEX_DIR).during("list", INDEX_DIR)?;
        if self.mode == Mode::Write {
            for name in names.iter().filter(|name| run::is_unfinished(name)) {
                let path = format!("{}/{name}", INDEX_DIR);
                self.disk.remove(&path).during("remove", &path)?;
            }
        }
        let mut runs: Vec<(u32, u32)> = names
            .iter()
            .filter_map(|name| run::packs_of(name))
            .collect();
        runs.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
        Ok(runs)
    }

    fn remove_run(&self, packs: (u32, u32)) -> Result<(), BlocksError> {
        if self.mode == Mode::Write {
            seal::remove(&**self.disk, packs)
        } else {
            Ok(())
        }
    }

    /// Whether a run is of these packs as they are, so that their headers need not be read. Opens
    /// the packs.
    fn fits(
        &mut self,
        run: &Run,
        closed: &BTreeSet<u32>,
        recovery: &mut Recovery,
    ) -> Result<bool, BlocksError> {
        let lengths = match run.lengths() {
            Ok(lengths) => lengths,
            Err(damage) => {
                self.rebuilds(recovery).push(damage.into());
                return Ok(false);
            }
        };
        let known: BTreeMap<u32, u64> = lengths.into_iter().collect();
        let mut packs = Vec::new();
        for number in closed.range(run.packs.0..=run.packs.1) {
            let pack = Pack::open(self.disk, *number, Mode::ReadOnly)?;
            if known.get(number) != Some(&pack.len()?) || scan::version(&pack)?.is_none() {
                return Ok(false);
            }
            packs.push((*number, Arc::new(pack)));
        }
        self.index.packs.extend(packs);
        Ok(true)
    }

    /// Makes runs of the closed packs that are in none; a reader only says so.
    fn seal(&mut self, last: u32, recovery: &mut Recovery) -> Result<(), BlocksError> {
        for packs in self.index.unsealed(last) {
            let path = run::path(packs);
            if !recovery.rebuilt.contains(&path) {
                recovery.rebuilt.push(path);
            }
            if self.mode == Mode::Write
                && let Some(run) = seal::seal(&**self.disk, &self.index, packs)?
            {
                self.index.seal(run);
            }
        }
        Ok(())
    }
}

impl Opening<'_> {
    fn pack(&mut self, number: u32, end: End, recovery: &mut Recovery) -> Result<(), Interrupted> {
        let failed = Interrupted::of(self.mode);
        let last = end != End::Closed;
        // Closed packs are never opened to write.
        let mode = if last { self.mode } else { Mode::ReadOnly };
        let pack = Arc::new(Pack::open(self.disk, number, mode).map_err(&failed)?);
        let mut walked = walk(&pack, end).map_err(&failed)?;
        if last {
            verify_tail(&pack, &mut walked).map_err(&failed)?;
            if self.mode == Mode::ReadOnly && walked.stopped.is_some() {
                // A writer may have erased what was not yet known to be durable, between its header
                // and its bytes.
                let again = walk(&pack, end).map_err(&failed)?;
                if again.durable > walked.end {
                    return Err(Interrupted::Changed {
                        file: pack.path.clone(),
                    });
                }
            }
        }
        self.walked(&pack, last, walked, recovery).map_err(failed)
    }

    /// Takes what the headers of a pack say.
    fn walked(
        &mut self,
        pack: &Arc<Pack>,
        last: bool,
        mut walk: Walk,
        recovery: &mut Recovery,
    ) -> Result<(), BlocksError> {
        if !last && !walk.sealed && walk.damages.is_empty() {
            walk.damages.push(walk.unsealed(pack));
        }
        if last {
            self.durable_end = walk.end;
            self.is_appendable = self.mode == Mode::Write && walk.damages.is_empty();
            if self.is_appendable || self.mode == Mode::ReadOnly {
                recovery.cut = cut(pack, &walk)?;
            }
        }
        if self.is_appendable && last {
            self.end = repair(self.disk, pack, &walk)?;
            self.outdated = (1..VERSION).contains(&walk.version);
        }
        self.index.packs.insert(pack.number, Arc::clone(pack));
        let mut unfinished = BTreeMap::new();
        for at in walk.blocks {
            match at.header.kind {
                Kind::Erased | Kind::Dropped => match read_places(&Found {
                    pack: Arc::clone(pack),
                    at,
                }) {
                    Ok(places) => {
                        self.index.record(pack.number, places.iter().copied());
                        if at.header.kind == Kind::Erased {
                            unfinished.insert(at.header.name, places);
                        }
                    }
                    Err(BlocksError::Damaged(damage)) => walk.damages.push(damage),
                    Err(error) => return Err(error),
                },
                Kind::Zeroed => drop(unfinished.remove(&at.header.name)),
                _ => {}
            }
            self.index.insert(at);
        }
        if self.mode == Mode::Write && (last || !walk.damages.is_empty()) {
            self.finish_erasing(pack, &unfinished, &mut walk.damages)?;
        }
        if !walk.damages.is_empty() {
            self.index.damaged_packs.insert(pack.number);
        }
        recovery.damages.append(&mut walk.damages);
        Ok(())
    }

    /// Erases what a crash kept from being erased. A pack in which that is begun is not closed
    /// before it is done, but for a damaged one; where a block of it is damaged, or the pack that
    /// says it, it is done again whenever packs are opened.
    fn finish_erasing(
        &mut self,
        pack: &Pack,
        unfinished: &BTreeMap<Checksum, Vec<Place>>,
        damages: &mut Vec<BlockDamage>,
    ) -> Result<(), BlocksError> {
        for (name, places) in unfinished {
            let located = erase::located(&self.index, places)?;
            erase::zero(&**self.disk, &located.found)?;
            let is_done = located.damages.is_empty();
            damages.extend(located.damages);
            if is_done && self.is_appendable {
                pack.write(
                    self.end,
                    &Header::named(Kind::Zeroed, *name).encode(pack.number, self.end),
                )?;
                self.end += HEADER_LEN as u64;
            }
        }
        Ok(())
    }
}
