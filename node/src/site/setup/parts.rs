//! What a data directory is made of, and how its parts are made, moved and removed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, DiskError, LockGuard};
use uor_asl::store::RESERVE_FILE;

use super::error::InitError;
use crate::site::directory::files::{
    ADDRESSES_FILE, FileError, INVITES_FILE, KEY_FILE, LOST_FILE, PEERS_FILE, RESTORED_FILE,
    RESTORING_FILE, RETAINED_FILE, SITE_FILE, TABLE_FILE, WITNESS_FILE,
};

const LOCK_FILE: &str = "lock";
pub(super) const ASIDE_DIR: &str = "aside";
/// What belongs to one federation; `store` first, so that a half-moved store is no store.
pub(super) const STORE_PARTS: [&str; 3] = ["store", "log", "blocks"];
/// What else belongs to one federation and is of no use in another.
pub(super) const FEDERATION_FILES: [&str; 8] = [
    INVITES_FILE,
    RETAINED_FILE,
    PEERS_FILE,
    ADDRESSES_FILE,
    WITNESS_FILE,
    RESTORED_FILE,
    LOST_FILE,
    TABLE_FILE,
];

pub(super) fn disk_in(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(dir))
}

pub(super) fn take_lock(dir: &Path, disk: &Arc<dyn Disk>) -> Result<LockGuard, InitError> {
    let failed = |source| DiskError {
        action: "take the lock that is file",
        path: LOCK_FILE.to_owned(),
        source,
    };
    let lock = disk
        .try_lock(LOCK_FILE)
        .map_err(failed)
        .map_err(FileError::from)?;
    lock.ok_or_else(|| InitError::InUse {
        dir: dir.to_owned(),
    })
}

/// Removes everything that makes a directory a site, `site.toml` first, as far as possible; last
/// what says that it is to become one, so that whoever is ended meanwhile can be followed by
/// another.
pub(super) fn clear(dir: &Path) {
    let files = [SITE_FILE, KEY_FILE, LOCK_FILE, ASIDE_DIR, RESERVE_FILE];
    let files = files.into_iter().chain(STORE_PARTS).chain(FEDERATION_FILES);
    for file in files.chain([RESTORING_FILE]) {
        // Also what was about to replace it.
        let _ = remove_all(&dir.join(format!("{file}.new")));
        let _ = remove_all(&dir.join(file));
    }
}

pub(super) fn remove_all(path: &Path) -> Result<(), InitError> {
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

pub(super) fn move_if_there(from: &Path, to: &Path) -> Result<(), InitError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(during("move", from)(error)),
        _ => Ok(()),
    }
}

pub(super) fn during(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InitError {
    move |source| InitError::Directory {
        action,
        path: path.to_owned(),
        source,
    }
}
