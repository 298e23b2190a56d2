//! Shadowing: one thing, or a whole data set with what nothing else shows.
//!
//! A file is one artifact wherever its bytes are used. So shadowing it takes it from every tree
//! that names it, which is why a path inside a tree is refused, and a key is shadowed with a word
//! about the names that it breaks.
//!
//! A data set goes with everything in it that nothing else *shows*. What is visible shows other
//! things: a ref what it points at; a tree what is in it, also one that no name leads to; a program
//! its modules; a receipt its program, inputs and outputs. Edges and snapshots show nothing: an
//! edge speaks about things, and a snapshot still sees what is shadowed later. What is shown stays,
//! with all that is in it ([`shown`]).
//!
//! Tombstones go in commits of bounded size, what is inside before what it is in, and the name
//! last: what was interrupted is done by asking again. Nothing is added here meanwhile. What
//! another site adds meanwhile may name what is shadowed here: then `get` says so, and adding it
//! once more mends it.

mod shown;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum, LogSeq};
use uor_index_format::record::{Content, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{EntryKind, TREE_LEN_MAX, TYPE_TAG, Tree};

use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;

/// Most tombstones of one commit.
const BATCH_RECORDS_MAX: usize = 16_384;

/// What was tombstoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it was.
    pub kind: Sort,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// Names whose trees no longer show everything, or that point at nothing.
    pub broken: Bounded<String>,
    /// Trees that are not here, so that what they name is not known.
    pub unread: u64,
}

/// A data set that was tombstoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedAll {
    /// What was asked for: the name's record, or the artifact.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it was.
    pub kind: Sort,
    /// When the last of it was shadowed.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// The name that was removed.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// How many trees were shadowed.
    pub trees: u64,
    /// How many other artifacts were.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many artifacts of the data set stay, because something else shows them.
    pub kept: u64,
    /// What shows them.
    pub kept_by: Bounded<String>,
    /// In how many commits.
    pub commits: u64,
    /// Trees, programs and receipts that are not here, so that what they show is not known.
    pub unread: u64,
}

/// Why nothing was tombstoned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// Membership does not end by tombstone.
    #[error("`{text}` is {}; only artifacts, receipts, refs and edges can be removed", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// Nothing is inside of it.
    #[error("`{text}` is {}, which holds nothing: remove it by itself", found.with_article())]
    NotASet {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// It is in a tree, which is what it is by what is in it.
    #[error(
        "`{text}` is inside a tree, and a tree cannot lose a part: shadowing {key} would take it from every tree and name \
         that has the same bytes"
    )]
    InsideTree {
        /// The text as it was given.
        text: String,
        /// The key of what is there.
        key: ArtifactKey,
    },
    /// Something else shows it.
    #[error("`{text}` is still shown by {by}")]
    StillShown {
        /// The text as it was given.
        text: String,
        /// What shows it.
        by: Bounded<String>,
    },
    /// What shows it is not known.
    #[error(
        "{count} that are visible are not here, the first {first}, so what they show is not known"
    )]
    NotHere {
        /// How many trees, programs and receipts.
        count: u64,
        /// The first of them.
        first: ArtifactKey,
    },
    /// Something is being added or run.
    #[error("something is being added or run here: remove it when that is done")]
    Busy,
    /// A tree could not be read.
    #[error("could not read {key}")]
    Blocks {
        /// The tree.
        key: ArtifactKey,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It could not be written.
    #[error("could not write the tombstone")]
    Commit(#[from] CommitError),
}

/// What is to be removed, and the name that goes with it.
struct Wanted<'a> {
    id: CanonicalId,
    kind: Sort,
    /// The name, if a bare one was given.
    name: Option<&'a str>,
}

impl Site {
    /// Tombstones an artifact, receipt, ref or edge. A target reached by a bare name is the ref,
    /// not what it points at. Says which names that breaks; `on_progress` is told at how many trees
    /// was looked for that.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn rm(
        &self,
        target: &Target,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Removed, RemoveError> {
        let Wanted { id, kind, .. } = wanted(target)?;
        self.reopen().map_err(CommitError::from)?;
        let (broken, unread) = match kind {
            Sort::Ref | Sort::Edge => (Bounded::default(), 0),
            _ => self.names_showing(target.key(), &self.head(), on_progress)?,
        };
        let logseq = self.commit(vec![Record::tombstone(id)])?.logseq;
        Ok(Removed {
            id,
            kind,
            logseq,
            broken,
            unread,
        })
    }

