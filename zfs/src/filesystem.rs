//! A file system in the objects of a snapshot: directories, files and their attributes.
//!
//! Names and structure are checked here: what a directory gives out can be a path component, and
//! nothing is given out that is not there. That no directory is reached twice is for [`Visited`] to
//! see.

mod error;
mod node;
mod visited;

pub use self::error::FilesystemError;
pub use self::node::{Device, DirectoryEntry, Node, NodeKind, Xattrs};
pub use self::visited::Visited;
use crate::attributes::{Attributes, Layouts};
use crate::contents::Spool;
use crate::nvlist;
use crate::objects::{KIND_DIRECTORY, KIND_FILE, Object, ObjectSet};
use crate::zap;

/// The longest name, in bytes.
pub const NAME_LEN_MAX: usize = 1023;
/// The longest target of a symlink, in bytes.
pub const LINK_LEN_MAX: u64 = 4095;
/// The longest value of an extended attribute that systems give out, in bytes.
pub const XATTR_LEN_MAX: usize = 64 << 10;

/// The most that extended attributes of one file may have in all, in bytes.
const XATTRS_LEN_MAX: usize = 16 << 20;

const MASTER_NODE: u64 = 1;
/// The first version whose attributes are laid out by registries.
const VERSION_SA: u64 = 5;
const OBJECT_MASK: u64 = (1 << 48) - 1;

/// A file system.
pub struct Filesystem<'a> {
    set: &'a ObjectSet,
    spool: &'a dyn Spool,
    layouts: Option<Layouts>,
    root: u64,
}

impl<'a> Filesystem<'a> {
    /// The file system in these objects.
    ///
    /// # Errors
    /// [`FilesystemError`].
    pub fn open(set: &'a ObjectSet, spool: &'a dyn Spool) -> Result<Self, FilesystemError> {
        let master = zap::entries(set, MASTER_NODE, spool)?;
        let number = |wanted: &str| {
            master
                .iter()
                .find(|entry| entry.name == wanted.as_bytes())
                .and_then(zap::Entry::number)
        };
        let version = number("VERSION").ok_or(FilesystemError::Master {
            what: "its version",
        })?;
        let root = number("ROOT").ok_or(FilesystemError::Master {
            what: "where the root is",
        })?;
        let layouts = match number("SA_ATTRS").filter(|_| version >= VERSION_SA) {
            Some(object) => Some(Layouts::read(set, object, spool)?),
            None => None,
        };
        if set
            .get(root)
            .is_none_or(|object| object.kind != KIND_DIRECTORY)
        {
            return Err(FilesystemError::Root { object: root });
        }
        Ok(Self {
            set,
            spool,
            layouts,
            root,
        })
    }

