//! What SIGINT and SIGTERM do to a command.
//!
//! What only reads ends at once. What writes is told ([`Cancel`]) and ends at its next step, at the
//! latest right before it commits; the status then says whether it was done. A second signal ends
//! anything at once.

use std::io::Write as _;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use uor_node::cancel::Cancel;
use uor_node::control::Canceller;
use uor_node::interrupt::watch;

use crate::exit::{Exit, Failed};
use crate::scratch;

/// What the first signal does.
pub enum Manner {
    /// Ends the process.
    AtOnce,
    /// Asks the command to end.
    InGoodOrder,
    /// Asks the node to end the command.
    Beside(Canceller),
}

/// What the next signal does.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<Manner>>);

impl Signals {
    /// Heeds signals from now on, by ending the process; without a thread for that, they do what
    /// they do by themselves.
    pub fn heed(cancel: &Cancel, json: bool) -> Self {
        let signals = Self(Arc::new(Mutex::new(Manner::AtOnce)));
        let (heeding, cancel) = (signals.clone(), cancel.clone());
        drop(watch(move || {
            let manner = heeding.manner();
            if cancel.is_cancelled() || matches!(*manner, Manner::AtOnce) {
                end(json);
            }
            // The node first: what breaks off here because of the other is then known to have been
            // taken back.
            if let Manner::Beside(canceller) = &*manner {
                canceller.cancel();
            }
            cancel.cancel();
        }));
        signals
    }

    /// From now on, a signal does this.
    pub fn mean(&self, manner: Manner) {
        *self.manner() = manner;
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process is being ended: what fails from then on fails because of that.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Comes back unless the process is being ended by a signal; its word is the last one then.
pub fn leave_the_last_word() {
    while IS_ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Ends the process, and takes temporary folders with it.
fn end(json: bool) -> ! {
    IS_ENDING.store(true, Ordering::SeqCst);
    scratch::sweep();
    let failed = Failed::interrupted();
    let said = if json {
        failed.json()
    } else {
        "Interrupted.".to_owned()
    };
    // Where standard error is closed, nobody wants it.
    drop(writeln!(std::io::stderr(), "{said}"));
    process::exit(Exit::Interrupted.status())
}
