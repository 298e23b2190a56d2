//! Files and trees being written out, with what their trees know of them.
//!
//! Owners are restored where this process may give files away. Only what has its owner gets its
//! setuid and setgid bits: a tree from another site does not get to make a program run as somebody
//! else than it says. What cannot be restored is told, and no reason to stop.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, makedev,
};
use rustix::io::Errno;
use uor_asl::disk::real::{DIR_MODE, FILE_MODE};
use uor_index_format::id::ArtifactKey;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{Attributes, EntryKind, LinkId, Tree, TreeEntry};

use super::spread;
use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::ResolveError;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::text::escaped;

/// Permission bits that are restored of what does not have its owner.
const PLAIN_MODE: u32 = 0o777;
/// Modes of what says none, before the umask.
const FILE_MODE_USUAL: u32 = 0o666;
const DIR_MODE_USUAL: u32 = 0o777;
/// Files longer than this report on the way.
const PROGRESS_BYTES: u64 = 8 << 20;
/// Files are written in portions of this many bytes; one of zeros is left a hole.
const WINDOW_LEN: usize = 64 << 10;

/// What was written.
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) hidden: u64,
    pub(super) warnings: Vec<String>,
}

/// A directory whose mode and times are set once nothing more is put into it.
struct Finished {
    path: PathBuf,
    inside: PathBuf,
    mode: u32,
    attributes: Option<Box<Attributes>>,
}

/// Mode and attributes.
type Said = (u32, Option<Box<Attributes>>);

/// A directory that does not have everything that is in its tree yet.
struct Open {
    to: PathBuf,
    inside: PathBuf,
    /// What is to come.
    entries: std::vec::IntoIter<TreeEntry>,
}

/// Something being written out.
pub(super) struct Out<'a> {
    site: &'a Site,
    at: &'a Snapshot,
    written: Written,
    /// Outermost first. Whoever makes a tree decides how deep it is, so nothing recurses into it.
    open: Vec<Open>,
    /// Outermost first.
    directories: Vec<Finished>,
    /// Where files with several names are.
    links: BTreeMap<LinkId, PathBuf>,
    on_progress: &'a mut dyn FnMut(u64, u64),
}

impl<'a> Out<'a> {
    pub(super) fn new(
        site: &'a Site,
        at: &'a Snapshot,
        on_progress: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        let written = Written {
            files: 0,
            bytes: 0,
            hidden: 0,
            warnings: Vec::new(),
        };
        Self {
            site,
            at,
            written,
            open: Vec::new(),
            directories: Vec::new(),
            links: BTreeMap::new(),
            on_progress,
        }
    }

    pub(super) fn write(mut self, target: &Target, to: &Path) -> Result<Written, ReadError> {
        if target.sort == Sort::Tree {
            self.root(target, to)?;
        } else {
            self.file(target, to)?;
            set_mode(to, usual_mode(FILE_MODE_USUAL))?;
        }
        while let Some(Finished {
            path,
            inside,
            mode,
            attributes,
        }) = self.directories.pop()
        {
            self.finish(&path, &inside, mode, attributes.as_deref())?;
        }
        Ok(self.written)
    }

