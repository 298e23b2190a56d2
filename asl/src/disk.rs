//! The few things the store asks of a disk, as a trait: real files ([`real::RealDisk`]) and a
//! simulated disk that tears, drops, flips and fails on purpose ([`memory::MemoryDisk`]) are its
//! two implementations.
//!
//! Paths are relative to the store's root, with `/` between their parts, and never leave it. What
//! is assumed of a disk is written down in `FORMAT.md`, "What is assumed of the disk".

mod lock;
pub mod memory;
mod mmap;
pub mod real;
#[cfg(target_os = "linux")]
mod sigbus;
#[cfg(target_os = "linux")]
mod writeback;

use std::io;
use std::ops::Deref;
use std::sync::Arc;

pub use self::lock::FileLock;

/// Whether something is opened to be read, by any number of processes, or to be written, by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is modified, not even to repair.
    ReadOnly,
    /// The one writer: creates what is missing and cuts torn tails.
    Write,
}

/// The bytes of a whole file that will never change again.
#[derive(Debug)]
pub struct Sealed(SealedBytes);

#[derive(Debug)]
enum SealedBytes {
    Owned(Vec<u8>),
    Mapped(mmap::Map),
}

impl Sealed {
    /// Whether some of the bytes could not be read, because the file was cut or its disk failed,
    /// and read as zeros since. Asked after the bytes have been read, it says whether they were the
    /// file's.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        match &self.0 {
            SealedBytes::Owned(_) => false,
            SealedBytes::Mapped(map) => map.is_cut(),
        }
    }
}

impl Deref for Sealed {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            SealedBytes::Owned(bytes) => bytes,
            SealedBytes::Mapped(map) => map,
        }
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(SealedBytes::Owned(bytes))
    }
}

/// Held as long as a lock is; dropping it gives the lock back.
pub type LockGuard = Box<dyn Send + Sync>;

/// A directory of files that can be made durable.
pub trait Disk: Send + Sync {
    /// Opens a file; [`Mode::Write`] creates it, empty, if it does not exist.
    ///
    /// # Errors
    /// Whatever the disk says; `NotFound` when reading a file that does not exist.
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had that name.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names (not paths) directly in a directory, sorted.
    ///
    /// # Errors
    /// Whatever the disk says; `NotFound` when there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Whether a file or directory of this name exists.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Makes a directory and those above it; not durable before [`Disk::sync_dir`] of the one
    /// above.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create_dir_all(&self, dir: &str) -> io::Result<()>;

    /// Makes the names in a directory durable; `""` is the root.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// How many bytes can still be written, as far as is known; `None` where nobody can tell.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn free_space(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Takes the lock of this name for this process, creating its file; `None` if another holder
    /// has it.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>>;
}

/// One open file. Reads and writes are positioned, so threads share a file without a cursor.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; else whatever the disk says.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file (with zeros before, if it was shorter).
    ///
    /// # Errors
    /// Whatever the disk says; any part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Begins to write `len` bytes from `offset` on, so that the sync to come has less to do.
    /// Promises nothing.
    fn begin_sync(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Makes contents and length durable.
    ///
    /// # Errors
    /// Whatever the disk says; afterwards nothing is known about the writes since the last success.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or grows (with zeros) to `len` bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives back the space of `len` bytes from `offset` on, as far as the disk can; afterwards
    /// each of them reads as it was or as zero. The length stays. Says whether this disk can.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let _ = (offset, len);
        Ok(false)
    }

    /// All bytes of a file that nobody will change or cut again, without copying where the platform
    /// can.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn map_sealed(&self) -> io::Result<Sealed>;
}

/// A disk operation that failed, with what was attempted on which file.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {path}")]
pub struct DiskError {
    /// What was attempted, as a verb: `read`, `write`, `sync` …
    pub action: &'static str,
    /// Path inside the store.
    pub path: String,
    /// What the disk said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        self.source.kind() == io::ErrorKind::StorageFull
    }
}

/// Adds what was attempted, and on what, to an I/O result.
pub(crate) trait Context<T> {
    fn during(self, action: &'static str, path: &str) -> Result<T, DiskError>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &str) -> Result<T, DiskError> {
        self.map_err(|source| DiskError {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

/// Makes `dir` (one level below the root) and its name durable.
pub(crate) fn create_dir_durably(disk: &dyn Disk, dir: &str) -> Result<(), DiskError> {
    disk.create_dir_all(dir).during("create directory", dir)?;
    disk.sync_dir("").during("sync the directory above", dir)
}

/// The numbers `n` of the files `dir/NNNNNNNN.extension`, ascending; other names are not ours to
/// judge. An absent directory holds none.
pub(crate) fn list_numbered(
    disk: &dyn Disk,
    dir: &str,
    extension: &str,
) -> Result<Vec<u32>, DiskError> {
    if !disk.exists(dir).during("look for", dir)? {
        return Ok(Vec::new());
    }
    let names = disk.list(dir).during("list", dir)?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| name.strip_suffix(extension)?.strip_suffix('.'))
        .filter(|stem| stem.len() == 8 && stem.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|stem| stem.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Replaces a small file, or makes it: whoever looks, even after a crash, sees the old bytes or the
/// new, whole.
///
/// # Errors
/// [`DiskError`]; the old file is in place then.
pub fn replace(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let new = format!("{path}.new");
    if let Err(error) = write_new(disk, &new, bytes) {
        // On a full disk its space is needed.
        let _ = disk.remove(&new);
        return Err(error);
    }
    disk.rename(&new, path).during("put in place", path)?;
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    disk.sync_dir(dir).during("sync the directory of", path)
}

fn write_new(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let file = disk.open(path, Mode::Write).during("create", path)?;
    file.set_len(0).during("empty", path)?;
    file.write_at(0, bytes).during("write", path)?;
    file.sync().during("sync", path)
}

/// All bytes of a small file.
///
/// # Errors
/// [`DiskError`].
pub fn read_all(disk: &dyn Disk, path: &str) -> Result<Vec<u8>, DiskError> {
    let file = disk.open(path, Mode::ReadOnly).during("open", path)?;
    let len = file.len().during("measure", path)?;
    let len = usize::try_from(len)
        .map_err(|_| io::ErrorKind::FileTooLarge.into())
        .during("read", path)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).during("read", path)?;
    Ok(bytes)
}
