//! What is done one at a time in a site that is open.

use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

/// The locks of a site, shared by all its handles. Nothing that they guard is in memory, so one
/// that a panic left poisoned is taken all the same.
#[derive(Default)]
pub(super) struct Locks {
    /// Held while one of the small files is read and replaced.
    small_files: Mutex<()>,
    /// Shared from putting a payload until what names it is committed; held alone by whoever frees
    /// payloads or removes what they are named by.
    payloads: RwLock<()>,
}

impl Locks {
    pub(super) fn small_files(&self) -> MutexGuard<'_, ()> {
        self.small_files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody frees payloads.
    pub(super) fn putting(&self) -> RwLockReadGuard<'_, ()> {
        self.payloads.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing, if something is being put.
    pub(super) fn freeing(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        match self.payloads.try_write() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
