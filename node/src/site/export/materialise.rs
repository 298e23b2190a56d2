//! Files and trees put in their place.
//!
//! What is written to a path appears there whole or not at all, and nothing that exists is
//! overwritten.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::Serialize;
use uor_index_format::id::ArtifactKey;
use uor_index_format::snapshot::Snapshot;

use super::out::{Out, Written, writing};
use crate::site::catalog::payload::ReadError;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;
use crate::site::text::{hex_of, text_of};

/// What was written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Materialised {
    /// What.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// Where; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of that in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What it is: of a tree, a directory was made; of anything else, its bytes were written.
    pub kind: Sort,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many things are not there because they are not visible: they were removed, or came later
    /// than the snapshot.
    pub hidden: u64,
    /// What could not be made here, or not with all of its attributes, as sentences.
    pub warnings: Vec<String>,
}

impl Site {
    /// Writes a file's bytes, or a whole tree, to `path`, which must not exist. What of a tree is
    /// not visible is left out and named. `on_progress` is told files and bytes written so far.
    ///
    /// Nobody but the owner may read it before it is complete: only then does everything get its
    /// mode.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is left at `path` then.
    pub fn materialise(
        &self,
        target: &Target,
        at: &Snapshot,
        path: &Path,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Materialised, ReadError> {
        if path.symlink_metadata().is_ok() {
            return Err(ReadError::Exists {
                path: path.to_owned(),
            });
        }
        let partial = Partial::beside(path)?;
        let written = Out::new(self, at, on_progress)
            .write(target, &partial.path)
            .map_err(|error| partial.as_wanted(error, path))?;
        self.cancel.check()?;
        partial.put_at(path)?;
        let Written {
            files,
            bytes,
            hidden,
            warnings,
        } = written;
        let place = path.as_os_str().as_bytes();
        let (path, path_hex) = (text_of(place), hex_of(place));
        Ok(Materialised {
            key: target.key(),
            path,
            path_hex,
            kind: target.sort,
            files,
            bytes,
            hidden,
            warnings,
        })
    }
}

/// A path beside the one that is wanted; whatever is there goes away unless it is put in its place.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(wanted: &Path) -> Result<Self, ReadError> {
        let invalid = || writing(wanted)(io::ErrorKind::InvalidInput.into());
        let mut name = OsString::from(".");
        name.push(wanted.file_name().ok_or_else(invalid)?);
        let dir = wanted.parent().unwrap_or(Path::new(""));
        let is_missing = match fs::metadata(dir) {
            Ok(metadata) => !metadata.is_dir(),
            // What may be there and cannot be looked at is told by whoever writes into it.
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        };
        if is_missing && !dir.as_os_str().is_empty() {
            return Err(ReadError::NoDirectory {
                path: wanted.to_owned(),
                dir: dir.to_owned(),
            });
        }
        name.push(format!(".partial-{}", std::process::id()));
        let path = wanted.with_file_name(name);
        if path.symlink_metadata().is_ok() {
            return Err(ReadError::Exists { path });
        }
        Ok(Self { path })
    }

    /// An error that names what was wanted, and not where it is put together.
    fn as_wanted(&self, error: ReadError, wanted: &Path) -> ReadError {
        match error {
            ReadError::Write { path, source } => {
                let path = match path.strip_prefix(&self.path) {
                    Ok(inside) if inside.as_os_str().is_empty() => wanted.to_owned(),
                    Ok(inside) => wanted.join(inside),
                    Err(_) => path,
                };
                ReadError::Write { path, source }
            }
            error => error,
        }
    }

    fn put_at(self, wanted: &Path) -> Result<(), ReadError> {
        let put =
            match rustix::fs::renameat_with(CWD, &self.path, CWD, wanted, RenameFlags::NOREPLACE) {
                // This file system cannot promise it; nothing was there a moment ago.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(&self.path, wanted),
                put => put.map_err(io::Error::from),
            };
        put.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ReadError::Exists {
                path: wanted.to_owned(),
            },
            _ => writing(wanted)(source),
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename nothing is there; before, the error that led here is the one to report.
        let _ = if self.path.is_dir() {
            fs::remove_dir_all(&self.path)
        } else {
            fs::remove_file(&self.path)
        };
    }
}
