//! A disk that tells someone before everything that modifies it.

#![allow(dead_code, clippy::mod_module_files, clippy::allow_attributes, reason = "shared by several test binaries")]

use std::io;
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};

/// What is about to happen to a watched disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Sync,
    Other,
}

pub(crate) type Watcher = Arc<dyn Fn(Event) + Send + Sync>;

/// Tells a watcher before everything that modifies.
pub(crate) struct Watched {
    pub(crate) disk: MemoryDisk,
    pub(crate) watcher: Watcher,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    watcher: Watcher,
}

impl Disk for Watched {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        (self.watcher)(Event::Other);
        Ok(Arc::new(WatchedFile { file: self.disk.open(path, mode)?, watcher: self.watcher.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.disk.sync_dir(dir)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        self.disk.try_lock(path)
    }
}

impl DiskFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        (self.watcher)(Event::Sync);
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.watcher)(Event::Other);
        self.file.set_len(len)
    }

    fn map_sealed(&self) -> io::Result<Sealed> {
        self.file.map_sealed()
    }
}