    /// Tombstones an artifact, or a ref with what it points at, and everything in it that nothing
    /// else shows. What is not here may show things too, and is a reason to refuse unless `force`.
    /// `on_progress` is told at how many trees was looked.
    ///
    /// # Errors
    /// [`RemoveError`]; what was tombstoned before stays so, and asking again does the rest.
    pub fn rm_recursive(
        &self,
        target: &Target,
        force: bool,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<RemovedAll, RemoveError> {
        let Wanted { id, kind, name } = wanted(target)?;
        if !target.sort.has_payload() {
            return Err(RemoveError::NotASet {
                text: target.text.clone(),
                found: target.sort,
            });
        }
        // What is added counts on what is visible: nothing may vanish under it.
        let _alone = self.freeing().ok_or(RemoveError::Busy)?;
        self.reopen_alone().map_err(CommitError::from)?;
        let at = self.head();
        let mut looking = Looking::new(self, &at, on_progress);
        let set = looking.collect(target.key())?;
        let shown = looking.shown(&set, name)?;
        if let Some(first) = looking.unread.first().filter(|_| !force) {
            return Err(RemoveError::NotHere {
                count: looking.unread.len() as u64,
                first: *first,
            });
        }
        if name.is_none() && shown.keys.contains(&target.key()) {
            return Err(RemoveError::StillShown {
                text: target.text.clone(),
                by: shown.by,
            });
        }
        let mut all = RemovedAll {
            id,
            kind,
            logseq: LogSeq(0),
            reference: name.map(str::to_owned),
            trees: 0,
            files: 0,
            bytes: 0,
            kept: shown.keys.len() as u64,
            kept_by: shown.by,
            commits: 0,
            unread: looking.unread.len() as u64,
        };
        let mut tombstones = Vec::new();
        for part in set
            .parts
            .iter()
            .filter(|part| part.is_visible && !shown.keys.contains(&part.key))
        {
            *(if part.is_tree {
                &mut all.trees
            } else {
                &mut all.files
            }) += 1;
            all.bytes += part.len;
            tombstones.push(CanonicalId::from(part.key));
        }
        tombstones.extend(name.map(|_| id));
        for batch in tombstones.chunks(BATCH_RECORDS_MAX) {
            let records: BTreeSet<&CanonicalId> = batch.iter().collect();
            all.logseq = self
                .commit(
                    records
                        .into_iter()
                        .copied()
                        .map(Record::tombstone)
                        .collect(),
                )?
                .logseq;
            all.commits += 1;
        }
        Ok(all)
    }

    /// The names that people gave whose trees show an artifact, or that point at it, and how many
    /// trees could not be read.
    fn names_showing(
        &self,
        key: ArtifactKey,
        at: &Snapshot,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<(Bounded<String>, u64), RemoveError> {
        let refs = self.refs(at)?;
        let mut looking = Looking::new(self, at, on_progress);
        let showing = looking.trees_showing(key, refs.iter().map(|listed| listed.key))?;
        let mut names = Bounded::default();
        refs.into_iter()
            .filter(|listed| showing.contains(&listed.key))
            .for_each(|listed| names.push(listed.name));
        Ok((names, looking.unread.len() as u64))
    }
}

fn wanted(target: &Target) -> Result<Wanted<'_>, RemoveError> {
    if target.via_path {
        return Err(RemoveError::InsideTree {
            text: target.text.clone(),
            key: target.key(),
        });
    }
    let name = target.via_ref.as_deref();
    let (id, kind) = match name {
        Some(name) => (RefAssignment::id_of(NAMESPACE_USER, name), Sort::Ref),
        None => (target.id, target.sort),
    };
    if matches!(kind, Sort::Genesis | Sort::Admission) {
        return Err(RemoveError::WrongKind {
            text: target.text.clone(),
            found: kind,
        });
    }
    Ok(Wanted { id, kind, name })
}

/// A data set: what a tree holds, at any depth.
struct Set {
    /// Each once, what is inside before what it is in.
    parts: Vec<Part>,
    keys: BTreeSet<ArtifactKey>,
}

struct Part {
    key: ArtifactKey,
    is_tree: bool,
    is_visible: bool,
    len: u64,
}

/// Trees being looked into.
struct Looking<'a> {
    site: &'a Site,
    at: &'a Snapshot,
    looked: u64,
    /// What could not be looked into, because it is not here.
    unread: BTreeSet<ArtifactKey>,
    on_progress: &'a mut dyn FnMut(u64),
}

impl<'a> Looking<'a> {
    fn new(site: &'a Site, at: &'a Snapshot, on_progress: &'a mut dyn FnMut(u64)) -> Self {
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
    fn part(&self, key: ArtifactKey) -> Result<Option<(Part, Checksum)>, RemoveError> {
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
    fn payload(
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
    fn inside(
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
    fn collect(&mut self, root: ArtifactKey) -> Result<Set, RemoveError> {
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
    fn trees_showing(
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
