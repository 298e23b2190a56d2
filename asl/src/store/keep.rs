//! Housekeeping: the index is written as it grows, and its runs are merged. Readers and writers go
//! on meanwhile.
//!
//! A *seal* takes what is in the index's head, writes it as a run of files, and then a checkpoint
//! that names them. A *merge* writes several runs anew as one, from the part of the log that they
//! cover: a sequential read. In both, files are durable before the checkpoint that names them, and
//! what it no longer names is removed after it; so a crash at any point leaves a checkpoint whose
//! files are there, or none.
//!
//! What housekeeping knows is owned by whoever keeps house: [`Housekeeping`] lends it to one at a
//! time, for a whole piece of housekeeping, and nobody who holds the judge or the view can ask for
//! it. So there is one order of locks: housekeeping, judge, view. A writer that judges everything
//! anew meanwhile leaves word in the view, by its generation; what was captured of another
//! generation is of no use, and its capture says so itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use uor_index_format::id::SiteId;

use super::checkpoint::{Checkpoint, Parts, StoredRun};
use super::files::{self, give_up, open_run, open_stored, path, remove_files, write_files};
use super::mend::{RunSource, take_records};
use super::{Store, StoreError, View};
use crate::commits::{self, Unstored};
use crate::disk::{self, Disk, DiskError, DiskFile, Mode};
use crate::index::{
    CommitRef, Head, Run, RunBuilder, RunSize, Source, merge_all, merge_due, share_of_run,
};
use crate::judge::{Judge, Memory};
use crate::log::{LogPosition, LogView};
use crate::state::ReadError;

/// So many commits after a checkpoint are read again when a store is opened, at most: each has a
/// signature to be checked.
const COMMITS_UNSEALED_MAX: u64 = 1024;

/// A head is due when its records lie in this share, in percent, of the log that one run can name
/// places of: few records can be long.
const SHARE_DUE: usize = 25;

/// So many records are laid out at once, at most: about a gigabyte of memory.
const RECORDS_AT_ONCE: u64 = 1 << 25;

/// What housekeeping remembers, lent to one at a time.
#[derive(Default)]
pub(super) struct Housekeeping(Mutex<Keeping>);

/// What housekeeping remembers between its steps.
#[derive(Default)]
pub(super) struct Keeping {
    /// The runs, oldest first.
    runs: Vec<StoredRun>,
    checkpoint: Option<Checkpoint>,
    /// What a seal has begun, of the same generation: it stays here until it is done, whatever
    /// becomes of who was at it.
    begun: Option<Capture>,
    /// Of the view that all this belongs to.
    generation: u64,
    /// Whether no file is written, whoever writes the store.
    is_apart: bool,
}

/// Where the index of a view began that was made by judging everything anew.
#[derive(Clone, Default)]
pub(super) struct Beginning {
    /// Raised whenever everything is judged anew.
    generation: u64,
    /// Runs that were written meanwhile, and that no checkpoint names yet.
    runs: Vec<StoredRun>,
}

/// What a seal needs to know, taken while no writer is at work.
struct Capture {
    head: Arc<Head>,
    log: LogView,
    through: LogPosition,
    judge: Memory,
    parts: Parts,
    unstored: Vec<Unstored>,
    ordinals: Arc<BTreeMap<SiteId, u32>>,
    uncounted: u64,
    uncounted_heads: Vec<([u8; 32], u64)>,
}

/// What a seal has written: the run and what a checkpoint says of it, and the commit tables in the
/// order of their domains.
struct Written {
    run: Run,
    stored: StoredRun,
    tables: Vec<Arc<dyn DiskFile>>,
}

impl Housekeeping {
    pub(super) fn of(keeping: Keeping) -> Self {
        Self(Mutex::new(keeping))
    }
}

impl Store {
    /// Does the next piece of housekeeping, if one is due, and says whether it was. Readers and
    /// writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses: nothing is lost, and it is tried again next time.
    pub fn maintain(&self) -> Result<bool, StoreError> {
        self.keep(|store, keeping| {
            store.view().state().fold();
            if store.mend(keeping)? {
                return Ok(true);
            }
            if store.is_seal_due() || !keeping.are_runs_named() {
                return store.seal(keeping);
            }
            let due = merge_due(&keeping.sizes(&store.view()));
            due.map_or(Ok(false), |runs| {
                store.merge_runs(keeping, runs).map(|()| true)
            })
        })
    }

