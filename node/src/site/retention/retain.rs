//! Retaining a snapshot, and dropping it again.

use uor_index_format::id::SnapshotId;

use crate::site::catalog::resolve::PREFIX_LEN_MIN;
use crate::site::catalog::snapshots::error::SnapshotError;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;

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

    /// Stops retaining a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_drop(&self, text: &str) -> Result<SnapshotId, SnapshotError> {
        let id = match self.resolve_snapshot(text, &self.head()) {
            Ok(target) => target.key(),
            Err(error) => self.retained_by_digits(text)?.ok_or(error)?,
        };
        self.change_retained(|retained| retained.remove(&id))?;
        Ok(id)
    }

    /// The one retained snapshot whose id begins like this, be it that its record was removed.
    fn retained_by_digits(&self, text: &str) -> Result<Option<SnapshotId>, FileError> {
        let begins =
            |id: &SnapshotId| text.len() >= PREFIX_LEN_MIN && id.to_string().starts_with(text);
        let meant: Vec<SnapshotId> = self.retained()?.into_iter().filter(begins).collect();
        Ok(if let [id] = meant[..] { Some(id) } else { None })
    }
}
