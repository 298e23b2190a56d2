//! Opening a store: its files, and what they amount to.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use super::attempt::Attempt;
use super::error::StoreError;
use super::files::{Files, OpenedFiles};
use super::handle::Store;
use super::lost::keep_erased;
use super::maintenance::state::{Maintenance, MaintenanceState};
use super::opened::Opened;
use super::options::Options;
use super::reserve::{self, Reserve};
use super::{beside, recover};
use crate::disk::{Disk, Mode};
use crate::group::GroupCommit;

impl Store {
    /// Opens the store on `disk`: for reading beside any writer, or as its one writer.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::InUse`], or whatever is wrong with its files, by name.
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<Self, StoreError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the store on `disk` with these options. On a full disk a writer gives its reserve back
    /// first, if it must.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<Self, StoreError> {
        let open = |released_len| match mode {
            Mode::ReadOnly => beside::open(&disk, options),
            Mode::Write => {
                Self::open_once(disk.clone(), mode, options, released_len, &Attempt::ALONE)
                    .map(|opened| opened.unwrap_or_else(|| unreachable!("nobody else writes")))
            }
        };
        let opened = open(0);
        let is_full = opened
            .as_ref()
            .err()
            .is_some_and(StoreError::is_out_of_space);
        if mode == Mode::Write && is_full {
            let released_len = reserve::release(&*disk);
            if released_len > 0 {
                return open(released_len);
            }
        }
        opened
    }

    /// Opens the store on `disk` as it is now; `None` if its index was changed while it was read.
    /// `released_len` bytes of its reserve were released for it.
    pub(super) fn open_once(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
        released_len: u64,
        attempt: &Attempt,
    ) -> Result<Option<Self>, StoreError> {
        let OpenedFiles {
            files,
            checkpoint,
            log,
            blocks,
        } = Files::open(disk, mode, options)?;
        let mut maintenance = MaintenanceState::default();
        let recovered = recover::open(&files, &blocks, checkpoint, &mut maintenance, attempt)?;
        let Some((validator, view, found)) = recovered else {
            return Ok(None);
        };
        if mode == Mode::Write {
            maintenance.sweep(files.disk.as_ref())?;
        }
        let erased_again = keep_erased(&files, &blocks, &view)?;
        let reserve = match mode {
            Mode::Write => Reserve::keep(&*files.disk, options.reserve_bytes, released_len),
            Mode::ReadOnly => Reserve::default(),
        };
        Ok(Some(Self {
            files,
            group: GroupCommit::new(),
            validator: Mutex::new(Some(validator)),
            view: RwLock::new(view),
            maintenance: Maintenance::of(maintenance),
            has_maintenance_thread: AtomicBool::new(false),
            opened: Opened {
                log,
                blocks,
                index: found.rebuilt,
                cut: found.cut,
                erased_again,
            },
            reserve,
            erasing: Mutex::default(),
        }))
    }
}