    fn root(&mut self, target: &Target, to: &Path) -> Result<(), ReadError> {
        let tree = self.site.read_tree(target)?;
        spread::check(self.site, self.at, target.key(), &tree)?;
        self.directory(&tree, to, Path::new(""), (usual_mode(DIR_MODE_USUAL), None))?;
        while let Some(Open {
            to,
            inside,
            entries,
        }) = self.open.last_mut()
        {
            self.site.cancel.check()?;
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            let name = OsStr::from_bytes(&entry.name);
            let (to, inside) = (to.join(name), inside.join(name));
            match self.entry(&entry, &to, &inside) {
                Err(ReadError::Write { source, path })
                    if path == to && is_not_for_here(&source) =>
                {
                    self.warn(format!("left out `{}`: {source}", shown(&inside)));
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Makes a directory, and notes what is to be put into it, and what it gets in the end: what
    /// its tree says of itself, or else what is `said` of it.
    fn directory(
        &mut self,
        tree: &Tree,
        to: &Path,
        inside: &Path,
        said: Said,
    ) -> Result<(), ReadError> {
        DirBuilder::new()
            .mode(DIR_MODE)
            .create(to)
            .map_err(writing(to))?;
        let own = tree
            .own()
            .map(|own| (own.mode, Some(Box::new(own.attributes.clone()))));
        let (mode, attributes) = own.unwrap_or(said);
        self.directories.push(Finished {
            path: to.to_owned(),
            inside: inside.to_owned(),
            mode,
            attributes,
        });
        let entries = tree.entries().to_vec().into_iter();
        self.open.push(Open {
            to: to.to_owned(),
            inside: inside.to_owned(),
            entries,
        });
        Ok(())
    }

    fn entry(&mut self, entry: &TreeEntry, to: &Path, inside: &Path) -> Result<(), ReadError> {
        let attributes = entry.attributes.as_deref();
        let link = attributes.and_then(|attributes| attributes.link);
        if let Some(first) = link.and_then(|link| self.links.get(&link)) {
            fs::hard_link(first, to).map_err(writing(to))?;
            self.written.files += u64::from(matches!(entry.kind, EntryKind::File { .. }));
            return Ok(());
        }
        match &entry.kind {
            EntryKind::Directory { key } => {
                let Some(tree) = self.lookup(*key, inside)? else {
                    return Ok(());
                };
                let tree = self.site.read_tree(&tree)?;
                self.directory(&tree, to, inside, (entry.mode, entry.attributes.clone()))?;
                return Ok(());
            }
            EntryKind::File { key, .. } => {
                let Some(file) = self.lookup(*key, inside)? else {
                    return Ok(());
                };
                self.file(&file, to)?;
            }
            EntryKind::Symlink { target } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), to).map_err(writing(to))?;
            }
            EntryKind::Fifo => make(to, FileType::Fifo, 0)?,
            EntryKind::Socket => make(to, FileType::Socket, 0)?,
            EntryKind::CharDevice { major, minor } => {
                make(to, FileType::CharacterDevice, makedev(*major, *minor))?;
            }
            EntryKind::BlockDevice { major, minor } => {
                make(to, FileType::BlockDevice, makedev(*major, *minor))?;
            }
        }
        if let Some(link) = link {
            self.links.insert(link, to.to_owned());
        }
        self.finish(to, inside, entry.mode, attributes)
    }

    fn file(&mut self, target: &Target, to: &Path) -> Result<(), ReadError> {
        let mut payload = self.site.open_payload(target)?;
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(to);
        let mut file = created.map_err(writing(to))?;
        let before = self.written.bytes;
        let mut window = vec![0; WINDOW_LEN];
        loop {
            self.site.cancel.check()?;
            let read = payload.reader.read(&mut window);
            let len = read.map_err(|source| ReadError::Stream {
                id: target.id,
                source,
            })?;
            if len == 0 {
                break;
            }
            put(&mut file, window.get(..len).unwrap_or_default()).map_err(writing(to))?;
            self.written.bytes += len as u64;
            if self.written.bytes - before >= PROGRESS_BYTES {
                (self.on_progress)(self.written.files, self.written.bytes);
            }
        }
        file.set_len(self.written.bytes - before)
            .map_err(writing(to))?;
        self.written.files += 1;
        (self.on_progress)(self.written.files, self.written.bytes);
        Ok(())
    }

    /// What is in the tree, unless it is not visible.
    fn lookup(&mut self, key: ArtifactKey, inside: &Path) -> Result<Option<Target>, ReadError> {
        let why = match self.site.resolve_id(&key.into(), self.at) {
            Ok(target) => return Ok(Some(target)),
            Err(ResolveError::State(error)) => return Err(error.into()),
            Err(ResolveError::Removed { .. }) => "was removed",
            Err(_) => "is not visible at this snapshot",
        };
        self.written.hidden += 1;
        self.warn(format!("left out `{}`: {key} {why}", shown(inside)));
        Ok(None)
    }

    /// Sets owner, extended attributes, mode and times, in an order in which none undoes another.
    fn finish(
        &mut self,
        to: &Path,
        inside: &Path,
        mode: u32,
        attributes: Option<&Attributes>,
    ) -> Result<(), ReadError> {
        let has_owner = attributes.is_some_and(|attributes| give(to, attributes));
        for (name, value) in attributes.map_or(&[][..], |attributes| &attributes.xattrs) {
            // What gives rights beyond its owner's is for those who have them.
            let is_taken = has_owner || name.starts_with(b"user.");
            if is_taken
                && let Err(error) =
                    rustix::fs::lsetxattr(to, name.as_slice(), value, XattrFlags::empty())
            {
                let name = escaped(name);
                self.warn(format!(
                    "left out extended attribute `{name}` of `{}`: {error}",
                    shown(inside)
                ));
            }
        }
        if !to.is_symlink() {
            let mode = mode & if has_owner { u32::MAX } else { PLAIN_MODE };
            set_mode(to, mode)?;
        }
        if let Some(attributes) = attributes {
            let time = Timespec {
                tv_sec: attributes.mtime_s,
                tv_nsec: attributes.mtime_ns.into(),
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            if let Err(error) = rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW) {
                self.warn(format!("left out the time of `{}`: {error}", shown(inside)));
            }
        }
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        self.written.warnings.push(warning);
    }
}

/// A path in a tree as text.
fn shown(inside: &Path) -> String {
    escaped(inside.as_os_str().as_bytes())
}

fn set_mode(to: &Path, mode: u32) -> Result<(), ReadError> {
    fs::set_permissions(to, Permissions::from_mode(mode)).map_err(writing(to))
}

/// What something that says no mode gets: what this process gives what it makes.
fn usual_mode(mode: u32) -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    // Where it cannot be known, it is the owner's alone.
    mode & !umask.unwrap_or(0o077)
}

