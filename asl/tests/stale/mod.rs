//! A disk whose first read of a file misses what a writer was about to write, as reads beside a writer may.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};

/// Shows zeros in `unwritten` of every file, the first time each is read there.
pub(crate) struct StaleDisk {
    pub(crate) disk: MemoryDisk,
    pub(crate) unwritten: Range<u64>,
}

struct StaleFile {
    file: Arc<dyn DiskFile>,
    unwritten: Range<u64>,
    fresh: AtomicBool,
}

impl Disk for StaleDisk {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(StaleFile { file, unwritten: self.unwritten.clone(), fresh: AtomicBool::new(false) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        self.disk.try_lock(path)
    }
}

impl DiskFile for StaleFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, bytes)?;
        let read = offset..offset + bytes.len() as u64;
        if read.contains(&self.unwritten.start) && !self.fresh.swap(true, Ordering::SeqCst) {
            for (byte, at) in bytes.iter_mut().zip(read) {
                if self.unwritten.contains(&at) {
                    *byte = 0;
                }
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn map_sealed(&self) -> io::Result<Sealed> {
        self.file.map_sealed()
    }
}
