//! Runs of an open store: their numbers, and where they are rebuilt from when they are damaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uor_index_format::id::SiteId;

use super::runs::{give_up, open_stored};
use crate::disk::{DiskError, Mode};
use crate::index::{Run, Source};
use crate::log::LogPosition;
use crate::state::error::ReadError;
use crate::store::checkpoint::StoredRun;
use crate::store::files::Files;
use crate::store::mend::RunSource;

impl Files {
    pub(super) fn run_source(
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
    pub(super) fn take_run_number(&self) -> u32 {
        self.run_numbers.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Opens the files of a run that a checkpoint names.
    ///
    /// # Errors
    /// [`ReadError`] if one is missing, damaged where it is opened, or not the one that is named.
    pub(in crate::store) fn open_stored(
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

    /// Gives up what was derived before everything is rebuilt from the log, at opening; a reader
    /// leaves it where it is.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(in crate::store) fn forget_index(&self) -> Result<(), DiskError> {
        if self.mode == Mode::Write {
            give_up(self.disk.as_ref())
        } else {
            Ok(())
        }
    }
}