    /// Writes the index for everything that is here, so that opening the store reads no log.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn seal_index(&self) -> Result<(), StoreError> {
        self.keep(|store, keeping| {
            store.mend(keeping)?;
            store.seal(keeping)
        })
        .map(drop)
    }

    /// Writes the index for everything that is here, in as few runs as can be.
    ///
    /// # Errors
    /// As [`Store::maintain`].
    pub fn settle(&self) -> Result<(), StoreError> {
        self.seal_index()?;
        self.keep(|store, keeping| {
            store.view().state().fold();
            loop {
                let runs = merge_all(&keeping.sizes(&store.view()));
                let Some(runs) = runs else { return Ok(true) };
                store.merge_runs(keeping, runs)?;
                store.take_up_generation(keeping)?;
            }
        })?;
        Ok(())
    }

    /// Sees to it that what is due is done: now, or by the keeper while it keeps up. What fails
    /// takes nothing back and is tried again with the next commit.
    pub(super) fn keep_up(&self) {
        if !self.is_seal_due() {
            return;
        }
        self.bell.ring();
        let has_room = self.has_room();
        if self.is_kept.load(Ordering::SeqCst) && has_room {
            return;
        }
        while self.maintain().unwrap_or(false) {}
    }

    fn is_seal_due(&self) -> bool {
        let view = self.view();
        let (index, commits) = (view.state().index(), view.state().commits());
        self.mode == Mode::Write
            && (index.head_len() >= self.options.head_records_max
                || commits.unstored_len() >= COMMITS_UNSEALED_MAX
                || view.head_share() >= SHARE_DUE)
    }

    /// Whether the head may grow while the keeper is at work.
    fn has_room(&self) -> bool {
        let view = self.view();
        let records_max = self.options.head_records_max.saturating_mul(2);
        view.state().index().head_len() < records_max && view.head_share() < 2 * SHARE_DUE
    }

    /// Runs one piece of housekeeping at a time.
    fn keep(
        &self,
        action: impl FnOnce(&Self, &mut Keeping) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        if self.mode == Mode::ReadOnly {
            return Ok(false);
        }
        // A panic in between has left nothing half-done: what was begun is still there, and what is
        // on disk is whole.
        let mut keeping = self
            .housekeeping
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.take_up_generation(&mut keeping)?;
        action(self, &mut keeping)
    }

    /// If everything has been judged anew, forgets what was known before, here and on disk.
    fn take_up_generation(&self, keeping: &mut Keeping) -> Result<(), StoreError> {
        let Beginning { generation, runs } = self.view().beginning.clone();
        if generation != keeping.generation {
            give_up(self.disk.as_ref())?;
            remove_files(self.disk.as_ref(), &keeping.runs)?;
            *keeping = Keeping {
                runs,
                generation,
                ..Keeping::default()
            };
        }
        Ok(())
    }

    /// Puts what was found in the log in the place of what was damaged of the index; says whether
    /// there was any. If something could not be found, everything is judged anew.
    fn mend(&self, keeping: &mut Keeping) -> Result<bool, StoreError> {
        if self.mender.take_beyond_mending() {
            let mut judge = self.judge();
            self.start_anew(judge.as_mut().ok_or(StoreError::Poisoned)?)?;
            drop(judge);
            self.take_up_generation(keeping)?;
            return Ok(true);
        }
        let (runs, tables) = {
            let view = self.view();
            (
                view.state().index().runs().to_vec(),
                view.state().commits().anew(),
            )
        };
        let mut any = !tables.is_empty();
        for table in tables {
            disk::replace(self.disk.as_ref(), &table.path, &table.bytes)?;
            table.stored();
        }
        for run in runs {
            any |= run.store_anew(|path, bytes| disk::replace(self.disk.as_ref(), path, bytes))?;
        }
        Ok(any)
    }

    fn seal(&self, keeping: &mut Keeping) -> Result<bool, StoreError> {
        if keeping.begun.is_none() {
            keeping.begun = self.capture(keeping)?;
        }
        let Some(capture) = &keeping.begun else {
            return Ok(false);
        };
        let written = self.write_run(capture, keeping.end())?;
        self.install(keeping, written)?;
        Ok(true)
    }

    /// Sets aside what is to be sealed; `None` if nothing has changed since the last checkpoint.
    fn capture(&self, keeping: &mut Keeping) -> Result<Option<Capture>, StoreError> {
        let judge = self.judge();
        let judge = judge.as_ref().ok_or(StoreError::Poisoned)?;
        // Nobody judges anew meanwhile: what is captured is of the generation that is taken up.
        self.take_up_generation(keeping)?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let through = view.state().log().end();
        let is_covered = keeping
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.through() == through);
        Ok((!is_covered).then(|| view.capture(judge)))
    }

    fn write_run(&self, capture: &Capture, start: LogPosition) -> Result<Written, StoreError> {
        let number = self.take_run_number();
        let builder = RunBuilder::of(&capture.head, self.options.shards.get());
        let files = builder.encode(number, &capture.log)?;
        let range = (start, capture.through);
        let source = self.run_source(number, range, &capture.ordinals);
        let run = open_run(number, write_files(self.disk(), number, 0, files)?, source)?;
        let store = |unstored: &Unstored| unstored.store(self.disk().as_ref());
        let tables = capture
            .unstored
            .iter()
            .map(store)
            .collect::<Result<_, _>>()?;
        // A payload that is no longer wanted has to be here after a crash as well.
        self.blocks.sync()?;
        let stored = StoredRun {
            number,
            range: (range.0.to_u64(), range.1.to_u64()),
            seals: run.seals(),
        };
        Ok(Written {
            run,
            stored,
            tables,
        })
    }

    fn install(&self, keeping: &mut Keeping, written: Written) -> Result<(), StoreError> {
        let Written {
            run,
            stored,
            tables,
        } = written;
        let Some(capture) = &keeping.begun else {
            unreachable!("what was written is what was begun")
        };
        let runs = [keeping.runs.as_slice(), &[stored]].concat();
        let next_run = self.run_numbers.load(Ordering::SeqCst);
        let checkpoint = capture.checkpoint(self.options.shards.get(), next_run, runs);
        checkpoint.store(self.disk().as_ref())?;
        keeping.runs.clone_from(&checkpoint.runs);
        keeping.checkpoint = Some(checkpoint);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let capture = keeping.begun.take();
        if view.beginning.generation == keeping.generation {
            let unstored = capture.into_iter().flat_map(|capture| capture.unstored);
            let source: Arc<dyn commits::Source> = self.mender.clone();
            view.state
                .sealed(Arc::new(run), unstored.zip(tables), &source);
        }
        Ok(())
    }

    /// Writes these runs anew as one; or a checkpoint, if runs and checkpoint would not be of one
    /// state after that.
    fn merge_runs(&self, keeping: &mut Keeping, runs: Range<usize>) -> Result<(), StoreError> {
        let checkpoint = keeping.checkpoint.clone();
        let Some(mut checkpoint) = checkpoint.filter(|_| keeping.are_runs_named()) else {
            return self.seal(keeping).map(drop);
        };
        let Some((run, stored)) = self.merged(keeping, &checkpoint, runs.clone())? else {
            return self.seal(keeping).map(drop);
        };
        let old: Vec<StoredRun> = checkpoint.runs.splice(runs.clone(), [stored]).collect();
        checkpoint.next_run = self.run_numbers.load(Ordering::SeqCst);
        checkpoint.store(self.disk().as_ref())?;
        keeping.runs.clone_from(&checkpoint.runs);
        keeping.checkpoint = Some(checkpoint);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.beginning.generation == keeping.generation {
            view.state.merged(runs, Arc::new(run));
        }
        drop(view);
        Ok(remove_files(self.disk.as_ref(), &old)?)
    }

    /// These runs as one, durably; `None` if what is seen now is not what the checkpoint speaks of:
    /// everything is being judged anew, or commits were taken back. A merged run leaves those out,
    /// and whoever opens the store would take them back again from a sum that still has them.
    fn merged(
        &self,
        keeping: &Keeping,
        checkpoint: &Checkpoint,
        runs: Range<usize>,
    ) -> Result<Option<(Run, StoredRun)>, StoreError> {
        let (commits, records, ordinals) = {
            let view = self.view();
            if view.beginning.generation != keeping.generation
                || view.has_taken_back_since(checkpoint)
            {
                return Ok(None);
            }
            let of = view
                .state()
                .index()
                .runs()
                .get(runs.clone())
                .unwrap_or_default();
            (
                view.places_of(of)?,
                of.iter().map(|run| run.records()).sum::<u64>(),
                view.ordinals(),
            )
        };
        let number = self.take_run_number();
        let stored = &keeping.runs[runs];
        let range = (stored[0].range.0, stored[stored.len() - 1].range.1);
        let shards = self.options.shards.get();
        let passes = u32::try_from(records.div_ceil(RECORDS_AT_ONCE))
            .unwrap_or(u32::MAX)
            .clamp(1, shards);
        let log = self.log.view();
        let mut files = Vec::new();
        for pass in 0..passes {
            let taken = pass * shards / passes..(pass + 1) * shards / passes;
            let mut builder = RunBuilder::for_shards(shards, taken.clone());
            for (position, commit) in &commits {
                take_records(*commit, *position, &log.read(*position)?.body, &mut builder)?;
            }
            files.extend(write_files(
                self.disk(),
                number,
                taken.start,
                builder.encode(number, &log)?,
            )?);
        }
        let positions = (
            LogPosition::from_u64(range.0),
            LogPosition::from_u64(range.1),
        );
        let run = open_run(number, files, self.run_source(number, positions, &ordinals))?;
        let stored = StoredRun {
            number,
            range,
            seals: run.seals(),
        };
        Ok(Some((run, stored)))
    }

    fn run_source(
        &self,
        number: u32,
        range: (LogPosition, LogPosition),
        ordinals: &Arc<BTreeMap<SiteId, u32>>,
    ) -> Arc<dyn Source> {
        let (mender, ordinals) = (Arc::clone(&self.mender), Arc::clone(ordinals));
        Arc::new(RunSource {
            mender,
            number,
            range,
            shards: self.options.shards.get(),
            ordinals,
        })
    }

    /// A number that no run had before.
    fn take_run_number(&self) -> u32 {
        self.run_numbers.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Opens the files of a run that a checkpoint names.
    ///
    /// # Errors
    /// [`ReadError`] if one is missing, damaged where it is opened, or not the one that is named.
    pub(super) fn open_stored(
        &self,
        stored: &StoredRun,
        ordinals: &Arc<BTreeMap<SiteId, u32>>,
    ) -> Result<Run, ReadError> {
        let range = (
            LogPosition::from_u64(stored.range.0),
            LogPosition::from_u64(stored.range.1),
        );
        open_stored(
            self.disk.as_ref(),
            stored,
            Some(self.run_source(stored.number, range, ordinals)),
        )
    }

    /// Gives up what was derived before everything is judged anew, at opening; a reader leaves it
    /// where it is.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(super) fn forget_index(&self) -> Result<(), DiskError> {
        if self.mode == Mode::Write {
            give_up(self.disk.as_ref())
        } else {
            Ok(())
        }
    }
}