    /// The root directory's object.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The entries of a directory, ascending by the bytes of their names; each names an object that
    /// is there.
    ///
    /// # Errors
    /// [`FilesystemError`].
    pub fn entries(&self, directory: u64) -> Result<Vec<DirectoryEntry>, FilesystemError> {
        let mut entries = Vec::new();
        for entry in zap::entries(self.set, directory, self.spool)? {
            let value = entry.number();
            let name = entry.name;
            if let Some(problem) = problem_of(&name) {
                return Err(FilesystemError::Name {
                    directory,
                    name,
                    problem,
                });
            }
            let Some(value) = value else {
                return Err(FilesystemError::Name {
                    directory,
                    name,
                    problem: "it names no object",
                });
            };
            let object = value & OBJECT_MASK;
            if self.set.get(object).is_none() {
                return Err(FilesystemError::MissingObject {
                    directory,
                    name,
                    object,
                });
            }
            entries.push(DirectoryEntry { name, object });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        match entries
            .windows(2)
            .find(|pair| matches!(pair, [a, b] if a.name == b.name))
        {
            Some([entry, _]) => Err(FilesystemError::DuplicateName {
                directory,
                name: entry.name.clone(),
            }),
            _ => Ok(entries),
        }
    }

    fn attributes(&self, number: u64, object: &Object) -> Result<Attributes, FilesystemError> {
        let read = |source| FilesystemError::Read {
            object: number,
            source,
        };
        let spill = self.set.spill(number, self.spool).map_err(read)?;
        Attributes::of(object, &spill, self.layouts.as_ref()).map_err(|problem| {
            FilesystemError::Attributes {
                object: number,
                problem,
            }
        })
    }

    /// How long the contents of an object are that nothing may name: as its attributes say, or
    /// where its blocks end.
    #[must_use]
    pub fn content_len(&self, number: u64) -> u64 {
        let end = self.set.end(number);
        let object = self
            .set
            .get(number)
            .filter(|object| object.kind == KIND_FILE);
        let size = object
            .and_then(|object| self.attributes(number, object).ok())
            .and_then(|attributes| attributes.size);
        size.unwrap_or(end)
    }

    /// What an object is.
    ///
    /// # Errors
    /// [`FilesystemError`].
    pub fn node(&self, number: u64) -> Result<Node, FilesystemError> {
        let bad = |problem| FilesystemError::Attributes {
            object: number,
            problem,
        };
        let object = self.set.get(number).ok_or(bad("there is no such object"))?;
        let mut attributes = self.attributes(number, object)?;
        let mode = attributes.mode.ok_or(bad("they have no mode"))?;
        let size = attributes.size.ok_or(bad("they have no size"))?;
        let (seconds, nanoseconds) = attributes.mtime.ok_or(bad("they have no mtime"))?;
        let nanoseconds = u32::try_from(nanoseconds)
            .ok()
            .filter(|ns| *ns < 1_000_000_000);
        let kind = self.kind(number, object, mode, size, &mut attributes)?;
        Ok(Node {
            object: number,
            kind,
            mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
            uid: attributes.uid.ok_or(bad("they have no uid"))?,
            gid: attributes.gid.ok_or(bad("they have no gid"))?,
            mtime: (
                seconds.cast_signed(),
                nanoseconds.ok_or(bad("the nanoseconds of mtime are a second or more"))?,
            ),
            links: attributes.links.unwrap_or(1),
            size,
            xattr_list: attributes.xattrs,
            xattr_directory: attributes.xattr,
        })
    }

    fn kind(
        &self,
        number: u64,
        object: &Object,
        mode: u64,
        size: u64,
        attributes: &mut Attributes,
    ) -> Result<NodeKind, FilesystemError> {
        let bad = |problem| {
            Err(FilesystemError::Attributes {
                object: number,
                problem,
            })
        };
        let device = Device::of(attributes.rdev);
        Ok(match mode & 0o170_000 {
            0o040_000 if object.kind == KIND_DIRECTORY => NodeKind::Directory,
            0o100_000 if object.kind == KIND_FILE => NodeKind::File,
            0o120_000 => NodeKind::Symlink {
                target: self.link_target(number, size, attributes)?,
            },
            0o010_000 => NodeKind::Fifo,
            0o140_000 => NodeKind::Socket,
            0o020_000 => NodeKind::CharDevice { device },
            0o060_000 => NodeKind::BlockDevice { device },
            0o040_000 => return bad("the mode says directory, and the object is none"),
            0o100_000 => return bad("the mode says file, and the object is none"),
            _ => return bad("the mode has no file type"),
        })
    }

    fn link_target(
        &self,
        number: u64,
        size: u64,
        attributes: &mut Attributes,
    ) -> Result<Vec<u8>, FilesystemError> {
        let bad = |problem| FilesystemError::Attributes {
            object: number,
            problem,
        };
        if size > LINK_LEN_MAX {
            return Err(bad("the target of the symlink is longer than 4095 bytes"));
        }
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let mut target = match attributes.symlink.take() {
            Some(target) => target,
            None => {
                let mut target = vec![0; len];
                let read = self.set.read_at(number, 0, &mut target, self.spool);
                read.map_err(|source| FilesystemError::Read {
                    object: number,
                    source,
                })?;
                target
            }
        };
        if target.len() < len {
            return Err(bad("the target of the symlink is shorter than its size"));
        }
        target.truncate(len);
        if target.is_empty() || target.contains(&0) {
            return Err(bad("the target of the symlink is empty or holds a NUL"));
        }
        Ok(target)
    }

    /// A node's extended attributes, from wherever they are.
    ///
    /// # Errors
    /// [`FilesystemError`].
    pub fn xattrs(&self, node: &Node) -> Result<Xattrs, FilesystemError> {
        let mut xattrs = Xattrs::default();
        if let Some(list) = node.xattr_list.as_ref().filter(|list| !list.is_empty()) {
            let problem = "the list of extended attributes is damaged";
            let bad = FilesystemError::Attributes {
                object: node.object,
                problem,
            };
            xattrs.values = nvlist::byte_arrays(list).ok_or(bad)?;
        }
        if node.xattr_directory != 0 {
            self.xattr_files(node.xattr_directory, &mut xattrs)?;
        }
        let is_taken = |(name, value): &(Vec<u8>, Vec<u8>)| {
            (1..=NAME_LEN_MAX).contains(&name.len())
                && !name.contains(&0)
                && value.len() <= XATTR_LEN_MAX
        };
        let (values, others): (Vec<_>, Vec<_>) = xattrs.values.into_iter().partition(is_taken);
        xattrs.values = values;
        xattrs
            .left_out
            .extend(others.into_iter().map(|(name, _)| name));
        // Of one name in both places, the list is what systems show.
        xattrs.values.sort_by(|a, b| a.0.cmp(&b.0));
        xattrs.values.dedup_by(|b, a| a.0 == b.0);
        Ok(xattrs)
    }

    fn xattr_files(&self, directory: u64, xattrs: &mut Xattrs) -> Result<(), FilesystemError> {
        let mut room = XATTRS_LEN_MAX;
        for DirectoryEntry { name, object } in self.entries(directory)? {
            let node = self.node(object)?;
            let name = with_prefix(name);
            if node.kind != NodeKind::File {
                continue;
            }
            let len = usize::try_from(node.size)
                .ok()
                .filter(|len| *len <= XATTR_LEN_MAX && *len <= room);
            let Some(len) = len else {
                xattrs.left_out.push(name);
                continue;
            };
            room -= len;
            let mut value = vec![0; len];
            let read = self.set.read_at(object, 0, &mut value, self.spool);
            read.map_err(|source| FilesystemError::Read { object, source })?;
            xattrs.values.push((name, value));
        }
        Ok(())
    }
}

/// Systems other than Linux leave out the namespace of what belongs to users.
fn with_prefix(name: Vec<u8>) -> Vec<u8> {
    let prefixes: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system."];
    if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
        name
    } else {
        [b"user.", name.as_slice()].concat()
    }
}

fn problem_of(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        Some("a name has 1 to 1023 bytes")
    } else if matches!(name, b"." | b"..") {
        Some("`.` and `..` are never stored")
    } else if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        Some("a name holds no slash and no NUL")
    } else {
        None
    }
}
