//! How a call ends: everything is flushed, and what went wrong is said, with the exit status of the
//! program that was called.

use std::io::Write as _;

use uor_node::audit::Verdict;

use crate::code::Code;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome, USAGE_OF_REPLAY, status_of};
use crate::interrupt::leave_the_last_word;

/// The statuses of one of the programs.
pub(crate) struct Statuses {
    failed: i32,
    usage: i32,
}

pub(crate) const DOING: Statuses = Statuses {
    failed: Exit::Failed.status(),
    usage: Exit::Usage.status(),
};

pub(crate) const AUDITING: Statuses = Statuses {
    failed: status_of(Verdict::Incomplete),
    usage: USAGE_OF_REPLAY,
};

/// Ends a command: flushes, and says what went wrong. A reader that has gone away is no failure.
pub(crate) fn finish(result: Outcome<i32>, statuses: &Statuses, console: &mut Console<'_>) -> i32 {
    leave_the_last_word();
    console.meter.end();
    // What could not be flushed is remembered there.
    drop(console.out.flush());
    let of_output = |failed: &Failed| failed.error().is::<std::io::Error>();
    let failed = match result {
        Err(_) if console.cancel.is_cancelled() => Failed::interrupted(),
        Err(failed) if !(of_output(&failed) && console.out.has_failed()) => failed,
        _ if console.out.is_closed() => return Exit::Done.status(),
        result => match (console.out.failure(), result) {
            (Some(failure), _) => {
                console.fail(&Failed::from(failure));
                return Exit::Failed.status();
            }
            (None, Ok(status)) => return status,
            (None, Err(failed)) => failed,
        },
    };
    console.fail(&failed);
    match failed.exit() {
        Exit::Failed if failed.advice().code == Code::Usage => statuses.usage,
        Exit::Failed => statuses.failed,
        Exit::Usage => statuses.usage,
        exit => exit.status(),
    }
}
