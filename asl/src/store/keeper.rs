//! The keeper: a thread that does a store's housekeeping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Store, StoreError};

/// Keeps a store until it is dropped; then the index is written for what was added.
pub struct Keeper {
    store: Arc<Store>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Rung when housekeeping may be due. A ring that nobody waits for is kept for the next who does;
/// nothing else is locked meanwhile.
#[derive(Default)]
pub(super) struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_all();
    }

    /// Returns when it has been rung since this returned last.
    fn wait(&self) {
        let is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_rung = self
            .rung
            .wait_while(is_rung, |is_rung| !*is_rung)
            .unwrap_or_else(PoisonError::into_inner);
        *is_rung = false;
    }
}

/// So many records in the head are worth writing when a store is let go of; fewer are read again
/// faster.
const SEAL_AT_END_MIN: u64 = 4096;

impl Keeper {
    /// Starts keeping a store that was opened to be written.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(store: Arc<Store>) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (kept, over) = (Arc::clone(&store), Arc::clone(&is_over));
        store.is_kept.store(true, Ordering::SeqCst);
        let thread = thread::Builder::new()
            .name("uor-keeper".to_owned())
            .spawn(move || keep(&kept, &over))?;
        Ok(Self {
            store,
            is_over,
            thread: Some(thread),
        })
    }
}

fn keep(store: &Store, is_over: &AtomicBool) {
    let over = || is_over.load(Ordering::SeqCst);
    while !over() {
        // What fails is tried again when more has been added, not before.
        while !over() && store.maintain().unwrap_or(false) {}
        if !over() {
            store.bell.wait();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.store.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic of the keeper has lost nothing: all it does can be done again.
            drop(thread.join());
        }
        self.store.is_kept.store(false, Ordering::SeqCst);
        let unsealed = self.store.view().state().index().head_len();
        if unsealed >= SEAL_AT_END_MIN {
            let sealed: Result<(), StoreError> = self.store.seal_index();
            // Nothing is lost without it but time at the next opening.
            drop(sealed);
        }
    }
}
