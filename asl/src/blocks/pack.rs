//! Pack files: reading them, and appending blocks, of which the last are in memory until they are
//! flushed.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::BlocksError;
use super::frame::{ALIGN, HEADER_LEN};
use super::layout::{DIR, EXTENSION, MAGIC, VERSION};
use super::list::List;
use crate::disk::{Context, Disk, DiskFile, Mode};
use crate::file_header;

/// Small blocks are written together, this many bytes at a time.
const BUFFER_LEN: usize = 1 << 20;
/// What is longer than this is not copied to be written with others.
const BUFFERED_LEN_MAX: usize = 128 << 10;

/// One pack file.
pub(super) struct Pack {
    pub(super) number: u32,
    pub(super) path: String,
    pub(super) file: Arc<dyn DiskFile>,
    /// Whoever holds the tail's lock may change it; reading needs no other lock.
    pending: RwLock<Pending>,
}

/// The end of a pack that has been appended but not written.
struct Pending {
    start: u64,
    bytes: Vec<u8>,
}

impl Pack {
    pub(super) fn path(number: u32) -> String {
        format!("{DIR}/{number:08}.{EXTENSION}")
    }

    pub(super) fn open(disk: &Arc<dyn Disk>, number: u32, mode: Mode) -> Result<Self, BlocksError> {
        let path = Self::path(number);
        let file = disk.open(&path, mode).during("open", &path)?;
        let pending = RwLock::new(Pending {
            start: u64::MAX,
            bytes: Vec::new(),
        });
        Ok(Self {
            number,
            path,
            file,
            pending,
        })
    }

    /// Creates pack `number`, empty and durable.
    pub(super) fn create(disk: &Arc<dyn Disk>, number: u32) -> Result<Self, BlocksError> {
        let pack = Self::open(disk, number, Mode::Write)?;
        pack.write(0, &file_header::encode(MAGIC, number, VERSION))?;
        pack.sync()?;
        disk.sync_dir(DIR).during("sync", DIR)?;
        let list = List::read(&**disk)?;
        if list.last < number {
            List {
                last: number,
                ..list
            }
            .write(&**disk)?;
        }
        Ok(pack)
    }

    /// The length of its file, without what is not written yet.
    pub(super) fn len(&self) -> Result<u64, BlocksError> {
        Ok(self.file.len().during("measure", &self.path)?)
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, BlocksError> {
        let mut bytes = vec![0; len];
        self.read_at(offset, &mut bytes)
            .during("read", &self.path)?;
        Ok(bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let pending = self.pending();
        let written = pending.start.saturating_sub(offset).min(bytes.len() as u64);
        let (written, buffered) =
            bytes.split_at_mut(usize::try_from(written).expect("at most what was asked for"));
        if !buffered.is_empty() {
            let at = (offset + written.len() as u64)
                .checked_sub(pending.start)
                .and_then(|at| usize::try_from(at).ok());
            let found = at.and_then(|at| pending.bytes.get(at..at + buffered.len()));
            buffered.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        drop(pending);
        if written.is_empty() {
            Ok(())
        } else {
            self.file.read_at(offset, written)
        }
    }

    /// Appends one block, whose end is not written before it is flushed. Only whoever holds the
    /// tail's lock may do this.
    pub(super) fn append(
        &self,
        header: &[u8; HEADER_LEN],
        stored: &[u8],
    ) -> Result<(), BlocksError> {
        let is_long = stored.len() > BUFFERED_LEN_MAX;
        let padding_len = stored.len().next_multiple_of(ALIGN) - stored.len();
        {
            let mut pending = self.pending_mut();
            pending.bytes.extend_from_slice(header);
            if !is_long {
                pending.bytes.extend_from_slice(stored);
                pending.bytes.extend_from_slice(&[0; ALIGN][..padding_len]);
            }
        }
        if is_long {
            self.flush()?;
            let start = self.pending().start;
            self.write(start, stored)?;
            let mut pending = self.pending_mut();
            pending.start += stored.len() as u64;
            pending.bytes.extend_from_slice(&[0; ALIGN][..padding_len]);
        } else if self.pending().bytes.len() >= BUFFER_LEN {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was appended, while others may read it.
    pub(super) fn flush(&self) -> Result<(), BlocksError> {
        let pending = self.pending();
        if pending.bytes.is_empty() {
            return Ok(());
        }
        self.write(pending.start, &pending.bytes)?;
        drop(pending);
        let mut pending = self.pending_mut();
        pending.start += pending.bytes.len() as u64;
        pending.bytes.clear();
        Ok(())
    }

    /// Up to where it has been written.
    pub(super) fn written(&self) -> u64 {
        self.pending().start
    }

    /// Says where the next block is appended; nothing has been since it was opened.
    pub(super) fn begin_at(&self, end: u64) {
        self.pending_mut().start = end;
    }

    fn pending(&self) -> RwLockReadGuard<'_, Pending> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending_mut(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlocksError> {
        Ok(self
            .file
            .write_at(offset, bytes)
            .during("write", &self.path)?)
    }

    pub(super) fn sync(&self) -> Result<(), BlocksError> {
        Ok(self.file.sync().during("sync", &self.path)?)
    }
}

/// Removes the files of packs that the list says are no more.
pub(super) fn remove_files(disk: &dyn Disk, numbers: &BTreeSet<u32>) -> Result<(), BlocksError> {
    for number in numbers {
        let path = Pack::path(*number);
        disk.remove(&path).during("remove", &path)?;
    }
    if !numbers.is_empty() {
        disk.sync_dir(DIR).during("sync", DIR)?;
    }
    Ok(())
}