impl Capture {
    /// The checkpoint that says what was captured, with these runs.
    fn checkpoint(&self, shards: u32, next_run: u32, runs: Vec<StoredRun>) -> Checkpoint {
        let domains = self
            .unstored
            .iter()
            .map(|unstored| (*unstored.site().as_bytes(), unstored.len()));
        let uncounted = (self.uncounted, self.uncounted_heads.clone());
        Checkpoint::new(
            self.through,
            shards,
            next_run,
            runs,
            domains.collect(),
            self.judge.clone(),
            uncounted,
            &self.parts,
        )
    }
}

impl View {
    /// Sets aside what is to be sealed.
    fn capture(&mut self, judge: &Judge) -> Capture {
        let through = self.state.log().end();
        self.head_from = through;
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
            ordinals: self.ordinals(),
            uncounted: self.uncounted,
            uncounted_heads: self
                .uncounted_heads
                .iter()
                .map(|(site, number)| (*site.as_bytes(), *number))
                .collect(),
            head: self.state.freeze(),
        }
    }

    /// Whether commits that this checkpoint counts were taken back after it.
    fn has_taken_back_since(&self, checkpoint: &Checkpoint) -> bool {
        let frontier = self.state.commits().frontier();
        let counted = |site| frontier.get(site).map_or(0, |head| head.number);
        checkpoint
            .domains()
            .iter()
            .any(|(site, len)| counted(site) < *len)
    }

    /// In how large a share, in percent, the head's records lie of the log that one run can name
    /// places of.
    fn head_share(&self) -> usize {
        share_of_run(self.head_from, self.state.log().end())
    }

    fn ordinals(&self) -> Arc<BTreeMap<SiteId, u32>> {
        Arc::new(self.state.commits().ordinals().clone())
    }

    /// Where in the log the commits lie whose records these runs hold, in that order: what counts
    /// only because of what came after it may lie before a run's range. What a fork took back is
    /// left out.
    fn places_of(&self, runs: &[Arc<Run>]) -> Result<Vec<(LogPosition, CommitRef)>, ReadError> {
        let commits = self.state.commits();
        let mut places = Vec::new();
        for commit in runs
            .iter()
            .map(|run| run.commits())
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
        {
            let missing = || ReadError::Commit {
                domain: commit.domain,
                number: commit.number,
            };
            let site = commits.site(commit.domain).ok_or_else(missing)?;
            if !commits.includes(commit) {
                continue;
            }
            places.push((
                commits.row(&site, commit.number)?.ok_or_else(missing)?.at,
                commit,
            ));
        }
        places.sort_unstable_by_key(|(position, _)| *position);
        Ok(places)
    }
}

