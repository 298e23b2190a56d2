//! Housekeeping: the index is written as it grows, and its runs are merged. Readers and writers go on meanwhile.
//!
//! A *seal* takes what is in the index's head, writes it as a run of files, and then a checkpoint that names them. A *merge*
//! writes several runs anew as one, from the part of the log that they cover: a sequential read. In both, files are durable
//! before the checkpoint that names them, and what it no longer names is removed after it; so a crash at any point leaves a
//! checkpoint whose files are there, or none.
//!
//! Locks are taken in this order: judge, keeping, view.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use uor_index_format::codec::Reader;
use uor_index_format::commit::{CommitHeader, field};
use uor_index_format::id::{CommitHash, SiteId};
use uor_index_format::record::RecordHeader;

use super::checkpoint::{Checkpoint, DIR, Parts, StoredRun};
use super::{Store, StoreError, View, entry};
use crate::commits::Unstored;
use crate::disk::{self, Context as _, Disk, DiskError, DiskFile, Mode, Sealed};
use crate::index::{Class, CommitRef, Head, Run, RunBuilder, RunSize, merge_all, merge_due};
use crate::judge::{Judge, Memory};
use crate::log::{LogPosition, LogView};
use crate::state::ReadError;

/// So many commits after a checkpoint are read again when a store is opened, at most: each has a signature to be checked.
const COMMITS_UNSEALED_MAX: u64 = 1024;

/// So many records are laid out at once, at most: about a gigabyte of memory.
const RECORDS_AT_ONCE: u64 = 1 << 25;

/// What housekeeping remembers between its steps.
#[derive(Default)]
pub(super) struct Keeping {
    /// The runs, oldest first.
    runs: Vec<StoredRun>,
    next_run: u32,
    checkpoint: Option<Checkpoint>,
    /// What a seal had begun when the disk refused.
    begun: Option<Capture>,
    /// Raised when everything is judged anew: what was begun before is of no use then.
    generation: u64,
    is_busy: bool,
}

/// What a seal needs to know, taken while no writer is at work.
struct Capture {
    head: Arc<Head>,
    log: LogView,
    through: LogPosition,
    judge: Memory,
    parts: Parts,
    unstored: Vec<Unstored>,
    uncounted: u64,
    uncounted_heads: Vec<([u8; 32], u64)>,
}

/// What a seal has written: the run, and the commit tables in the order of their domains.
struct Written {
    run: Run,
    tables: Vec<Arc<dyn DiskFile>>,
}

impl Store {
    /// Does the next piece of housekeeping, if one is due, and says whether it was. Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses: nothing is lost, and it is tried again next time.
    pub fn maintain(&self) -> Result<bool, StoreError> {
        self.keep(|store| {
            store.view().state().fold();
            if store.is_seal_due() {
                return store.seal();
            }
            let due = merge_due(&store.keeping().sizes(&store.view()));
            due.map_or(Ok(false), |runs| store.merge_runs(runs).map(|()| true))
        })
    }

