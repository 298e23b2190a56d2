//! The entries of a tree, listed.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_index_format::codec::hex;
use uor_index_format::id::ArtifactKey;
use uor_index_format::tree::{EntryKind, TreeEntry};

use crate::site::catalog::payload::ReadError;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;
use crate::site::text::{escaped, hex_of, text_of};

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedKind {
    /// A file.
    File,
    /// A directory.
    Tree,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name; escaped if it is no UTF-8.
    pub name: String,
    /// The bytes of its name in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: ListedKind,
    /// Key of a file or directory.
    #[serde(serialize_with = "json::text_option")]
    pub key: Option<ArtifactKey>,
    /// Length of a file in bytes.
    pub bytes: Option<u64>,
    /// Where a symlink points; escaped if it is no UTF-8.
    pub target: Option<String>,
    /// The bytes of that in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_hex: Option<String>,
    /// What else its tree knows, if that was imported from a snapshot of a file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<ListedAttributes>,
}

/// What a tree that was imported knows of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedAttributes {
    /// The bytes of its name in hexadecimal.
    pub name_hex: String,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// When its contents last changed: seconds since 1970.
    pub mtime_s: i64,
    /// Nanoseconds after that.
    pub mtime_ns: u32,
    /// What it has in common with its other names, in hexadecimal.
    pub link: Option<String>,
    /// Extended attributes, values in hexadecimal; what is no UTF-8 in a name, and backslashes, are
    /// escaped.
    pub xattrs: BTreeMap<String, String>,
    /// Numbers of a device: major and minor.
    pub device: Option<[u32; 2]>,
}

impl ListedAttributes {
    fn of(entry: &TreeEntry) -> Option<Self> {
        let attributes = entry.attributes.as_deref()?;
        let device = match entry.kind {
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                Some([major, minor])
            }
            _ => None,
        };
        Some(Self {
            name_hex: hex(&entry.name),
            uid: attributes.uid,
            gid: attributes.gid,
            mtime_s: attributes.mtime_s,
            mtime_ns: attributes.mtime_ns,
            link: attributes.link.map(|link| hex(&link)),
            xattrs: attributes
                .xattrs
                .iter()
                .map(|(name, value)| (escaped(name), hex(value)))
                .collect(),
            device,
        })
    }
}

impl Listed {
    fn of(entry: &TreeEntry) -> Self {
        let (kind, key, bytes, target) = match &entry.kind {
            EntryKind::File { key, len } => (ListedKind::File, Some(*key), Some(*len), None),
            EntryKind::Directory { key } => (ListedKind::Tree, Some(*key), None, None),
            EntryKind::Symlink { target } => (ListedKind::Symlink, None, None, Some(target)),
            EntryKind::Fifo => (ListedKind::Fifo, None, None, None),
            EntryKind::Socket => (ListedKind::Socket, None, None, None),
            EntryKind::CharDevice { .. } => (ListedKind::Char, None, None, None),
            EntryKind::BlockDevice { .. } => (ListedKind::Block, None, None, None),
        };
        Self {
            name: text_of(&entry.name),
            name_hex: hex_of(&entry.name),
            mode: entry.mode,
            kind,
            key,
            bytes,
            target: target.map(|target| text_of(target)),
            target_hex: target.and_then(|target| hex_of(target)),
            attributes: ListedAttributes::of(entry),
        }
    }
}

impl Site {
    /// The entries of a tree, ascending by name.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] if it is none, or as [`Site::open_payload`].
    pub fn list_tree(&self, target: &Target) -> Result<Vec<Listed>, ReadError> {
        Ok(self
            .read_tree(target)?
            .entries()
            .iter()
            .map(Listed::of)
            .collect())
    }
}
