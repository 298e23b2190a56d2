//! Trees: a directory as an artifact. Names, permission bits and symlinks are kept; entries are
//! sorted by name, so one directory has one key.
//!
//! What `uor add` makes has version 1, and leaves out times and owners. Trees that were imported
//! from a file system's snapshot keep them, with all else that belongs to such a snapshot, and have
//! version 2. Which of the two a tree is follows from what is in it, so there is still one encoding
//! of each.

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
/// Longest name of an entry with attributes, in bytes: ZFS has longer ones than other file systems.
pub const LONG_NAME_LEN_MAX: u32 = 1023;
/// Most extended attributes of an entry.
pub const XATTRS_MAX: u32 = 65_536;
/// Longest name of an extended attribute, in bytes.
pub const XATTR_NAME_LEN_MAX: u32 = 1023;
/// Longest value of an extended attribute, in bytes.
pub const XATTR_VALUE_LEN_MAX: u32 = 64 << 10;
/// Longest target of a symlink, in bytes (`PATH_MAX`).
pub const LINK_LEN_MAX: u32 = 4096;
/// The permission bits that are kept.
pub const MODE_MASK: u32 = 0o7777;

const MAGIC: [u8; 4] = *b"UORT";
/// Trees without attributes.
const VERSION_PLAIN: u16 = 1;
/// Trees with attributes.
const VERSION: u16 = 2;
const NANOSECONDS: u32 = 1_000_000_000;

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
    /// A named pipe; only with attributes, as what follows.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
}

/// What makes several entries of a tree, and of the trees in it, one file: they have it in common.
pub type LinkId = [u8; 16];

/// What a snapshot of a file system says about an entry beyond name and mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// When its contents last changed: seconds since 1970.
    pub mtime_s: i64,
    /// Nanoseconds after that, below a second.
    pub mtime_ns: u32,
    /// What it has in common with its other names in the tree, if there are any.
    pub link: Option<LinkId>,
    /// Names and values of its extended attributes, ascending by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Mode and attributes of the outermost directory, of which no entry tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Permission bits ([`MODE_MASK`]).
    pub mode: u32,
    /// The rest.
    pub attributes: Attributes,
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
    /// What else is known of it; either of all entries of a tree, or of none.
    pub attributes: Option<Box<Attributes>>,
}

