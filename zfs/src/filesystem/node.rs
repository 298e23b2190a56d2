//! What a file system gives out: nodes with their attributes, entries of directories.

/// What an object is to a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Its numbers.
        device: Device,
    },
    /// A block device.
    BlockDevice {
        /// Its numbers.
        device: Device,
    },
}

/// The numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    /// From how it is stored: by Linux as `major << 20 | minor`, elsewhere as `major << 32 |
    /// minor`.
    pub(super) fn of(rdev: u64) -> Self {
        let low =
            |value: u64, bits: u32| u32::try_from(value & ((1 << bits) - 1)).unwrap_or_default();
        if rdev >> 32 == 0 {
            Self {
                major: low(rdev >> 20, 12),
                minor: low(rdev, 20),
            }
        } else {
            Self {
                major: low(rdev >> 32, 32),
                minor: low(rdev, 32),
            }
        }
    }
}

/// An object and what its attributes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub object: u64,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u32,
    /// Owner; above 2^32 an index into the sender's table of foreign ids.
    pub uid: u64,
    /// Group, likewise.
    pub gid: u64,
    /// When its contents last changed: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// How many names it has.
    pub links: u64,
    /// Length of a file in bytes; entries and two of a directory.
    pub size: u64,
    pub(super) xattr_list: Option<Vec<u8>>,
    pub(super) xattr_directory: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name: bytes, with neither slash nor NUL.
    pub name: Vec<u8>,
    /// What it names.
    pub object: u64,
}

/// Extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Xattrs {
    /// Names with values, ascending by name.
    pub values: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of those that were left out: no system gives out names or values like these, or they
    /// are too many.
    pub left_out: Vec<Vec<u8>>,
}
