//! Files and trees being written out, with what their trees know of them.
//!
//! Owners are restored where this process may give files away. Only what has its owner gets its setuid and setgid bits: a
//! tree from another site does not get to make a program run as somebody else than it says. What cannot be restored is
//! told, and no reason to stop.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use uor_index_format::id::ArtifactKey;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::tree::{Attributes, EntryKind, LinkId, TreeEntry};

use super::{ReadError, Site, Sort, Target, writing};
use crate::site::ResolveError;

/// Permission bits that are restored of what does not have its owner.
const PLAIN_MODE: u32 = 0o777;
/// Files longer than this report on the way.
const PROGRESS_BYTES: u64 = 8 << 20;
/// Files are written in portions of this many bytes; one of zeros is left a hole.
const WINDOW_LEN: usize = 64 << 10;

/// What was written.
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) warnings: Vec<String>,
}

/// A directory whose mode and times are set once nothing more is put into it.
struct Finished {
    path: PathBuf,
    inside: PathBuf,
    mode: u32,
    attributes: Option<Box<Attributes>>,
}

/// Something being written out.
pub(super) struct Out<'a> {
    site: &'a Site,
    at: &'a Snapshot,
    written: Written,
    /// Outermost first.
    directories: Vec<Finished>,
    /// Where files with several names are.
    links: BTreeMap<LinkId, PathBuf>,
    on_progress: &'a mut dyn FnMut(u64, u64),
}

impl<'a> Out<'a> {
    pub(super) fn new(site: &'a Site, at: &'a Snapshot, on_progress: &'a mut dyn FnMut(u64, u64)) -> Self {
        let written = Written { files: 0, bytes: 0, warnings: Vec::new() };
        Self { site, at, written, directories: Vec::new(), links: BTreeMap::new(), on_progress }
    }

    pub(super) fn write(mut self, target: &Target, to: &Path) -> Result<Written, ReadError> {
        if target.sort == Sort::Tree {
            self.directory(target, to, Path::new(""))?;
        } else {
            self.file(target, to)?;
        }
        while let Some(Finished { path, inside, mode, attributes }) = self.directories.pop() {
            self.finish(&path, &inside, mode, attributes.as_deref())?;
        }
        Ok(self.written)
    }

    fn directory(&mut self, tree: &Target, to: &Path, inside: &Path) -> Result<(), ReadError> {
        let tree = self.site.read_tree(tree)?;
        fs::create_dir(to).map_err(writing(to))?;
        if let Some(own) = tree.own() {
            let attributes = Some(Box::new(own.attributes.clone()));
            let (path, inside) = (to.to_owned(), inside.to_owned());
            self.directories.push(Finished { path, inside, mode: own.mode, attributes });
        }
        for entry in tree.entries() {
            self.site.cancel.check()?;
            let name = OsString::from_vec(entry.name.clone());
            let (to, inside) = (to.join(&name), inside.join(&name));
            match self.entry(entry, &to, &inside) {
                Err(ReadError::Write { source, path }) if path == to && is_not_for_here(&source) => {
                    self.warn(format!("left out `{}`: {source}", inside.display()));
                }
                done => done?,
            }
        }
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
                let tree = self.lookup(*key, inside)?;
                self.directory(&tree, to, inside)?;
                let (path, inside, mode) = (to.to_owned(), inside.to_owned(), entry.mode);
                self.directories.push(Finished { path, inside, mode, attributes: entry.attributes.clone() });
                return Ok(());
            }
            EntryKind::File { key, .. } => {
                let file = self.lookup(*key, inside)?;
                self.file(&file, to)?;
            }
            EntryKind::Symlink { target } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), to).map_err(writing(to))?;
            }
            EntryKind::Fifo => make(to, FileType::Fifo, 0)?,
            EntryKind::Socket => make(to, FileType::Socket, 0)?,
            EntryKind::CharDevice { major, minor } => {
                make(to, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?;
            }
            EntryKind::BlockDevice { major, minor } => {
                make(to, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))?;
            }
        }
        if let Some(link) = link {
            self.links.insert(link, to.to_owned());
        }
        self.finish(to, inside, entry.mode, attributes)
    }

    fn file(&mut self, target: &Target, to: &Path) -> Result<(), ReadError> {
        let mut payload = self.site.open_payload(target)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(to).map_err(writing(to))?;
        let before = self.written.bytes;
        let mut window = vec![0; WINDOW_LEN];
        loop {
            self.site.cancel.check()?;
            let len = payload.reader.read(&mut window).map_err(writing(to))?;
            if len == 0 {
                break;
            }
            put(&mut file, window.get(..len).unwrap_or_default()).map_err(writing(to))?;
            self.written.bytes += len as u64;
            if self.written.bytes - before >= PROGRESS_BYTES {
                (self.on_progress)(self.written.files, self.written.bytes);
            }
        }
        file.set_len(self.written.bytes - before).map_err(writing(to))?;
        self.written.files += 1;
        (self.on_progress)(self.written.files, self.written.bytes);
        Ok(())
    }

    fn lookup(&self, key: ArtifactKey, inside: &Path) -> Result<Target, ReadError> {
        let hidden = |error| match error {
            ResolveError::State(error) => ReadError::State(error),
            _ => ReadError::Hidden { path: inside.to_owned(), key },
        };
        self.site.resolve_id(&key.into(), self.at).map_err(hidden)
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
            if is_taken && let Err(error) = rustix::fs::lsetxattr(to, name.as_slice(), value, XattrFlags::empty()) {
                let name = String::from_utf8_lossy(name).into_owned();
                self.warn(format!("left out extended attribute `{name}` of `{}`: {error}", inside.display()));
            }
        }
        if !to.is_symlink() {
            let mode = mode & if has_owner { u32::MAX } else { PLAIN_MODE };
            fs::set_permissions(to, Permissions::from_mode(mode)).map_err(writing(to))?;
        }
        if let Some(attributes) = attributes {
            let time = Timespec { tv_sec: attributes.mtime_s, tv_nsec: attributes.mtime_ns.into() };
            let times = Timestamps { last_access: time, last_modification: time };
            if let Err(error) = rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW) {
                self.warn(format!("left out the time of `{}`: {error}", inside.display()));
            }
        }
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        self.written.warnings.push(warning);
    }
}

/// Whether something cannot be here, though the disk is well: this file system, or this user, does not have it.
fn is_not_for_here(error: &io::Error) -> bool {
    let not_for_here = [Errno::NAMETOOLONG, Errno::PERM, Errno::NOTSUP, Errno::INVAL, Errno::ILSEQ];
    error.raw_os_error().is_some_and(|number| not_for_here.iter().any(|errno| errno.raw_os_error() == number))
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
    let [uid, gid] = [attributes.uid, attributes.gid].map(|id| u32::try_from(id).ok().filter(|id| *id != u32::MAX));
    let (Some(uid), Some(gid)) = (uid, gid) else { return false };
    let given =
        rustix::fs::chownat(CWD, to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW);
    given.is_ok()
}
