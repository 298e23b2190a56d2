//! The control socket: how a `uor` command runs inside the node that has its data directory open.
//!
//! A store has one writer process. Beside a running node a command is not refused but carried over:
//! the client sends its arguments through `DATA/control.sock`, the node runs the very same command
//! on its open site, and output, progress and exit status come back. What a command *is* this
//! module does not know: arguments in, bytes out.
//!
//! ```text
//! client                                   server
//!   REQUEST (release, args, cwd, terminal) →
//!                                          ← OUT bytes · ERR bytes · PROGRESS · PROGRESS_END   (any number)
//!                                          ← INPUT_WANTED                                      (only if it reads `-`)
//!   INPUT bytes (none: the end)            →
//!                                          ← ALIVE                                             (every second)
//!   CANCEL · OUT_CLOSED                    →                                                      (whenever it is so)
//!                                          ← EXIT status, or REFUSED
//! ```
//!
//! A frame is a type byte, a 32-bit little-endian length and a body of at most [`BODY_LEN_MAX`]
//! bytes. Input is sent only when asked for, so neither side can block the other.
//!
//! Invariants: the socket has mode 0600 and never exists with another; a node that was killed
//! leaves a socket that the next one replaces; a client that goes away cancels its command, as does
//! one that says so: what it has not committed by then it does not commit; a node that says nothing
//! for [`SILENCE_S`] seconds is noticed; no input allocates beyond its length.

mod address;
mod client;
mod frame;
mod server;
mod session;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};

pub use self::client::{Canceller, Client, Terminal};
pub use self::server::{Handler, Server};
pub use self::session::Session;

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "control.sock";
/// Longest body of a frame, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Most commands that run at the same time; more are refused.
pub const SESSIONS_MAX: usize = 64;
/// After so many seconds without a word from the node, it is said to be silent.
pub const SILENCE_S: u64 = 5;
/// The exit status of a command that was cancelled before it began.
pub const STATUS_CANCELLED: i32 = 130;

const MAGIC: [u8; 4] = *b"UORC";
const VERSION: u16 = 1;
const ARGS_MAX: u32 = 1 << 17;

/// Why a command could not be carried to the node, or the socket not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The socket could not be made.
    #[error("could not make the control socket {}", path.display())]
    Bind {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node serves this socket.
    #[error("another process serves the control socket {}", path.display())]
    InUse {
        /// Its path.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the connection to the running node broke")]
    Broken {
        /// How.
        source: io::Error,
    },
    /// The node sent something that is no frame of this protocol.
    #[error("the running node sent something malformed: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The node says nothing.
    #[error(
        "the running node has said nothing for {SILENCE_S} seconds; the command was taken back"
    )]
    Silent,
    /// The node has its hands full.
    #[error("the running node is busy with {SESSIONS_MAX} commands")]
    Busy,
    /// The node is of another release.
    #[error("the running node is release {node}, this command is release {command}")]
    OtherRelease {
        /// The node's.
        node: String,
        /// The command's.
        command: String,
    },
    /// Standard output cannot be written to.
    #[error("cannot write the output: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// The arguments do not fit a frame.
    #[error("the arguments have {len} bytes together; a running node takes at most {BODY_LEN_MAX}")]
    RequestTooLong {
        /// Their length.
        len: usize,
    },
}

/// A command, as the client was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's release: a node runs only commands of its own release.
    pub release: String,
    /// The arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The client's working directory: what relative paths are relative to.
    pub cwd: PathBuf,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal: progress is shown there only then.
    pub stderr_is_terminal: bool,
    /// Whether output may be coloured.
    pub colour: bool,
}

impl Request {
    /// The body of a request frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.bytes(self.release.as_bytes()).count(self.args.len());
        self.args.iter().for_each(|arg| {
            writer.bytes(arg.as_bytes());
        });
        let flags = [
            self.stdin_is_terminal,
            self.stdout_is_terminal,
            self.stderr_is_terminal,
            self.colour,
        ];
        writer.bytes(self.cwd.as_os_str().as_bytes());
        writer.u8(flags
            .iter()
            .rev()
            .fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        writer.into_bytes()
    }

    /// Reads the body of a request frame.
    ///
    /// # Errors
    /// [`DecodeError`] at the first byte that is not part of a request.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let longest = u32::try_from(BODY_LEN_MAX).unwrap_or(u32::MAX);
        let mut reader = Reader::new(body);
        reader.header("request", MAGIC, VERSION)?;
        let release = reader.string("request release", 64)?.to_owned();
        let count = reader.count("request arguments", ARGS_MAX, 4)?;
        let args = (0..count)
            .map(|_| {
                Ok(OsString::from_vec(
                    reader.bytes("request argument", longest)?.to_vec(),
                ))
            })
            .collect::<Result<_, DecodeError>>()?;
        let cwd = PathBuf::from(OsString::from_vec(
            reader.bytes("request directory", longest)?.to_vec(),
        ));
        let offset = reader.offset();
        let flags = reader.u8("request flags")?;
        if flags > 15 {
            return Err(Reader::invalid("request flags", offset, "unknown flag"));
        }
        reader.finish("request")?;
        let flag = |bit: u8| flags >> bit & 1 == 1;
        Ok(Self {
            release,
            args,
            cwd,
            stdin_is_terminal: flag(0),
            stdout_is_terminal: flag(1),
            stderr_is_terminal: flag(2),
            colour: flag(3),
        })
    }
}

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Items,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing, such as `adding`.
    pub label: String,
    /// How much is done.
    pub position: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

impl Progress {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .bytes(self.label.as_bytes())
            .u64(self.position)
            .u8(u8::from(self.total.is_some()));
        writer
            .u64(self.total.unwrap_or(0))
            .u8(u8::from(self.unit == Unit::Items));
        writer.into_bytes()
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let label = reader.string("progress label", 4096)?.to_owned();
        let position = reader.u64("progress position")?;
        let has_total = reader.u8("progress flag")? == 1;
        let total = Some(reader.u64("progress total")?).filter(|_| has_total);
        let unit = if reader.u8("progress unit")? == 1 {
            Unit::Items
        } else {
            Unit::Bytes
        };
        reader.finish("progress")?;
        Ok(Self {
            label,
            position,
            total,
            unit,
        })
    }
}
