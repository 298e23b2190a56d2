//! Standard output.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::render::plain_json;

/// Standard output, buffered, that remembers whether it could be written to.
pub struct Out<'a> {
    writer: BufWriter<Box<dyn Write + 'a>>,
    closed: bool,
    /// What the system said, when it was written to in vain.
    problem: Option<String>,
}

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {problem}")]
pub struct OutputFailed {
    /// What the system said.
    pub problem: String,
}

impl<'a> Out<'a> {
    pub(super) fn new(writer: Box<dyn Write + 'a>) -> Self {
        Self {
            writer: BufWriter::with_capacity(64 << 10, writer),
            closed: false,
            problem: None,
        }
    }

    /// Whether the reader has gone away: no failure of the command's.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it was written to in vain.
    pub const fn has_failed(&self) -> bool {
        self.problem.is_some()
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = plain_json(serde_json::to_string(value).map_err(io::Error::other)?);
        writeln!(self, "{line}")
    }

    /// Why it could not be written to, unless that is no failure.
    pub fn failure(&self) -> Option<OutputFailed> {
        let problem = self.problem.clone().filter(|_| !self.closed)?;
        Some(OutputFailed { problem })
    }

    fn noting<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && self.problem.is_none()
        {
            self.closed = error.kind() == io::ErrorKind::BrokenPipe;
            self.problem = Some(error.to_string());
        }
        result
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer.write(bytes);
        self.noting(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.writer.flush();
        self.noting(result)
    }
}
