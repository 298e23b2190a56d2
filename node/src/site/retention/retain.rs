//! Which snapshots are kept, and for how long what they show stays here.
//!
//! What a site keeps is its own affair and stands in a file. A snapshot stays kept when its record
//! is removed: only dropping it ends that.

use std::collections::BTreeSet;

use uor_index_format::id::{Checksum, SnapshotId};
use uor_index_format::snapshot::Snapshot;

use crate::site::catalog::resolve::{PREFIX_LEN_MIN, ResolveError};
use crate::site::catalog::snapshots::{SNAPSHOT_LEN_MAX, SnapshotError};
use crate::site::directory::files::{self, FileError, KEPT_FILE};
use crate::site::export::read::ReadError;
use crate::site::handle::Site;

/// A snapshot that is kept.
pub(in crate::site) struct Kept {
    /// Its own payload.
    pub(in crate::site) checksum: Checksum,
    /// What it shows.
    pub(in crate::site) snapshot: Snapshot,
}

impl Site {
    /// Keeps a snapshot here: garbage collection will not touch what it shows.
    ///
    /// # Errors
    /// [`SnapshotError`]. What cannot be read, or includes commits that are not here, cannot be
    /// kept.
    pub fn snapshot_keep(&self, text: &str) -> Result<SnapshotId, SnapshotError> {
        // What is being freed right now cannot be kept any more.
        let _putting = self.putting();
        let id = self.at(Some(text))?.id();
        self.change_kept(|kept| kept.insert(id))?;
        Ok(id)
    }

    /// Stops keeping a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_drop(&self, text: &str) -> Result<SnapshotId, SnapshotError> {
        let id = match self.resolve_snapshot(text, &self.head()) {
            Ok(target) => target.key(),
            Err(error) => self.kept_by_digits(text)?.ok_or(error)?,
        };
        self.change_kept(|kept| kept.remove(&id))?;
        Ok(id)
    }

    /// The one kept snapshot whose id begins like this, be it that its record was removed.
    fn kept_by_digits(&self, text: &str) -> Result<Option<SnapshotId>, FileError> {
        let begins =
            |id: &SnapshotId| text.len() >= PREFIX_LEN_MIN && id.to_string().starts_with(text);
        let meant: Vec<SnapshotId> = self.kept()?.into_iter().filter(begins).collect();
        Ok(if let [id] = meant[..] { Some(id) } else { None })
    }

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
