//! Trees of a snapshot: the same bytes, whether its directories come from a stream or are mounted.
//!
//! There are two walks, each in the order of names. The first finds what is not allowed, and of
//! every file with several names the first path; its digest is what these names have in common. The
//! second builds trees from the inside out.

use std::collections::BTreeMap;

use uor_asl::blocks::Blocks;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::tree::{Attributes, EntryKind, LinkId, Own, TYPE_TAG, Tree, TreeEntry};

use super::error::{ImportError, storing};

/// What makes several names one file.
pub(super) type Identity = (u64, u64);

/// What an entry is.
pub(super) enum NodeKind {
    /// A directory.
    Directory,
    /// Anything else; the key of a file is asked for later.
    File,
    /// Whatever needs nothing more.
    Other(EntryKind),
}

/// An entry, as its source sees it.
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    /// Without the link.
    pub(super) attributes: Attributes,
    /// What it is, if it may have other names.
    pub(super) identity: Option<Identity>,
}

/// Names in a directory, ascending, and what leads to the entries.
pub(super) type Entries<H> = Vec<Named<H>>;

/// A name, and what leads to its entry.
type Named<H> = (Vec<u8>, H);

/// Where directories come from.
pub(super) trait Source {
    /// What leads to an entry.
    type Handle;

    /// The outermost directory, where a walk begins.
    fn root(&mut self) -> Self::Handle;
    /// What an entry is.
    fn node(&mut self, handle: &Self::Handle) -> Result<Node, ImportError>;
    /// The entries of a directory, ascending by name.
    fn enter(&mut self, handle: &Self::Handle) -> Result<Entries<Self::Handle>, ImportError>;
    /// No more is asked for of the directory that was entered last.
    fn leave(&mut self);
    /// The contents of a file.
    fn contents(&mut self, handle: &Self::Handle) -> Result<Payload, ImportError>;
}

/// A tree that was built.
#[derive(Default)]
pub(super) struct Built {
    /// Records of files and trees, so that what is named comes first.
    pub(super) records: Vec<Record>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) new_bytes: u64,
}

/// The longest path, in bytes.
const PATH_LEN_MAX: usize = 64 << 10;
/// The longest tree that is built, in bytes: it is built in memory.
const TREE_LEN_MAX: usize = 512 << 20;

/// A walk through everything below the root.
struct Walk<H> {
    /// The path of the innermost directory.
    path: Vec<u8>,
    /// Of each directory that is open, the length of its path, and what is to come of it.
    open: Vec<(usize, std::vec::IntoIter<Named<H>>)>,
}

impl<H> Walk<H> {
    fn new<S: Source<Handle = H>>(source: &mut S, root: &H) -> Result<Self, ImportError> {
        Ok(Self {
            path: Vec::new(),
            open: vec![(0, source.enter(root)?.into_iter())],
        })
    }

    /// The next entry of the innermost directory.
    fn next(&mut self) -> Option<Named<H>> {
        self.open.last_mut()?.1.next()
    }

    fn enter<S: Source<Handle = H>>(
        &mut self,
        source: &mut S,
        name: &[u8],
        handle: &H,
    ) -> Result<(), ImportError> {
        self.path = self.path_of(name);
        if self.path.len() > PATH_LEN_MAX {
            return Err(ImportError::PathTooLong { max: PATH_LEN_MAX });
        }
        self.open
            .push((self.path.len(), source.enter(handle)?.into_iter()));
        Ok(())
    }

    fn leave<S: Source<Handle = H>>(&mut self, source: &mut S) {
        source.leave();
        self.open.pop();
        self.path
            .truncate(self.open.last().map_or(0, |(len, _)| *len));
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() {
            name.to_vec()
        } else {
            [self.path.as_slice(), b"/", name].concat()
        }
    }
}

/// What names of one file have in common.
pub(super) type Links = BTreeMap<Identity, LinkId>;

/// Walks through everything, and finds files with several names.
pub(super) fn find_links<S: Source>(source: &mut S) -> Result<Links, ImportError> {
    let mut first = BTreeMap::<Identity, (LinkId, u64)>::new();
    let root = source.root();
    source.node(&root)?;
    let mut walk = Walk::new(source, &root)?;
    while !walk.open.is_empty() {
        let Some((name, handle)) = walk.next() else {
            walk.leave(source);
            continue;
        };
        let node = source.node(&handle)?;
        if let NodeKind::Directory = node.kind {
            walk.enter(source, &name, &handle)?;
        } else if let Some(identity) = node.identity {
            first
                .entry(identity)
                .or_insert_with(|| (link_id(&walk.path_of(&name)), 0))
                .1 += 1;
        }
    }
    Ok(first
        .into_iter()
        .filter(|(_, (_, names))| *names > 1)
        .map(|(identity, (link, _))| (identity, link))
        .collect())
}