    /// Writes the index for everything that is here, so that opening the store reads no log.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn seal_index(&self) -> Result<(), StoreError> {
        self.keep(Self::seal).map(drop)
    }

    /// Writes the index for everything that is here, in as few runs as can be.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.seal_index()?;
        self.keep(|store| {
            store.view().state().fold();
            loop {
                let runs = merge_all(&store.keeping().sizes(&store.view()));
                let Some(runs) = runs else { return Ok(true) };
                store.merge_runs(runs)?;
            }
        })?;
        Ok(())
    }

    /// Sees to it that what is due is done: now, or by the keeper while it keeps up. What fails takes nothing back and is
    /// tried again with the next commit.
    pub(super) fn keep_up(&self) {
        if !self.is_seal_due() {
            return;
        }
        self.work.notify_all();
        let has_room = self.view().state().index().head_len() < self.options.head_records_max.saturating_mul(2);
        if self.is_kept.load(Ordering::SeqCst) && has_room {
            return;
        }
        while self.maintain().unwrap_or(false) {}
    }

    pub(super) fn is_seal_due(&self) -> bool {
        let view = self.view();
        let (index, commits) = (view.state().index(), view.state().commits());
        self.mode == Mode::Write
            && (index.head_len() >= self.options.head_records_max || commits.unstored_len() >= COMMITS_UNSEALED_MAX)
    }

    /// Runs one piece of housekeeping at a time.
    fn keep(&self, action: impl FnOnce(&Self) -> Result<bool, StoreError>) -> Result<bool, StoreError> {
        if self.mode == Mode::ReadOnly {
            return Ok(false);
        }
        let free = |keeping: &mut Keeping| keeping.is_busy;
        let mut keeping = self.idle.wait_while(self.keeping(), free).unwrap_or_else(PoisonError::into_inner);
        keeping.is_busy = true;
        drop(keeping);
        let done = action(self);
        self.keeping().is_busy = false;
        self.idle.notify_all();
        done
    }

    pub(super) fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self) -> Result<bool, StoreError> {
        let begun = self.keeping().begun.take();
        let Some((generation, capture)) = (match begun {
            Some(capture) => Some((self.keeping().generation, capture)),
            None => self.capture()?,
        }) else {
            return Ok(false);
        };
        let number = self.keeping().take_number();
        match self.write_run(number, &capture) {
            Ok(written) => self.install(generation, number, capture, written),
            Err(error) => {
                let mut keeping = self.keeping();
                keeping.begun = (keeping.generation == generation).then_some(capture);
                Err(error)
            }
        }
    }

    /// Sets aside what is to be sealed; `None` if nothing has changed since the last checkpoint.
    fn capture(&self) -> Result<Option<(u64, Capture)>, StoreError> {
        let judge = self.judge();
        let judge = judge.as_ref().ok_or(StoreError::Poisoned)?;
        let generation = self.keeping().generation;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let through = view.state().log().end();
        if self.keeping().checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.through() == through) {
            return Ok(None);
        }
        Ok(Some((generation, view.capture(judge))))
    }

    fn write_run(&self, number: u32, capture: &Capture) -> Result<Written, StoreError> {
        let builder = RunBuilder::of(&capture.head, self.options.shards.get());
        let files = builder.encode(number, &capture.log)?;
        let run = open_run(number, write_files(self.disk(), number, 0, files)?)?;
        let store = |unstored: &Unstored| unstored.store(self.disk().as_ref());
        let tables = capture.unstored.iter().map(store).collect::<Result<_, _>>()?;
        // A payload that is no longer wanted has to be here after a crash as well.
        self.blocks.sync()?;
        Ok(Written { run, tables })
    }

    fn install(&self, generation: u64, number: u32, capture: Capture, written: Written) -> Result<bool, StoreError> {
        let Written { run, tables } = written;
        let mut keeping = self.keeping();
        if keeping.generation != generation {
            return Ok(true);
        }
        let range = (keeping.end().to_u64(), capture.through.to_u64());
        keeping.runs.push(StoredRun { number, range, seals: run.seals() });
        let checkpoint = keeping.checkpoint_of(self.options.shards.get(), &capture);
        if let Err(error) = checkpoint.store(self.disk().as_ref()) {
            keeping.runs.pop();
            keeping.begun = Some(capture);
            return Err(error.into());
        }
        keeping.checkpoint = Some(checkpoint);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.state.sealed(Arc::new(run), capture.unstored.into_iter().zip(tables));
        Ok(true)
    }

    /// Writes these runs anew as one.
    fn merge_runs(&self, runs: Range<usize>) -> Result<(), StoreError> {
        let (generation, number, range) = {
            let mut keeping = self.keeping();
            let (first, last) = (&keeping.runs[runs.start], &keeping.runs[runs.end - 1]);
            let range = (LogPosition::from_u64(first.range.0), LogPosition::from_u64(last.range.1));
            (keeping.generation, keeping.take_number(), range)
        };
        let records: u64 = self.keeping().sizes(&self.view())[runs.clone()].iter().map(|run| run.records).sum();
        let shards = self.options.shards.get();
        let passes = u32::try_from(records.div_ceil(RECORDS_AT_ONCE)).unwrap_or(u32::MAX).clamp(1, shards);
        let mut files = Vec::new();
        for pass in 0..passes {
            let taken = pass * shards / passes..(pass + 1) * shards / passes;
            let mut builder = RunBuilder::for_shards(shards, taken.clone());
            self.read_range(range, &mut builder)?;
            let log = self.view().state().log().clone();
            files.extend(write_files(self.disk(), number, taken.start, builder.encode(number, &log)?)?);
        }
        let run = open_run(number, files)?;
        let mut keeping = self.keeping();
        if keeping.generation != generation {
            return Ok(());
        }
        let stored = StoredRun { number, range: (range.0.to_u64(), range.1.to_u64()), seals: run.seals() };
        let before = keeping.runs.clone();
        let old: Vec<StoredRun> = keeping.runs.splice(runs.clone(), [stored]).collect();
        let Some(mut checkpoint) = keeping.checkpoint.clone() else { return Ok(()) };
        checkpoint.runs.clone_from(&keeping.runs);
        checkpoint.next_run = keeping.next_run;
        if let Err(error) = checkpoint.store(self.disk().as_ref()) {
            keeping.runs = before;
            return Err(error.into());
        }
        keeping.checkpoint = Some(checkpoint);
        self.view.write().unwrap_or_else(PoisonError::into_inner).state.merged(runs, Arc::new(run));
        drop(keeping);
        for (run, shard) in old.iter().flat_map(|run| (0..shards).map(move |shard| (run.number, shard))) {
            let path = path(run, shard);
            self.disk.remove(&path).during("remove", &path)?;
        }
        Ok(self.disk.sync_dir(DIR).during("sync", DIR)?)
    }

    /// Reads the records of all commits that count in a range of the log.
    fn read_range(&self, range: (LogPosition, LogPosition), builder: &mut RunBuilder) -> Result<(), StoreError> {
        for found in self.log.entries_from(range.0)? {
            let found = found?;
            if found.position >= range.1 {
                break;
            }
            if found.kind != entry::COMMIT {
                continue;
            }
            let broken = |source| StoreError::Entry { position: found.position, source };
            let Some(commit) = self.view().counted(found.position, &found.body)? else { continue };
            let mut reader = Reader::new(&found.body);
            reader.take("commit header", CommitHeader::LEN).map_err(broken)?;
            let learned = u32_at(&found.body[field::LEARNED_COUNT]);
            reader.take("membership commits", learned as usize * CommitHash::LEN).map_err(broken)?;
            let code = builder.begin_commit(commit);
            for _ in 0..u32_at(&found.body[field::RECORD_COUNT]) {
                let at = found.position.body().plus(reader.offset());
                let header = RecordHeader::read(&mut reader).map_err(broken)?;
                reader.take("record body", header.body_len as usize).map_err(broken)?;
                builder.push(header.id.prefix(), at, Class { kind: header.kind, type_tag: header.type_tag }, code);
            }
        }
        Ok(())
    }
}

