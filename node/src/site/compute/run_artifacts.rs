//! What a run sees of a store, and what it leaves: artifacts and receipts at one snapshot, and the
//! records of the run.
//!
//! Bytes that a run makes go into the blocks at once; the records that name them are held back and
//! become visible together with the run's receipt, or never. A run reads its own outputs meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uor_asl::state::ReadError as StateError;
use uor_asl::store::Store;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum, SiteId};
use uor_index_format::receipt::{Derivation, Outcome};
use uor_index_format::record::{Content, Kind, Payload, Record, artifact_key};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;
use uor_pel::artifact_store::{ArtifactStore, ArtifactStoreError, Found, OUTCOME_LEN_MAX};
use uor_pel::blob::{Blob, BlobReader};

use crate::cancel::Cancel;

/// Chunks of payloads that are kept in memory, at most 4 MiB each.
const CHUNKS_CACHED_MAX: usize = 4;

/// A store at one snapshot as a run sees it. Receipts are no inputs: what one stands for may still
/// change.
pub struct RunArtifacts {
    store: Arc<Store>,
    at: Snapshot,
    writer: SiteId,
    cache: Arc<Mutex<Cache>>,
    left: Mutex<Left>,
    cancel: Cancel,
}

/// What the run has left so far.
#[derive(Default)]
struct Left {
    /// In the order in which they were put, so that each comes after what it names.
    records: Vec<Record>,
    artifacts: BTreeMap<ArtifactKey, (Option<u32>, Payload)>,
    receipts: BTreeMap<ArtifactKey, Outcome>,
}

impl RunArtifacts {
    /// The store at a snapshot; `writer` is the site on whose behalf things are run.
    pub fn new(store: Arc<Store>, at: Snapshot, writer: SiteId) -> Self {
        Self {
            store,
            at,
            writer,
            cache: Arc::default(),
            left: Mutex::default(),
            cancel: Cancel::default(),
        }
    }

    /// The same; nothing is found or put any more once `cancel` says so.
    #[must_use]
    pub fn cancellable(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    fn check(&self) -> Result<(), ArtifactStoreError> {
        self.cancel
            .check()
            .map_err(|cancelled| ArtifactStoreError::new("go on", cancelled))
    }

    /// The records that the run left, each after what it names. None repeats what the writer has
    /// already said.
    pub fn into_records(self) -> Vec<Record> {
        self.left
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .records
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, type_tag: Option<u32>, payload: Payload) -> Option<Found> {
        let Payload { checksum, len } = payload;
        let is_here = self.store.blocks().has(checksum);
        let blob = StoredBlob {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.cache),
            checksum,
            len,
        };
        is_here.then(|| Found {
            type_tag,
            blob: Arc::new(blob),
        })
    }

    /// Type tag and payload of a visible artifact.
    fn artifact(
        &self,
        key: &ArtifactKey,
    ) -> Result<Option<(Option<u32>, Payload)>, ArtifactStoreError> {
        let entry = self.entry(key, Kind::Artifact)?;
        Ok(entry.and_then(|entry| {
            let payload = Payload {
                checksum: entry.checksum?,
                len: entry.payload_len,
            };
            Some((entry.type_tag, payload))
        }))
    }

    /// What is visible under a key, if it is of this kind.
    fn entry(&self, key: &ArtifactKey, kind: Kind) -> Result<Option<Entry>, ArtifactStoreError> {
        let entry = self.store.view().state().entry(&(*key).into(), &self.at);
        Ok(entry
            .map_err(|error| ArtifactStoreError::new("read the state", error))?
            .filter(|entry| entry.kind == kind))
    }

    /// Whether the writer's own unshadowed claim about an id is this one.
    fn is_claimed(
        &self,
        id: &CanonicalId,
        checksum: &Checksum,
    ) -> Result<bool, ArtifactStoreError> {
        let claims = {
            let view = self.store.view();
            view.state()
                .unshadowed(id, view.head())
                .map_err(|error| ArtifactStoreError::new("read the state", error))?
        };
        let mut own = claims
            .iter()
            .filter(|version| version.place.domain == self.writer);
        Ok(own.any(|version| {
            version
                .record
                .block_payload()
                .is_some_and(|payload| payload.checksum == *checksum)
        }))
    }

    fn put_blob(&self, blob: &dyn Blob) -> Result<Payload, ArtifactStoreError> {
        let put = self
            .store
            .blocks()
            .put(&mut BlobReader::new(blob), &mut |_| {});
        let put =
            put.map_err(|error| ArtifactStoreError::new("store the output of a node", error))?;
        let arrived = self.store.payloads_arrived(&[put.checksum]);
        arrived.map_err(|error| ArtifactStoreError::new("store the output of a node", error))?;
        Ok(Payload {
            checksum: put.checksum,
            len: put.len,
        })
    }
}

