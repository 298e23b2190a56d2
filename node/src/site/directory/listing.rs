//! Directories in an order that does not depend on the file system, and whether two looks at a file
//! saw the same.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The entries of a directory, ascending by the bytes of their names.
#[expect(clippy::disallowed_methods, reason = "sorted right here")]
pub(in crate::site) fn sorted(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}

/// Device and inode: what makes two paths one file.
pub(in crate::site) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether a file looks as it did: what has been written to it since would show.
pub(in crate::site) fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let look = |it: &Metadata| {
        (
            it.len(),
            it.mtime(),
            it.mtime_nsec(),
            it.ctime(),
            it.ctime_nsec(),
        )
    };
    identity(before) == identity(after) && look(before) == look(after)
}
