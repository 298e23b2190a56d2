//! What puts rest on: while a payload is being put, the blocks that it found or wrote must not be collected, and while
//! garbage is being collected, neither must those of payloads put meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uor_index_format::id::Checksum;

/// The names that puts under way rest on.
#[derive(Default)]
pub(super) struct PinBoard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pinned: BTreeMap<Checksum, u32>,
    /// Names unpinned since collecting began.
    kept: Option<BTreeSet<Checksum>>,
}

/// The pins of one put; they are taken off when it is dropped.
pub(super) struct Pins<'a> {
    board: &'a PinBoard,
    names: Mutex<Vec<Checksum>>,
}

impl<'a> Pins<'a> {
    pub(super) fn new(board: &'a PinBoard) -> Self {
        Self { board, names: Mutex::default() }
    }

    /// From now on, what is found under this name stays.
    pub(super) fn pin(&self, name: Checksum) {
        *self.board.lock().pinned.entry(name).or_default() += 1;
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

impl Drop for Pins<'_> {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        for name in self.names.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(count) = state.pinned.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(&name);
                }
            }
            if let Some(kept) = &mut state.kept {
                kept.insert(name);
            }
        }
    }
}

impl PinBoard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
