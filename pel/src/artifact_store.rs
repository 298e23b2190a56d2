//! What a run needs of a store: artifacts by key, and receipts. The node implements it;
//! [`MemoryStore`] is for tests and tools.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uor_index_format::id::ArtifactKey;
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::{Payload, artifact_key};

use crate::blob::{Blob, checksum, to_vec};

/// Longest outcome of a run that is read, in bytes.
pub const OUTCOME_LEN_MAX: u64 = 256 << 20;

/// An artifact whose bytes are here.
#[derive(Clone)]
pub struct Found {
    /// What the bytes are, where somebody said so.
    pub type_tag: Option<u32>,
    /// The bytes.
    pub blob: Arc<dyn Blob>,
}

/// A store that failed, or a blob that could not be read while it was put.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct ArtifactStoreError {
    /// What was being done.
    pub doing: &'static str,
    /// Why it failed.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl ArtifactStoreError {
    /// A failure while `doing`.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            source: source.into(),
        }
    }
}

/// Artifacts and receipts at one state of a site.
pub trait ArtifactStore {
    /// The artifact with this key; `None` when it is unknown, shadowed, or its bytes are not here.
    fn find(&self, key: &ArtifactKey) -> Result<Option<Found>, ArtifactStoreError>;

    /// Keeps an artifact and says its key. What is already there is not kept twice.
    fn put(
        &self,
        type_tag: Option<u32>,
        blob: Arc<dyn Blob>,
    ) -> Result<ArtifactKey, ArtifactStoreError>;

    /// The outcome that stands for this receipt, if one does.
    fn receipt(&self, key: &ArtifactKey) -> Result<Option<Outcome>, ArtifactStoreError>;

    /// Claims an outcome. Everything that it names has been put before.
    fn put_receipt(
        &self,
        derivation: &Derivation,
        outcome: &Outcome,
    ) -> Result<(), ArtifactStoreError>;
}

/// The key of an artifact with these bytes.
pub fn key_of(type_tag: Option<u32>, blob: &dyn Blob) -> Result<ArtifactKey, ArtifactStoreError> {
    let checksum = checksum(blob)
        .map_err(|error| ArtifactStoreError::new("read the bytes of a new artifact", error))?;
    Ok(artifact_key(
        type_tag,
        &Payload {
            checksum,
            len: blob.size(),
        },
    ))
}

/// An artifact store in memory.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    artifacts: BTreeMap<ArtifactKey, (Option<u32>, Arc<Vec<u8>>)>,
    receipts: BTreeMap<ArtifactKey, (Derivation, Outcome)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys of all artifacts, ascending.
    pub fn artifacts(&self) -> Vec<ArtifactKey> {
        self.lock().artifacts.keys().copied().collect()
    }

    /// All receipts, ascending by key.
    pub fn receipts(&self) -> Vec<(Derivation, Outcome)> {
        self.lock().receipts.values().cloned().collect()
    }

    /// Forgets an artifact, as if its bytes had been dropped.
    pub fn forget(&self, key: &ArtifactKey) {
        self.lock().artifacts.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArtifactStore for MemoryStore {
    fn find(&self, key: &ArtifactKey) -> Result<Option<Found>, ArtifactStoreError> {
        let inner = self.lock();
        let found = inner.artifacts.get(key);
        Ok(found.map(|(type_tag, bytes)| Found {
            type_tag: *type_tag,
            blob: Arc::clone(bytes) as Arc<dyn Blob>,
        }))
    }

    fn put(
        &self,
        type_tag: Option<u32>,
        blob: Arc<dyn Blob>,
    ) -> Result<ArtifactKey, ArtifactStoreError> {
        let key = key_of(type_tag, &*blob)?;
        let bytes = to_vec(&*blob, u64::MAX)
            .map_err(|error| ArtifactStoreError::new("copy a new artifact", error))?;
        self.lock()
            .artifacts
            .insert(key, (type_tag, Arc::new(bytes)));
        Ok(key)
    }

    fn receipt(&self, key: &ArtifactKey) -> Result<Option<Outcome>, ArtifactStoreError> {
        Ok(self
            .lock()
            .receipts
            .get(key)
            .map(|(_, outcome)| outcome.clone()))
    }

    fn put_receipt(
        &self,
        derivation: &Derivation,
        outcome: &Outcome,
    ) -> Result<(), ArtifactStoreError> {
        self.lock().receipts.insert(
            derivation.receipt_key(),
            (derivation.clone(), outcome.clone()),
        );
        Ok(())
    }
}