impl ArtifactStore for RunArtifacts {
    fn find(&self, key: &ArtifactKey) -> Result<Option<Found>, ArtifactStoreError> {
        self.check()?;
        let left = self.left().artifacts.get(key).copied();
        let known = if left.is_some() {
            left
        } else {
            self.artifact(key)?
        };
        Ok(known.and_then(|(type_tag, payload)| self.found(type_tag, payload)))
    }

    fn put(
        &self,
        type_tag: Option<u32>,
        blob: Arc<dyn Blob>,
    ) -> Result<ArtifactKey, ArtifactStoreError> {
        self.check()?;
        let payload = self.put_blob(&*blob)?;
        let key = artifact_key(type_tag, &payload);
        let is_visible = self.artifact(&key)?.is_some();
        let mut left = self.left();
        if left.artifacts.insert(key, (type_tag, payload)).is_none() && !is_visible {
            left.records.push(Record::artifact(type_tag, payload));
        }
        Ok(key)
    }

    fn receipt(&self, key: &ArtifactKey) -> Result<Option<Outcome>, ArtifactStoreError> {
        self.check()?;
        if let Some(outcome) = self.left().receipts.get(key) {
            return Ok(Some(outcome.clone()));
        }
        let checksum = self
            .entry(key, Kind::Receipt)?
            .and_then(|entry| entry.checksum);
        let Some(checksum) = checksum.filter(|checksum| self.store.blocks().has(*checksum)) else {
            return Ok(None);
        };
        let bytes = self.store.blocks().read_all(checksum, OUTCOME_LEN_MAX);
        let bytes = bytes.map_err(|error| ArtifactStoreError::new("read a receipt", error))?;
        // What is no outcome, whoever signed it, stands for nothing and is computed.
        Ok(Outcome::decode(&bytes).ok())
    }

    fn put_receipt(
        &self,
        derivation: &Derivation,
        outcome: &Outcome,
    ) -> Result<(), ArtifactStoreError> {
        self.check()?;
        let payload = self.put_blob(&outcome.encode())?;
        let key = derivation.receipt_key();
        let is_claimed = self.is_claimed(&key.into(), &payload.checksum)?;
        let mut left = self.left();
        if left.receipts.insert(key, outcome.clone()).is_none() && !is_claimed {
            left.records
                .push(Record::receipt(derivation.clone(), payload));
        }
        Ok(())
    }
}

/// What a receipt inside a snapshot was run from: every claim about it says the same.
pub(in crate::site) fn derivation(
    store: &Store,
    key: &ArtifactKey,
    at: &Snapshot,
) -> Result<Option<Derivation>, StateError> {
    let versions = store.view().state().versions(&(*key).into(), at)?;
    Ok(versions
        .iter()
        .find_map(|version| match version.record.content() {
            Content::Receipt { derivation, .. } => Some(derivation.clone()),
            _ => None,
        }))
}

/// A payload with random access.
struct StoredBlob {
    store: Arc<Store>,
    cache: Arc<Mutex<Cache>>,
    checksum: Checksum,
    len: u64,
}

impl Blob for StoredBlob {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset
            .checked_add(buffer.len() as u64)
            .filter(|end| *end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let chunk = self.chunk(at)?;
            let skip = usize::try_from(at - chunk.range.start).map_err(io::Error::other)?;
            let from = chunk.bytes.get(skip..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            (at, rest) = (at + len as u64, later);
        }
        Ok(())
    }
}

impl StoredBlob {
    /// The chunk that holds an offset inside the payload.
    fn chunk(&self, offset: u64) -> io::Result<Arc<Cached>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = cache.find(&self.checksum, offset) {
            return Ok(chunk);
        }
        let blocks = self.store.blocks();
        let mut range = 0..0;
        for chunk in blocks.chunks(self.checksum).map_err(io::Error::other)? {
            range = range.end..range.end + u64::from(chunk.len);
            if range.contains(&offset) {
                break;
            }
        }
        if !range.contains(&offset) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::new();
        let mut reader = blocks
            .read_range(self.checksum, range.clone())
            .map_err(io::Error::other)?;
        io::Read::read_to_end(&mut reader, &mut bytes)?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let chunk = Arc::new(Cached {
            checksum: self.checksum,
            range,
            bytes,
        });
        cache.keep(Arc::clone(&chunk));
        Ok(chunk)
    }
}

/// A few chunks in memory, those that were used last.
#[derive(Default)]
struct Cache {
    chunks: Vec<Arc<Cached>>,
}

struct Cached {
    checksum: Checksum,
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl Cache {
    fn find(&mut self, checksum: &Checksum, offset: u64) -> Option<Arc<Cached>> {
        let holds =
            |chunk: &Arc<Cached>| chunk.checksum == *checksum && chunk.range.contains(&offset);
        let index = self.chunks.iter().position(holds)?;
        let chunk = self.chunks.remove(index);
        self.chunks.push(Arc::clone(&chunk));
        Some(chunk)
    }

    fn keep(&mut self, chunk: Arc<Cached>) {
        if self.chunks.len() >= CHUNKS_CACHED_MAX {
            self.chunks.remove(0);
        }
        self.chunks.push(chunk);
    }
}
