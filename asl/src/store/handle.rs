//! An open store: what it consists of, and who may look at what.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use uor_index_format::id::FederationId;

use super::error::{StoreError, StoreErrorInGroup};
use super::files::Files;
use super::identity;
use super::maintenance::state::Maintenance;
use super::opened::Opened;
use super::reserve::{Reserve, Room};
use super::view::View;
use super::work::{Done, Work};
use crate::blocks::Blocks;
use crate::disk::{Disk, Mode};
use crate::group::GroupCommit;
use crate::log::Log;
use crate::validator::CommitValidator;

/// An open store.
pub struct Store {
    /// What it lies in.
    pub(super) files: Files,
    /// Commits that wait for the next sync, of which one writer writes all.
    pub(super) group: GroupCommit<Work, Done, StoreErrorInGroup>,
    /// Absent while a flush is at work and after one has failed: it has validated what may not be
    /// in the log.
    pub(super) validator: Mutex<Option<CommitValidator>>,
    /// What is visible.
    pub(super) view: RwLock<View>,
    /// What maintains the index.
    pub(super) maintenance: Maintenance,
    /// Whether a maintenance thread is at work.
    pub(super) has_maintenance_thread: AtomicBool,
    pub(super) opened: Opened,
    pub(super) reserve: Reserve,
    /// Held while a payload is erased, and by whoever relies on one still being wanted.
    pub(super) erasing: Mutex<()>,
}

impl Store {
    /// Makes an empty store for a federation.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one; [`StoreError::Disk`].
    pub fn create(disk: &Arc<dyn Disk>, federation: FederationId) -> Result<(), StoreError> {
        identity::create(disk, federation)
    }

    /// Whether this is how the file begins that makes a directory a store, of whatever version.
    #[must_use]
    pub fn is_identity(file_begin: &[u8]) -> bool {
        file_begin.starts_with(identity::TITLE.as_bytes())
    }

    /// The file that makes a directory a store.
    pub const IDENTITY_FILE: &'static str = identity::FILE;

    /// The federation the store on `disk` belongs to.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Identity`], [`StoreError::NewerVersion`] or
    /// [`StoreError::Disk`].
    pub fn identity(disk: &Arc<dyn Disk>) -> Result<FederationId, StoreError> {
        identity::read(disk)
    }

    /// The federation.
    pub const fn federation(&self) -> FederationId {
        self.files.federation
    }

    /// What opening found and mended.
    pub const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Whether it was opened to be read or written.
    pub const fn mode(&self) -> Mode {
        self.files.mode
    }

    /// The disk under the store.
    pub const fn disk(&self) -> &Arc<dyn Disk> {
        &self.files.disk
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.files.log
    }

    /// Payloads.
    pub const fn blocks(&self) -> &Blocks {
        &self.files.blocks
    }

    /// Everything durable, as of now. Writers wait while the guard is held: look, and let go.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who validates commits: absent while a flush is at work and after one has failed.
    pub(crate) fn validator(&self) -> MutexGuard<'_, Option<CommitValidator>> {
        self.validator
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held nothing is erased: what is wanted stays wanted until it is put, and is
    /// not put after it was erased.
    pub fn hold_erasing(&self) -> MutexGuard<'_, ()> {
        self.erasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found to be damaged of the index since the store was opened, and what came of it, a
    /// sentence each. No answer was wrong because of it.
    pub fn index_damage(&self) -> Vec<String> {
        self.files.mender.reported().clone()
    }

    /// The same, but each only once: for whoever passes it on.
    pub fn take_index_damage(&self) -> Vec<String> {
        std::mem::take(&mut *self.files.mender.reported())
    }

    /// Makes room for something that frees space, where little is left.
    pub(super) fn make_room(&self) -> Room<'_> {
        self.reserve.make_room(&*self.files.disk)
    }
}
