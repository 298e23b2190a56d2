//! What a store lies in: its disk, log, packs and runs, open, before anybody knows what they amount
//! to.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use uor_index_format::id::FederationId;

use super::checkpoint::{Checkpoint, Unusable};
use super::error::StoreError;
use super::identity;
use super::maintenance::wakeup::Wakeup;
use super::mend::Mender;
use super::options::Options;
use crate::blocks::{self, Blocks};
use crate::disk::{Context as _, Disk, LockGuard, Mode};
use crate::index::Index;
use crate::log::{self, Log};

/// Held by the one writer.
pub(super) const LOCK_FILE: &str = "lock";

/// What a store lies in.
pub(super) struct Files {
    pub(super) federation: FederationId,
    pub(super) mode: Mode,
    pub(super) options: Options,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Arc<Log>,
    pub(super) blocks: Blocks,
    /// Rebuilds files of the index that are damaged.
    pub(super) mender: Arc<Mender>,
    /// The last number that a run of the index got; none is used twice.
    pub(super) run_numbers: AtomicU32,
    /// Notified when maintenance may be due.
    pub(super) wakeup: Arc<Wakeup>,
    _lock: Option<LockGuard>,
}

/// Files that were opened, and what was found of them.
pub(super) struct OpenedFiles {
    pub(super) files: Files,
    /// What the last checkpoint says, if there is one.
    pub(super) checkpoint: Option<Result<Checkpoint, Unusable>>,
    pub(super) log: log::Recovery,
    pub(super) blocks: blocks::Recovery,
}

impl Files {
    /// Opens the files of the store on `disk`; a writer recovers them from a crash.
    ///
    /// # Errors
    /// As [`super::Store::open`].
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<OpenedFiles, StoreError> {
        let federation = identity::read(&disk)?;
        let lock = match mode {
            Mode::ReadOnly => None,
            Mode::Write => Some(
                disk.try_lock(LOCK_FILE)
                    .during("take the lock that is file", LOCK_FILE)?
                    .ok_or(StoreError::InUse)?,
            ),
        };
        // Before the log: what it names is in the log then, whatever a writer beside appends
        // meanwhile.
        let checkpoint = Checkpoint::load(disk.as_ref())?;
        let (blocks, blocks_recovery) = Blocks::open_with(disk.clone(), mode, options.blocks)?;
        let (log, log_recovery) = Log::open_with(disk.clone(), mode, options.log)?;
        let (log, wakeup) = (Arc::new(log), Arc::<Wakeup>::default());
        let files = Self {
            federation,
            mode,
            options,
            disk,
            mender: Arc::new(Mender::new(Arc::clone(&log), Arc::clone(&wakeup))),
            log,
            blocks,
            run_numbers: AtomicU32::new(0),
            wakeup,
            _lock: lock,
        };
        Ok(OpenedFiles {
            files,
            checkpoint,
            log: log_recovery,
            blocks: blocks_recovery,
        })
    }

    /// An index of nothing, cut as the options say.
    pub(super) fn empty_index(&self) -> Index {
        Index::new(self.options.shards.get(), self.options.seed)
    }
}
