//! What of a site is nobody else's business: its data directory, which only its owner may look
//! into, and its key, which never becomes an artifact.
//!
//! A data directory is known by what is in it and not by its name, so a copy, a backup or one that
//! was renamed is known too. A key is known by its content: 64 hexadecimal digits, which a digest
//! has as well. So it is taken for a key if it is one of a member of this federation, if it is
//! called `key`, or if its mode says that nobody else may read it.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uor_asl::disk::real::DIR_MODE;
use uor_asl::store::Store;
use uor_index_format::codec::from_hex;
use uor_index_format::id::SiteId;
use uor_index_format::key::SiteKey;

use super::files::{KEY_FILE, SITE_FILE};
use super::listing;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// How much of a small file is looked at.
const BEGIN_LEN: u64 = 4096;
/// A key has 64 digits, and perhaps the end of a line.
const KEY_LEN_MIN: u64 = 64;
pub(in crate::site) const KEY_LEN_MAX: u64 = KEY_LEN_MIN + 2;

/// The data directories that nothing is added from.
pub(in crate::site) struct DataDirs {
    /// This site's, and what is directly in it: also known where they are mounted a second time.
    own: BTreeSet<(u64, u64)>,
}

impl DataDirs {
    /// The directory of this site, and every other that looks like one.
    pub(in crate::site) fn beside(site: &Path) -> Self {
        let inner = listing::sorted(site)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| entry.metadata().ok());
        let dirs = inner.chain(fs::metadata(site)).filter(Metadata::is_dir);
        Self {
            own: dirs.map(|metadata| listing::identity(&metadata)).collect(),
        }
    }

    /// Whether this directory is a data directory, or a part of this site's.
    pub(in crate::site) fn holds(&self, dir: &Path, metadata: &Metadata) -> bool {
        self.own.contains(&listing::identity(metadata)) || is_data_dir(dir)
    }

    /// The data directory that a path is, or lies in, wherever symlinks lead.
    pub(in crate::site) fn around(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let path = fs::canonicalize(path)?;
        let is_one =
            |dir: &&Path| fs::metadata(dir).is_ok_and(|it| it.is_dir() && self.holds(dir, &it));
        Ok(path.ancestors().find(is_one).map(Path::to_owned))
    }
}

/// Whether a directory is a site's, or a copy of one, by what is in it.
fn is_data_dir(dir: &Path) -> bool {
    let is_store = || {
        begin_of(&dir.join(Store::IDENTITY_FILE)).is_some_and(|begin| Store::is_identity(&begin))
    };
    let is_site = || {
        let states = |text: &str, key: &str| {
            text.lines()
                .any(|line| line.split('=').next().map(str::trim) == Some(key))
        };
        let begin = begin_of(&dir.join(SITE_FILE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&begin);
        let has_part = || {
            [KEY_FILE, "log", "blocks"]
                .iter()
                .any(|part| dir.join(part).symlink_metadata().is_ok())
        };
        states(&text, "format") && states(&text, "name") && has_part()
    };
    is_store() || is_site()
}

/// The first bytes of a file, if it is one and can be read.
fn begin_of(path: &Path) -> Option<Vec<u8>> {
    let file = open_file(path, true).ok()?;
    let mut begin = Vec::new();
    file.metadata().ok()?.is_file().then_some(())?;
    file.take(BEGIN_LEN).read_to_end(&mut begin).ok()?;
    Some(begin)
}

/// Opens a file to be read and never waits, whatever has taken its place; `follow` says whether a
/// symlink may have.
pub(in crate::site) fn open_file(path: &Path, follow: bool) -> io::Result<File> {
    let no_link = if follow {
        OFlags::empty()
    } else {
        OFlags::NOFOLLOW
    };
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | no_link).bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
}

/// Whether a file of this length can be a key, so that its content has to be looked at.
pub(in crate::site) fn may_be_key(len: u64) -> bool {
    (KEY_LEN_MIN..=KEY_LEN_MAX).contains(&len)
}

/// Whether these are the bytes of a site's key. `file` is where they came from and what it looks
/// like; what came from elsewhere is known only if it is a member's.
pub(in crate::site) fn is_key(
    content: &[u8],
    file: Option<(&Path, &Metadata)>,
    is_member: impl FnOnce(&SiteId) -> bool,
) -> bool {
    let seed = std::str::from_utf8(content)
        .ok()
        .filter(|_| may_be_key(content.len() as u64));
    let seed = seed.and_then(|text| <[u8; 32]>::try_from(from_hex(text.trim_end())?).ok());
    seed.is_some_and(|seed| {
        let looks_private = file.is_some_and(|(path, metadata)| {
            path.file_name().is_some_and(|name| name == KEY_FILE) || metadata.mode() & OTHERS == 0
        });
        looks_private || is_member(&SiteKey::from_seed(&seed).site_id())
    })
}

/// As [`is_key`], of a file that is to be read first. One that cannot be read is none that can be
/// published.
pub(in crate::site) fn is_key_file(
    path: &Path,
    metadata: &Metadata,
    is_member: impl FnOnce(&SiteId) -> bool,
) -> bool {
    metadata.is_file()
        && may_be_key(metadata.len())
        && begin_of(path).is_some_and(|content| is_key(&content, Some((path, metadata)), is_member))
}

/// Takes a data directory, and what is in it, from everybody but its owner; says whether anybody
/// else had a right. The directory itself comes last, so that what was interrupted is begun again.
/// What belongs to another user stays as it is.
pub(in crate::site) fn tighten(dir: &Path) -> bool {
    let Some(metadata) = fs::metadata(dir)
        .ok()
        .filter(|metadata| metadata.mode() & OTHERS != 0)
    else {
        return false;
    };
    tighten_below(dir);
    withdraw(dir, &metadata).is_ok()
}

fn tighten_below(dir: &Path) {
    for entry in listing::sorted(dir).unwrap_or_default() {
        // What goes away meanwhile needs no mode, and a symlink has none.
        let Some(metadata) = entry
            .metadata()
            .ok()
            .filter(|metadata| !metadata.is_symlink())
        else {
            continue;
        };
        if metadata.is_dir() {
            tighten_below(&entry.path());
        }
        if metadata.mode() & OTHERS != 0 {
            drop(withdraw(&entry.path(), &metadata));
        }
    }
}

fn withdraw(path: &Path, metadata: &Metadata) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & DIR_MODE))
}
