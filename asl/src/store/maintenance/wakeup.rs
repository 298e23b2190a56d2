//! How the maintenance thread is woken.

use std::sync::{Condvar, Mutex, PoisonError};

/// Notified when maintenance may be due. What nobody waits for is kept for the next who does;
/// nothing else is locked meanwhile.
#[derive(Default)]
pub(in crate::store) struct Wakeup {
    is_due: Mutex<bool>,
    notified: Condvar,
}

impl Wakeup {
    pub(in crate::store) fn notify(&self) {
        *self.is_due.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.notified.notify_all();
    }

    /// Returns when it has been notified since this returned last.
    pub(super) fn wait(&self) {
        let is_due = self.is_due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_due = self
            .notified
            .wait_while(is_due, |is_due| !*is_due)
            .unwrap_or_else(PoisonError::into_inner);
        *is_due = false;
    }
}
