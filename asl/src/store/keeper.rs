//! The keeper: a thread that does a store's housekeeping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Store, StoreError};

/// Keeps a store until it is dropped; then the index is written for what was added.
pub struct Keeper {
    store: Arc<Store>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// So many records in the head are worth writing when a store is let go of; fewer are read again faster.
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
        let thread = thread::Builder::new().name("uor-keeper".to_owned()).spawn(move || keep(&kept, &over))?;
        Ok(Self { store, is_over, thread: Some(thread) })
    }
}

fn keep(store: &Store, is_over: &AtomicBool) {
    let over = || is_over.load(Ordering::SeqCst);
    while !over() {
        let failed = loop {
            match store.maintain() {
                Ok(true) if !over() => {}
                Ok(_) => break false,
                Err(_) => break true,
            }
        };
        // Who lets go of the keeper says so before taking this lock, and rings after it: no ring is missed.
        let keeping = store.keeping();
        if over() {
            return;
        }
        let rung = if failed {
            // Tried again when more has been added, not before.
            store.work.wait(keeping)
        } else {
            store.work.wait_while(keeping, |_| !over() && !store.is_seal_due())
        };
        drop(rung.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(self.store.keeping());
        self.store.work.notify_all();
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
