//! Retaining a snapshot, and dropping it again.

use uor_index_format::id::SnapshotId;

use crate::site::catalog::snapshots::error::SnapshotError;
use crate::site::handle::Site;

/// A snapshot that is not retained any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDropped {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// Whether it was until now.
    pub was_retained: bool,
}

impl Site {
    /// Retains a snapshot here: garbage collection will not touch what it shows.
    ///
    /// # Errors
    /// [`SnapshotError`]. What cannot be read, or includes commits that are not here, cannot be
    /// retained.
    pub fn snapshot_keep(&self, text: &str) -> Result<SnapshotId, SnapshotError> {
        // What is being freed right now cannot be retained any more.
        let _putting = self.putting();
        let id = self.at(Some(text))?.id();
        self.change_retained(|retained| retained.insert(id))?;
        Ok(id)
    }

    /// Stops retaining a snapshot, if it was retained.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_drop(&self, text: &str) -> Result<SnapshotDropped, SnapshotError> {
        let head = self.head();
        let snapshot_id = match self.resolve_snapshot(text, &head) {
            Ok(target) => target.key(),
            Err(error) => self.retained_or(error, text, &head)?,
        };
        let was_retained = self.change_retained(|retained| retained.remove(&snapshot_id))?;
        Ok(SnapshotDropped {
            snapshot_id,
            was_retained,
        })
    }
}
