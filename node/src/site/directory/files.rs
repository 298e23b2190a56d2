//! The small files of a data directory.
//!
//! | file | holds |
//! | --- | --- |
//! | `site.toml` | format version and name; its presence makes the directory a site |
//! | `key` | the seed of the site's key in hexadecimal, readable by its owner alone |
//! | `invites` | digests of ticket tokens that have not been used, one per line |
//! | `kept` | ids of snapshots that are retained, one per line |
//! | `peers` | where other sites can be reached, as JSON |
//! | `addresses` | where this site's node last listened, one multiaddress per line |
//! | `acknowledged` | the site's last own commit, how far packs reach, and where this directory lies (`witness`) |
//! | `restored` | its presence says that the directory comes from a backup and has not asked the others yet |
//! | `federation-log` | how far each peer is applied here (`replication::table`) |
//! | `lost` | ids of artifacts and receipts whose payloads are lost and were given up, one per line |
//! | `restoring` | what becomes `site.toml` when all of a backup has been restored |
//! | `manifest` | what is in a backup; not in a data directory |
//! | `seen` | what files looked like when they were last read (`stat_cache`); derived, may be deleted |
//!
//! All of them have mode 0600, as everything in the directory has, and the directory 0700
//! (`private`).
//!
//! Each but `acknowledged` is replaced as a whole and atomically; whoever looks, even after a
//! crash, sees the old one or the new one.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr;

use uor_asl::disk::{Disk, DiskError, read_all, replace};
use uor_index_format::codec::{from_hex, hex};
use uor_index_format::key::SiteKey;

pub(in crate::site) const SITE_FILE: &str = "site.toml";
pub(in crate::site) const KEY_FILE: &str = "key";
pub(in crate::site) const INVITES_FILE: &str = "invites";
pub(in crate::site) const RETAINED_FILE: &str = "kept";
pub(in crate::site) const PEERS_FILE: &str = "peers";
pub(in crate::site) const ADDRESSES_FILE: &str = "addresses";
pub(in crate::site) const WITNESS_FILE: &str = "acknowledged";
pub(in crate::site) const RESTORED_FILE: &str = "restored";
pub(in crate::site) const LOST_FILE: &str = "lost";
/// What is in a backup: a directory that has it is one, and nothing writes there.
pub(in crate::site) const MANIFEST_FILE: &str = "manifest";
/// What `site.toml` is called while a backup is restored: a directory that has it is not all there.
pub(in crate::site) const RESTORING_FILE: &str = "restoring";
/// Where the node keeps its federation log table.
pub(crate) const TABLE_FILE: &str = "federation-log";
/// Format of the data directory as a whole; log, blocks and records have versions of their own.
const FORMAT: u64 = 1;

/// Why one of the small files could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key file could not be written.
    #[error("could not write file `{KEY_FILE}`")]
    Key {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Payloads could not be made durable.
    #[error("could not make payloads durable")]
    Blocks(#[source] Box<uor_asl::blocks::BlocksError>),
    /// The file cannot be understood.
    #[error("file `{file}` of the data directory is damaged: {problem}")]
    Damaged {
        /// Its name.
        file: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The data directory was written by a newer release.
    #[error(
        "the data directory has format version {found}; this release reads up to {supported}: upgrade uor"
    )]
    Newer {
        /// Version found.
        found: u64,
        /// Newest version this release reads.
        supported: u64,
    },
    /// The site was opened to be read.
    #[error("the site was opened to be read")]
    ReadOnly,
}

/// What `site.toml` says.
pub(in crate::site) fn read_name(disk: &dyn Disk) -> Result<String, FileError> {
    let damaged = |problem: &str| FileError::Damaged {
        file: SITE_FILE,
        problem: problem.to_owned(),
    };
    let text = read_text(disk, SITE_FILE)?;
    let value = |wanted: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == wanted).then(|| value.trim())
        })
    };
    let format = value("format")
        .and_then(|value| value.parse::<u64>().ok())
        .ok_or(damaged("it states no format"))?;
    if format > FORMAT {
        return Err(FileError::Newer {
            found: format,
            supported: FORMAT,
        });
    }
    let name = value("name").and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
    name.map(str::to_owned).ok_or(damaged("it states no name"))
}

/// Writes `site.toml`. Site names hold no quotes and no backslashes, so nothing needs an escape.
pub(in crate::site) fn write_name(disk: &dyn Disk, name: &str) -> Result<(), FileError> {
    let text = format!(
        "# A uor site. Change nothing here but the name.\nformat = {FORMAT}\nname = \"{name}\"\n"
    );
    Ok(replace(disk, SITE_FILE, text.as_bytes())?)
}

pub(in crate::site) fn read_key(disk: &dyn Disk) -> Result<SiteKey, FileError> {
    let text = read_text(disk, KEY_FILE)?;
    let seed = from_hex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let problem = "expected 64 hexadecimal digits".to_owned();
    seed.map(|seed| SiteKey::from_seed(&seed))
        .ok_or(FileError::Damaged {
            file: KEY_FILE,
            problem,
        })
}

/// Writes the key, which nobody else may read at any moment; never replaces one.
pub(in crate::site) fn write_key(dir: &Path, key: &SiteKey) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join(KEY_FILE))?;
        writeln!(file, "{}", hex(&key.seed()))?;
        file.sync_all()
    };
    write().map_err(|source| FileError::Key { source })
}

/// The lines of a file, each read as a `T`; an absent file has none.
pub(in crate::site) fn read_lines<T: FromStr>(
    disk: &dyn Disk,
    file: &'static str,
) -> Result<Vec<T>, FileError> {
    if !exists(disk, file)? {
        return Ok(Vec::new());
    }
    let text = read_text(disk, file)?;
    let read = |line: &str| {
        line.parse().map_err(|_| FileError::Damaged {
            file,
            problem: format!("line `{}`", line.escape_default()),
        })
    };
    text.lines().map(read).collect()
}

/// As [`read_lines`], as a set.
pub(in crate::site) fn read_set<T: FromStr + Ord>(
    disk: &dyn Disk,
    file: &'static str,
) -> Result<BTreeSet<T>, FileError> {
    Ok(read_lines(disk, file)?.into_iter().collect())
}

pub(in crate::site) fn write_lines(
    disk: &dyn Disk,
    file: &'static str,
    lines: impl IntoIterator<Item = impl Display>,
) -> Result<(), FileError> {
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    Ok(replace(disk, file, text.as_bytes())?)
}

pub(in crate::site) fn exists(disk: &dyn Disk, file: &str) -> Result<bool, FileError> {
    let failed = |source| DiskError {
        action: "look for",
        path: file.to_owned(),
        source,
    };
    Ok(disk.exists(file).map_err(failed)?)
}

pub(in crate::site) fn read_text(disk: &dyn Disk, file: &'static str) -> Result<String, FileError> {
    let problem = "it is not text".to_owned();
    String::from_utf8(read_all(disk, file)?).map_err(|_| FileError::Damaged { file, problem })
}
