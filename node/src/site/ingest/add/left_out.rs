//! What of a directory does not become part of its tree, and why.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::site::text;

/// Why something cannot be part of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is a data directory, or a part of one.
    DataDirectory,
    /// It is the private key of a site.
    PrivateKey,
    /// It is a socket.
    Socket,
    /// It is a named pipe.
    Fifo,
    /// It is a character device.
    CharDevice,
    /// It is a block device.
    BlockDevice,
    /// It could not be read: what the system said.
    Unreadable(String),
    /// It was there, and went away.
    Vanished,
}

impl Obstacle {
    /// What something is that is neither file, directory nor symlink.
    pub(super) fn of_special(metadata: &Metadata) -> Self {
        let file_type = metadata.file_type();
        if file_type.is_socket() {
            Self::Socket
        } else if file_type.is_fifo() {
            Self::Fifo
        } else if file_type.is_char_device() {
            Self::CharDevice
        } else {
            Self::BlockDevice
        }
    }

    /// Why something could not be read, if that is a reason to go on without it.
    pub(super) fn of_error(error: &io::Error) -> Option<Self> {
        (error.kind() == io::ErrorKind::PermissionDenied)
            .then(|| Self::Unreadable(error.to_string()))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDirectory => {
                f.write_str("it is a data directory of uor, which may hold a site's private key")
            }
            Self::PrivateKey => f.write_str("it is the private key of a site"),
            Self::Socket => f.write_str("it is a socket"),
            Self::Fifo => f.write_str("it is a named pipe"),
            Self::CharDevice => f.write_str("it is a character device"),
            Self::BlockDevice => f.write_str("it is a block device"),
            Self::Unreadable(said) => write!(f, "it cannot be read: {said}"),
            Self::Vanished => f.write_str("it went away while it was added"),
        }
    }
}

/// Something that was left out of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its path; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of its path in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Why.
    #[serde(serialize_with = "reason")]
    pub reason: Obstacle,
}

impl LeftOut {
    pub(in crate::site) fn new(path: &Path, reason: Obstacle) -> Self {
        let bytes = path.as_os_str().as_bytes();
        Self {
            path: text::text_of(bytes),
            path_hex: text::hex_of(bytes),
            reason,
        }
    }
}

fn reason<S: Serializer>(reason: &Obstacle, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}
