//! Group commit: many threads hand in work, one of them does all that is queued in one go, and each gets its own result.
//! While the leader works, the next group gathers; so the number of syncs follows the speed of the disk and not the
//! number of writers.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Why a piece of work has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError<E: std::error::Error + 'static> {
    /// The flush that contained this work failed, for everyone in the group alike.
    #[error("the group this work was flushed with failed")]
    Flush {
        /// What the flush said.
        #[source]
        source: Arc<E>,
    },
    /// The thread that flushed this work panicked, or gave back a wrong number of results.
    #[error("the thread that flushed this work gave up")]
    Abandoned,
}

/// A queue of `T` that is flushed in groups, each `T` giving an `R`.
#[derive(Debug)]
pub struct GroupCommit<T, R, E> {
    state: Mutex<State<T, R, E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, R, E> {
    queue: Vec<(u64, T)>,
    next_ticket: u64,
    leading: bool,
    results: BTreeMap<u64, Outcome<R, E>>,
}

#[derive(Debug)]
enum Outcome<R, E> {
    Done(R),
    Failed(Arc<E>),
    Abandoned,
}

impl<T, R, E> Default for GroupCommit<T, R, E> {
    fn default() -> Self {
        let state = State { queue: Vec::new(), next_ticket: 0, leading: false, results: BTreeMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T, R, E: std::error::Error + 'static> GroupCommit<T, R, E> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands in `work` and waits for its result. One of the waiting threads calls its `flush` with everything queued, in
    /// the order it was handed in; `flush` answers with one result for each, in the same order. Only one `flush` runs at
    /// any time.
    ///
    /// # Errors
    /// [`GroupError::Flush`] if the flush that contained this work failed; [`GroupError::Abandoned`] if it panicked.
    pub fn submit(&self, work: T, flush: impl FnOnce(Vec<T>) -> Result<Vec<R>, E>) -> Result<R, GroupError<E>> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push((ticket, work));
        while state.leading && !state.results.contains_key(&ticket) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.results.contains_key(&ticket) {
            state.leading = true;
            let (tickets, group) = std::mem::take(&mut state.queue).into_iter().unzip();
            drop(state);
            self.lead(tickets, group, flush);
            state = self.lock();
        }
        match state.results.remove(&ticket) {
            Some(Outcome::Done(result)) => Ok(result),
            Some(Outcome::Failed(source)) => Err(GroupError::Flush { source }),
            Some(Outcome::Abandoned) | None => Err(GroupError::Abandoned),
        }
    }

    fn lead(&self, tickets: Vec<u64>, group: Vec<T>, flush: impl FnOnce(Vec<T>) -> Result<Vec<R>, E>) {
        // Its drop publishes, so that a panic in `flush` leaves nobody waiting.
        let mut publish = Publish { group: self, tickets, outcome: None };
        publish.outcome = Some(flush(group));
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Publish<'a, T, R, E: std::error::Error + 'static> {
    group: &'a GroupCommit<T, R, E>,
    tickets: Vec<u64>,
    outcome: Option<Result<Vec<R>, E>>,
}

impl<T, R, E: std::error::Error + 'static> Drop for Publish<'_, T, R, E> {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        let tickets = std::mem::take(&mut self.tickets);
        match self.outcome.take() {
            Some(Ok(results)) if results.len() == tickets.len() => {
                state.results.extend(tickets.into_iter().zip(results.into_iter().map(Outcome::Done)));
            }
            Some(Err(error)) => {
                let error = Arc::new(error);
                state.results.extend(tickets.into_iter().map(|ticket| (ticket, Outcome::Failed(Arc::clone(&error)))));
            }
            _ => state.results.extend(tickets.into_iter().map(|ticket| (ticket, Outcome::Abandoned))),
        }
        state.leading = false;
        self.group.changed.notify_all();
    }
}
