//! The command's side.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::frame::{self, Type};
use super::{BODY_LEN_MAX, ControlError, Progress, Request, address};

/// Bytes of standard input sent at a time.
const INPUT_LEN: usize = 256 << 10;

/// What the client does with what comes back.
pub trait Terminal {
    /// Writes to standard output.
    ///
    /// # Errors
    /// Whatever the system says; the command is then left alone.
    fn out(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes to standard error.
    ///
    /// # Errors
    /// Whatever the system says; the command is then left alone.
    fn err(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads from standard input; zero bytes at its end.
    ///
    /// # Errors
    /// Whatever the system says; the command is then left alone.
    fn input(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Shows progress; `None` ends the display.
    fn progress(&mut self, progress: Option<&Progress>);
}

/// A connection to the node that has a data directory open.
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the node of the data directory `dir`; `None` if none answers.
    pub fn connect(dir: &Path) -> Option<Self> {
        address::connect(dir).ok().map(|stream| Self { stream })
    }

    /// Has the node run a command; gives its exit status.
    ///
    /// # Errors
    /// [`ControlError::Broken`] if the connection, or the terminal, breaks before the command ends;
    /// [`ControlError::Malformed`]; [`ControlError::RequestTooLong`].
    pub fn run(mut self, request: &Request, terminal: &mut dyn Terminal) -> Result<i32, ControlError> {
        let body = request.encode();
        if body.len() > BODY_LEN_MAX {
            return Err(ControlError::RequestTooLong { len: body.len() });
        }
        let broken = |source| ControlError::Broken { source };
        frame::write(&mut self.stream, Type::Request, &body).map_err(broken)?;
        loop {
            let (kind, body) = frame::read(&mut self.stream).map_err(broken)?;
            match kind {
                Type::Out => terminal.out(&body).map_err(broken)?,
                Type::Err => terminal.err(&body).map_err(broken)?,
                Type::InputWanted => self.send_input(terminal).map_err(broken)?,
                Type::Progress => {
                    let progress = Progress::decode(&body);
                    terminal.progress(Some(&progress.map_err(|_| ControlError::Malformed { problem: "progress" })?));
                }
                Type::ProgressEnd => terminal.progress(None),
                Type::Exit => {
                    let status = <[u8; 4]>::try_from(body.as_slice());
                    return status
                        .map(i32::from_le_bytes)
                        .map_err(|_| ControlError::Malformed { problem: "exit status" });
                }
                Type::Request | Type::Input => return Err(ControlError::Malformed { problem: "a client's frame" }),
            }
        }
    }

    fn send_input(&mut self, terminal: &mut dyn Terminal) -> io::Result<()> {
        let mut piece = vec![0; INPUT_LEN];
        let len = terminal.input(&mut piece)?;
        frame::write(&mut self.stream, Type::Input, piece.get(..len).unwrap_or_default())
    }
}
