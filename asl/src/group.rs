//! Group commit: many threads hand in work, one of them does all that is queued in one go, and each
//! gets its own result. While the leader works, the next group gathers; so the number of syncs
//! follows the speed of the disk and not the number of writers.

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
        let state = State {
            queue: Vec::new(),
            next_ticket: 0,
            leading: false,
            results: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T, R, E: std::error::Error + 'static> GroupCommit<T, R, E> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands in `work` and waits for its result. One of the waiting threads calls its `flush` with
    /// everything queued, in the order it was handed in; `flush` answers with one result for each,
    /// in the same order. Only one `flush` runs at any time.
    ///
    /// # Errors
    /// [`GroupError::Flush`] if the flush that contained this work failed;
    /// [`GroupError::Abandoned`] if it panicked.
    pub fn submit(
        &self,
        work: T,
        flush: impl FnOnce(Vec<T>) -> Result<Vec<R>, E>,
    ) -> Result<R, GroupError<E>> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push((ticket, work));
        while state.leading && !state.results.contains_key(&ticket) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
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

    fn lead(
        &self,
        tickets: Vec<u64>,
        group: Vec<T>,
        flush: impl FnOnce(Vec<T>) -> Result<Vec<R>, E>,
    ) {
        // Its drop publishes, so that a panic in `flush` leaves nobody waiting.
        let mut publish = Publish {
            group: self,
            tickets,
            outcome: None,
        };
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
                state.results.extend(
                    tickets
                        .into_iter()
                        .zip(results.into_iter().map(Outcome::Done)),
                );
            }
            Some(Err(error)) => {
                let error = Arc::new(error);
                state.results.extend(
                    tickets
                        .into_iter()
                        .map(|ticket| (ticket, Outcome::Failed(Arc::clone(&error)))),
                );
            }
            _ => state.results.extend(
                tickets
                    .into_iter()
                    .map(|ticket| (ticket, Outcome::Abandoned)),
            ),
        }
        state.leading = false;
        self.group.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const WRITERS: usize = 8;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Full;

    /// How many pieces of work wait to be flushed.
    fn queued<T, R, E>(group: &GroupCommit<T, R, E>) -> usize {
        group.state.lock().unwrap().queue.len()
    }

    #[test]
    fn writers_share_flushes_and_get_their_own_results() {
        let group = GroupCommit::<usize, usize, Infallible>::new();
        let flushes = AtomicUsize::new(0);
        let first_began = Barrier::new(2);
        let flush = |numbers: Vec<usize>| {
            if flushes.fetch_add(1, Ordering::SeqCst) == 0 {
                // The first flush lasts until everyone else has handed in their work.
                first_began.wait();
                while queued(&group) < WRITERS - 1 {
                    thread::yield_now();
                }
            }
            Ok(numbers.into_iter().map(|number| number * 10).collect())
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| group.submit(0, flush));
            first_began.wait();
            let submit = |number| group.submit(number, flush);
            let others: Vec<_> = (1..WRITERS)
                .map(|number| (number, scope.spawn(move || submit(number))))
                .collect();
            assert_eq!(first.join().unwrap().unwrap(), 0);
            for (number, writer) in others {
                assert_eq!(writer.join().unwrap().unwrap(), number * 10);
            }
        });
        assert_eq!(flushes.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_failed_flush_fails_its_group_and_no_other() {
        let group = GroupCommit::<u8, u8, Full>::new();
        let error = group.submit(1, |_| Err(Full)).unwrap_err();
        assert!(matches!(error, GroupError::Flush { .. }));
        assert_eq!(group.submit(2, Ok).unwrap(), 2);
        assert!(group.state.lock().unwrap().results.is_empty());
    }

    #[test]
    fn a_leader_that_panics_leaves_nobody_waiting() {
        let group = GroupCommit::<u8, u8, Infallible>::new();
        let led = Barrier::new(2);
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                group.submit(1, |_| {
                    led.wait();
                    while queued(&group) < 1 {
                        thread::yield_now();
                    }
                    panic!("on purpose")
                })
            });
            led.wait();
            assert_eq!(
                group.submit(2, Ok).unwrap(),
                2,
                "the next group has its own leader"
            );
            assert!(leader.join().is_err());
        });
        let wrong_count = group.submit(3, |_| Ok(vec![]));
        assert!(matches!(wrong_count, Err(GroupError::Abandoned)));
    }
}
