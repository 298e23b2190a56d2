//! A thread that does a store's maintenance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Maintains a store until it is dropped; then the index is written for what was added.
pub struct MaintenanceThread {
    store: Arc<Store>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// From this many records on, the memtable is worth writing when a store is let go of; fewer are
/// read again faster.
const SEAL_AT_END_MIN: u64 = 4096;

impl MaintenanceThread {
    /// Starts to maintain a store that was opened to be written.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(store: Arc<Store>) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (maintained, over) = (Arc::clone(&store), Arc::clone(&is_over));
        let thread = thread::Builder::new()
            .name("uor-maintenance".to_owned())
            .spawn(move || run(&maintained, &over))?;
        store.has_maintenance_thread.store(true, Ordering::SeqCst);
        Ok(Self {
            store,
            is_over,
            thread: Some(thread),
        })
    }
}

fn run(store: &Store, is_over: &AtomicBool) {
    let over = || is_over.load(Ordering::SeqCst);
    while !over() {
        // What fails is tried again when more has been added, not before.
        while !over() && store.maintain().unwrap_or(false) {}
        if !over() {
            store.files.wakeup.wait();
        }
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.store.files.wakeup.notify();
        if let Some(thread) = self.thread.take() {
            // A panic of the maintenance thread has lost nothing: all it does can be done again.
            drop(thread.join());
        }
        self.store
            .has_maintenance_thread
            .store(false, Ordering::SeqCst);
        let unsealed = self.store.view().state().index().memtable_len();
        if unsealed >= SEAL_AT_END_MIN {
            let sealed: Result<(), StoreError> = self.store.seal_index();
            // Nothing is lost without it but time at the next opening.
            drop(sealed);
        }
    }
}
