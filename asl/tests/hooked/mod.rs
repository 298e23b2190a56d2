//! A disk that calls back before every question it is asked, so that a test can have a writer do something between any two
//! steps of a reader.

use std::io;
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, DiskFile, LockGuard, Mode, Sealed};

type Hook = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// Calls `hook` with what it is asked, and of which path.
pub(crate) struct HookedDisk {
    pub(crate) disk: MemoryDisk,
    pub(crate) hook: Hook,
}

struct HookedFile {
    file: Arc<dyn DiskFile>,
    path: String,
    hook: Hook,
}

impl Disk for HookedDisk {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        (self.hook)("open", path);
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(HookedFile { file, path: path.to_owned(), hook: Arc::clone(&self.hook) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        (self.hook)("list", dir);
        self.disk.list(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        (self.hook)("look for", path);
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

impl DiskFile for HookedFile {
    fn len(&self) -> io::Result<u64> {
        (self.hook)("measure", &self.path);
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        (self.hook)("read", &self.path);
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
        (self.hook)("map", &self.path);
        self.file.map_sealed()
    }
}
