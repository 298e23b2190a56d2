//! How many entries a tree stands for: counted before any of them is written.
//!
//! Trees come from peers, and name each other by key. A few small ones, each of which holds the
//! next one twice, stand for more paths than any disk can hold. Each different tree is read once to
//! count them, however often it occurs.

use std::collections::BTreeMap;

use uor_index_format::id::{ArtifactKey, CanonicalId};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{EntryKind, Tree};

use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::ResolveError;
use crate::site::catalog::sort::Sort;
use crate::site::handle::Site;

/// Entries that any tree may stand for.
const ENTRIES_FREE: u64 = 1 << 20;
/// Beyond that, the entries for each entry of the different trees in it: more than copies of
/// directories come to.
const ENTRIES_PER_ENTRY: u64 = 1024;

/// A tree that is being counted.
struct Open {
    key: ArtifactKey,
    inside: std::vec::IntoIter<ArtifactKey>,
    entries: u64,
}

impl Open {
    fn of(key: ArtifactKey, tree: &Tree) -> Self {
        let directory = |kind: &EntryKind| {
            if let EntryKind::Directory { key } = kind {
                Some(*key)
            } else {
                None
            }
        };
        let inside: Vec<ArtifactKey> = tree
            .entries()
            .iter()
            .filter_map(|entry| directory(&entry.kind))
            .collect();
        Self {
            key,
            inside: inside.into_iter(),
            entries: tree.entries().len() as u64,
        }
    }
}

/// Refuses a tree that stands for more entries than are in proportion to what is in it.
///
/// # Errors
/// [`ReadError::Spread`]; [`ReadError::State`] or [`ReadError::Cancelled`]. What cannot be read
/// counts nothing here.
pub(super) fn check(
    site: &Site,
    at: &Snapshot,
    root: ArtifactKey,
    tree: &Tree,
) -> Result<(), ReadError> {
    let mut totals: BTreeMap<ArtifactKey, u64> = BTreeMap::new();
    let (mut said, mut entries) = (tree.entries().len() as u64, 0);
    let mut open = vec![Open::of(root, tree)];
    while let Some(top) = open.last_mut() {
        site.cancel.check()?;
        let Some(key) = top.inside.next() else {
            entries = top.entries;
            totals.insert(top.key, entries);
            open.pop();
            if let Some(around) = open.last_mut() {
                around.entries = around.entries.saturating_add(entries);
            }
            continue;
        };
        if let Some(known) = totals.get(&key) {
            top.entries = top.entries.saturating_add(*known);
        } else if let Some(tree) = inner(site, at, key)? {
            said = said.saturating_add(tree.entries().len() as u64);
            open.push(Open::of(key, &tree));
        } else {
            totals.insert(key, 0);
        }
    }
    let max = ENTRIES_FREE.saturating_add(said.saturating_mul(ENTRIES_PER_ENTRY));
    let trees = totals.len() as u64;
    if entries > max {
        Err(ReadError::Spread {
            id: CanonicalId::from(root),
            trees,
            entries,
        })
    } else {
        Ok(())
    }
}

/// A tree inside another, if it is visible and here.
fn inner(site: &Site, at: &Snapshot, key: ArtifactKey) -> Result<Option<Tree>, ReadError> {
    match site.resolve_id(&key.into(), at) {
        Ok(target) if target.sort == Sort::Tree => Ok(site.read_tree(&target).ok()),
        Err(ResolveError::State(error)) => Err(error.into()),
        _ => Ok(None),
    }
}
