//! The digest of what is visible, kept up as it changes.
//!
//! Expanding an entry into its lanes costs more than everything else that is done for a record, and
//! nobody needs the sum before the next root is asked for. So changes are collected, and folded in
//! when someone asks, when maintenance comes by, or when there are too many; on several threads,
//! since addition commutes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use uor_index_format::state::{Entry, StateHash};

/// Most changes that wait: their folding then costs what writing them did, but not more
/// memory.
const WAITING_MAX: usize = 1 << 18;
/// Fewer are folded faster than a thread is started.
const PARALLEL_MIN: usize = 1 << 9;

/// A sum and what is still to be folded into it.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// Held while changes are being folded, so that whoever needs the whole sum waits for them.
    folded: Mutex<Folded>,
    waiting: Mutex<Vec<Change>>,
    /// Visible entries, waiting ones included.
    entries: u64,
}

#[derive(Debug, Default)]
struct Folded {
    sum: StateHash,
    /// An empty vector with room for the next changes: fresh memory costs more than what is done
    /// with it.
    room: Vec<Change>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Added(Entry),
    Removed(Entry),
}

impl Sum {
    /// The sum that `folded` is.
    pub(super) fn new(folded: StateHash) -> Self {
        let entries = folded.entries();
        Self {
            folded: Mutex::new(Folded {
                sum: folded,
                room: Vec::new(),
            }),
            waiting: Mutex::default(),
            entries,
        }
    }

    /// An id was visible as `before` and is now as `after`.
    pub(super) fn change(&mut self, before: Option<Entry>, after: Option<Entry>) {
        let waiting = self
            .waiting
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = before {
            waiting.push(Change::Removed(before));
            self.entries = self.entries.wrapping_sub(1);
        }
        if let Some(after) = after {
            waiting.push(Change::Added(after));
            self.entries = self.entries.wrapping_add(1);
        }
        if waiting.len() >= WAITING_MAX {
            self.whole(|_| ());
        }
    }

    /// What is visible has changed by this difference.
    pub(super) fn merge(&mut self, difference: &StateHash) {
        let folded = self
            .folded
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        folded.sum.merge(difference);
        self.entries = self.entries.wrapping_add(difference.entries());
    }

    /// How many entries are visible.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Folds in what waits, and gives what `read` makes of the whole sum.
    pub(super) fn whole<T>(&self, read: impl FnOnce(&StateHash) -> T) -> T {
        let mut folded = lock(&self.folded);
        let Folded { sum, room } = &mut *folded;
        std::mem::swap(&mut *lock(&self.waiting), room);
        sum.merge(&fold(room));
        room.clear();
        read(sum)
    }
}

/// The sum of all changes: the difference they make.
fn fold(changes: &[Change]) -> StateHash {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(changes.len() / PARALLEL_MIN)
        .max(1);
    let part_len = changes.len().div_ceil(threads).max(1);
    let mut parts = changes.chunks(part_len);
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(|| fold_one(part))).collect();
        let mut sum = fold_one(own);
        for other in others {
            match other.join() {
                Ok(part) => sum.merge(&part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        sum
    })
}

fn fold_one(changes: &[Change]) -> StateHash {
    let mut sum = StateHash::default();
    for change in changes {
        match change {
            Change::Added(entry) => sum.add(entry),
            Change::Removed(entry) => sum.remove(entry),
        }
    }
    sum
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
