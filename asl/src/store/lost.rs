//! What follows from packs that have lost something: the payloads that were in them are wanted
//! again, as far as the log wants them, and what the log calls erased does not come back out of an
//! older pack. `FORMAT.md`, "Packs that lost something".

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::record::Payload;

use super::checkpoint::DIR;
use super::error::StoreError;
use super::files::Files;
use super::handle::Store;
use super::naming::naming;
use super::opened::StaleIndex;
use super::options::Options;
use super::view::View;
use crate::blocks::{self, BlocksError};
use crate::disk::{self, Context as _, Disk, DiskError, Mode};

/// What the packs had lost when the log was last read for it, a line each.
const FILE: &str = "index/packs.lost";

/// What the packs have lost, beside what the index knows of it.
pub(super) struct PacksLost {
    /// What is missing or damaged, in words.
    lines: String,
    /// Whether the payloads that the index calls wanted are all that are.
    is_counted: bool,
}

impl PacksLost {
    /// What opening the packs found, beside what an earlier opening did.
    pub(super) fn of(files: &Files, found: &blocks::Recovery) -> Result<Self, DiskError> {
        let disk = files.disk.as_ref();
        let lasting = found
            .damages
            .iter()
            .filter(|damage| !damage.is_of_index() && !damage.is_of_list());
        let lines: String = lasting.map(|damage| format!("{damage}\n")).collect();
        let is_list_lost = found
            .damages
            .iter()
            .chain(&found.mended)
            .any(|damage| damage.is_of_list());
        let known = if disk.exists(FILE).during("look for", FILE)? {
            disk::read_all(disk, FILE)?
        } else {
            Vec::new()
        };
        let is_counted = !is_list_lost && !files.options.are_packs_cut && known == lines.as_bytes();
        Ok(Self { lines, is_counted })
    }

    /// Why the index cannot be taken for all that is known, if it cannot.
    pub(super) fn stale(&self) -> Option<StaleIndex> {
        let what = "what is in the packs has changed: the log says which payloads should be there"
            .to_owned();
        (!self.is_counted).then_some(StaleIndex {
            file: None,
            offset: None,
            what,
            is_damage: false,
        })
    }

    /// Notes that the log is read for what was lost. There is no checkpoint any more, so that it is
    /// read again after a crash.
    pub(super) fn note(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        if !self.lines.is_empty() {
            disk::create_dir_durably(disk, DIR)?;
            return disk::replace(disk, FILE, self.lines.as_bytes());
        }
        if disk.exists(FILE).during("look for", FILE)? {
            disk.remove(FILE).during("remove", FILE)?;
            disk.sync_dir(DIR).during("sync", DIR)?;
        }
        Ok(())
    }
}

impl Store {
    /// Reads every payload here, takes those for absent that cannot be read because of damage, and
    /// wants them from others, as far as something names them. Says which these are, and what names
    /// each. Nothing is removed: a payload that does not come is back, and damaged, when the store
    /// is opened next. `on_progress` is told how many bytes were read, of how many, and may break
    /// off.
    ///
    /// # Errors
    /// [`StoreError::Blocks`] if the disk cannot be read, or `on_progress` broke off.
    pub fn want_damaged(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<BTreeMap<Checksum, BTreeSet<CanonicalId>>, StoreError> {
        let lost = self.files.blocks.forget_damaged(on_progress)?;
        let naming = naming(&self.view(), &lost);
        self.want(naming.iter().map(|(checksum, named)| Payload {
            checksum: *checksum,
            len: named.len,
        }));
        Ok(naming
            .into_iter()
            .map(|(checksum, named)| (checksum, named.keys))
            .collect())
    }
}

/// Keeps erased what the log calls so, where the packs have lost something and may be older than
/// that; says which payloads these are. A writer erases them again; what cannot be erased beside
/// damaged blocks is not shown all the same.
pub(super) fn keep_erased(
    files: &Files,
    packs: &blocks::Recovery,
    view: &View,
) -> Result<Vec<Checksum>, StoreError> {
    let Options {
        rebuild_index,
        are_packs_cut,
        ..
    } = files.options;
    if !(rebuild_index || are_packs_cut || packs.has_lost()) {
        return Ok(Vec::new());
    }
    let erased: Vec<_> = view.erased.keys().copied().collect();
    let erased_again = files.blocks.hide_erased(erased)?;
    if files.mode == Mode::Write {
        for checksum in &erased_again {
            match files.blocks.erase(*checksum) {
                Ok(_) | Err(BlocksError::Damaged(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(erased_again)
}
