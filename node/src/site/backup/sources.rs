//! What a backup takes, in the order in which it is to be taken: the log first, up to a mark, then
//! the packs, which hold at least what that log names.
//!
//! Not in a backup: what can be derived (`index`, `seen`), what is under way (`staging`), the
//! witness, which would be ahead of the log, and open tickets: a ticket that was used since must
//! not be good again.

use std::fs;

use uor_asl::store::View;
use uor_index_format::id::SiteId;

use super::error::{BackupError, during};
use super::manifest::Stamp;
use crate::site::directory::files::{
    ADDRESSES_FILE, KEY_FILE, LOST_FILE, PEERS_FILE, RETAINED_FILE, SITE_FILE, TABLE_FILE,
};
use crate::site::directory::listing;
use crate::site::handle::Site;

const PACKS_LIST: &str = "blocks/packs.list";
/// Small files that a backup takes along, where they are.
const SMALL_FILES: [&str; 8] = [
    SITE_FILE,
    KEY_FILE,
    "store",
    RETAINED_FILE,
    PEERS_FILE,
    ADDRESSES_FILE,
    LOST_FILE,
    TABLE_FILE,
];

/// How many commits of a site are in the log, whether or not they are accepted.
pub(super) fn commits_of(view: &View, site: &SiteId) -> u64 {
    let head = view.head().frontier.get(site);
    let counted = head.map_or(0, |head| head.number);
    counted.max(view.unaccepted_head(site).unwrap_or_default())
}

/// A file to be taken, and how much of it.
pub(in crate::site) struct Source {
    pub(super) path: String,
    pub(super) len: u64,
    pub(super) stamp: Stamp,
}

impl Site {
    /// What a backup takes now, in the order in which it is to be taken, and how many own commits
    /// that holds.
    pub(super) fn sources(&self) -> Result<(Vec<Source>, u64), BackupError> {
        let (end, commits) = {
            let view = self.store.view();
            (view.log_end(), commits_of(&view, &self.site_id()))
        };
        let mut sources = Vec::new();
        for segment in 1..end.segment {
            sources.push(self.source(&format!("log/{segment:08}.log"))?);
        }
        // Bytes behind the mark may be half written.
        let last = format!("log/{:08}.log", end.segment);
        sources.push(Source {
            len: end.offset.into(),
            stamp: Stamp::default(),
            path: last,
        });
        // Before the packs: a pack that is begun meanwhile is not in it.
        let list = self.source_if_there(PACKS_LIST)?;
        let list_bytes = list.is_some().then(|| self.read(PACKS_LIST)).transpose()?;
        let last = list_bytes
            .as_deref()
            .and_then(|bytes| bytes.get(12..16)?.try_into().ok());
        let last = last.map_or(u32::MAX, u32::from_le_bytes);
        sources.extend(list);
        for name in self.names("blocks")? {
            let number = name
                .strip_suffix(".pack")
                .and_then(|number| number.parse::<u32>().ok());
            if number.is_some_and(|number| number <= last) {
                sources.push(self.source(&format!("blocks/{name}"))?);
            }
        }
        for file in SMALL_FILES {
            sources.extend(self.source_if_there(file)?);
        }
        Ok((sources, commits))
    }

    fn source(&self, path: &str) -> Result<Source, BackupError> {
        let full = self.dir.join(path);
        let metadata = fs::metadata(&full).map_err(during("look at", &full))?;
        Ok(Source {
            path: path.to_owned(),
            len: metadata.len(),
            stamp: Stamp::of(&metadata),
        })
    }

    fn source_if_there(&self, path: &str) -> Result<Option<Source>, BackupError> {
        if self.dir.join(path).exists() {
            self.source(path).map(Some)
        } else {
            Ok(None)
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, BackupError> {
        let full = self.dir.join(path);
        fs::read(&full).map_err(during("read", &full))
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, BackupError> {
        let full = self.dir.join(dir);
        let entries = if full.exists() {
            listing::sorted(&full).map_err(during("list", &full))?
        } else {
            Vec::new()
        };
        Ok(entries
            .iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }
}
