//! The artifacts of a store as replaying runs sees them: it gives, and takes nothing.

use std::io::{self, Read as _};
use std::sync::Arc;

use uor_asl::state::ReadError;
use uor_asl::store::Store;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::Kind;
use uor_pel::artifact_store::{ArtifactStore, ArtifactStoreError, Found, OUTCOME_LEN_MAX};
use uor_pel::blob::Blob;

/// The receipts that are visible at a store's head, and every artifact whose bytes are here: what a
/// run was fed proves the run even after a tombstone has shadowed it.
#[derive(Clone)]
pub struct StoredArtifacts(pub Arc<Store>);

struct StoreBlob {
    store: Arc<Store>,
    checksum: Checksum,
    len: u64,
}

impl Blob for StoreBlob {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset
            .checked_add(buffer.len() as u64)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut reader = self
            .store
            .blocks()
            .read_range(self.checksum, offset..end)
            .map_err(io::Error::other)?;
        reader.read_exact(buffer)
    }
}

fn unread(error: ReadError) -> ArtifactStoreError {
    ArtifactStoreError::new("read the state", error)
}

impl ArtifactStore for StoredArtifacts {
    fn find(&self, key: &ArtifactKey) -> Result<Option<Found>, ArtifactStoreError> {
        let versions = {
            let view = self.0.view();
            view.state()
                .versions(&(*key).into(), view.head())
                .map_err(unread)?
        };
        // The key names type tag, length and checksum, so every version says the same.
        let artifact = versions
            .iter()
            .find(|version| version.record.kind() == Kind::Artifact);
        let found = artifact
            .and_then(|version| Some((version.record.type_tag(), version.record.block_payload()?)));
        let here = found.filter(|(_, payload)| self.0.blocks().has(payload.checksum));
        Ok(here.map(|(type_tag, payload)| {
            let blob = StoreBlob {
                store: Arc::clone(&self.0),
                checksum: payload.checksum,
                len: payload.len,
            };
            Found {
                type_tag,
                blob: Arc::new(blob),
            }
        }))
    }

    fn put(&self, _: Option<u32>, _: Arc<dyn Blob>) -> Result<ArtifactKey, ArtifactStoreError> {
        Err(ArtifactStoreError::new(
            "write to a store under audit",
            "it is only read",
        ))
    }

    fn receipt(&self, key: &ArtifactKey) -> Result<Option<Outcome>, ArtifactStoreError> {
        let checksum = {
            let view = self.0.view();
            let entry = view
                .state()
                .entry(&(*key).into(), view.head())
                .map_err(unread)?;
            entry
                .filter(|entry| entry.kind == Kind::Receipt)
                .and_then(|entry| entry.checksum)
        };
        checksum.map_or(Ok(None), |checksum| self.outcome(checksum))
    }

    fn put_receipt(&self, _: &Derivation, _: &Outcome) -> Result<(), ArtifactStoreError> {
        Err(ArtifactStoreError::new(
            "write to a store under audit",
            "it is only read",
        ))
    }
}

impl StoredArtifacts {
    /// The outcome with this checksum, if its bytes are here.
    ///
    /// # Errors
    /// [`ArtifactStoreError`] if its bytes are damaged, or are no outcome.
    pub fn outcome(&self, checksum: Checksum) -> Result<Option<Outcome>, ArtifactStoreError> {
        if !self.0.blocks().has(checksum) {
            return Ok(None);
        }
        let read = self.0.blocks().read_all(checksum, OUTCOME_LEN_MAX);
        let bytes =
            read.map_err(|error| ArtifactStoreError::new("read a receipt's outcome", error))?;
        Outcome::decode(&bytes)
            .map(Some)
            .map_err(|error| ArtifactStoreError::new("decode a receipt's outcome", error))
    }
}
