//! What is to be added, and how.

use std::fs::{self, Metadata};
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use uor_asl::blocks::PutOptions;
use uor_index_format::reference::check_name;
use uor_index_format::{program, snapshot, tree as tree_format};

use super::error::{AddError, reading};
use super::excludes::Excludes;
use super::left_out::Obstacle;
use super::walk::Taken;
use crate::site::catalog::sort::Sort;
use crate::site::directory::private::DataDirs;
use crate::site::handle::Site;
use crate::site::text;

/// One thing to be added.
pub enum Source<'a> {
    /// A file or a directory; a symlink given here is followed.
    Path(PathBuf),
    /// A stream, such as standard input.
    Reader {
        /// What it is called in results: `-`.
        label: String,
        /// Its bytes.
        reader: &'a mut dyn Read,
    },
}

impl Source<'_> {
    pub(super) fn label(&self) -> String {
        match self {
            Self::Path(path) => text::text_of(path.as_os_str().as_bytes()),
            Self::Reader { label, .. } => label.clone(),
        }
    }

    pub(super) fn label_hex(&self) -> Option<String> {
        match self {
            Self::Path(path) => text::hex_of(path.as_os_str().as_bytes()),
            Self::Reader { .. } => None,
        }
    }
}

/// How things are added.
#[derive(Clone, Copy, Default)]
pub struct AddOptions<'a> {
    /// The type tag of every file.
    pub type_tag: Option<u32>,
    /// The name that the one source gets.
    pub reference: Option<&'a str>,
    /// Says which paths below a directory are taken; all, if absent.
    pub filter: Option<&'a dyn Fn(&Path) -> bool>,
    /// What is not wanted, beside what the files `.uorignore` in a tree say.
    pub excludes: Option<&'a Excludes>,
    /// Takes what those files say to leave out.
    pub ignores_uorignore: bool,
    /// Stores a file that keeps changing as it was read last, goes on without one that goes away,
    /// and says so.
    pub allows_changing: bool,
    /// Reads every file, also those that look as they did when they were last read, and verifies
    /// what is stored of it.
    pub reread: bool,
    /// How many files are read at the same time; if absent, as many as the machine has cores.
    pub readers: Option<NonZeroUsize>,
}

impl<'a> AddOptions<'a> {
    pub(super) fn taken(&self, data_dirs: &'a DataDirs) -> Taken<'a> {
        let &Self {
            filter,
            excludes,
            ignores_uorignore,
            allows_changing,
            ..
        } = self;
        Taken {
            filter,
            data_dirs: Some(data_dirs),
            excludes,
            ignores_uorignore,
            allows_changing,
        }
    }
}

/// Who has everything read means to have it sound.
pub(super) fn put_options(options: &AddOptions<'_>) -> PutOptions {
    PutOptions {
        check_existing: options.reread,
        ..PutOptions::default()
    }
}

pub(super) fn check_options(sources: usize, options: &AddOptions<'_>) -> Result<(), AddError> {
    if let Some(tag) = options.type_tag {
        let reserved = [
            (tree_format::TYPE_TAG, Sort::Tree),
            (program::TYPE_TAG, Sort::Program),
            (snapshot::TYPE_TAG, Sort::Snapshot),
        ];
        if let Some((tag, sort)) = reserved.into_iter().find(|(reserved, _)| *reserved == tag) {
            return Err(AddError::ReservedTag { tag, sort });
        }
    }
    if let Some(name) = options.reference {
        check_name(name)?;
        if sources != 1 {
            return Err(AddError::NameForMany { sources });
        }
    }
    Ok(())
}

impl Site {
    /// What a path is that is to be added; refuses what never is.
    pub(super) fn check_source(
        &self,
        path: &Path,
        data_dirs: Option<&DataDirs>,
    ) -> Result<Metadata, AddError> {
        let metadata = fs::metadata(path).map_err(reading(path))?;
        let around = data_dirs
            .map(|dirs| dirs.around(path))
            .transpose()
            .map_err(reading(path))?;
        if let Some(dir) = around.flatten() {
            return Err(AddError::DataDirectory {
                path: path.to_owned(),
                dir,
            });
        }
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(AddError::Special {
                path: path.to_owned(),
                reason: Obstacle::of_special(&metadata),
            });
        }
        if self.is_key_file(path, &metadata) {
            return Err(AddError::Key {
                path: path.to_owned(),
            });
        }
        Ok(metadata)
    }
}
