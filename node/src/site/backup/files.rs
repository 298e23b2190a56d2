//! Files and directories being made durably, readable by their owner alone, and read back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use uor_index_format::id::Checksum;

use super::error::{BackupError, during};
use super::manifest::Line;
use crate::cancel::Cancel;

const PART_LEN: usize = 1 << 20;

/// Copies the first `len` bytes of a file durably, readable by its owner alone; gives their digest.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    len: u64,
    cancel: &Cancel,
) -> Result<Checksum, BackupError> {
    let mut source = File::open(from).map_err(during("open", from))?.take(len);
    let mut target = create(to)?;
    let (mut hasher, mut part, mut found) = (blake3::Hasher::new(), vec![0; PART_LEN], 0);
    loop {
        cancel.check()?;
        let count = source.read(&mut part).map_err(during("read", from))?;
        if count == 0 {
            break;
        }
        hasher.update(&part[..count]);
        target
            .write_all(&part[..count])
            .map_err(during("write", to))?;
        found += count as u64;
    }
    if found != len {
        return Err(BackupError::Short {
            path: from.to_owned(),
            expected: len,
            found,
        });
    }
    target.sync_all().map_err(during("sync", to))?;
    Ok(Checksum::from_bytes(*hasher.finalize().as_bytes()))
}

/// The digest of the first `len` bytes of a file, or of as many as it has.
pub(super) fn digest(path: &Path, len: u64, cancel: &Cancel) -> Result<Checksum, BackupError> {
    digest_of(
        File::open(path).map_err(during("open", path))?.take(len),
        path,
        cancel,
    )
}

fn digest_of(
    mut bytes: impl io::Read,
    path: &Path,
    cancel: &Cancel,
) -> Result<Checksum, BackupError> {
    let (mut hasher, mut part) = (blake3::Hasher::new(), vec![0; PART_LEN]);
    loop {
        cancel.check()?;
        match bytes.read(&mut part).map_err(during("read", path))? {
            0 => return Ok(Checksum::from_bytes(*hasher.finalize().as_bytes())),
            count => drop(hasher.update(&part[..count])),
        }
    }
}

/// Reads a file from the disk, as far as the system lets us, and holds it against its line.
pub(super) fn verify(path: &Path, line: &Line, cancel: &Cancel) -> Result<(), BackupError> {
    let file = File::open(path).map_err(during("open", path))?;
    // What was just written would be read from memory. Where that is not to be had, it is.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let (expected, found) = (line.digest, digest_of(file, path, cancel)?);
    if found == expected {
        Ok(())
    } else {
        Err(BackupError::ReadBack {
            path: path.to_owned(),
            expected,
            found,
        })
    }
}

fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(during("create", path))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(during("write", path))
}

/// Makes a directory, and those above it, that only its owner may enter.
pub(super) fn make_dir(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(during("make", dir))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(during("sync", dir))
}

pub(super) fn remove(path: &Path) -> Result<(), BackupError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(during("remove", path)(error)),
        _ => Ok(()),
    }
}
