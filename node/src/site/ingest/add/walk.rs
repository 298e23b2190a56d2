//! A whole directory tree, in an order that does not depend on the file system.

use std::ffi::OsString;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;

use super::error::{AddError, reading};
use super::excludes::{self, Excludes, UORIGNORE};
use super::left_out::Obstacle;
use crate::site::directory::listing::sorted;
use crate::site::directory::private::DataDirs;

/// Which entries a walk takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken<'a> {
    /// Says which paths are taken; all, if absent.
    pub(in crate::site) filter: Option<&'a dyn Fn(&Path) -> bool>,
    /// Directories that are met but not entered.
    pub(in crate::site) data_dirs: Option<&'a DataDirs>,
    /// What a person does not want.
    pub(super) excludes: Option<&'a Excludes>,
    /// Takes what the files `.uorignore` on the way say to leave out.
    pub(super) ignores_uorignore: bool,
    /// Goes on without what goes away meanwhile.
    pub(super) allows_changing: bool,
}

/// A step of a walk.
pub(in crate::site) enum Step {
    /// A file, a directory or a symlink in the innermost directory that has not been left.
    Met {
        /// Its path.
        path: PathBuf,
        /// What it is; of a symlink, the link's own.
        metadata: Metadata,
        /// Whether it is a directory that the next step is in.
        is_entered: bool,
    },
    /// Something there that cannot be taken.
    Obstructed {
        /// Its path.
        path: PathBuf,
        /// Why not.
        reason: Obstacle,
    },
    /// Something there that is not wanted.
    Excluded(PathBuf),
    /// The innermost directory has no further entries.
    Left,
}

/// A walk through everything below a directory: each directory's entries ascending by name, and
/// what is in a directory right after it. Ends by leaving the directory it began with.
pub(in crate::site) struct Walk<'a> {
    taken: Taken<'a>,
    /// What is not wanted anywhere.
    excludes: Option<Gitignore>,
    /// Every directory that has not been left, innermost last.
    open: Vec<Open>,
}

/// A directory that has not been left.
struct Open {
    /// What is to come.
    entries: std::vec::IntoIter<DirEntry>,
    /// What it does not want.
    excludes: Option<Gitignore>,
}

impl<'a> Walk<'a> {
    /// A walk through everything below `dir`.
    pub(in crate::site) fn new(dir: &Path, taken: Taken<'a>) -> Result<Self, AddError> {
        let excludes = taken
            .excludes
            .map(|excludes| excludes.below(dir))
            .transpose()?;
        let mut walk = Self {
            taken,
            excludes,
            open: Vec::new(),
        };
        walk.enter(dir)?;
        Ok(walk)
    }

    fn enter(&mut self, dir: &Path) -> Result<(), AddError> {
        let entries = sorted(dir).map_err(reading(dir))?;
        let uorignore = entries
            .binary_search_by_key(&OsString::from(UORIGNORE), DirEntry::file_name)
            .ok();
        let is_file = |entry: usize| entries[entry].file_type().is_ok_and(|it| it.is_file());
        let has_uorignore = !self.taken.ignores_uorignore && uorignore.is_some_and(is_file);
        let excludes = has_uorignore
            .then(|| excludes::in_directory(dir))
            .transpose()?;
        self.open.push(Open {
            entries: entries.into_iter(),
            excludes,
        });
        Ok(())
    }

    fn meet(&mut self, entry: &DirEntry, path: PathBuf) -> Result<Step, AddError> {
        let metadata = entry.metadata().map_err(reading(&path))?;
        let inner = self
            .open
            .iter()
            .rev()
            .filter_map(|open| open.excludes.as_ref());
        if excludes::leave_out(self.excludes.iter().chain(inner), &path, metadata.is_dir()) {
            return Ok(Step::Excluded(path));
        }
        let is_entered = metadata.is_dir();
        if is_entered
            && self
                .taken
                .data_dirs
                .is_some_and(|dirs| dirs.holds(&path, &metadata))
        {
            return Ok(Step::Obstructed {
                path,
                reason: Obstacle::DataDirectory,
            });
        }
        if is_entered {
            self.enter(&path)?;
        } else if !metadata.is_file() && !metadata.is_symlink() {
            return Ok(Step::Obstructed {
                path,
                reason: Obstacle::of_special(&metadata),
            });
        }
        Ok(Step::Met {
            path,
            metadata,
            is_entered,
        })
    }
}

impl Taken<'_> {
    /// Why it goes on without something that could not be read, if it does.
    pub(super) fn go_on(&self, error: AddError) -> Result<(PathBuf, Obstacle), AddError> {
        match error {
            AddError::Read { path, source }
                if self.allows_changing && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok((path, Obstacle::Vanished))
            }
            AddError::Read { path, source } => Obstacle::of_error(&source)
                .map(|reason| (path.clone(), reason))
                .ok_or(AddError::Read { path, source }),
            AddError::Key { path } => Ok((path, Obstacle::PrivateKey)),
            error => Err(error),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Step, AddError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entries = &mut self.open.last_mut()?.entries;
        let filter = self.taken.filter;
        let taken = entries
            .map(|entry| (entry.path(), entry))
            .find(|(path, _)| filter.is_none_or(|filter| filter(path)));
        Some(match taken {
            Some((path, entry)) => self.meet(&entry, path).or_else(|error| {
                let (path, reason) = self.taken.go_on(error)?;
                Ok(Step::Obstructed { path, reason })
            }),
            None => {
                self.open.pop();
                Ok(Step::Left)
            }
        })
    }
}
