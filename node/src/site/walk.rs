//! Directories in an order that does not depend on the file system, one after the other or as a whole tree.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::AddError;

/// The entries of a directory, ascending by the bytes of their names.
#[expect(clippy::disallowed_methods, reason = "sorted right here")]
pub(super) fn sorted(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Device and inode: what makes two paths one file.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Which entries a walk takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken<'a> {
    /// Says which paths are taken; all, if absent.
    pub(super) filter: Option<&'a dyn Fn(&Path) -> bool>,
    /// A directory that is met but not entered.
    pub(super) own: Option<(u64, u64)>,
}

/// A step of a walk.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Step {
    /// An entry of the innermost directory that has not been left.
    Met {
        /// Its path.
        path: PathBuf,
        /// What it is; of a symlink, the link's own.
        metadata: Metadata,
        /// Whether it is a directory that the next step is in.
        is_entered: bool,
    },
    /// The innermost directory has no further entries.
    Left,
}

/// A walk through everything below a directory: each directory's entries ascending by name, and what is in a directory right
/// after it. Ends by leaving the directory it began with.
pub(super) struct Walk<'a> {
    taken: Taken<'a>,
    /// What is to come of every directory that has not been left, innermost last.
    open: Vec<std::vec::IntoIter<DirEntry>>,
}

impl<'a> Walk<'a> {
    /// A walk through everything below `dir`.
    pub(super) fn new(dir: &Path, taken: Taken<'a>) -> Result<Self, AddError> {
        let mut walk = Self { taken, open: Vec::new() };
        walk.enter(dir)?;
        Ok(walk)
    }

    fn enter(&mut self, dir: &Path) -> Result<(), AddError> {
        self.open.push(sorted(dir).map_err(reading(dir))?.into_iter());
        Ok(())
    }

    fn meet(&mut self, entry: &DirEntry, path: PathBuf) -> Result<Step, AddError> {
        let metadata = entry.metadata().map_err(reading(&path))?;
        let is_entered = metadata.is_dir() && Some(identity(&metadata)) != self.taken.own;
        if is_entered {
            self.enter(&path)?;
        }
        Ok(Step::Met { path, metadata, is_entered })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Step, AddError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entries = self.open.last_mut()?;
        let filter = self.taken.filter;
        let taken =
            entries.map(|entry| (entry.path(), entry)).find(|(path, _)| filter.is_none_or(|filter| filter(path)));
        Some(match taken {
            Some((path, entry)) => self.meet(&entry, path),
            None => {
                self.open.pop();
                Ok(Step::Left)
            }
        })
    }
}

/// Names what could not be read.
pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> AddError {
    move |source| AddError::Read { path: path.to_owned(), source }
}
