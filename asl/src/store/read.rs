//! What readers ask of a store beside what is visible ([`View`](super::View)).

use uor_index_format::commit::Commit;
use uor_index_format::id::{ArtifactKey, SiteId};
use uor_index_format::snapshot::Snapshot;

use super::error::StoreError;
use super::handle::Store;
use crate::entry::decode_commit;

impl Store {
    /// The bytes of commit `number` of `domain`, if it is accepted.
    ///
    /// # Errors
    /// [`StoreError::Log`] if they cannot be read.
    pub fn commit_bytes(
        &self,
        domain: &SiteId,
        number: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.view().state().commits().row(domain, number)?;
        row.map(|row| Ok(self.files.log.read(row.at)?.body))
            .transpose()
    }

    /// Membership commits from beyond a fork that say how these sites became members, each after
    /// what it rests on itself, as many as fit `len_max` bytes (at least one, if there is one).
    /// Accepted commits are left out: they travel as any other.
    ///
    /// # Errors
    /// [`StoreError::Log`] if they cannot be read.
    pub fn testimony_for(
        &self,
        sites: &[SiteId],
        len_max: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let positions = self.view().testimony_for(sites);
        let (mut commits, mut len) = (Vec::new(), 0);
        for position in positions {
            let body = self.files.log.read(position)?.body;
            len += body.len() as u64;
            if len > len_max && !commits.is_empty() {
                break;
            }
            commits.push(body);
        }
        Ok(commits)
    }

    /// Commit `number` of `domain`, if it is accepted.
    ///
    /// # Errors
    /// [`StoreError::Log`] or [`StoreError::Entry`] if it cannot be read.
    pub fn read_commit(&self, domain: &SiteId, number: u64) -> Result<Option<Commit>, StoreError> {
        let row = self.view().state().commits().row(domain, number)?;
        row.map(|row| decode_commit(row.at, &self.files.log.read(row.at)?.body))
            .transpose()
    }

    /// The whole payload of a visible artifact or receipt, if it is known at `snapshot` and its
    /// bytes are here.
    ///
    /// # Errors
    /// [`StoreError::Blocks`] if it is longer than `len_max` or cannot be read.
    pub fn payload(
        &self,
        key: &ArtifactKey,
        snapshot: &Snapshot,
        len_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let checksum = self
            .view()
            .state()
            .entry(&(*key).into(), snapshot)?
            .and_then(|entry| entry.checksum);
        match checksum.filter(|checksum| self.files.blocks.has(*checksum)) {
            Some(checksum) => Ok(Some(self.files.blocks.read_all(checksum, len_max)?)),
            None => Ok(None),
        }
    }
}
