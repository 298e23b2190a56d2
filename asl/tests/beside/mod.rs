//! A disk beside which somebody writes: before each step of a reader something may happen to the files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};

/// Is told the number of the step that comes next.
pub(crate) type Writer = Arc<dyn Fn(usize) + Send + Sync>;

/// Lets a writer do something before everything that reads.
#[derive(Clone)]
pub(crate) struct Beside {
    disk: MemoryDisk,
    steps: Arc<AtomicUsize>,
    writer: Writer,
}

struct File {
    file: Arc<dyn DiskFile>,
    beside: Beside,
}

impl Beside {
    pub(crate) fn new(disk: &MemoryDisk, writer: Writer) -> Self {
        Self { disk: disk.clone(), steps: Arc::default(), writer }
    }

    /// How many steps there were.
    pub(crate) fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }

    fn step(&self) {
        (self.writer)(self.steps.fetch_add(1, Ordering::SeqCst));
    }
}

impl Disk for Beside {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        self.step();
        Ok(Arc::new(File { file: self.disk.open(path, mode)?, beside: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.step();
        self.disk.list(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.step();
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

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.beside.step();
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.beside.step();
        self.file.read_at(offset, bytes)
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
        self.beside.step();
        self.file.map_sealed()
    }
}
