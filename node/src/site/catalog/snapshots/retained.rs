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

    pub(in crate::site) fn change_retained(
        &self,
        change: impl FnOnce(&mut BTreeSet<SnapshotId>) -> bool,
    ) -> Result<(), FileError> {
        let _guard = self.files_for_writing()?;
        let mut retained = self.retained()?;
        if change(&mut retained) {
            files::write_lines(self.disk.as_ref(), RETAINED_FILE, retained)?;
        }
        Ok(())
    }
}
