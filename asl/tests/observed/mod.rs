//! A disk that tells an observer what it is asked to do before it does it, so that a test can count
//! it, or have something happen in between.

#![allow(
    dead_code,
    clippy::mod_module_files,
    clippy::allow_attributes,
    reason = "shared by several test binaries"
)]

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};

/// What a disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Open,
    List,
    LookFor,
    Measure,
    Read,
    Map,
    Write,
    SetLen,
    Punch,
    Sync,
    SyncDir,
    Rename,
    Remove,
    CreateDir,
}

impl Deed {
    /// Whether it shows what is on the disk: one step of a reader.
    pub(crate) const fn reads(self) -> bool {
        matches!(
            self,
            Self::Open | Self::List | Self::LookFor | Self::Measure | Self::Read | Self::Map
        )
    }

    /// Whether it may change what is on the disk: one step of a writer.
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Open) || !self.reads()
    }
}

/// Is told of everything.
pub(crate) trait Observer: Send + Sync {
    /// This is about to be done to the file or directory at `path`.
    fn before(&self, deed: Deed, path: &str);

    /// These bytes were read. Whoever asked for them gets what is made of them here.
    fn has_read(&self, path: &str, offset: u64, bytes: &mut [u8]) {
        let _ = (path, offset, bytes);
    }
}

/// A disk that is observed.
#[derive(Clone)]
pub(crate) struct Observed {
    disk: MemoryDisk,
    observer: Arc<dyn Observer>,
}

struct ObservedFile {
    file: Arc<dyn DiskFile>,
    path: String,
    observer: Arc<dyn Observer>,
}

/// Calls a function before everything.
struct Hook<F>(F);

impl<F: Fn(Deed, &str) + Send + Sync> Observer for Hook<F> {
    fn before(&self, deed: Deed, path: &str) {
        (self.0)(deed, path);
    }
}

impl Observed {
    pub(crate) fn by(disk: &MemoryDisk, observer: Arc<dyn Observer>) -> Self {
        Self {
            disk: disk.clone(),
            observer,
        }
    }

    /// Calls `hook` before everything.
    pub(crate) fn doing(
        disk: &MemoryDisk,
        hook: impl Fn(Deed, &str) + Send + Sync + 'static,
    ) -> Self {
        Self::by(disk, Arc::new(Hook(hook)))
    }

    /// Calls `hook` before every step of a reader.
    pub(crate) fn reading(
        disk: &MemoryDisk,
        hook: impl Fn(Deed, &str) + Send + Sync + 'static,
    ) -> Self {
        Self::doing(disk, move |deed, path| {
            if deed.reads() {
                hook(deed, path)
            }
        })
    }

    /// Calls `hook` before every step of a writer.
    pub(crate) fn writing(
        disk: &MemoryDisk,
        hook: impl Fn(Deed, &str) + Send + Sync + 'static,
    ) -> Self {
        Self::doing(disk, move |deed, path| {
            if deed.writes() {
                hook(deed, path)
            }
        })
    }

    /// Shows zeros in `unwritten` of every file, the first time that is read there after it was
    /// opened: as reads beside a writer may miss what it was about to write.
    pub(crate) fn stale(disk: &MemoryDisk, unwritten: Range<u64>) -> Self {
        Self::by(
            disk,
            Arc::new(Stale {
                unwritten,
                seen: Mutex::default(),
            }),
        )
    }

    fn before(&self, deed: Deed, path: &str) {
        self.observer.before(deed, path);
    }
}

struct Stale {
    unwritten: Range<u64>,
    /// Paths of files whose bytes were shown.
    seen: Mutex<BTreeSet<String>>,
}

impl Observer for Stale {
    fn before(&self, deed: Deed, path: &str) {
        if deed == Deed::Open {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(path);
        }
    }

    fn has_read(&self, path: &str, offset: u64, bytes: &mut [u8]) {
        let read = offset..offset + bytes.len() as u64;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if read.contains(&self.unwritten.start) && seen.insert(path.to_owned()) {
            for (byte, _) in bytes
                .iter_mut()
                .zip(read)
                .filter(|(_, at)| self.unwritten.contains(at))
            {
                *byte = 0;
            }
        }
    }
}

impl Disk for Observed {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        self.before(Deed::Open, path);
        let (file, observer) = (self.disk.open(path, mode)?, Arc::clone(&self.observer));
        Ok(Arc::new(ObservedFile {
            file,
            path: path.to_owned(),
            observer,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before(Deed::Rename, to);
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.before(Deed::Remove, path);
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.before(Deed::List, dir);
        self.disk.list(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.before(Deed::LookFor, path);
        self.disk.exists(path)
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.before(Deed::CreateDir, dir);
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.before(Deed::SyncDir, dir);
        self.disk.sync_dir(dir)
    }

    fn free_space(&self) -> io::Result<Option<u64>> {
        self.disk.free_space()
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        self.disk.try_lock(path)
    }
}

impl ObservedFile {
    fn before(&self, deed: Deed) {
        self.observer.before(deed, &self.path);
    }
}

impl DiskFile for ObservedFile {
    fn len(&self) -> io::Result<u64> {
        self.before(Deed::Measure);
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.before(Deed::Read);
        self.file.read_at(offset, bytes)?;
        self.observer.has_read(&self.path, offset, bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.before(Deed::Write);
        self.file.write_at(offset, bytes)
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        self.file.begin_sync(offset, len);
    }

    fn sync(&self) -> io::Result<()> {
        self.before(Deed::Sync);
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.before(Deed::SetLen);
        self.file.set_len(len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.before(Deed::Punch);
        self.file.punch(offset, len)
    }

    fn map_sealed(&self) -> io::Result<Sealed> {
        self.before(Deed::Map);
        self.file.map_sealed()
    }
}
