//! Files: how much they take, and how to have the page cache forget them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::system::Result;

/// Every regular file below a path, which may be one itself; in no order.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut all = Vec::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "sums and hints, which no order changes"
    )]
    for entry in fs::read_dir(path)? {
        all.extend(files(&entry?.path())?);
    }
    Ok(all)
}

/// Bytes a directory takes on disk: blocks that are there, so that holes cost nothing and what is
/// set aside does.
pub(crate) fn bytes_on_disk(path: &Path) -> Result<u64> {
    let blocks: std::io::Result<u64> = files(path)?
        .iter()
        .map(|file| fs::symlink_metadata(file).map(|metadata| metadata.blocks()))
        .sum();
    Ok(blocks? * 512)
}

/// An empty directory.
pub(crate) fn fresh(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    Ok(dir.to_owned())
}

/// How the page cache was made to forget.
pub(crate) fn forget(path: &Path) -> Result<&'static str> {
    rustix::fs::sync();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return Ok("all caches dropped");
    }
    for file in files(path)? {
        fadvise(File::open(file)?, 0, None, Advice::DontNeed)?;
    }
    Ok("posix_fadvise on its files")
}
