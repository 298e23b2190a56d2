//! What maintenance remembers between its steps.

use std::sync::Mutex;

use super::beginning::Beginning;
use super::capture::Capture;
use super::runs::sweep;
use crate::disk::{Disk, DiskError};
use crate::index::RunSize;
use crate::log::LogPosition;
use crate::store::checkpoint::{Checkpoint, StoredRun};
use crate::store::view::View;

/// What maintenance remembers, lent to one at a time.
#[derive(Default)]
pub(in crate::store) struct Maintenance(pub(super) Mutex<MaintenanceState>);

/// What maintenance remembers between its steps.
#[derive(Default)]
pub(in crate::store) struct MaintenanceState {
    /// The runs, oldest first.
    pub(super) runs: Vec<StoredRun>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// What a seal has begun, of the same generation: it stays here until it is done, whatever
    /// becomes of who was at it.
    pub(super) begun: Option<Capture>,
    /// Of the view that all this belongs to.
    pub(super) generation: u64,
    /// Whether no file is written, whoever writes the store.
    pub(super) is_apart: bool,
}

impl Maintenance {
    pub(in crate::store) fn of(maintenance: MaintenanceState) -> Self {
        Self(Mutex::new(maintenance))
    }
}

impl MaintenanceState {
    /// Takes up a checkpoint that was read.
    pub(in crate::store) fn resume(&mut self, checkpoint: Checkpoint) {
        self.runs.clone_from(&checkpoint.runs);
        self.checkpoint = Some(checkpoint);
    }

    /// What belongs to a view that is made for comparison: no file is written for it.
    pub(in crate::store) fn apart() -> Self {
        Self {
            is_apart: true,
            ..Self::default()
        }
    }

    /// What belongs to the view that replaces `view`, when everything is rebuilt from the log.
    pub(in crate::store) fn after(view: &View) -> Self {
        Self {
            generation: view.beginning.generation + 1,
            ..Self::default()
        }
    }

    /// Where the index begins that was made while everything was rebuilt from the log.
    pub(in crate::store) fn beginning(self) -> Beginning {
        Beginning {
            generation: self.generation,
            runs: self.runs,
        }
    }

    /// Removes files that an unfinished seal or merge has left behind.
    pub(in crate::store) fn sweep(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        sweep(disk, &self.runs)
    }

    /// Whether the checkpoint names all runs. Those that were written while the log was read, when
    /// the store was opened or everything was rebuilt from the log, are named by the next one only.
    pub(super) fn are_runs_named(&self) -> bool {
        let named = self.checkpoint.as_ref();
        named.map_or(self.runs.is_empty(), |named| named.runs == self.runs)
    }

    /// Up to where in the log the runs reach.
    pub(super) fn end(&self) -> LogPosition {
        self.runs
            .last()
            .map_or(LogPosition::START, |run| LogPosition::from_u64(run.range.1))
    }

    pub(super) fn sizes(&self, view: &View) -> Vec<RunSize> {
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
