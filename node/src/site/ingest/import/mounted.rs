//! A mounted snapshot: the tree that its stream would give, read from where its files are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use uor_index_format::record::Payload;
use uor_index_format::snapshot::{ORIGIN_NAME_LEN_MAX, Origin};
use uor_index_format::tree::{Attributes, EntryKind, MODE_MASK};

use super::error::{ImportError, storing};
use super::publish::Staged;
use super::report::{ImportOptions, ImportProgress};
use super::tree::{self, Entries, Identity, Node, NodeKind, Source};
use crate::site::directory::listing;
use crate::site::directory::private::{DataDirs, open_file};
use crate::site::handle::Site;
use crate::site::ingest::add::left_out::Obstacle;
use crate::site::text;

/// Reads and stores everything below `directory`; nothing of it is visible yet.
pub(super) fn stage(
    site: &Site,
    directory: &Path,
    options: &ImportOptions<'_>,
    on_progress: &mut dyn FnMut(ImportProgress),
) -> Result<(Staged, Vec<String>), ImportError> {
    let (root, metadata, data_dirs) = root_of(site, directory)?;
    let mut source = Mounted {
        site,
        data_dirs,
        warnings: BTreeSet::new(),
        device: metadata.dev(),
        root: root.clone(),
        read: BTreeMap::new(),
        new_bytes: 0,
        progress: ImportProgress::default(),
        on_progress,
    };
    let (contents, built) = {
        let links = tree::find_links(&mut source)?;
        tree::build(&mut source, &links, site.store.blocks())?
    };
    let new_bytes = built.new_bytes + source.new_bytes;
    let warnings = source.warnings.into_iter().collect();
    let (name, to_guid, creation) = identify(&root);
    let origin = Origin {
        name,
        to_guid,
        from_guid: 0,
        creation,
        contents,
        state: None,
        predecessor: None,
    };
    let staged = Staged {
        origin,
        state: None,
        base: None,
        records: built.records,
        reference: options.reference.map(str::to_owned),
        files: built.files,
        bytes: built.bytes,
        new_bytes,
    };
    Ok((staged, warnings))
}

/// Where symlinks lead from `directory`, which is one that may be imported, and the data
/// directories that may not.
fn root_of(site: &Site, directory: &Path) -> Result<(PathBuf, Metadata, DataDirs), ImportError> {
    let read = |source| ImportError::Read {
        path: directory.to_owned(),
        source,
    };
    let root = fs::canonicalize(directory).map_err(read)?;
    let metadata = fs::symlink_metadata(&root).map_err(read)?;
    if !metadata.is_dir() {
        return Err(ImportError::NotADirectory {
            path: directory.to_owned(),
        });
    }
    let data_dirs = DataDirs::beside(site.dir());
    if let Some(dir) = data_dirs.around(&root).map_err(read)? {
        return Err(ImportError::DataDirectory {
            path: directory.to_owned(),
            dir,
        });
    }
    Ok((root, metadata, data_dirs))
}

/// Name, GUID and creation of the snapshot that is mounted at `root`, as far as `zfs` tells;
/// without it, the path.
fn identify(root: &Path) -> (Vec<u8>, u64, u64) {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let Some(name) = mounted_snapshot(&mounts, root) else {
        let mut path = root.as_os_str().as_bytes().to_vec();
        path.truncate(ORIGIN_NAME_LEN_MAX as usize);
        return (path, 0, 0);
    };
    let asked = Command::new("zfs")
        .args(["get", "-Hp", "-o", "value", "guid,creation"])
        .arg(&name)
        .output();
    let said = asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mut numbers = said
        .lines()
        .map(|line| line.trim().parse::<u64>().unwrap_or_default());
    let (guid, creation) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    (name.into_bytes(), guid, creation)
}

/// `pool/dataset@snapshot`, if one is mounted exactly at `root`.
fn mounted_snapshot(mounts: &[u8], root: &Path) -> Option<String> {
    let mounts = String::from_utf8_lossy(mounts);
    let mut snapshots = mounts.lines().filter_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let place = unescape(place.split(' ').nth(4)?);
        let mut what = what.split(' ');
        let is_here = what.next() == Some("zfs") && Path::new(&place) == root;
        let source = unescape(what.next()?);
        (is_here && source.contains('@')).then_some(source)
    });
    // Of several mounts in one place, the last is what is seen.
    snapshots.next_back()
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, meant)| {
            text.replace(escape, meant)
        })
}

struct Mounted<'a> {
    site: &'a Site,
    /// Which directories are not entered: they hold keys.
    data_dirs: DataDirs,
    warnings: BTreeSet<String>,
    /// Other file systems that are mounted inside are not part of the snapshot.
    device: u64,
    root: PathBuf,
    /// Files with several names are read once.
    read: BTreeMap<Identity, Payload>,
    new_bytes: u64,
    progress: ImportProgress,
    on_progress: &'a mut dyn FnMut(ImportProgress),
}

impl Mounted<'_> {
    fn leave_out(&mut self, part: &str, path: &Path, reason: &Obstacle) {
        let path = text::text_of(path.as_os_str().as_bytes());
        self.warnings
            .insert(format!("left out {part}{path}: {reason}"));
    }
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    move |source| ImportError::Read {
        path: path.to_owned(),
        source,
    }
}

