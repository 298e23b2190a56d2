//! Trees: a directory as an artifact. Names, permission bits and symlinks are kept; entries are sorted by name, so one
//! directory has one key.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ArtifactKey;

/// Type tag of tree artifacts: `TREE`.
pub const TYPE_TAG: u32 = u32::from_le_bytes(*b"TREE");
/// Most entries of one directory.
pub const ENTRIES_MAX: u32 = 1 << 24;
/// Largest encoded tree, in bytes.
pub const TREE_LEN_MAX: u64 = 1 << 30;
/// Longest name of an entry, in bytes (as `NAME_MAX` on the systems we know).
pub const ENTRY_NAME_LEN_MAX: u32 = 255;
/// Longest target of a symlink, in bytes (`PATH_MAX`).
pub const LINK_LEN_MAX: u32 = 4096;
/// The permission bits that are kept.
pub const MODE_MASK: u32 = 0o7777;

const MAGIC: [u8; 4] = *b"UORT";
const VERSION: u16 = 1;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its bytes.
        key: ArtifactKey,
        /// How many.
        len: u64,
    },
    /// A directory: the key of another tree.
    Directory {
        /// The tree.
        key: ArtifactKey,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as stored by the file system.
        target: Vec<u8>,
    },
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Name: bytes, as file systems have them; no slash, no NUL, not `.` or `..`.
    pub name: Vec<u8>,
    /// Permission bits ([`MODE_MASK`]).
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// A directory: entries in ascending order of name, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

/// An entry that cannot stand in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry `{}` cannot stand in a tree: {problem}", name.escape_ascii())]
pub struct TreeError {
    /// The entry's name.
    pub name: Vec<u8>,
    /// The rule it breaks.
    pub problem: &'static str,
}

impl Tree {
    /// Sorts the entries and checks them.
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let refuse = |entry: &TreeEntry, problem| Err(TreeError { name: entry.name.clone(), problem });
        for (index, entry) in entries.iter().enumerate() {
            if let Some(problem) = problem_of(entry) {
                return refuse(entry, problem);
            }
            if index > 0 && entries.get(index - 1).is_some_and(|before| before.name == entry.name) {
                return refuse(entry, "the name occurs twice");
            }
        }
        Ok(Self { entries })
    }

    /// The entries in ascending order of name.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entry with this name.
    pub fn get(&self, name: &[u8]) -> Option<&TreeEntry> {
        let index = self.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()?;
        self.entries.get(index)
    }

    /// The payload of the tree artifact.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.count(self.entries.len());
        for entry in &self.entries {
            writer.bytes(&entry.name).u32(entry.mode);
            match &entry.kind {
                EntryKind::File { key, len } => writer.u8(0).raw(key.as_bytes()).u64(*len),
                EntryKind::Directory { key } => writer.u8(1).raw(key.as_bytes()),
                EntryKind::Symlink { target } => writer.u8(2).bytes(target),
            };
        }
        writer.into_bytes()
    }

    /// Reads a tree artifact's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.header("tree", MAGIC, VERSION)?;
        let count = reader.count("tree entries", ENTRIES_MAX, 14)?;
        let mut entries: Vec<TreeEntry> = Vec::new();
        for _ in 0..count {
            let offset = reader.offset();
            let entry = decode_entry(&mut reader)?;
            if let Some(problem) = problem_of(&entry) {
                return Err(Reader::invalid("tree entry", offset, problem));
            }
            if entries.last().is_some_and(|before| before.name >= entry.name) {
                return Err(Reader::invalid("tree entry", offset, "names are not in ascending order"));
            }
            entries.push(entry);
        }
        reader.finish("tree")?;
        Ok(Self { entries })
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<TreeEntry, DecodeError> {
    let name = reader.bytes("entry name", ENTRY_NAME_LEN_MAX)?.to_vec();
    let mode = reader.u32("entry mode")?;
    let offset = reader.offset();
    let kind = match reader.u8("entry kind")? {
        0 => {
            EntryKind::File { key: ArtifactKey::from_bytes(reader.array("file key")?), len: reader.u64("file length")? }
        }
        1 => EntryKind::Directory { key: ArtifactKey::from_bytes(reader.array("directory key")?) },
        2 => EntryKind::Symlink { target: reader.bytes("link target", LINK_LEN_MAX)?.to_vec() },
        _ => return Err(Reader::invalid("entry kind", offset, "unknown kind")),
    };
    Ok(TreeEntry { name, mode, kind })
}

fn problem_of(entry: &TreeEntry) -> Option<&'static str> {
    let name = entry.name.as_slice();
    if name.is_empty() || name.len() > ENTRY_NAME_LEN_MAX as usize {
        Some("a name has 1 to 255 bytes")
    } else if matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        Some("a name is not `.` or `..` and holds no slash and no NUL")
    } else if entry.mode & !MODE_MASK != 0 {
        Some("the mode has bits beyond the permission bits")
    } else if matches!(&entry.kind, EntryKind::Symlink { target } if target.len() > LINK_LEN_MAX as usize) {
        Some("the link target is longer than 4096 bytes")
    } else {
        None
    }
}
