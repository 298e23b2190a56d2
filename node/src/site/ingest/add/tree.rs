//! Directories being walked, and trees being built of them.
//!
//! The walk is a line of steps. A window slides along it: at its front end files are handed to the
//! threads that read, at its rear end their results are taken and trees built, both in the order of
//! the walk. So threads are busy with what lies in the window, whatever directory it is in, and no
//! more than the window waits in memory.

use std::collections::VecDeque;
use std::fs;
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use uor_index_format::id::ArtifactKey;
use uor_index_format::record::Payload;
use uor_index_format::tree::{EntryKind, MODE_MASK, TYPE_TAG, Tree, TreeEntry};

use super::adding::{Adding, Sums};
use super::error::{AddError, reading, storing};
use super::files::Begun;
use super::left_out::{LeftOut, Obstacle};
use super::walk::{Step, Walk};

/// How many steps lie between finding a file and taking its result.
const WINDOW_STEPS: usize = 4096;

/// A step of the walk inside the window.
enum Pending {
    /// A directory begins.
    Directory(Building),
    /// A file or a symlink.
    File {
        name: Vec<u8>,
        mode: u32,
        file: Begun,
    },
    Symlink {
        name: Vec<u8>,
        mode: u32,
        target: Vec<u8>,
    },
    /// What cannot be in a tree.
    Obstructed(PathBuf, Obstacle),
    /// What is not wanted.
    Excluded,
    /// The innermost directory ends.
    End,
    /// The walk could not go on.
    Failed(AddError),
}

/// A tree that does not have all of its entries yet.
struct Building {
    path: PathBuf,
    name: Vec<u8>,
    mode: u32,
    entries: Vec<TreeEntry>,
}

impl Building {
    fn add(&mut self, name: Vec<u8>, mode: u32, kind: EntryKind) {
        self.entries.push(TreeEntry {
            name,
            mode,
            kind,
            attributes: None,
        });
    }
}

/// Trees that do not have all of their entries yet, each in the one before.
struct Open {
    outer: Vec<Building>,
    innermost: Building,
}

impl Adding<'_, '_> {
    pub(super) fn directory(
        &mut self,
        dir: &Path,
        sums: &mut Sums,
    ) -> Result<ArtifactKey, AddError> {
        let mut walk = Walk::new(dir, self.taken)?.fuse();
        let mut window = VecDeque::new();
        let mut open = Open {
            outer: Vec::new(),
            innermost: Building {
                path: dir.to_owned(),
                name: Vec::new(),
                mode: 0,
                entries: Vec::new(),
            },
        };
        loop {
            while window.len() < WINDOW_STEPS
                && let Some(step) = walk.next()
            {
                window.push_back(self.begin(step));
            }
            // A walk ends by leaving the directory that it began with.
            let pending = window.pop_front().unwrap_or(Pending::End);
            if let Some(key) = self.end(pending, &mut open, sums)? {
                return Ok(key);
            }
        }
    }

    /// Takes the result of a step; gives the key of the topmost tree once it has all of its
    /// entries.
    fn end(
        &mut self,
        pending: Pending,
        open: &mut Open,
        sums: &mut Sums,
    ) -> Result<Option<ArtifactKey>, AddError> {
        match pending {
            Pending::Directory(inner) => {
                open.outer.push(mem::replace(&mut open.innermost, inner));
            }
            Pending::File { name, mode, file } => {
                self.site.cancel.check()?;
                if let Some((key, len)) = self.file_in_tree(file, sums)? {
                    open.innermost.add(name, mode, EntryKind::File { key, len });
                }
            }
            Pending::Symlink { name, mode, target } => {
                open.innermost
                    .add(name, mode, EntryKind::Symlink { target });
            }
            Pending::Obstructed(path, reason) => sums.left_out.push(LeftOut::new(&path, reason)),
            Pending::Excluded => sums.excluded += 1,
            Pending::End => return self.end_directory(open, sums),
            Pending::Failed(error) => {
                let (path, reason) = self.taken.go_on(error)?;
                sums.left_out.push(LeftOut::new(&path, reason));
            }
        }
        Ok(None)
    }

    /// Makes the innermost tree an entry of the one around it; gives its key if there is none.
    fn end_directory(
        &mut self,
        open: &mut Open,
        sums: &mut Sums,
    ) -> Result<Option<ArtifactKey>, AddError> {
        let entries = mem::take(&mut open.innermost.entries);
        let key = self.tree(&open.innermost.path, entries, sums)?;
        let Some(outer) = open.outer.pop() else {
            return Ok(Some(key));
        };
        let Building { name, mode, .. } = mem::replace(&mut open.innermost, outer);
        open.innermost.add(name, mode, EntryKind::Directory { key });
        Ok(None)
    }

    /// Waits for a file and notes it: its key, and its length; nothing if it had to be left out.
    fn file_in_tree(
        &mut self,
        file: Begun,
        sums: &mut Sums,
    ) -> Result<Option<(ArtifactKey, u64)>, AddError> {
        let len = file.len();
        match self.end_file(file, sums) {
            Ok(payload) => Ok(Some((self.file_added(payload, sums)?, payload.len))),
            Err(error) => {
                let (path, reason) = self.taken.go_on(error)?;
                sums.left_out.push(LeftOut::new(&path, reason));
                // It had been counted, and is done with.
                self.files.has_read(len);
                self.progress.files += 1;
                Ok(None)
            }
        }
    }

    fn begin(&self, step: Result<Step, AddError>) -> Pending {
        match step {
            Ok(Step::Left) => Pending::End,
            Ok(Step::Excluded(_)) => Pending::Excluded,
            Ok(Step::Obstructed { path, reason }) => Pending::Obstructed(path, reason),
            Ok(Step::Met {
                path,
                metadata,
                is_entered,
            }) => {
                let name = path
                    .file_name()
                    .map(|name| name.as_bytes().to_vec())
                    .unwrap_or_default();
                let mode = metadata.permissions().mode() & MODE_MASK;
                if is_entered {
                    Pending::Directory(Building {
                        path,
                        name,
                        mode,
                        entries: Vec::new(),
                    })
                } else if metadata.is_symlink() {
                    fs::read_link(&path).map_err(reading(&path)).map_or_else(
                        Pending::Failed,
                        |target| Pending::Symlink {
                            name,
                            mode,
                            target: target.as_os_str().as_bytes().to_vec(),
                        },
                    )
                } else {
                    Pending::File {
                        name,
                        mode,
                        file: self.begin_file(path, &metadata, false),
                    }
                }
            }
            Err(error) => Pending::Failed(error),
        }
    }

    fn tree(
        &mut self,
        dir: &Path,
        entries: Vec<TreeEntry>,
        sums: &mut Sums,
    ) -> Result<ArtifactKey, AddError> {
        let tree = Tree::new(entries)
            .map_err(|source| AddError::Tree {
                path: dir.to_owned(),
                source,
            })?
            .encode();
        let put = self
            .site
            .store
            .blocks()
            .put_bytes(&tree)
            .map_err(storing(&dir.to_string_lossy()))?;
        sums.new_bytes += put.new_bytes;
        self.record(
            Some(TYPE_TAG),
            Payload {
                checksum: put.checksum,
                len: put.len,
            },
        )
    }
}
