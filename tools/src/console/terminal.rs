//! The terminal of this process: whether there is one, and the progress bar on it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uor_node::cancel::{Awaiting, Cancel};
use uor_node::clock::wall_ms;
use uor_node::control::{Progress, SILENCE_S, Terminal, Unit};

use super::ProgressDisplay;
use crate::render::size;

/// A rate is a guess; over less than this it would be a wild one.
const RATE_AFTER_MS: u64 = 500;

/// Whether progress can be shown.
pub fn is_shown() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard output may be coloured: a terminal, and nobody set `NO_COLOR`.
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A line of progress on standard error, cut where the terminal ends.
#[derive(Default)]
pub struct Bar {
    shown: Option<(ProgressBar, Begun)>,
}

/// Since when, and from where, progress has been seen: what was done before was done over an
/// unknown time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    at_ms: u64,
    position: u64,
    unit: Unit,
}

impl ProgressDisplay for Bar {
    fn show(&mut self, progress: &Progress) {
        let now_ms = wall_ms();
        let fresh = Begun {
            at_ms: now_ms,
            position: progress.position,
            unit: progress.unit,
        };
        let (bar, begun) = self.shown.get_or_insert_with(|| (line_of_its_own(), fresh));
        // Something else has begun.
        if progress.unit != begun.unit || progress.position < begun.position {
            *begun = fresh;
        }
        bar.set_message(line(progress, begun, now_ms));
    }

    fn end(&mut self) {
        if let Some((bar, _)) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

fn line_of_its_own() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // Never wraps: the message takes what the line has, and is cut there.
    if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// What is said of progress, what matters most first. Sizes are decimal, as everywhere.
fn line(progress: &Progress, begun: &Begun, now_ms: u64) -> String {
    let Progress {
        label,
        position,
        total,
        unit,
    } = progress;
    let amount = |number: u64| {
        if *unit == Unit::Bytes {
            size(number)
        } else {
            number.to_string()
        }
    };
    let mut line = format!("{label}  {}", amount(*position));
    if let Some(total) = total {
        line += &format!(" of {}", amount(*total));
    }
    let (ms, done) = (
        now_ms.saturating_sub(begun.at_ms),
        position.saturating_sub(begun.position),
    );
    if ms < RATE_AFTER_MS || done == 0 {
        return line;
    }
    if *unit == Unit::Bytes {
        line += &format!("  {}/s", size(per_second(done, ms)));
    }
    if let Some(left) = total
        .and_then(|total| total.checked_sub(*position))
        .filter(|left| *left > 0)
    {
        let seconds = u128::from(left) * u128::from(ms) / u128::from(done) / 1000;
        line += &format!(
            "  {} left",
            duration(u64::try_from(seconds).unwrap_or(u64::MAX))
        );
    }
    line
}

fn per_second(done: u64, ms: u64) -> u64 {
    u64::try_from(u128::from(done) * 1000 / u128::from(ms.max(1))).unwrap_or(u64::MAX)
}

/// `9 s`, `2 min`, `3 h`: of a guess, no more than that is known.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Standard input, awaited as long as the command is wanted.
pub fn input(cancel: &Cancel) -> Box<dyn Read> {
    match awaited(cancel) {
        Some(stdin) => Box::new(stdin),
        None => Box::new(io::stdin().lock()),
    }
}

/// Standard input past the buffer of the standard library: what is awaited is what has not arrived.
/// `None` if this process has no number left for it.
fn awaited(cancel: &Cancel) -> Option<Awaiting> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
    Some(cancel.awaiting(File::from(stdin)))
}

/// This process's streams, for a command that runs in the node.
pub struct Streams {
    bar: Bar,
    /// `None`: it is read through the standard library, and only then.
    input: Option<Awaiting>,
    has_said_that_it_waits: bool,
}

impl Streams {
    /// The streams, as long as the command is wanted.
    pub fn new(cancel: &Cancel) -> Self {
        Self {
            bar: Bar::default(),
            input: awaited(cancel),
            has_said_that_it_waits: false,
        }
    }
}

impl Terminal for Streams {
    fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    }

    fn err(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }

    fn input(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.read(bytes),
            None => io::stdin().read(bytes),
        }
    }

    fn input_source(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(|input| input.file().as_fd())
    }

    /// Somebody who sees that nothing happens can decide how long to wait; a script cannot.
    fn waits(&mut self) -> bool {
        let is_watched = is_shown();
        if is_watched && !std::mem::replace(&mut self.has_said_that_it_waits, true) {
            self.bar.end();
            let said = format!(
                "The running node has said nothing for {SILENCE_S} s; still waiting (Ctrl-C ends this).\n"
            );
            drop(io::stderr().write_all(said.as_bytes()));
        }
        is_watched
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        match progress {
            Some(progress) => self.bar.show(progress),
            None => self.bar.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(position: u64, total: Option<u64>, ms: u64) -> String {
        let progress = Progress {
            label: "adding".to_owned(),
            position,
            total,
            unit: Unit::Bytes,
        };
        line(
            &progress,
            &Begun {
                at_ms: 1_000,
                position: 1_000_000_000,
                unit: Unit::Bytes,
            },
            1_000 + ms,
        )
    }

    #[test]
    fn no_rate_is_shown_before_half_a_second() {
        assert_eq!(
            said(12_900_000_000, Some(20_000_000_000), 0),
            "adding  12.9 GB of 20.0 GB"
        );
        assert_eq!(
            said(12_900_000_000, Some(20_000_000_000), 499),
            "adding  12.9 GB of 20.0 GB"
        );
        assert_eq!(said(1_000_000_000, None, 5_000), "adding  1.0 GB");
    }

    #[test]
    fn rates_count_from_when_progress_was_first_seen_in_one_family_of_units() {
        assert_eq!(
            said(3_000_000_000, Some(5_000_000_000), 1_000),
            "adding  3.0 GB of 5.0 GB  2.0 GB/s  1 s left"
        );
        assert_eq!(said(3_000_000_000, None, 2_000), "adding  3.0 GB  1.0 GB/s");
        assert_eq!(
            said(u64::MAX, Some(0), u64::MAX - 1_000),
            "adding  18.4 EB of 0 B  999 B/s"
        );
    }

    #[test]
    fn what_is_left_is_said_roughly() {
        assert_eq!([119, 120, 7200].map(duration), ["119 s", "2 min", "2 h"]);
    }
}
