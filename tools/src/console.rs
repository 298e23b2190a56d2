//! What a command writes to and reads from: the process's own terminal, or a client's through the
//! control socket.

pub mod output;
pub mod terminal;

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_node::cancel::Cancel;
use uor_node::clock::wall_ms;
use uor_node::control::{Progress, Request, Session, Unit};

pub use self::output::{Out, OutputFailed};
use crate::exit::Failed;
use crate::render::Paint;

/// Progress is shown once something has taken this long.
const PROGRESS_AFTER_MS: u64 = 1_000;
/// And not more often than this.
const PROGRESS_EVERY_MS: u64 = 100;

/// How output should look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// JSON in place of text.
    pub json: bool,
    /// No prose and no progress.
    pub quiet: bool,
    /// Colour on standard output.
    pub colour: bool,
}

/// Where a command's words go.
pub struct Console<'a> {
    /// Standard output.
    pub out: Out<'a>,
    err: Box<dyn Write + 'a>,
    /// Standard input.
    pub input: Box<dyn Read + 'a>,
    /// Progress of something long.
    pub meter: Meter<'a>,
    /// How output should look.
    pub style: Style,
    /// Whether the command is still wanted.
    pub cancel: Cancel,
    cwd: PathBuf,
}

impl<'a> Console<'a> {
    /// The terminal of this process.
    pub fn of_process(style: Style, cwd: PathBuf, cancel: Cancel) -> Self {
        let bars = terminal::is_shown()
            .then(|| Box::new(terminal::Bar::default()) as Box<dyn ProgressDisplay>);
        Self {
            out: Out::new(Box::new(io::stdout().lock())),
            err: Box::new(io::stderr()),
            input: terminal::input(&cancel),
            meter: Meter::new(bars.filter(|_| !style.quiet)),
            style,
            cancel,
            cwd,
        }
    }

    /// The terminal of a client.
    pub fn of_session(style: Style, request: &Request, session: &'a Session) -> Self {
        let shown = request.stderr_is_terminal && !style.quiet;
        Self {
            out: Out::new(Box::new(session.out())),
            err: Box::new(session.err()),
            input: Box::new(session.input()),
            meter: Meter::new(shown.then(|| Box::new(session) as Box<dyn ProgressDisplay>)),
            style,
            cancel: session.cancel().clone(),
            cwd: request.cwd.clone(),
        }
    }

    /// A path as the caller means it.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }

    /// How text on standard output is painted.
    pub const fn paint(&self) -> Paint {
        Paint {
            colour: self.style.colour,
        }
    }

    /// A line of content.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A value: as one line of JSON, or as `human` writes it.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn show<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce(&mut Self, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.style.json {
            self.out.json(value)
        } else {
            human(self, value)
        }
    }

    /// Values: as one line of JSON each, or as `human` writes them all.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn show_each<T: Serialize>(
        &mut self,
        values: &[T],
        human: impl FnOnce(&mut Self, &[T]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.style.json {
            values.iter().try_for_each(|value| self.out.json(value))
        } else {
            human(self, values)
        }
    }

    /// Why the command failed: as text, or as a JSON document.
    pub fn fail(&mut self, failed: &Failed) {
        if self.style.json {
            self.warn(failed.json())
        } else {
            self.warn(failed)
        }
    }

    /// Prose, unless it is not wanted.
    pub fn note(&mut self, text: impl Display) {
        if !self.style.quiet {
            self.warn(text);
        }
    }

    /// Prose that is always wanted. Where standard error is closed, nobody wants it.
    pub fn warn(&mut self, text: impl Display) {
        self.meter.end();
        drop(self.out.flush());
        drop(writeln!(self.err, "{text}").and_then(|()| self.err.flush()));
    }
}

/// Something that shows progress.
pub trait ProgressDisplay {
    /// Shows how far it is.
    fn show(&mut self, progress: &Progress);
    /// Ends the display.
    fn end(&mut self);
}

impl ProgressDisplay for &Session {
    fn show(&mut self, progress: &Progress) {
        self.progress(progress);
    }

    fn end(&mut self) {
        self.progress_end();
    }
}

/// Progress of something long: shown after a second, and then not too often.
pub struct Meter<'a> {
    display: Option<Box<dyn ProgressDisplay + 'a>>,
    began_ms: Option<u64>,
    shown_ms: Option<u64>,
}

impl<'a> Meter<'a> {
    fn new(display: Option<Box<dyn ProgressDisplay + 'a>>) -> Self {
        Self {
            display,
            began_ms: None,
            shown_ms: None,
        }
    }

    /// Bytes done, of `total` where that is known.
    pub fn bytes(&mut self, label: &str, position: u64, total: Option<u64>) {
        self.update(label, position, total, Unit::Bytes);
    }

    /// Things done, of `total` where that is known.
    pub fn items(&mut self, label: &str, position: u64, total: Option<u64>) {
        self.update(label, position, total, Unit::Items);
    }

    fn update(&mut self, label: &str, position: u64, total: Option<u64>, unit: Unit) {
        let Some(display) = &mut self.display else {
            return;
        };
        let now_ms = wall_ms();
        let began_ms = *self.began_ms.get_or_insert(now_ms);
        let due_ms = self
            .shown_ms
            .map_or(began_ms + PROGRESS_AFTER_MS, |shown_ms| {
                shown_ms + PROGRESS_EVERY_MS
            });
        if now_ms >= due_ms {
            display.show(&Progress {
                label: label.to_owned(),
                position,
                total,
                unit,
            });
            self.shown_ms = Some(now_ms);
        }
    }

    /// Takes the display away until there is more to show.
    pub fn end(&mut self) {
        if self.shown_ms.take().is_some()
            && let Some(display) = &mut self.display
        {
            display.end();
        }
    }
}