/// Whether something cannot be here, though the disk is well: this file system, or this user, does
/// not have it.
fn is_not_for_here(error: &io::Error) -> bool {
    let not_for_here = [
        Errno::NAMETOOLONG,
        Errno::PERM,
        Errno::NOTSUP,
        Errno::INVAL,
        Errno::ILSEQ,
    ];
    error.raw_os_error().is_some_and(|number| {
        not_for_here
            .iter()
            .any(|errno| errno.raw_os_error() == number)
    })
}

fn make(to: &Path, kind: FileType, device: u64) -> Result<(), ReadError> {
    let made = rustix::fs::mknodat(CWD, to, kind, Mode::RUSR | Mode::WUSR, device);
    made.map_err(|error| writing(to)(error.into()))
}

/// Writes bytes, or leaves a hole.
fn put(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() == WINDOW_LEN && bytes.iter().all(|byte| *byte == 0) {
        let len = i64::try_from(bytes.len()).map_err(io::Error::other)?;
        return file.seek(SeekFrom::Current(len)).map(drop);
    }
    file.write_all(bytes)
}

/// Gives a file to its owner and group, and says whether that was possible.
fn give(to: &Path, attributes: &Attributes) -> bool {
    let [uid, gid] = [attributes.uid, attributes.gid]
        .map(|id| u32::try_from(id).ok().filter(|id| *id != u32::MAX));
    let (Some(uid), Some(gid)) = (uid, gid) else {
        return false;
    };
    let given = rustix::fs::chownat(
        CWD,
        to,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    );
    given.is_ok()
}

pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Write {
        path: path.to_owned(),
        source,
    }
}
