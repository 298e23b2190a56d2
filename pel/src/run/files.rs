//! The files of a tree in path order: directories are walked in the order of their entries, each
//! before what follows it.
//!
//! Trees come from peers. A small chain of trees can stand for very many paths, so the walk is
//! bounded; what is beyond the bounds, and what is no tree, fails as a wrong input, on every site
//! alike.

use std::sync::Arc;
use std::vec::IntoIter;

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::NAME_LEN_MAX;
use uor_index_format::receipt::{FailureKind, LABEL_LEN_MAX, STEPS_MAX};
use uor_index_format::tree::{self, EntryKind, TREE_LEN_MAX, Tree, TreeEntry};

use super::error::{Halt, RunError};
use super::input::found;
use crate::artifact_store::ArtifactStore;
use crate::blob::to_vec;

/// Deepest nesting of directories.
const DEPTH_MAX: usize = 256;
/// Longest path as text, in bytes: what a label can hold beside a node's name and brackets.
const PATH_LEN_MAX: usize = (LABEL_LEN_MAX - NAME_LEN_MAX - 2) as usize;
/// Most entries of all directories together.
const ENTRIES_MAX: usize = STEPS_MAX as usize;

/// One file of a tree.
pub(super) struct File {
    /// Its path, as text for labels.
    pub(super) path: String,
    /// Its bytes.
    pub(super) key: ArtifactKey,
}

/// The files of the tree with this key.
pub(super) fn list(
    store: &dyn ArtifactStore,
    root: &ArtifactKey,
    label: &str,
) -> Result<Vec<File>, Halt> {
    let mut walk = Walk {
        store,
        label,
        files: Vec::new(),
        entries: 0,
    };
    walk.directory(root, "", 0)?;
    Ok(walk.files)
}

/// Whether an artifact is here, and if it is a tree, all that it holds.
pub(super) fn is_whole(store: &dyn ArtifactStore, key: &ArtifactKey) -> Result<bool, RunError> {
    let Some(artifact) = store.find(key)? else {
        return Ok(false);
    };
    if artifact.type_tag != Some(tree::TYPE_TAG) {
        return Ok(true);
    }
    match list(store, key, "") {
        Ok(files) => {
            for file in files {
                if store.find(&file.key)?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Err(Halt::Failed(_)) => Ok(true),
        Err(Halt::Error(RunError::Absent { .. })) => Ok(false),
        Err(Halt::Error(error)) => Err(error),
    }
}

/// The tree with the contents of its files replaced, in path order; names, attributes and
/// everything else stay.
pub(super) fn rebuild(
    store: &dyn ArtifactStore,
    key: &ArtifactKey,
    results: &mut IntoIter<ArtifactKey>,
    label: &str,
) -> Result<ArtifactKey, Halt> {
    let before = load(store, key, label)?;
    let mut entries = Vec::new();
    for entry in before.entries() {
        let kind = match &entry.kind {
            EntryKind::File { .. } => {
                // One result for each file that the list held.
                let key = results.next().ok_or(FailureKind::WrongInput)?;
                EntryKind::File {
                    key,
                    len: found(store, &key, label)?.blob.size(),
                }
            }
            EntryKind::Directory { key } => EntryKind::Directory {
                key: rebuild(store, key, results, label)?,
            },
            other => other.clone(),
        };
        entries.push(TreeEntry {
            kind,
            ..entry.clone()
        });
    }
    let tree =
        Tree::with_own(before.own().cloned(), entries).map_err(|_| FailureKind::WrongInput)?;
    Ok(store.put(Some(tree::TYPE_TAG), Arc::new(tree.encode()))?)
}

struct Walk<'a> {
    store: &'a dyn ArtifactStore,
    label: &'a str,
    files: Vec<File>,
    entries: usize,
}

impl Walk<'_> {
    fn directory(&mut self, key: &ArtifactKey, path: &str, depth: usize) -> Result<(), Halt> {
        let tree = load(self.store, key, self.label)?;
        self.entries += tree.entries().len();
        if depth > DEPTH_MAX || self.entries > ENTRIES_MAX {
            return Err(FailureKind::WrongInput.into());
        }
        for entry in tree.entries() {
            let path = join(path, &entry.name);
            match &entry.kind {
                EntryKind::Directory { key } => self.directory(key, &path, depth + 1)?,
                EntryKind::File { .. } if path.len() > PATH_LEN_MAX => {
                    return Err(FailureKind::WrongInput.into());
                }
                EntryKind::File { key, .. } => self.files.push(File { path, key: *key }),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A path as text: what is not UTF-8, and control characters, are replaced or escaped. Labels are
/// for people.
fn join(directory: &str, name: &[u8]) -> String {
    let mut path = directory.to_owned();
    if !path.is_empty() {
        path.push('/');
    }
    for character in String::from_utf8_lossy(name).chars() {
        if character.is_control() {
            path.extend(character.escape_default());
        } else {
            path.push(character);
        }
    }
    path
}

fn load(store: &dyn ArtifactStore, key: &ArtifactKey, label: &str) -> Result<Tree, Halt> {
    let artifact = found(store, key, label)?;
    if artifact.type_tag != Some(tree::TYPE_TAG) || artifact.blob.size() > TREE_LEN_MAX {
        return Err(FailureKind::WrongInput.into());
    }
    let unreadable = |source| RunError::Unreadable {
        label: label.to_owned(),
        key: *key,
        source,
    };
    let payload = to_vec(&*artifact.blob, TREE_LEN_MAX).map_err(unreadable)?;
    Ok(Tree::decode(&payload).map_err(|_| FailureKind::WrongInput)?)
}
