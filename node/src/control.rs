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
//!
//! To be read in this order: `protocol`, `frame`, `request`, `progress`, `error` (what is said);
//! `address` (where); `client` (the command's side); `server`, `session` (the node's side).

mod address;
mod client;
mod error;
mod frame;
mod progress;
mod protocol;
mod request;
mod server;
mod session;

pub use self::client::{Canceller, Client, Terminal};
pub use self::error::ControlError;
pub use self::progress::{Progress, Unit};
pub use self::protocol::{BODY_LEN_MAX, SESSIONS_MAX, SILENCE_S, SOCKET_NAME, STATUS_CANCELLED};
pub use self::request::Request;
pub use self::server::{Handler, Server};
pub use self::session::Session;