impl Keeping {
    /// Takes up a checkpoint that was read.
    pub(super) fn resume(&mut self, checkpoint: Checkpoint) {
        self.runs.clone_from(&checkpoint.runs);
        self.checkpoint = Some(checkpoint);
    }

    /// What belongs to a view that is made for comparison: no file is written for it.
    pub(super) fn apart() -> Self {
        Self {
            is_apart: true,
            ..Self::default()
        }
    }

    /// What belongs to the view that replaces `view`, when everything is judged anew.
    pub(super) fn after(view: &View) -> Self {
        Self {
            generation: view.beginning.generation + 1,
            ..Self::default()
        }
    }

    /// Where the index begins that was made while everything was judged anew.
    pub(super) fn beginning(self) -> Beginning {
        Beginning {
            generation: self.generation,
            runs: self.runs,
        }
    }

    /// Writes what is in the head of a view that is being rebuilt as a run, if there is much; a
    /// reader keeps the run in memory. No checkpoint names it before all is judged.
    pub(super) fn spill(
        &mut self,
        store: &Store,
        view: &mut View,
        through: LogPosition,
    ) -> Result<(), StoreError> {
        let is_long = share_of_run(view.head_from, through) >= 2 * SHARE_DUE;
        if view.state.index().head_len() < store.options.head_records_max && !is_long {
            return Ok(());
        }
        view.head_from = through;
        let number = store.take_run_number();
        let head = view.state.freeze();
        let files =
            RunBuilder::of(&head, store.options.shards.get()).encode(number, view.state.log())?;
        let files = match store.mode {
            Mode::Write if !self.is_apart => write_files(store.disk(), number, 0, files)?,
            _ => (0..)
                .zip(files)
                .map(|(shard, bytes)| (path(number, shard), bytes.into()))
                .collect(),
        };
        let range = (self.end(), through);
        let run = open_run(
            number,
            files,
            store.run_source(number, range, &view.ordinals()),
        )?;
        self.runs.push(StoredRun {
            number,
            range: (range.0.to_u64(), range.1.to_u64()),
            seals: run.seals(),
        });
        view.state.thaw(Arc::new(run));
        Ok(())
    }

    /// Removes files that an unfinished seal or merge has left behind.
    pub(super) fn sweep(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        files::sweep(disk, &self.runs)
    }

    /// Whether the checkpoint names all runs. Those that were written while the log was read, when
    /// the store was opened or everything judged anew, are named by the next one only.
    fn are_runs_named(&self) -> bool {
        let named = self.checkpoint.as_ref();
        named.map_or(self.runs.is_empty(), |named| named.runs == self.runs)
    }

    /// Up to where in the log the runs reach.
    fn end(&self) -> LogPosition {
        self.runs
            .last()
            .map_or(LogPosition::START, |run| LogPosition::from_u64(run.range.1))
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
}
