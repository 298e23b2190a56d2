//! Which snapshots are retained: what they show stays here.
//!
//! What a site retains is its own affair and stands in a file. A snapshot stays retained when its
//! record is removed: only dropping it ends that.

use std::collections::BTreeSet;

use uor_index_format::id::{Checksum, SnapshotId};
use uor_index_format::reference::NAMESPACE_SNAPSHOT;
use uor_index_format::snapshot::Snapshot;

use super::error::SnapshotError;
use super::find::SNAPSHOT_LEN_MAX;
use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::{PREFIX_LEN_MIN, ResolveError};
use crate::site::directory::files::{self, FileError, RETAINED_FILE};
use crate::site::handle::Site;

/// A snapshot that is retained.
pub(in crate::site) struct Retained {
    /// Its own payload.
    pub(in crate::site) checksum: Checksum,
    /// What it shows.
    pub(in crate::site) snapshot: Snapshot,
}

impl Site {
    pub(in crate::site) fn retained(&self) -> Result<BTreeSet<SnapshotId>, FileError> {
        files::read_set(self.disk.as_ref(), RETAINED_FILE)
    }

    /// A retained snapshot, all of whose commits are here.
    pub(in crate::site) fn retained_snapshot(
        &self,
        id: &SnapshotId,
    ) -> Result<Retained, SnapshotError> {
        let versions = {
            let view = self.store.view();
            view.state().versions(&(*id).into(), view.head())?
        };
        let text = id.to_string();
        let unknown = || SnapshotError::Unknown {
            text: text.clone(),
            source: ResolveError::Unknown { text: text.clone() },
        };
        let payload = versions
            .iter()
            .find_map(|version| version.record.block_payload())
            .ok_or_else(unknown)?;
        let failed = |source| ReadError::Blocks {
            id: (*id).into(),
            source,
        };
        let bytes = self
            .store
            .blocks()
            .read_all(payload.checksum, SNAPSHOT_LEN_MAX)
            .map_err(failed)?;
        let failed = |source| ReadError::Content {
            id: (*id).into(),
            what: "snapshot",
            source,
        };
        let snapshot = Snapshot::decode(&bytes).map_err(failed)?;
        self.check_commits(id, &snapshot)?;
        Ok(Retained {
            checksum: payload.checksum,
            snapshot,
        })
    }

    /// What a text means that was not found among what is visible, with this error: the retained
    /// snapshot whose record was removed. What may mean several things means none.
    pub(in crate::site) fn retained_or(
        &self,
        error: SnapshotError,
        text: &str,
        at: &Snapshot,
    ) -> Result<SnapshotId, SnapshotError> {
        match error {
            SnapshotError::Unknown {
                source: ResolveError::Ambiguous { .. },
                ..
            } => Err(error),
            error => self.retained_as(text, at)?.ok_or(error),
        }
    }

    /// The one retained snapshot that has this label, or whose id begins like this.
    fn retained_as(&self, text: &str, at: &Snapshot) -> Result<Option<SnapshotId>, SnapshotError> {
        let retained = self.retained()?;
        if let Some(id) = self.ref_target_in(NAMESPACE_SNAPSHOT, text, at)? {
            return Ok(Some(id).filter(|id| retained.contains(id)));
        }
        let digits = text.to_ascii_lowercase();
        let begins =
            |id: &SnapshotId| digits.len() >= PREFIX_LEN_MIN && id.to_string().starts_with(&digits);
        let mut meant = retained.into_iter().filter(begins);
        Ok(meant.next().filter(|_| meant.next().is_none()))
    }

    /// Changes what is retained, and says whether that was anything else before.
    pub(in crate::site) fn change_retained(
        &self,
        change: impl FnOnce(&mut BTreeSet<SnapshotId>) -> bool,
    ) -> Result<bool, FileError> {
        let _guard = self.files_for_writing()?;
        let mut retained = self.retained()?;
        let is_changed = change(&mut retained);
        if is_changed {
            files::write_lines(self.disk.as_ref(), RETAINED_FILE, retained)?;
        }
        Ok(is_changed)
    }
}
