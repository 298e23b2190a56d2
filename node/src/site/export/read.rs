//! Payloads and trees on their way out.
//!
//! Bytes are verified against their checksum before they are given out. What is written to a path
//! appears there whole or not at all, and nothing that exists is overwritten ([`out`]).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::Serialize;
use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_index_format::DecodeError;
use uor_index_format::codec::hex;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{EntryKind, TREE_LEN_MAX, Tree, TreeEntry};

use super::out::{Out, Written};
use crate::cancel::Cancelled;
use crate::clock::utc;
use crate::site::catalog::resolve::{Sort, Target};
use crate::site::handle::Site;
use crate::site::json;
use crate::site::text::{escaped, hex_of, text_of};

/// A payload that is here, as a stream that verifies itself.
pub struct OpenedPayload<'a> {
    /// Its length in bytes.
    pub len: u64,
    /// Its bytes.
    pub reader: Box<dyn Read + 'a>,
}

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

/// What was written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Materialised {
    /// What.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// Where; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of that in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What it is: of a tree, a directory was made; of anything else, its bytes were written.
    pub kind: Sort,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many things are not there because they are not visible: they were removed, or came later
    /// than the snapshot.
    pub hidden: u64,
    /// What could not be made here, or not with all of its attributes, as sentences.
    pub warnings: Vec<String>,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The records are in order; the bytes have not arrived here.
    #[error(
        "the payload of {id} ({len} bytes, checksum {checksum}) is not here yet: a node that is connected will fetch it"
    )]
    Missing {
        /// Whose payload.
        id: CanonicalId,
        /// Its checksum.
        checksum: Checksum,
        /// Its length in bytes.
        len: u64,
    },
    /// The bytes were erased here on request.
    #[error(
        "the payload of {id} (checksum {checksum}) was erased here on {} UTC: it comes back only if the same bytes are added",
        utc(*wall_ms)
    )]
    Erased {
        /// Whose payload.
        id: CanonicalId,
        /// Its checksum.
        checksum: Checksum,
        /// When, in milliseconds since 1970.
        wall_ms: u64,
    },
    /// Claims differ, and the federation's rule lets none stand.
    #[error("{id} has conflicting claims and none stands")]
    Withheld {
        /// The id.
        id: CanonicalId,
    },
    /// It is something else than is needed.
    #[error("`{text}` is {}; a {needed} is needed here", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
        /// What was needed.
        needed: &'static str,
    },
    /// A tree stands for very many entries, because trees in it occur again and again.
    #[error(
        "tree {id} is {trees} trees that hold each other again and again, {entries} entries in all: no directory is like that, \
         and nothing was written"
    )]
    Spread {
        /// The tree.
        id: CanonicalId,
        /// How many different trees there are.
        trees: u64,
        /// How many entries they stand for.
        entries: u64,
    },
    /// The payload passes its checksum and is not what its type tag or kind says.
    #[error("the payload of {id} is no valid {what}")]
    Content {
        /// Whose payload.
        id: CanonicalId,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// The blocks could not be read.
    #[error("could not read the payload of {id}")]
    Blocks {
        /// Whose payload.
        id: CanonicalId,
        /// What is wrong.
        #[source]
        source: BlocksError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// There is something at the path already.
    #[error("{} exists already: nothing was overwritten", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system, or the payload's stream, said.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the records are in order and only bytes are missing here: done, but something needs
    /// attention.
    pub const fn is_missing_payload(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

impl Site {
    /// The bytes of an artifact or receipt.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Withheld`], [`ReadError::WrongKind`] or
    /// [`ReadError::Blocks`].
    pub fn open_payload(&self, target: &Target) -> Result<OpenedPayload<'_>, ReadError> {
        let checksum = self.checksum_here(target)?;
        let failed = |source| ReadError::Blocks {
            id: target.id,
            source,
        };
        let reader = self.store.blocks().read(checksum).map_err(failed)?;
        Ok(OpenedPayload {
            len: target.len,
            reader: Box::new(reader),
        })
    }

    /// The bytes of a file, for `cat`.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] for a tree, or as [`Site::open_payload`].
    pub fn open_file(&self, target: &Target) -> Result<OpenedPayload<'_>, ReadError> {
        if target.sort == Sort::Tree {
            return Err(wrong_kind(target, "file"));
        }
        self.open_payload(target)
    }

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

    /// Writes a file's bytes, or a whole tree, to `path`, which must not exist. What of a tree is
    /// not visible is left out and named. `on_progress` is told files and bytes written so far.
    ///
    /// Nobody but the owner may read it before it is complete: only then does everything get its
    /// mode.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is left at `path` then.
    pub fn materialise(
        &self,
        target: &Target,
        at: &Snapshot,
        path: &Path,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Materialised, ReadError> {
        if path.symlink_metadata().is_ok() {
            return Err(ReadError::Exists {
                path: path.to_owned(),
            });
        }
        let partial = Partial::beside(path)?;
        let written = Out::new(self, at, on_progress).write(target, &partial.path)?;
        self.cancel.check()?;
        partial.put_at(path)?;
        let Written {
            files,
            bytes,
            hidden,
            warnings,
        } = written;
        let place = path.as_os_str().as_bytes();
        let (path, path_hex) = (text_of(place), hex_of(place));
        Ok(Materialised {
            key: target.key(),
            path,
            path_hex,
            kind: target.sort,
            files,
            bytes,
            hidden,
            warnings,
        })
    }

    pub(in crate::site) fn read_tree(&self, target: &Target) -> Result<Tree, ReadError> {
        if target.sort != Sort::Tree {
            return Err(wrong_kind(target, "tree"));
        }
        let payload = self.read_payload(target, TREE_LEN_MAX)?;
        Tree::decode(&payload).map_err(|source| ReadError::Content {
            id: target.id,
            what: "tree",
            source,
        })
    }

    /// A whole payload of at most `len_max` bytes.
    pub(in crate::site) fn read_payload(
        &self,
        target: &Target,
        len_max: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let checksum = self.checksum_here(target)?;
        let failed = |source| ReadError::Blocks {
            id: target.id,
            source,
        };
        self.store
            .blocks()
            .read_all(checksum, len_max)
            .map_err(failed)
    }

    pub(in crate::site) fn checksum_here(&self, target: &Target) -> Result<Checksum, ReadError> {
        if !target.sort.has_payload() {
            return Err(wrong_kind(target, "file"));
        }
        let checksum = target
            .checksum
            .ok_or(ReadError::Withheld { id: target.id })?;
        if self.store.blocks().has(checksum) {
            Ok(checksum)
        } else if let Some(wall_ms) = self.store.view().erased(&checksum) {
            Err(ReadError::Erased {
                id: target.id,
                checksum,
                wall_ms,
            })
        } else {
            Err(ReadError::Missing {
                id: target.id,
                checksum,
                len: target.len,
            })
        }
    }
}

pub(in crate::site) fn wrong_kind(target: &Target, needed: &'static str) -> ReadError {
    ReadError::WrongKind {
        text: target.text.clone(),
        found: target.sort,
        needed,
    }
}

pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Write {
        path: path.to_owned(),
        source,
    }
}

/// A path beside the one that is wanted; whatever is there goes away unless it is put in its place.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(wanted: &Path) -> Result<Self, ReadError> {
        let invalid = || writing(wanted)(io::ErrorKind::InvalidInput.into());
        let mut name = OsString::from(".");
        name.push(wanted.file_name().ok_or_else(invalid)?);
        name.push(format!(".partial-{}", std::process::id()));
        let path = wanted.with_file_name(name);
        if path.symlink_metadata().is_ok() {
            return Err(ReadError::Exists { path });
        }
        Ok(Self { path })
    }

    fn put_at(self, wanted: &Path) -> Result<(), ReadError> {
        let put =
            match rustix::fs::renameat_with(CWD, &self.path, CWD, wanted, RenameFlags::NOREPLACE) {
                // This file system cannot promise it; nothing was there a moment ago.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(&self.path, wanted),
                put => put.map_err(io::Error::from),
            };
        put.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ReadError::Exists {
                path: wanted.to_owned(),
            },
            _ => writing(wanted)(source),
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename nothing is there; before, the error that led here is the one to report.
        let _ = if self.path.is_dir() {
            fs::remove_dir_all(&self.path)
        } else {
            fs::remove_file(&self.path)
        };
    }
}
