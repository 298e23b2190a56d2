//! Which snapshots are retained: what they show stays here.
//!
//! What a site retains is its own affair and stands in a file. A snapshot stays retained when its
//! record is removed: only dropping it ends that.

use std::collections::BTreeSet;

use uor_index_format::id::{Checksum, SnapshotId};
use uor_index_format::snapshot::Snapshot;

use super::error::SnapshotError;
use super::find::SNAPSHOT_LEN_MAX;
use crate::site::catalog::payload::ReadError;
use crate::site::catalog::resolve::ResolveError;
use crate::site::directory::files::{self, FileError, KEPT_FILE};
use crate::site::handle::Site;

/// A snapshot that is kept.
pub(in crate::site) struct Kept {
    /// Its own payload.
    pub(in crate::site) checksum: Checksum,
    /// What it shows.
    pub(in crate::site) snapshot: Snapshot,
}

impl Site {
    pub(in crate::site) fn kept(&self) -> Result<BTreeSet<SnapshotId>, FileError> {
        files::read_set(self.disk.as_ref(), KEPT_FILE)
    }

    /// A kept snapshot, all of whose commits are here.
    pub(in crate::site) fn kept_snapshot(&self, id: &SnapshotId) -> Result<Kept, SnapshotError> {
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
        Ok(Kept {
            checksum: payload.checksum,
            snapshot,
        })
    }

    pub(in crate::site) fn change_kept(
        &self,
        change: impl FnOnce(&mut BTreeSet<SnapshotId>) -> bool,
    ) -> Result<(), FileError> {
        let _guard = self.files_for_writing()?;
        let mut kept = self.kept()?;
        if change(&mut kept) {
            files::write_lines(self.disk.as_ref(), KEPT_FILE, kept)?;
        }
        Ok(())
    }
}
