//! Directories in an order that does not depend on the file system.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

/// The entries of a directory, ascending by the bytes of their names.
#[expect(clippy::disallowed_methods, reason = "sorted right here")]
pub(super) fn sorted(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}
