//! The directories of a received snapshot, as trees are built of them.

use std::collections::BTreeMap;

use uor_index_format::id::Checksum;
use uor_index_format::record::Payload;
use uor_index_format::tree::{Attributes, EntryKind};
use uor_zfs::contents::Stored;
use uor_zfs::filesystem::{Filesystem, NodeKind as ZfsKind, Visited};

use super::error::ImportError;
use super::tree::{Entries, Node, NodeKind, Source};

/// The directories of a received snapshot.
pub(super) struct StreamTree<'a> {
    filesystem: &'a Filesystem<'a>,
    stored: &'a BTreeMap<u64, Stored>,
    empty: Payload,
    visited: Visited,
    /// One for each object, however often it is looked at.
    pub(super) warnings: BTreeMap<u64, String>,
}

pub(super) static NOTHING_STORED: BTreeMap<u64, Stored> = BTreeMap::new();

impl<'a> StreamTree<'a> {
    pub(super) fn new(
        filesystem: &'a Filesystem<'a>,
        stored: &'a BTreeMap<u64, Stored>,
        empty: Payload,
    ) -> Self {
        Self {
            filesystem,
            stored,
            empty,
            visited: Visited::default(),
            warnings: BTreeMap::new(),
        }
    }
}

impl Source for StreamTree<'_> {
    type Handle = u64;

    fn root(&mut self) -> u64 {
        // Each walk begins here.
        self.visited = Visited::default();
        self.filesystem.root()
    }

    fn node(&mut self, object: &u64) -> Result<Node, ImportError> {
        let node = self.filesystem.node(*object)?;
        let xattrs = self.filesystem.xattrs(&node)?;
        if let Some(name) = xattrs.left_out.first() {
            let name = String::from_utf8_lossy(name);
            let warning = format!(
                "left out extended attribute `{name}` of object {object}: its name or value is too long"
            );
            self.warnings.insert(*object, warning);
        }
        let (mtime_s, mtime_ns) = node.mtime;
        let attributes = Attributes {
            uid: node.uid,
            gid: node.gid,
            mtime_s,
            mtime_ns,
            link: None,
            xattrs: xattrs.values,
        };
        let kind = match node.kind {
            ZfsKind::Directory => NodeKind::Directory,
            ZfsKind::File => NodeKind::File,
            ZfsKind::Symlink { target } => NodeKind::Other(EntryKind::Symlink { target }),
            ZfsKind::Fifo => NodeKind::Other(EntryKind::Fifo),
            ZfsKind::Socket => NodeKind::Other(EntryKind::Socket),
            ZfsKind::CharDevice { device } => NodeKind::Other(EntryKind::CharDevice {
                major: device.major,
                minor: device.minor,
            }),
            ZfsKind::BlockDevice { device } => NodeKind::Other(EntryKind::BlockDevice {
                major: device.major,
                minor: device.minor,
            }),
        };
        Ok(Node {
            kind,
            mode: node.mode,
            attributes,
            identity: Some((0, *object)),
        })
    }

    fn enter(&mut self, object: &u64) -> Result<Entries<u64>, ImportError> {
        self.visited.enter(*object)?;
        let entries = self.filesystem.entries(*object)?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.name, entry.object))
            .collect())
    }

    fn leave(&mut self) {
        self.visited.leave();
    }

    fn contents(&mut self, object: &u64) -> Result<Payload, ImportError> {
        Ok(self.stored.get(object).map_or(self.empty, payload_of))
    }
}

pub(super) fn payload_of(stored: &Stored) -> Payload {
    Payload {
        checksum: Checksum::from_bytes(stored.name),
        len: stored.len,
    }
}
