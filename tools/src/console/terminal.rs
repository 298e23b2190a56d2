//! The terminal of this process: whether there is one, and the progress bar on it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uor_node::control::{Progress, Terminal, Unit};

use super::ProgressDisplay;

/// Whether progress can be shown.
pub fn is_shown() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard output may be coloured: a terminal, and nobody set `NO_COLOR`.
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A progress bar on standard error.
#[derive(Default)]
pub struct Bar {
    bar: Option<ProgressBar>,
}

impl ProgressDisplay for Bar {
    fn show(&mut self, progress: &Progress) {
        let bar = self.bar.get_or_insert_with(|| begin(progress.position));
        let template = match (progress.unit, progress.total) {
            (Unit::Bytes, Some(_)) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Unit::Bytes, None) => "{msg} {bytes} {bytes_per_sec}",
            (Unit::Items, Some(_)) => "{msg} [{bar:30}] {pos}/{len} {eta}",
            (Unit::Items, None) => "{msg} {pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_message(progress.label.clone());
        bar.set_position(progress.position);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar whose rate counts from here: what was done before it was shown was done over an unknown time.
fn begin(position: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_position(position);
    bar.reset_eta();
    bar
}

/// This process's streams, for a command that runs in the node.
#[derive(Default)]
pub struct Streams {
    bar: Bar,
    out_is_closed: bool,
}

impl Streams {
    /// Whether the reader of standard output has gone away.
    pub const fn out_is_closed(&self) -> bool {
        self.out_is_closed
    }
}

impl Terminal for Streams {
    fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        self.out_is_closed |= written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn err(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }

    fn input(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        io::stdin().lock().read(bytes)
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        match progress {
            Some(progress) => self.bar.show(progress),
            None => self.bar.end(),
        }
    }
}
