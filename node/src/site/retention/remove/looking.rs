//! What trees hold, at any depth, and which of them show something.

use std::collections::{BTreeMap, BTreeSet};

use uor_asl::blocks::BlocksError;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::record::Content;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{EntryKind, TREE_LEN_MAX, TYPE_TAG, Tree};

use super::error::RemoveError;
use crate::site::handle::Site;

/// A data set: what a tree holds, at any depth.
pub(super) struct Set {
    /// Each once, what is inside before what it is in.
    pub(super) parts: Vec<Part>,
    pub(super) keys: BTreeSet<ArtifactKey>,
}

pub(super) struct Part {
    pub(super) key: ArtifactKey,
    pub(super) is_tree: bool,
    pub(super) is_visible: bool,
    pub(super) len: u64,
}

/// Trees being looked into.
pub(super) struct Looking<'a> {
    pub(super) site: &'a Site,
    pub(super) at: &'a Snapshot,
    looked: u64,
    /// What could not be looked into, because it is not here.
    pub(super) unread: BTreeSet<ArtifactKey>,
    on_progress: &'a mut dyn FnMut(u64),
}

impl<'a> Looking<'a> {
    pub(super) fn new(
        site: &'a Site,
        at: &'a Snapshot,
        on_progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            site,
            at,
            looked: 0,
            unread: BTreeSet::new(),
            on_progress,
        }
    }

    /// What stands under a key, or stood there last: whether it is a tree, whether it is visible,
    /// and its payload.
    pub(super) fn part(&self, key: ArtifactKey) -> Result<Option<(Part, Checksum)>, RemoveError> {
        let view = self.site.store.view();
        let part = |is_visible, type_tag, len| Part {
            key,
            is_tree: type_tag == Some(TYPE_TAG),
            is_visible,
            len,
        };
        if let Some(entry) = view.state().entry(&key.into(), self.at)? {
            let (type_tag, len) = (entry.type_tag, entry.payload_len);
            return Ok(entry
                .checksum
                .map(|checksum| (part(true, type_tag, len), checksum)));
        }
        // Shadowed by itself, with what is in it visible.
        let versions = view.state().versions(&key.into(), self.at)?;
        Ok(versions
            .iter()
            .rev()
            .find_map(|version| match version.record.content() {
                Content::Artifact { type_tag, payload } => {
                    Some((part(false, *type_tag, payload.len), payload.checksum))
                }
                _ => None,
            }))
    }

    /// A payload, if it is here.
    pub(super) fn payload(
        &mut self,
        key: ArtifactKey,
        checksum: Checksum,
        len_max: u64,
    ) -> Result<Option<Vec<u8>>, RemoveError> {
        self.looked += 1;
        (self.on_progress)(self.looked);
        let blocks = self.site.store.blocks();
        if !blocks.has(checksum) {
            self.unread.insert(key);
            return Ok(None);
        }
        match blocks.read_all(checksum, len_max) {
            Ok(payload) => Ok(Some(payload)),
            // What is longer than it may be is not what it is called, and shows nothing.
            Err(BlocksError::TooLarge { .. }) => Ok(None),
            Err(source) => Err(RemoveError::Blocks { key, source }),
        }
    }

    /// What is directly in a tree, each once. What is called a tree and is none holds nothing.
    pub(super) fn inside(
        &mut self,
        key: ArtifactKey,
        checksum: Checksum,
    ) -> Result<BTreeSet<ArtifactKey>, RemoveError> {
        let tree = self
            .payload(key, checksum, TREE_LEN_MAX)?
            .and_then(|payload| Tree::decode(&payload).ok());
        let key_of = |kind: &EntryKind| match kind {
            EntryKind::File { key, .. } | EntryKind::Directory { key } => Some(*key),
            _ => None,
        };
        Ok(tree
            .iter()
            .flat_map(|tree| tree.entries())
            .filter_map(|entry| key_of(&entry.kind))
            .collect())
    }

    /// Everything that `root` holds, and `root`.
    pub(super) fn collect(&mut self, root: ArtifactKey) -> Result<Set, RemoveError> {
        let mut set = Set {
            parts: Vec::new(),
            keys: BTreeSet::new(),
        };
        // What is open, each with what is still to be looked at in it: trees may lie deep, so
        // nothing recurses.
        let mut open: Vec<(Part, std::collections::btree_set::IntoIter<ArtifactKey>)> = Vec::new();
        let mut next = Some(root);
        loop {
            if let Some(key) = next.take().filter(|key| set.keys.insert(*key))
                && let Some((part, checksum)) = self.part(key)?
            {
                let inside = if part.is_tree {
                    self.inside(key, checksum)?
                } else {
                    BTreeSet::new()
                };
                open.push((part, inside.into_iter()));
            }
            let Some((_, inside)) = open.last_mut() else {
                return Ok(set);
            };
            next = inside.next();
            if next.is_none() {
                set.parts.extend(open.pop().map(|(part, _)| part));
            }
        }
    }

    /// Of the trees that these roots lead to, those in which an artifact is, at any depth; and the
    /// artifact.
    pub(super) fn trees_showing(
        &mut self,
        key: ArtifactKey,
        roots: impl Iterator<Item = ArtifactKey>,
    ) -> Result<BTreeSet<ArtifactKey>, RemoveError> {
        let mut above: BTreeMap<ArtifactKey, Vec<ArtifactKey>> = BTreeMap::new();
        let mut open: Vec<ArtifactKey> = roots.collect();
        let mut looked: BTreeSet<ArtifactKey> = BTreeSet::new();
        while let Some(tree) = open.pop() {
            if !looked.insert(tree) {
                continue;
            }
            let Some((part, checksum)) = self
                .part(tree)?
                .filter(|(part, _)| part.is_tree && part.is_visible)
            else {
                continue;
            };
            for inner in self.inside(part.key, checksum)? {
                // Files are many: only the one that is asked for is noted.
                if inner == key || self.part(inner)?.is_some_and(|(part, _)| part.is_tree) {
                    above.entry(inner).or_default().push(tree);
                    open.push(inner);
                }
            }
        }
        let mut showing = BTreeSet::new();
        let mut open = vec![key];
        while let Some(inner) = open.pop() {
            if showing.insert(inner) {
                open.extend(above.remove(&inner).unwrap_or_default());
            }
        }
        Ok(showing)
    }
}
