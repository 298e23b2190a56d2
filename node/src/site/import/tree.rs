//! Trees of a snapshot: the same bytes, whether its directories come from a stream or are mounted.
//!
//! There are two walks, each in the order of names. The first finds what is not allowed, and of every file with several
//! names the first path; its digest is what these names have in common. The second builds trees from the inside out.

use std::collections::BTreeMap;

use uor_asl::blocks::Blocks;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::tree::{Attributes, EntryKind, LinkId, Own, TYPE_TAG, Tree, TreeEntry};

use super::{ImportError, storing};

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
pub(super) type Entries<H> = Vec<(Vec<u8>, H)>;

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

/// Builds the tree of everything below the root.
pub(super) fn build<S: Source>(source: &mut S, blocks: &Blocks) -> Result<(ArtifactKey, Built), ImportError> {
    let links = find_links(source)?;
    let mut builder = Builder { source, blocks, links, built: Built::default() };
    let key = builder.walk()?;
    Ok((key, builder.built))
}

/// A walk's place in a directory.
struct Open<H> {
    path: Vec<u8>,
    rest: std::vec::IntoIter<(Vec<u8>, H)>,
}

fn open<S: Source>(source: &mut S, handle: &S::Handle, path: Vec<u8>) -> Result<Open<S::Handle>, ImportError> {
    Ok(Open { path, rest: source.enter(handle)?.into_iter() })
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn find_links<S: Source>(source: &mut S) -> Result<BTreeMap<Identity, LinkId>, ImportError> {
    let mut first = BTreeMap::<Identity, (LinkId, u64)>::new();
    let root = source.root();
    let mut stack = vec![open(source, &root, Vec::new())?];
    while let Some(directory) = stack.last_mut() {
        let Some((name, handle)) = directory.rest.next() else {
            source.leave();
            stack.pop();
            continue;
        };
        let node = source.node(&handle)?;
        let path = join(&directory.path, &name);
        if let NodeKind::Directory = node.kind {
            stack.push(open(source, &handle, path)?);
        } else if let Some(identity) = node.identity {
            first.entry(identity).or_insert_with(|| (link_id(&path), 0)).1 += 1;
        }
    }
    Ok(first.into_iter().filter(|(_, (_, names))| *names > 1).map(|(identity, (link, _))| (identity, link)).collect())
}

/// The first half of the path's digest.
fn link_id(path: &[u8]) -> LinkId {
    Checksum::of(path).as_bytes().first_chunk().copied().unwrap_or_default()
}

struct Builder<'a, S: Source> {
    source: &'a mut S,
    blocks: &'a Blocks,
    links: BTreeMap<Identity, LinkId>,
    built: Built,
}

/// A directory that does not have all of its entries yet.
struct Building<H> {
    open: Open<H>,
    name: Vec<u8>,
    node: Node,
    entries: Vec<TreeEntry>,
}

impl<S: Source> Builder<'_, S> {
    fn walk(&mut self) -> Result<ArtifactKey, ImportError> {
        let root = self.source.root();
        let mut stack = Vec::new();
        let mut current = self.building(&root, Vec::new(), Vec::new())?;
        loop {
            if let Some((name, handle)) = current.open.rest.next() {
                let path = join(&current.open.path, &name);
                let node = self.source.node(&handle)?;
                if let NodeKind::Directory = node.kind {
                    let inner = self.entered(&handle, path, name, node)?;
                    stack.push(std::mem::replace(&mut current, inner));
                } else {
                    current.entries.push(self.entry(&handle, name, node)?);
                }
                continue;
            }
            self.source.leave();
            let Building { open, name, node, entries } = current;
            let Some(outer) = stack.pop() else {
                let own = Own { mode: node.mode, attributes: node.attributes };
                return self.tree(&open.path, Some(own), entries);
            };
            let key = self.tree(&open.path, None, entries)?;
            current = outer;
            let (kind, attributes) = (EntryKind::Directory { key }, Some(Box::new(node.attributes)));
            current.entries.push(TreeEntry { name, mode: node.mode, kind, attributes });
        }
    }

    fn building(
        &mut self,
        handle: &S::Handle,
        path: Vec<u8>,
        name: Vec<u8>,
    ) -> Result<Building<S::Handle>, ImportError> {
        let node = self.source.node(handle)?;
        self.entered(handle, path, name, node)
    }

    fn entered(
        &mut self,
        handle: &S::Handle,
        path: Vec<u8>,
        name: Vec<u8>,
        node: Node,
    ) -> Result<Building<S::Handle>, ImportError> {
        Ok(Building { open: open(self.source, handle, path)?, name, node, entries: Vec::new() })
    }

    fn entry(&mut self, handle: &S::Handle, name: Vec<u8>, node: Node) -> Result<TreeEntry, ImportError> {
        let link = node.identity.and_then(|identity| self.links.get(&identity).copied());
        let attributes = Some(Box::new(Attributes { link, ..node.attributes }));
        let kind = match node.kind {
            NodeKind::Other(kind) => kind,
            NodeKind::File | NodeKind::Directory => {
                let payload = self.source.contents(handle)?;
                self.built.files += 1;
                self.built.bytes += payload.len;
                let key = artifact_key(None, &payload);
                self.built.records.push(Record::artifact(None, payload));
                EntryKind::File { key, len: payload.len }
            }
        };
        Ok(TreeEntry { name, mode: node.mode, kind, attributes })
    }

    fn tree(&mut self, path: &[u8], own: Option<Own>, entries: Vec<TreeEntry>) -> Result<ArtifactKey, ImportError> {
        let tree = Tree::with_own(own, entries).map_err(|source| ImportError::Tree { path: path.to_vec(), source })?;
        let put = self.blocks.put_bytes(&tree.encode());
        let put = put.map_err(storing(format!("directory `{}`", path.escape_ascii())))?;
        self.built.new_bytes += put.new_bytes;
        let payload = Payload { checksum: put.checksum, len: put.len };
        self.built.records.push(Record::artifact(Some(TYPE_TAG), payload));
        Ok(artifact_key(Some(TYPE_TAG), &payload))
    }
}
