//! Real files under a root directory, read and written by position (`pread`, `pwrite`).
//!
//! What is created here belongs to its owner alone: files have mode 0600 and directories 0700,
//! whatever the umask allows. A store holds the contents of files that may have been private where
//! they came from.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

#[cfg(target_os = "linux")]
use super::writeback;
use super::{Disk, DiskFile, FileLock, LockGuard, Mode, Sealed, mmap};

/// Mode of every file that is created.
pub const FILE_MODE: u32 = 0o600;
/// Mode of every directory that is created.
pub const DIR_MODE: u32 = 0o700;

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The disk whose root is `root`; nothing is created before the first write.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory every path is relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let inside = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} leaves the store"),
            ));
        }
        Ok(self.root.join(path))
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.resolve(path)?;
        let file = match mode {
            Mode::ReadOnly => File::open(path)?,
            Mode::Write => created().read(true).open(path)?,
        };
        Ok(Arc::new(RealFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "sorted below: this is the one place that lists"
        )]
        let mut names = fs::read_dir(self.resolve(dir)?)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.resolve(path)?.try_exists()
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.resolve(dir)?;
        let mut path = self.root.clone();
        // Not what the root is in: where that was removed, nothing comes back.
        create_dir(&path)?;
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            create_dir(&path)?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.resolve(dir)?)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn free_space(&self) -> io::Result<Option<u64>> {
        let system = rustix::fs::statvfs(&self.root)?;
        Ok(Some(system.f_bavail.saturating_mul(system.f_frsize)))
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        let path = self.resolve(path)?;
        let lock = FileLock::try_take(created().open(path)?)?;
        Ok(lock.map(|lock| Box::new(lock) as LockGuard))
    }
}

/// Creates a directory, for its owner alone, if it is not there.
fn create_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(_) if path.is_dir() => Ok(()),
        done => done,
    }
}

/// How a file is opened that is created, for its owner alone, if it is not there.
fn created() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE);
    options
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(
                    error.kind(),
                    format!(
                        "the file ends before offset {}",
                        offset + bytes.len() as u64
                    ),
                ),
                _ => error,
            })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&self, offset: u64, len: u64) {
        writeback::begin(&self.file, offset, len);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        use rustix::fs::FallocateFlags;
        use rustix::io::Errno;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            punched => Ok(punched.map(|()| true)?),
        }
    }

    fn map_sealed(&self) -> io::Result<Sealed> {
        mmap::map_sealed(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_disk_does_what_the_trait_says() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("store"));
        disk.create_dir_all("a").unwrap();
        let file = disk.open("a/two", Mode::Write).unwrap();
        file.write_at(3, b"xyz").unwrap();
        file.sync().unwrap();
        disk.sync_dir("a").unwrap();
        disk.open("a/one", Mode::Write).unwrap();
        assert_eq!(disk.list("a").unwrap(), ["one", "two"]);
        assert_eq!(
            &*disk
                .open("a/two", Mode::ReadOnly)
                .unwrap()
                .map_sealed()
                .unwrap(),
            b"\0\0\0xyz"
        );
        assert!(
            disk.open("a/one", Mode::ReadOnly)
                .unwrap()
                .map_sealed()
                .unwrap()
                .is_empty()
        );
        file.set_len(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        assert_eq!(
            file.read_at(2, &mut [0; 3]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        disk.rename("a/two", "a/three").unwrap();
        disk.remove("a/one").unwrap();
        assert_eq!(disk.list("a").unwrap(), ["three"]);
        assert!(!disk.exists("a/two").unwrap());
        if let Some(free) = disk.free_space().unwrap() {
            assert!(free > 0);
            let holed = disk.open("holed", Mode::Write).unwrap();
            holed.write_at(0, &[7; 20_000]).unwrap();
            let is_zero = holed.punch(4096, 8192).unwrap();
            let mut bytes = [1; 20_000];
            holed.read_at(0, &mut bytes).unwrap();
            assert_eq!(bytes[4096..12_288].iter().all(|byte| *byte == 0), is_zero);
            assert!(
                bytes[..4096]
                    .iter()
                    .chain(&bytes[12_288..])
                    .all(|byte| *byte == 7)
            );
            disk.remove("holed").unwrap();
        }
        let lock = disk.try_lock("a/lock").unwrap();
        assert!(lock.is_some() && disk.try_lock("a/lock").unwrap().is_none());
        drop(lock);
        assert!(disk.try_lock("a/lock").unwrap().is_some());
    }

    #[test]
    fn a_disk_does_not_come_back_after_what_it_was_in_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().join("above");
        fs::create_dir(&above).unwrap();
        let disk = RealDisk::new(above.join("store"));
        disk.create_dir_all("").unwrap();
        disk.create_dir_all("a/b").unwrap();
        disk.create_dir_all("a/b").unwrap();
        fs::remove_dir_all(&above).unwrap();
        for path in ["", "a", "a/b"] {
            let error = disk.create_dir_all(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
        assert!(!above.exists());
    }

    #[test]
    fn what_is_created_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("store"));
        disk.create_dir_all("a/b").unwrap();
        drop(disk.open("a/b/file", Mode::Write).unwrap());
        drop(disk.try_lock("a/lock").unwrap());
        super::super::replace(&disk, "small", b"text").unwrap();
        let mode = |path: &str| {
            fs::metadata(dir.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        for (path, wanted) in [
            ("store", DIR_MODE),
            ("store/a", DIR_MODE),
            ("store/a/b", DIR_MODE),
            ("store/a/b/file", FILE_MODE),
            ("store/a/lock", FILE_MODE),
            ("store/small", FILE_MODE),
        ] {
            assert_eq!(mode(path), wanted, "{path}");
        }
    }

    #[test]
    fn paths_never_leave_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        for path in ["../out", "/etc/hostname", "a/../../out"] {
            assert_eq!(
                disk.open(path, Mode::Write).err().unwrap().kind(),
                io::ErrorKind::InvalidInput,
                "{path}"
            );
        }
    }
}