/// A directory: entries in ascending order of name, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    own: Option<Box<Own>>,
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
    pub fn new(entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        Self::with_own(None, entries)
    }

    /// Sorts the entries of an outermost directory and checks them.
    pub fn with_own(own: Option<Own>, mut entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let refuse = |entry: &TreeEntry, problem| {
            Err(TreeError {
                name: entry.name.clone(),
                problem,
            })
        };
        for (index, entry) in entries.iter().enumerate() {
            if let Some(problem) = problem_of(entry) {
                return refuse(entry, problem);
            }
            if index > 0
                && entries
                    .get(index - 1)
                    .is_some_and(|before| before.name == entry.name)
            {
                return refuse(entry, "the name occurs twice");
            }
            if entry.attributes.is_some()
                != entries
                    .first()
                    .is_some_and(|first| first.attributes.is_some())
            {
                return refuse(entry, SOME_WITHOUT);
            }
        }
        if let Some(own) = &own {
            if let Some(problem) =
                problem_of_mode(own.mode).or_else(|| problem_of_attributes(&own.attributes))
            {
                return Err(TreeError {
                    name: b"/".to_vec(),
                    problem,
                });
            }
            if let Some(entry) = entries.iter().find(|entry| entry.attributes.is_none()) {
                return refuse(entry, SOME_WITHOUT);
            }
        }
        Ok(Self {
            own: own.map(Box::new),
            entries,
        })
    }

    /// Mode and attributes of the directory itself, where they are known.
    pub fn own(&self) -> Option<&Own> {
        self.own.as_deref()
    }

    /// The entries in ascending order of name.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entry with this name.
    pub fn get(&self, name: &[u8]) -> Option<&TreeEntry> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.name.as_slice().cmp(name))
            .ok()?;
        self.entries.get(index)
    }

    /// The payload of the tree artifact.
    pub fn encode(&self) -> Vec<u8> {
        let has_attributes =
            self.own.is_some() || self.entries.iter().any(|entry| entry.attributes.is_some());
        let mut writer = Writer::with_header(
            MAGIC,
            if has_attributes {
                VERSION
            } else {
                VERSION_PLAIN
            },
        );
        if has_attributes {
            writer.u8(u8::from(self.own.is_some()));
            if let Some(own) = &self.own {
                writer.u32(own.mode);
                encode_attributes(&own.attributes, &mut writer);
            }
        }
        writer.count(self.entries.len());
        for entry in &self.entries {
            writer.bytes(&entry.name).u32(entry.mode);
            match &entry.kind {
                EntryKind::File { key, len } => writer.u8(0).raw(key.as_bytes()).u64(*len),
                EntryKind::Directory { key } => writer.u8(1).raw(key.as_bytes()),
                EntryKind::Symlink { target } => writer.u8(2).bytes(target),
                EntryKind::Fifo => writer.u8(3),
                EntryKind::Socket => writer.u8(4),
                EntryKind::CharDevice { major, minor } => writer.u8(5).u32(*major).u32(*minor),
                EntryKind::BlockDevice { major, minor } => writer.u8(6).u32(*major).u32(*minor),
            };
            if let Some(attributes) = &entry.attributes {
                encode_attributes(attributes, &mut writer);
            }
        }
        writer.into_bytes()
    }

    /// Reads a tree artifact's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let has_attributes = reader.header("tree", MAGIC, VERSION)? == VERSION;
        let own = if has_attributes {
            decode_own(&mut reader)?
        } else {
            None
        };
        let count = reader.count(
            "tree entries",
            ENTRIES_MAX,
            if has_attributes { 9 } else { 14 },
        )?;
        let mut entries: Vec<TreeEntry> = Vec::new();
        for _ in 0..count {
            let offset = reader.offset();
            let entry = decode_entry(&mut reader, has_attributes)?;
            if let Some(problem) = problem_of(&entry) {
                return Err(Reader::invalid("tree entry", offset, problem));
            }
            if entries
                .last()
                .is_some_and(|before| before.name >= entry.name)
            {
                return Err(Reader::invalid(
                    "tree entry",
                    offset,
                    "names are not in ascending order",
                ));
            }
            entries.push(entry);
        }
        if has_attributes && own.is_none() && entries.is_empty() {
            return Err(Reader::invalid("tree", 4, "nothing in it has attributes"));
        }
        reader.finish("tree")?;
        Ok(Self { own, entries })
    }
}

fn encode_attributes(attributes: &Attributes, writer: &mut Writer) {
    writer
        .u64(attributes.uid)
        .u64(attributes.gid)
        .u64(attributes.mtime_s.cast_unsigned())
        .u32(attributes.mtime_ns);
    writer.u8(u8::from(attributes.link.is_some()));
    if let Some(link) = &attributes.link {
        writer.raw(link);
    }
    writer.count(attributes.xattrs.len());
    for (name, value) in &attributes.xattrs {
        writer.bytes(name).bytes(value);
    }
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    let offset = reader.offset();
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reader::invalid(field, offset, "neither 0 nor 1")),
    }
}

fn decode_own(reader: &mut Reader<'_>) -> Result<Option<Box<Own>>, DecodeError> {
    if !flag(reader, "tree attributes flag")? {
        return Ok(None);
    }
    let offset = reader.offset();
    let own = Own {
        mode: reader.u32("tree mode")?,
        attributes: decode_attributes(reader)?,
    };
    match problem_of_mode(own.mode) {
        Some(problem) => Err(Reader::invalid("tree mode", offset, problem)),
        None => Ok(Some(Box::new(own))),
    }
}

fn decode_attributes(reader: &mut Reader<'_>) -> Result<Attributes, DecodeError> {
    let offset = reader.offset();
    let (uid, gid) = (reader.u64("entry uid")?, reader.u64("entry gid")?);
    let (mtime_s, mtime_ns) = (
        reader.u64("entry mtime")?.cast_signed(),
        reader.u32("entry mtime nanoseconds")?,
    );
    let link = if flag(reader, "entry link flag")? {
        Some(reader.array("entry link")?)
    } else {
        None
    };
    let count = reader.count("extended attributes", XATTRS_MAX, 8)?;
    let mut xattrs = Vec::new();
    for _ in 0..count {
        let name = reader
            .bytes("extended attribute name", XATTR_NAME_LEN_MAX)?
            .to_vec();
        xattrs.push((
            name,
            reader
                .bytes("extended attribute value", XATTR_VALUE_LEN_MAX)?
                .to_vec(),
        ));
    }
    let attributes = Attributes {
        uid,
        gid,
        mtime_s,
        mtime_ns,
        link,
        xattrs,
    };
    match problem_of_attributes(&attributes) {
        Some(problem) => Err(Reader::invalid("entry attributes", offset, problem)),
        None => Ok(attributes),
    }
}