impl View {
    /// Sets aside what is to be sealed.
    fn capture(&mut self, judge: &Judge) -> Capture {
        let through = self.state.log().end();
        Capture {
            log: self.state.log().clone(),
            through,
            judge: judge.memory(),
            parts: Parts {
                sum: self.state.sum(),
                conflicts: self.state.conflicting().clone(),
                wanted: self.wanted.clone(),
                erased: self.erased.clone(),
                testimony: self.testimony.clone(),
            },
            unstored: self.state.commits().unstored(),
            uncounted: self.uncounted,
            uncounted_heads: self.uncounted_heads.iter().map(|(site, number)| (*site.as_bytes(), *number)).collect(),
            head: self.state.freeze(),
        }
    }

    /// The commit in this entry of the log, if it counts.
    fn counted(&self, position: LogPosition, body: &[u8]) -> Result<Option<CommitRef>, ReadError> {
        let (Some(domain), Some(number)) = (body.get(field::DOMAIN), body.get(field::NUMBER)) else { return Ok(None) };
        let (Ok(domain), Ok(number)) = (<[u8; 32]>::try_from(domain), <[u8; 8]>::try_from(number)) else {
            return Ok(None);
        };
        let (domain, number) = (SiteId::from_bytes(domain), u64::from_le_bytes(number));
        let commits = self.state.commits();
        let row = commits.row(&domain, number)?.filter(|row| row.at == position);
        let named = |row: crate::commits::CommitRow| {
            Some(CommitRef { domain: commits.ordinal(&domain)?, number, logseq: row.logseq })
        };
        Ok(row.and_then(named))
    }
}

impl Keeping {
    /// Takes up a checkpoint that was read.
    pub(super) fn resume(&mut self, checkpoint: Checkpoint) {
        self.runs.clone_from(&checkpoint.runs);
        self.next_run = checkpoint.next_run;
        self.checkpoint = Some(checkpoint);
    }