/// The first half of the path's digest.
fn link_id(path: &[u8]) -> LinkId {
    Checksum::of(path)
        .as_bytes()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}

/// Builds the tree of everything below the root.
pub(super) fn build<S: Source>(
    source: &mut S,
    links: &Links,
    blocks: &Blocks,
) -> Result<(ArtifactKey, Built), ImportError> {
    let mut builder = Builder {
        source,
        blocks,
        links,
        built: Built::default(),
    };
    let key = builder.walk()?;
    Ok((key, builder.built))
}

struct Builder<'a, S: Source> {
    source: &'a mut S,
    blocks: &'a Blocks,
    links: &'a Links,
    built: Built,
}

/// A directory that does not have all of its entries yet.
struct Building {
    name: Vec<u8>,
    node: Node,
    entries: Vec<TreeEntry>,
    /// How many bytes the entries will take.
    len: usize,
}

impl Building {
    fn new(name: Vec<u8>, node: Node) -> Self {
        Self {
            name,
            node,
            entries: Vec::new(),
            len: 0,
        }
    }

    fn add(&mut self, entry: TreeEntry) -> Result<(), ImportError> {
        let xattrs = entry
            .attributes
            .as_ref()
            .map_or(&[][..], |attributes| &attributes.xattrs);
        let xattrs_len: usize = xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.len += entry.name.len() + ENTRY_LEN + xattrs_len;
        if self.len > TREE_LEN_MAX {
            return Err(ImportError::TreeTooLong { max: TREE_LEN_MAX });
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// About what an entry takes beside its name.
const ENTRY_LEN: usize = 128;

impl<S: Source> Builder<'_, S> {
    fn walk(&mut self) -> Result<ArtifactKey, ImportError> {
        let root = self.source.root();
        let mut current = Building::new(Vec::new(), self.source.node(&root)?);
        let mut walk = Walk::new(self.source, &root)?;
        let mut outer = Vec::new();
        loop {
            if let Some((name, handle)) = walk.next() {
                let node = self.source.node(&handle)?;
                if let NodeKind::Directory = node.kind {
                    walk.enter(self.source, &name, &handle)?;
                    outer.push(std::mem::replace(&mut current, Building::new(name, node)));
                } else {
                    let entry = self.entry(&handle, name, node)?;
                    current.add(entry)?;
                }
                continue;
            }
            let Building {
                name,
                node,
                entries,
                ..
            } = current;
            let Some(next) = outer.pop() else {
                let own = Own {
                    mode: node.mode,
                    attributes: node.attributes,
                };
                let key = self.tree(&walk.path, Some(own), entries);
                walk.leave(self.source);
                return key;
            };
            let key = self.tree(&walk.path, None, entries)?;
            walk.leave(self.source);
            current = next;
            let (kind, attributes) = (
                EntryKind::Directory { key },
                Some(Box::new(node.attributes)),
            );
            current.add(TreeEntry {
                name,
                mode: node.mode,
                kind,
                attributes,
            })?;
        }
    }

    fn entry(
        &mut self,
        handle: &S::Handle,
        name: Vec<u8>,
        node: Node,
    ) -> Result<TreeEntry, ImportError> {
        let link = node
            .identity
            .and_then(|identity| self.links.get(&identity).copied());
        let attributes = Some(Box::new(Attributes {
            link,
            ..node.attributes
        }));
        let kind = match node.kind {
            NodeKind::Other(kind) => kind,
            NodeKind::File | NodeKind::Directory => {
                let payload = self.source.contents(handle)?;
                self.built.files += 1;
                self.built.bytes = self.built.bytes.saturating_add(payload.len);
                let key = artifact_key(None, &payload);
                self.built.records.push(Record::artifact(None, payload));
                EntryKind::File {
                    key,
                    len: payload.len,
                }
            }
        };
        Ok(TreeEntry {
            name,
            mode: node.mode,
            kind,
            attributes,
        })
    }

    fn tree(
        &mut self,
        path: &[u8],
        own: Option<Own>,
        entries: Vec<TreeEntry>,
    ) -> Result<ArtifactKey, ImportError> {
        let tree = Tree::with_own(own, entries).map_err(|source| ImportError::Tree {
            path: path.to_vec(),
            source,
        })?;
        let put = self.blocks.put_bytes(&tree.encode());
        let put = put.map_err(storing(format!("directory `{}`", path.escape_ascii())))?;
        self.built.new_bytes += put.new_bytes;
        let payload = Payload {
            checksum: put.checksum,
            len: put.len,
        };
        self.built
            .records
            .push(Record::artifact(Some(TYPE_TAG), payload));
        Ok(artifact_key(Some(TYPE_TAG), &payload))
    }
}
