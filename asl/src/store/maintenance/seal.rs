//! A seal: what is in the index's memtable is written as a run, and a checkpoint that names it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::SHARE_DUE;
use super::capture::Capture;
use super::runs::{open_run, path, write_files};
use super::state::MaintenanceState;
use crate::commits::{self, Unstored};
use crate::disk::{DiskFile, Mode};
use crate::index::{Run, RunBuilder, share_of_run};
use crate::log::LogPosition;
use crate::store::checkpoint::StoredRun;
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::handle::Store;
use crate::store::view::View;

/// What a seal has written: the run and what a checkpoint says of it, and the commit tables in the
/// order of their domains.
struct Written {
    run: Run,
    stored: StoredRun,
    tables: Vec<Arc<dyn DiskFile>>,
}

impl Store {
    pub(super) fn seal(&self, maintenance: &mut MaintenanceState) -> Result<bool, StoreError> {
        if maintenance.begun.is_none() {
            maintenance.begun = self.capture(maintenance)?;
        }
        let Some(capture) = &maintenance.begun else {
            return Ok(false);
        };
        let written = self.write_run(capture, maintenance.end())?;
        self.publish(maintenance, written)?;
        Ok(true)
    }

    /// Sets aside what is to be sealed; `None` if nothing has changed since the last checkpoint.
    fn capture(&self, maintenance: &mut MaintenanceState) -> Result<Option<Capture>, StoreError> {
        let validator = self.validator();
        let validator = validator.as_ref().ok_or(StoreError::Poisoned)?;
        // Nobody rebuilds from the log meanwhile: what is captured is of the generation that is
        // taken up.
        self.take_up_generation(maintenance)?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let through = view.state().log().end();
        let is_covered = maintenance
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.through() == through);
        Ok((!is_covered).then(|| view.capture(validator)))
    }

    fn write_run(&self, capture: &Capture, start: LogPosition) -> Result<Written, StoreError> {
        let number = self.files.take_run_number();
        let builder = RunBuilder::of(&capture.memtable, self.files.options.shards.get());
        let files = builder.encode(number, &capture.log)?;
        let range = (start, capture.through);
        let source = self.files.run_source(number, range, &capture.ordinals);
        let run = open_run(number, write_files(self.disk(), number, 0, files)?, source)?;
        let store = |unstored: &Unstored| unstored.store(self.disk().as_ref());
        let tables = capture
            .unstored
            .iter()
            .map(store)
            .collect::<Result<_, _>>()?;
        // A payload that is no longer wanted has to be here after a crash as well.
        self.files.blocks.sync()?;
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

    fn publish(
        &self,
        maintenance: &mut MaintenanceState,
        written: Written,
    ) -> Result<(), StoreError> {
        let Written {
            run,
            stored,
            tables,
        } = written;
        let Some(capture) = &maintenance.begun else {
            unreachable!("what was written is what was begun")
        };
        let runs = [maintenance.runs.as_slice(), &[stored]].concat();
        let next_run = self.files.run_numbers.load(Ordering::SeqCst);
        let checkpoint = capture.checkpoint(self.files.options.shards.get(), next_run, runs);
        checkpoint.store(self.disk().as_ref())?;
        maintenance.runs.clone_from(&checkpoint.runs);
        maintenance.checkpoint = Some(checkpoint);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let capture = maintenance.begun.take();
        if view.beginning.generation == maintenance.generation {
            let unstored = capture.into_iter().flat_map(|capture| capture.unstored);
            let source: Arc<dyn commits::Source> = self.files.mender.clone();
            view.state
                .sealed(Arc::new(run), unstored.zip(tables), &source);
        }
        Ok(())
    }
}

impl MaintenanceState {
    /// Writes what is in the memtable of a view that is being rebuilt as a run, if there is much; a
    /// reader keeps the run in memory. No checkpoint names it before all is validated.
    pub(in crate::store) fn spill(
        &mut self,
        files: &Files,
        view: &mut View,
        through: LogPosition,
    ) -> Result<(), StoreError> {
        let is_long = share_of_run(view.memtable_from, through) >= 2 * SHARE_DUE;
        if view.state.index().memtable_len() < files.options.memtable_records_max && !is_long {
            return Ok(());
        }
        view.memtable_from = through;
        let number = files.take_run_number();
        let memtable = view.state.rotate();
        let encoded = RunBuilder::of(&memtable, files.options.shards.get())
            .encode(number, view.state.log())?;
        let written = match files.mode {
            Mode::Write if !self.is_apart => write_files(&files.disk, number, 0, encoded)?,
            _ => (0..)
                .zip(encoded)
                .map(|(shard, bytes)| (path(number, shard), bytes.into()))
                .collect(),
        };
        let range = (self.end(), through);
        let run = open_run(
            number,
            written,
            files.run_source(number, range, &view.ordinals()),
        )?;
        self.runs.push(StoredRun {
            number,
            range: (range.0.to_u64(), range.1.to_u64()),
            seals: run.seals(),
        });
        view.state.install(Arc::new(run));
        Ok(())
    }
}