impl Source for Mounted<'_> {
    type Handle = PathBuf;

    fn root(&mut self) -> PathBuf {
        self.root.clone()
    }

    fn node(&mut self, path: &PathBuf) -> Result<Node, ImportError> {
        self.site.cancel.check()?;
        let metadata = fs::symlink_metadata(path).map_err(reading(path))?;
        let kind = kind_of(path, &metadata)?;
        let attributes = Attributes {
            uid: metadata.uid().into(),
            gid: metadata.gid().into(),
            mtime_s: metadata.mtime(),
            mtime_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
            link: None,
            xattrs: xattrs(path).map_err(reading(path))?,
        };
        let identity = (metadata.nlink() > 1).then(|| listing::identity(&metadata));
        Ok(Node {
            kind,
            mode: metadata.mode() & MODE_MASK,
            attributes,
            identity,
        })
    }

    fn enter(&mut self, path: &PathBuf) -> Result<Entries<PathBuf>, ImportError> {
        let metadata = fs::symlink_metadata(path).map_err(reading(path))?;
        if metadata.dev() != self.device {
            return Ok(Vec::new());
        }
        if self.data_dirs.holds(path, &metadata) {
            self.leave_out("what is in ", path, &Obstacle::DataDirectory);
            return Ok(Vec::new());
        }
        let mut entries = listing::sorted(path).map_err(reading(path))?;
        entries.retain(|entry| {
            let is_key = entry
                .metadata()
                .is_ok_and(|metadata| self.site.is_key_file(&entry.path(), &metadata));
            if is_key {
                self.leave_out("", &entry.path(), &Obstacle::PrivateKey);
            }
            !is_key
        });
        Ok(entries
            .into_iter()
            .map(|entry| (entry.file_name().as_bytes().to_vec(), entry.path()))
            .collect())
    }

    fn leave(&mut self) {}

    fn contents(&mut self, path: &PathBuf) -> Result<Payload, ImportError> {
        let mut file = open_file(path, false).map_err(reading(path))?;
        let metadata = file.metadata().map_err(reading(path))?;
        let identity = listing::identity(&metadata);
        if let Some(payload) = self.read.get(&identity) {
            return Ok(*payload);
        }
        let before = self.progress.bytes;
        let (progress, on_progress) = (&mut self.progress, &mut self.on_progress);
        let put =
            self.site
                .store
                .blocks()
                .put(&mut self.site.cancel.reader(&mut file), &mut |bytes| {
                    progress.bytes = before + bytes;
                    on_progress(*progress);
                });
        let put = put.map_err(storing(path.to_string_lossy()))?;
        let after = file.metadata().map_err(reading(path))?;
        if put.len != metadata.len() || !listing::is_same(&metadata, &after) {
            return Err(ImportError::Changing { path: path.clone() });
        }
        self.progress.bytes = before + put.len;
        self.new_bytes += put.new_bytes;
        let payload = Payload {
            checksum: put.checksum,
            len: put.len,
        };
        if metadata.nlink() > 1 {
            self.read.insert(identity, payload);
        }
        Ok(payload)
    }
}

fn kind_of(path: &Path, metadata: &Metadata) -> Result<NodeKind, ImportError> {
    let file_type = metadata.file_type();
    let (major, minor) = (
        rustix::fs::major(metadata.rdev()),
        rustix::fs::minor(metadata.rdev()),
    );
    Ok(if file_type.is_dir() {
        NodeKind::Directory
    } else if file_type.is_file() {
        NodeKind::File
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).map_err(reading(path))?;
        NodeKind::Other(EntryKind::Symlink {
            target: target.as_os_str().as_bytes().to_vec(),
        })
    } else if file_type.is_fifo() {
        NodeKind::Other(EntryKind::Fifo)
    } else if file_type.is_socket() {
        NodeKind::Other(EntryKind::Socket)
    } else if file_type.is_char_device() {
        NodeKind::Other(EntryKind::CharDevice { major, minor })
    } else {
        NodeKind::Other(EntryKind::BlockDevice { major, minor })
    })
}

/// Names and values of what extended attributes are visible, ascending by name.
fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; 64 << 10];
    let len = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Ok(len) => len,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    names.truncate(len);
    let mut xattrs = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0_u8; 64 << 10];
        let len = match rustix::fs::lgetxattr(path, name, value.as_mut_slice()) {
            Ok(len) => len,
            // It was listed, and is not for us.
            Err(
                rustix::io::Errno::NODATA | rustix::io::Errno::ACCESS | rustix::io::Errno::PERM,
            ) => continue,
            Err(error) => return Err(error.into()),
        };
        value.truncate(len);
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    Ok(xattrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_snapshot_is_known_by_its_mount() {
        let mounts = b"36 35 0:40 / /tank rw - zfs tank rw\n\
                       40 36 0:50 / /tank/.zfs/snapshot/a\\040b ro,relatime - zfs tank@a\\040b ro,xattr\n\
                       41 36 0:51 / /data ro - ext4 /dev/sda@x ro\n";
        let found = |path: &str| mounted_snapshot(mounts, Path::new(path));
        assert_eq!(
            found("/tank/.zfs/snapshot/a b").as_deref(),
            Some("tank@a b")
        );
        assert_eq!(found("/tank"), None);
        assert_eq!(found("/data"), None);
    }
}
