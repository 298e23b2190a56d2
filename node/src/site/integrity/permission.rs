//! Whether a site may write now, as all its handles see it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hold::{Hold, HoldError};

/// A writer waits no longer for a node to ask the others; the node gives up before.
const ASKING_MAX: Duration = Duration::from_secs(15);
/// So long is not worth a word.
const MOMENT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// A node is asking the others for this site's own log.
    Asking,
    Held(Hold),
}

/// Whether the site may write, and why not.
pub(in crate::site) struct Permission {
    state: Mutex<State>,
    /// Notified when the state is no longer [`State::Asking`].
    asked: Condvar,
    /// Whether the data directory is a copy, of a site that has no others to ask.
    is_lone_copy: bool,
}

impl Permission {
    /// To write, unless there is a reason to ask first, and anybody to ask.
    pub(in crate::site) fn new(reason: Option<Hold>, is_alone: bool) -> Self {
        let hold = reason.filter(|_| !is_alone);
        Self {
            state: Mutex::new(hold.map_or(State::Free, State::Held)),
            asked: Condvar::new(),
            is_lone_copy: reason.is_some() && is_alone,
        }
    }

    /// Whether there would be a reason to ask, and nobody is there.
    pub(in crate::site) const fn is_lone_copy(&self) -> bool {
        self.is_lone_copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the site may not write before it has asked.
    pub(in crate::site) fn hold(&self) -> Option<Hold> {
        match *self.state() {
            State::Held(hold) => Some(hold),
            State::Free | State::Asking => None,
        }
    }

    /// From now on nothing is written, until [`Permission::release`].
    pub(in crate::site) fn hold_as(&self, hold: Hold) {
        *self.state() = State::Held(hold);
    }

    /// Writers wait until [`Permission::end_asking`], unless the site is held.
    pub(in crate::site) fn begin_asking(&self) {
        let mut state = self.state();
        if *state == State::Free {
            *state = State::Asking;
        }
    }

    /// Writers go on, unless the site is held.
    pub(in crate::site) fn end_asking(&self) {
        let mut state = self.state();
        if *state == State::Asking {
            *state = State::Free;
        }
        self.asked.notify_all();
    }

    /// From now on the site writes.
    pub(in crate::site) fn release(&self) {
        *self.state() = State::Free;
        self.asked.notify_all();
    }

    /// Waits until the site may write; a node that is asking the others needs some seconds at most.
    /// If it takes longer than a moment, `on_wait` is told.
    ///
    /// # Errors
    /// [`HoldError`].
    pub(in crate::site) fn wait(&self, on_wait: &mut dyn FnMut()) -> Result<(), HoldError> {
        let mut state = self.wait_at_most(MOMENT);
        if state == State::Asking {
            on_wait();
            state = self.wait_at_most(ASKING_MAX);
        }
        match state {
            State::Free => Ok(()),
            State::Asking => Err(HoldError::Asking),
            State::Held(hold) => Err(HoldError::Held { hold }),
        }
    }

    /// The state when the asking is over, or after so long.
    fn wait_at_most(&self, most: Duration) -> State {
        let waited = self
            .asked
            .wait_timeout_while(self.state(), most, |state| *state == State::Asking);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
