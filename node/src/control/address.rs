//! Where the socket is. A Unix socket's path may have some hundred bytes; data directories may
//! lie deeper, and are then reached through a descriptor of theirs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::protocol::SOCKET_NAME;

/// Longest path that is used as it is, in bytes.
const PATH_LEN_MAX: usize = 100;
/// A directory that only its owner may enter, in which the socket gets its mode before anyone can
/// see it.
const NURSERY: &str = ".control";

/// Runs `action` with a path of the socket `dir/name` that is short enough.
fn with_path<T>(
    dir: &Path,
    name: &str,
    action: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let path = dir.join(name);
    if path.as_os_str().as_bytes().len() <= PATH_LEN_MAX {
        return action(&path);
    }
    let held = File::open(dir)?;
    action(&PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(name))
}

/// Connects to the socket in `dir`.
pub(super) fn connect(dir: &Path) -> io::Result<UnixStream> {
    with_path(dir, SOCKET_NAME, |path| UnixStream::connect(path))
}

/// Makes the socket in `dir`, in place of any that is there.
pub(super) fn bind(dir: &Path) -> io::Result<UnixListener> {
    let nursery = dir.join(NURSERY);
    if nursery.exists() {
        fs::remove_dir_all(&nursery)?;
    }
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let listener = with_path(&nursery, SOCKET_NAME, |path| UnixListener::bind(path))?;
    let newborn = nursery.join(SOCKET_NAME);
    fs::set_permissions(&newborn, fs::Permissions::from_mode(0o600))?;
    fs::rename(&newborn, dir.join(SOCKET_NAME))?;
    fs::remove_dir(&nursery)?;
    Ok(listener)
}
