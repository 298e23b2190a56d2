//! Erasing a payload on request: its bytes go for good, here. Records stay, and so does their
//! proof: they cover its checksum.

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::StoreError;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::snapshot::Snapshot;

use crate::cancel::Cancelled;
use crate::clock::wall_ms;
use crate::replication::staging::erase_staged;
use crate::site::catalog::payload::{ReadError, wrong_kind};
use crate::site::catalog::resolve::ResolveError;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;
use crate::site::json;

/// A payload that is no longer here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ErasedPayload {
    /// Whose payload.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// Its checksum. Everything that has these bytes has lost them.
    #[serde(serialize_with = "json::text")]
    pub checksum: Checksum,
    /// How many stored bytes were overwritten: none of what other payloads need, and none if it was
    /// not here.
    pub bytes: u64,
    /// When, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// Why a payload was not erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The text means nothing here.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// What it means has no payload, or none that stands.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is a snapshot that is retained.
    #[error("snapshot {key} is kept: drop it first")]
    Retained {
        /// The snapshot.
        key: ArtifactKey,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The list of retained snapshots could not be read, or the site was opened to be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Site {
    /// Erases the payload of an artifact or receipt here, also of one that was removed, with what
    /// of it is on its way. It is not fetched again, and comes back only if the same bytes are
    /// added.
    ///
    /// # Errors
    /// [`EraseError`]; nothing was erased, unless the disk refused in between.
    pub fn erase(&self, text: &str, at: &Snapshot) -> Result<ErasedPayload, EraseError> {
        if self.mode == Mode::ReadOnly {
            return Err(FileError::ReadOnly.into());
        }
        let (key, checksum) = match self.resolve(text, at) {
            Ok(target) if !target.sort.has_payload() => {
                return Err(wrong_kind(&target, "file").into());
            }
            Ok(target) => (
                target.key(),
                target
                    .checksum
                    .ok_or(ReadError::Withheld { id: target.id })?,
            ),
            Err(ResolveError::Removed { id }) => (id.into(), self.last_payload(&id, at)?),
            Err(error) => return Err(error.into()),
        };
        if self.retained()?.contains(&key) {
            return Err(EraseError::Retained { key });
        }
        self.cancel.check()?;
        self.reopen()?;
        let bytes = self.store.erase(checksum, wall_ms())?.bytes;
        erase_staged(&self.store, &checksum)?;
        // It may have been erased before.
        let wall_ms = self.store.view().erased(&checksum).unwrap_or_default();
        Ok(ErasedPayload {
            key,
            checksum,
            bytes,
            wall_ms,
        })
    }

    /// The payload of something that was removed.
    fn last_payload(&self, id: &CanonicalId, at: &Snapshot) -> Result<Checksum, EraseError> {
        let versions = self.store.view().state().versions(id, at)?;
        let payload = versions
            .iter()
            .rev()
            .find_map(|version| version.record.block_payload());
        Ok(payload.ok_or(ResolveError::Removed { id: *id })?.checksum)
    }
}
