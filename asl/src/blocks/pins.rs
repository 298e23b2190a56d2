//! What puts rest on: while a payload is being put, the blocks that it found or wrote must not be
//! collected, and while garbage is being collected, neither must those of payloads put meanwhile.

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
    pinned: BTreeMap<Pin, u32>,
    /// Those taken off since watching began.
    kept: Option<BTreeSet<Pin>>,
}

/// What a put holds on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pin {
    /// The blocks of this name.
    Blocks(Checksum),
    /// The payload of this name: it is what is put.
    Payload(Checksum),
}

/// The pins of one put; they are taken off when it is dropped.
pub(super) struct Pins<'a> {
    board: &'a PinBoard,
    pins: Mutex<Vec<Pin>>,
}

impl<'a> Pins<'a> {
    pub(super) fn new(board: &'a PinBoard) -> Self {
        Self {
            board,
            pins: Mutex::default(),
        }
    }

    /// From now on, what is found under this name stays.
    pub(super) fn pin(&self, name: Checksum) {
        self.add(&[Pin::Blocks(name)]);
    }

    /// As [`Pins::pin`], of the payload that is put itself.
    pub(super) fn pin_payload(&self, name: Checksum) {
        self.add(&[Pin::Blocks(name), Pin::Payload(name)]);
    }

    fn add(&self, pins: &[Pin]) {
        let mut state = self.board.lock();
        for pin in pins {
            *state.pinned.entry(*pin).or_default() += 1;
        }
        self.pins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(pins);
    }
}

impl Drop for Pins<'_> {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        for pin in self
            .pins
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            if let Some(count) = state.pinned.get_mut(&pin) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(&pin);
                }
            }
            if let Some(kept) = &mut state.kept {
                kept.insert(pin);
            }
        }
    }
}

/// While this is held, pins that are taken off are kept in mind.
pub(super) struct Watch<'a>(&'a PinBoard);

/// While this is held, nothing is pinned or unpinned.
pub(super) struct Pinned<'a>(MutexGuard<'a, State>);

impl Pinned<'_> {
    /// Whether a put rests on this name, or has since watching began.
    pub(super) fn contains(&self, name: Checksum) -> bool {
        self.has(Pin::Blocks(name))
    }

    /// Whether a put is about this payload, or one has been since watching began.
    pub(super) fn contains_payload(&self, name: Checksum) -> bool {
        self.has(Pin::Payload(name))
    }

    fn has(&self, pin: Pin) -> bool {
        self.0.pinned.contains_key(&pin)
            || self.0.kept.as_ref().is_some_and(|kept| kept.contains(&pin))
    }
}

impl Watch<'_> {
    pub(super) fn pinned(&self) -> Pinned<'_> {
        Pinned(self.0.lock())
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.lock().kept = None;
    }
}

impl PinBoard {
    /// Begins to watch; the caller sees to it that only one does at a time.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.lock().kept = Some(BTreeSet::new());
        Watch(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