    /// Gives up the index: everything is to be judged anew.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(super) fn forget(&mut self, store: &Store) -> Result<(), DiskError> {
        *self =
            Self { generation: self.generation + 1, next_run: self.next_run, is_busy: self.is_busy, ..Self::default() };
        if store.mode == Mode::Write { Checkpoint::remove(store.disk.as_ref()) } else { Ok(()) }
    }

    /// Writes what is in the head of a view that is being rebuilt as a run, if there is much; a reader keeps the run in
    /// memory. No checkpoint names it before all is judged.
    pub(super) fn spill(&mut self, store: &Store, view: &mut View, through: LogPosition) -> Result<(), StoreError> {
        if view.state.index().head_len() < store.options.head_records_max {
            return Ok(());
        }
        let number = self.take_number();
        let head = view.state.freeze();
        let files = RunBuilder::of(&head, store.options.shards.get()).encode(number, view.state.log())?;
        let files = match store.mode {
            Mode::Write => write_files(store.disk(), number, 0, files)?,
            Mode::ReadOnly => (0..).zip(files).map(|(shard, bytes)| (path(number, shard), bytes.into())).collect(),
        };
        let run = open_run(number, files)?;
        let range = (self.end().to_u64(), through.to_u64());
        self.runs.push(StoredRun { number, range, seals: run.seals() });
        view.state.thaw(Arc::new(run));
        Ok(())
    }

    /// Removes files that an unfinished seal or merge has left behind. What is not of our making is left alone.
    pub(super) fn sweep(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        if !disk.exists(DIR).during("look for", DIR)? {
            return Ok(());
        }
        let named: BTreeSet<u32> = self.runs.iter().map(|run| run.number).collect();
        let names = disk.list(DIR).during("list", DIR)?;
        let number = |name: &str| -> Option<u32> {
            let (number, shard) = name.strip_suffix(".run")?.split_once('-')?;
            let is_ours = number.len() == 8 && shard.len() == 5 && shard.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| is_ours)
        };
        for name in names.iter().filter(|name| number(name).is_some_and(|number| !named.contains(&number))) {
            let path = format!("{DIR}/{name}");
            disk.remove(&path).during("remove", &path)?;
        }
        Ok(())
    }

    /// Up to where in the log the runs reach.
    fn end(&self) -> LogPosition {
        self.runs.last().map_or(LogPosition::START, |run| LogPosition::from_u64(run.range.1))
    }

    fn take_number(&mut self) -> u32 {
        self.next_run += 1;
        self.next_run
    }

    fn sizes(&self, view: &View) -> Vec<RunSize> {
        let position = LogPosition::from_u64;
        let sizes = self.runs.iter().zip(view.state().index().runs());
        sizes
            .map(|(stored, run)| RunSize {
                records: run.records(),
                range: (position(stored.range.0), position(stored.range.1)),
            })
            .collect()
    }

    fn checkpoint_of(&self, shards: u32, capture: &Capture) -> Checkpoint {
        let domains = capture.unstored.iter().map(|unstored| (*unstored.site().as_bytes(), unstored.len()));
        Checkpoint::new(
            capture.through,
            shards,
            self.next_run,
            self.runs.clone(),
            domains.collect(),
            capture.judge.clone(),
            (capture.uncounted, capture.uncounted_heads.clone()),
            &capture.parts,
        )
    }
}

/// Writes the files of a run from shard `first` on, durably, and maps them.
fn write_files(
    disk: &Arc<dyn Disk>,
    number: u32,
    first: u32,
    files: Vec<Vec<u8>>,
) -> Result<Vec<(String, Sealed)>, StoreError> {
    disk::create_dir_durably(disk.as_ref(), DIR)?;
    let mut paths = Vec::with_capacity(files.len());
    for (shard, bytes) in (first..).zip(files) {
        let path = path(number, shard);
        let file = disk.open(&path, Mode::Write).during("create", &path)?;
        file.set_len(0).during("empty", &path)?;
        file.write_at(0, &bytes).during("write", &path)?;
        file.sync().during("sync", &path)?;
        paths.push(path);
    }
    disk.sync_dir(DIR).during("sync", DIR)?;
    paths.into_iter().map(|path| Ok((path.clone(), map(disk.as_ref(), &path)?))).collect()
}

/// Opens the files of a run that a checkpoint names.
///
/// # Errors
/// [`StoreError`] if one is missing, damaged, or not the one that is named.
pub(super) fn open_stored(disk: &dyn Disk, stored: &StoredRun) -> Result<Run, StoreError> {
    let shards = (0..).take(stored.seals.len());
    let files = shards.map(|shard| {
        let path = path(stored.number, shard);
        Ok((path.clone(), map(disk, &path)?))
    });
    let run = open_run(stored.number, files.collect::<Result<_, DiskError>>()?)?;
    if run.seals() != stored.seals {
        return Err(StoreError::StaleIndex { run: stored.number });
    }
    Ok(run)
}

fn open_run(number: u32, files: Vec<(String, Sealed)>) -> Result<Run, StoreError> {
    Ok(Run::open(number, files).map_err(ReadError::from)?)
}

fn map(disk: &dyn Disk, path: &str) -> Result<Sealed, DiskError> {
    disk.open(path, Mode::ReadOnly).during("open", path)?.map_sealed().during("map", path)
}

fn path(number: u32, shard: u32) -> String {
    format!("{DIR}/{number:08}-{shard:05}.run")
}

fn u32_at(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
