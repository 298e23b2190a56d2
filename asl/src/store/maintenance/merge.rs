//! A merge: several runs are rewritten as one, from the part of the log that they cover.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::runs::{open_run, remove_files, write_files};
use super::state::MaintenanceState;
use crate::index::{CommitRef, Run, RunBuilder};
use crate::log::LogPosition;
use crate::state::error::ReadError;
use crate::store::checkpoint::{Checkpoint, StoredRun};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::mend::take_records;
use crate::store::view::View;

/// Most records that are laid out at once: about a gigabyte of memory.
const RECORDS_AT_ONCE: u64 = 1 << 25;

impl Store {
    /// Rewrites these runs  as one; or a checkpoint, if runs and checkpoint would not be of one
    /// state after that.
    pub(super) fn merge_runs(
        &self,
        maintenance: &mut MaintenanceState,
        runs: Range<usize>,
    ) -> Result<(), StoreError> {
        let checkpoint = maintenance.checkpoint.clone();
        let Some(mut checkpoint) = checkpoint.filter(|_| maintenance.are_runs_named()) else {
            return self.seal(maintenance).map(drop);
        };
        let Some((run, stored)) = self.merged(maintenance, &checkpoint, runs.clone())? else {
            return self.seal(maintenance).map(drop);
        };
        let old: Vec<StoredRun> = checkpoint.runs.splice(runs.clone(), [stored]).collect();
        checkpoint.next_run = self.files.run_numbers.load(Ordering::SeqCst);
        checkpoint.store(self.disk().as_ref())?;
        maintenance.runs.clone_from(&checkpoint.runs);
        maintenance.checkpoint = Some(checkpoint);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.beginning.generation == maintenance.generation {
            view.state.merged(runs, Arc::new(run));
        }
        drop(view);
        Ok(remove_files(self.files.disk.as_ref(), &old)?)
    }

    /// These runs as one, durably; `None` if what is seen now is not what the checkpoint speaks of:
    /// everything is being rebuilt from the log, or commits were taken back. A merged run leaves
    /// those out, and whoever opens the store would take them back again from a sum that still has
    /// them.
    fn merged(
        &self,
        maintenance: &MaintenanceState,
        checkpoint: &Checkpoint,
        runs: Range<usize>,
    ) -> Result<Option<(Run, StoredRun)>, StoreError> {
        let (commits, records, ordinals) = {
            let view = self.view();
            if view.beginning.generation != maintenance.generation
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
        let number = self.files.take_run_number();
        let stored = &maintenance.runs[runs];
        let range = (stored[0].range.0, stored[stored.len() - 1].range.1);
        let shards = self.files.options.shards.get();
        let passes = u32::try_from(records.div_ceil(RECORDS_AT_ONCE))
            .unwrap_or(u32::MAX)
            .clamp(1, shards);
        let log = self.files.log.view();
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
        let run = open_run(
            number,
            files,
            self.files.run_source(number, positions, &ordinals),
        )?;
        let stored = StoredRun {
            number,
            range,
            seals: run.seals(),
        };
        Ok(Some((run, stored)))
    }
}

impl View {
    /// Whether commits that this checkpoint counts were taken back after it.
    fn has_taken_back_since(&self, checkpoint: &Checkpoint) -> bool {
        let frontier = self.state.commits().frontier();
        let accepted = |site| frontier.get(site).map_or(0, |head| head.number);
        checkpoint
            .domains()
            .iter()
            .any(|(site, len)| accepted(site) < *len)
    }

    /// Where in the log the commits lie whose records these runs hold, in that order: what is
    /// accepted only because of what came after it may lie before a run's range. What a fork took
    /// back is left out.
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
