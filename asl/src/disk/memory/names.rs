//! Names of files and directories, and what of their changes is durable.

use std::collections::BTreeMap;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(u64),
}

/// A change of names that is durable once its directory has been synced.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add(String, Node),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    /// Where it was made: of a rename, the old path.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Add(path, _) | Self::Rename(path, _) | Self::Remove(path) => path,
        }
    }
}

/// The directories that a path is in, from the uppermost.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// The directory that a path is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