fn decode_entry(reader: &mut Reader<'_>, has_attributes: bool) -> Result<TreeEntry, DecodeError> {
    let name_len_max = if has_attributes {
        LONG_NAME_LEN_MAX
    } else {
        ENTRY_NAME_LEN_MAX
    };
    let name = reader.bytes("entry name", name_len_max)?.to_vec();
    let mode = reader.u32("entry mode")?;
    let offset = reader.offset();
    let kind = match reader.u8("entry kind")? {
        0 => EntryKind::File {
            key: ArtifactKey::from_bytes(reader.array("file key")?),
            len: reader.u64("file length")?,
        },
        1 => EntryKind::Directory {
            key: ArtifactKey::from_bytes(reader.array("directory key")?),
        },
        2 => EntryKind::Symlink {
            target: reader.bytes("link target", LINK_LEN_MAX)?.to_vec(),
        },
        3 => EntryKind::Fifo,
        4 => EntryKind::Socket,
        5 => EntryKind::CharDevice {
            major: reader.u32("device major")?,
            minor: reader.u32("device minor")?,
        },
        6 => EntryKind::BlockDevice {
            major: reader.u32("device major")?,
            minor: reader.u32("device minor")?,
        },
        _ => return Err(Reader::invalid("entry kind", offset, "unknown kind")),
    };
    let attributes = if has_attributes {
        Some(Box::new(decode_attributes(reader)?))
    } else {
        None
    };
    Ok(TreeEntry {
        name,
        mode,
        kind,
        attributes,
    })
}

const SOME_WITHOUT: &str = "some entries have attributes and some have none";

fn problem_of(entry: &TreeEntry) -> Option<&'static str> {
    let name = entry.name.as_slice();
    let (len_max, len_problem) = match &entry.attributes {
        Some(_) => (LONG_NAME_LEN_MAX, "a name has 1 to 1023 bytes"),
        None => (ENTRY_NAME_LEN_MAX, "a name has 1 to 255 bytes"),
    };
    if name.is_empty() || name.len() > len_max as usize {
        Some(len_problem)
    } else if matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        Some("a name is not `.` or `..` and holds no slash and no NUL")
    } else if matches!(&entry.kind, EntryKind::Symlink { target } if target.len() > LINK_LEN_MAX as usize)
    {
        Some("the link target is longer than 4096 bytes")
    } else if entry.attributes.is_none() && !entry.kind.is_plain() {
        Some("pipes, sockets and devices have attributes")
    } else {
        problem_of_mode(entry.mode).or_else(|| problem_of_attributes(entry.attributes.as_ref()?))
    }
}

fn problem_of_mode(mode: u32) -> Option<&'static str> {
    (mode & !MODE_MASK != 0).then_some("the mode has bits beyond the permission bits")
}

fn problem_of_attributes(attributes: &Attributes) -> Option<&'static str> {
    let too_long = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let (name_len_max, value_len_max) =
            (XATTR_NAME_LEN_MAX as usize, XATTR_VALUE_LEN_MAX as usize);
        name.is_empty()
            || name.len() > name_len_max
            || value.len() > value_len_max
            || name.contains(&0)
    };
    if attributes.mtime_ns >= NANOSECONDS {
        Some("the nanoseconds are a second or more")
    } else if attributes.xattrs.len() > XATTRS_MAX as usize {
        Some("there are more than 65,536 extended attributes")
    } else if attributes.xattrs.iter().any(too_long) {
        Some("an extended attribute has a name of 1 to 1023 bytes without NUL, and at most 64 KiB")
    } else if !attributes.xattrs.is_sorted_by(|a, b| a.0 < b.0) {
        Some("extended attributes are not in ascending order of name")
    } else {
        None
    }
}

impl EntryKind {
    /// Whether trees without attributes can hold it.
    const fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::File { .. } | Self::Directory { .. } | Self::Symlink { .. }
        )
    }
}
