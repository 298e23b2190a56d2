//! Why a command could not be carried to the node, or the socket not be served.

use std::io;
use std::path::PathBuf;

use super::protocol::{BODY_LEN_MAX, SESSIONS_MAX, SILENCE_S};

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
