//! The command's side.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::address;
use super::error::ControlError;
use super::frame::{self, Type};
use super::progress::Progress;
use super::protocol::{BODY_LEN_MAX, SILENCE_S};
use super::request::Request;
use crate::cancel::Cancel;

/// Bytes of standard input sent at a time.
const INPUT_LEN: usize = 256 << 10;
/// How many times a second it is looked whether the command is still wanted, while the node is
/// awaited.
const LOOKS_PER_SECOND: u64 = 10;
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What the client does with what comes back.
pub trait Terminal {
    /// Writes to standard output.
    ///
    /// # Errors
    /// Whatever the system says; the command is then told that nobody reads any more.
    fn out(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes to standard error.
    ///
    /// # Errors
    /// Whatever the system says; the command goes on.
    fn err(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads from standard input; zero bytes at its end.
    ///
    /// # Errors
    /// Whatever the system says; the command is told.
    fn input(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Where standard input arrives, if it can be waited for together with the node: a node that
    /// goes, or is done, while input is awaited is then noticed at once.
    fn input_source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Shows progress; `None` ends the display.
    fn progress(&mut self, progress: Option<&Progress>);

    /// The node has said nothing for [`SILENCE_S`] seconds: whether to go on waiting.
    fn waits(&mut self) -> bool {
        false
    }
}

/// A connection to the node that has a data directory open.
pub struct Client {
    stream: UnixStream,
    canceller: Canceller,
}

/// Takes a command back that runs in the node.
#[derive(Clone)]
pub struct Canceller {
    stream: Arc<Mutex<UnixStream>>,
    cancel: Cancel,
}

impl Canceller {
    fn stream(&self) -> MutexGuard<'_, UnixStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the command is not wanted any more. How it ended then comes back from
    /// [`Client::run`].
    pub fn cancel(&self) {
        self.cancel.cancel();
        let this = self.clone();
        // Whoever calls this does not wait for a node that takes nothing: it hears it when the
        // connection ends.
        drop(
            thread::Builder::new()
                .spawn(move || drop(frame::write(&mut *this.stream(), Type::Cancel, &[]))),
        );
    }
}

impl Client {
    /// Connects to the node of the data directory `dir`; `None` if none answers.
    pub fn connect(dir: &Path) -> Option<Self> {
        let stream = address::connect(dir).ok()?;
        let to_write = Arc::new(Mutex::new(stream.try_clone().ok()?));
        Some(Self {
            stream,
            canceller: Canceller {
                stream: to_write,
                cancel: Cancel::default(),
            },
        })
    }

    /// What takes the command back.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Has the node run a command; gives its exit status.
    ///
    /// # Errors
    /// [`ControlError::Broken`] if the connection breaks before the command ends;
    /// [`ControlError::Silent`] if the node says nothing and the terminal does not wait;
    /// [`ControlError::Output`] if the output could not be written, and that not because its reader
    /// has gone away; [`ControlError`].
    pub fn run(self, request: &Request, terminal: &mut dyn Terminal) -> Result<i32, ControlError> {
        let body = request.encode();
        if body.len() > BODY_LEN_MAX {
            return Err(ControlError::RequestTooLong { len: body.len() });
        }
        self.send(Type::Request, &body, terminal)?;
        let (mut unwritten, mut is_input_wanted) = (None, false);
        loop {
            if is_input_wanted && self.await_input(terminal)? {
                self.send_input(terminal)?;
                is_input_wanted = false;
            }
            let (kind, body) = frame::read(&mut self.patient(terminal)).map_err(broken)?;
            match kind {
                Type::Out => self.show(&body, terminal, &mut unwritten),
                // Where standard error is closed, nobody wants to know.
                Type::Err => drop(terminal.err(&body)),
                Type::InputWanted => is_input_wanted = true,
                Type::Progress => {
                    let progress = Progress::decode(&body);
                    terminal.progress(Some(&progress.map_err(|_| ControlError::Malformed {
                        problem: "progress",
                    })?));
                }
                Type::ProgressEnd => terminal.progress(None),
                Type::Alive => {}
                Type::Exit => {
                    let status = <[u8; 4]>::try_from(body.as_slice());
                    let status = status.map_err(|_| ControlError::Malformed {
                        problem: "exit status",
                    })?;
                    let failure = unwritten
                        .filter(|error: &io::Error| error.kind() != io::ErrorKind::BrokenPipe);
                    return failure.map_or(Ok(i32::from_le_bytes(status)), |source| {
                        Err(ControlError::Output { source })
                    });
                }
                Type::Refused => return Err(refusal(&body, &request.release)),
                Type::Request
                | Type::Input
                | Type::Cancel
                | Type::OutClosed
                | Type::InputFailed => {
                    return Err(ControlError::Malformed {
                        problem: "a client's frame",
                    });
                }
            }
        }
    }

    /// Shows output; once that fails, the node is told, and what still comes is dropped.
    fn show(&self, bytes: &[u8], terminal: &mut dyn Terminal, unwritten: &mut Option<io::Error>) {
        if unwritten.is_none()
            && let Err(error) = terminal.out(bytes)
        {
            *unwritten = Some(error);
            // A node that is done already has no use for it; how the command ended is on its way.
            drop(self.send(Type::OutClosed, &[], terminal));
        }
    }

    /// Waits for input; `false` if the node says something first, or has gone.
    fn await_input(&self, terminal: &dyn Terminal) -> Result<bool, ControlError> {
        let Some(input) = terminal.input_source() else {
            return Ok(true);
        };
        // Whoever reads the input of a command that is cancelled says so.
        while !self.canceller.cancel.is_cancelled() {
            let mut awaited = [
                PollFd::new(&self.stream, PollFlags::IN),
                PollFd::from_borrowed_fd(input, PollFlags::IN),
            ];
            match poll(&mut awaited, Some(&LOOK_EVERY)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(awaited[0].revents().is_empty()),
                Err(error) => return Err(broken(error.into())),
            }
        }
        Ok(true)
    }

    fn send_input(&self, terminal: &mut dyn Terminal) -> Result<(), ControlError> {
        let mut piece = vec![0; INPUT_LEN];
        match terminal.input(&mut piece) {
            Ok(len) => self.send(Type::Input, piece.get(..len).unwrap_or_default(), terminal),
            // The node has been told already, and answers.
            Err(_) if self.canceller.cancel.is_cancelled() => Ok(()),
            Err(error) => {
                let number = error
                    .raw_os_error()
                    .unwrap_or_else(|| Errno::IO.raw_os_error());
                self.send(Type::InputFailed, &number.to_le_bytes(), terminal)
            }
        }
    }

    fn send(
        &self,
        kind: Type,
        body: &[u8],
        terminal: &mut dyn Terminal,
    ) -> Result<(), ControlError> {
        // Held for a whole frame: another that is sent meanwhile comes after it.
        let held = self.canceller.stream();
        let mut patient = Patient {
            stream: &held,
            cancel: &self.canceller.cancel,
            terminal,
            looks: 0,
        };
        frame::write(&mut patient, kind, body).map_err(broken)
    }

    fn patient<'a>(&'a self, terminal: &'a mut dyn Terminal) -> Patient<'a> {
        Patient {
            stream: &self.stream,
            cancel: &self.canceller.cancel,
            terminal,
            looks: 0,
        }
    }
}

fn broken(source: io::Error) -> ControlError {
    if source.get_ref().is_some_and(|inner| inner.is::<Silence>()) {
        ControlError::Silent
    } else {
        ControlError::Broken { source }
    }
}

/// What a node means that does not take a command.
fn refusal(body: &[u8], command: &str) -> ControlError {
    match std::str::from_utf8(body) {
        Ok("") => ControlError::Busy,
        Ok(node) => ControlError::OtherRelease {
            node: node.to_owned(),
            command: command.to_owned(),
        },
        Err(_) => ControlError::Malformed { problem: "refusal" },
    }
}

/// The stream, with an eye on how long the other side has been silent.
struct Patient<'a> {
    stream: &'a UnixStream,
    cancel: &'a Cancel,
    terminal: &'a mut dyn Terminal,
    /// How often it was looked in vain since something came through.
    looks: u64,
}

/// The node says nothing.
#[derive(Debug, thiserror::Error)]
#[error("silence")]
struct Silence;

impl Patient<'_> {
    /// Waits until the stream can be read from, or written to.
    fn wait(&mut self, flags: PollFlags) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(self.stream, flags)], Some(&LOOK_EVERY)) {
                Ok(0) => self.looks += 1,
                Err(Errno::INTR) => {}
                ready => {
                    self.looks = 0;
                    return ready.map(drop).map_err(io::Error::from);
                }
            }
            let is_asked = self.looks == SILENCE_S * LOOKS_PER_SECOND;
            if is_asked && (self.cancel.is_cancelled() || !self.terminal.waits()) {
                return Err(io::Error::other(Silence));
            }
            if is_asked {
                // A command that is cancelled later gets as long again.
                self.looks = 0;
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.stream.read(bytes)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        // What fits now: the rest waits for its turn.
        let sent = rustix::net::send(self.stream, bytes, rustix::net::SendFlags::DONTWAIT);
        match sent {
            Err(Errno::AGAIN) => Err(io::ErrorKind::Interrupted.into()),
            sent => Ok(sent?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
