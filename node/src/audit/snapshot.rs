//! The snapshot at which stores are audited.

use uor_asl::blocks::BlocksError;
use uor_asl::state::{Filter, ReadError};
use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::record::Content;
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, RefAssignment};
use uor_index_format::snapshot::{self, Snapshot};

use super::subject::Audited;

/// Largest snapshot artifact that is read, in bytes.
const SNAPSHOT_LEN_MAX: u64 = 64 << 20;
/// Fewest digits of an id's beginning.
const PREFIX_LEN_MIN: usize = 8;

/// Why a text names no snapshot of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is looked for in none.
    #[error("no stores")]
    NoStores,
    /// Neither a label nor an id.
    #[error("store {store} knows no snapshot `{text}`")]
    Unknown {
        /// How the store was named.
        store: String,
        /// The text.
        text: String,
    },
    /// Several ids begin like this.
    #[error("`{text}` is ambiguous in store {store}: give more digits")]
    Ambiguous {
        /// How the store was named.
        store: String,
        /// The text.
        text: String,
    },
    /// The snapshot's own bytes are not here, or are none.
    #[error("snapshot {id} cannot be read in store {store}")]
    Unreadable {
        /// How the store was named.
        store: String,
        /// The snapshot.
        id: CanonicalId,
        /// What is wrong with its bytes.
        #[source]
        source: SnapshotBytesError,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] ReadError),
}

/// Why the bytes of a snapshot are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotBytesError {
    /// No artifact here has this id.
    #[error("no artifact here has this id")]
    Unknown,
    /// The bytes could not be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The bytes are no snapshot.
    #[error("the bytes are no snapshot")]
    Malformed(#[from] uor_index_format::DecodeError),
    /// The bytes are another snapshot's.
    #[error("the bytes are those of snapshot {0}")]
    Other(CanonicalId),
}

impl Audited {
    /// The snapshot that a full id, the beginning of one, or a label names.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot(&self, text: &str) -> Result<Snapshot, SnapshotError> {
        let id = self.snapshot_id(text)?;
        let unreadable = |source| SnapshotError::Unreadable {
            store: self.name.clone(),
            id,
            source,
        };
        self.snapshot_of(&id)?.map_err(unreadable)
    }

    fn snapshot_id(&self, text: &str) -> Result<CanonicalId, SnapshotError> {
        let (store, text) = (self.name.clone(), text.to_owned());
        let view = self.store.view();
        let label = RefAssignment::id_of(NAMESPACE_SNAPSHOT, &text);
        let labelled = view
            .state()
            .get(&label, view.head())?
            .and_then(|visible| visible.version);
        if let Some(Content::Ref(assignment)) =
            labelled.as_ref().map(|version| version.record.content())
        {
            return Ok(assignment.target.into());
        }
        if text.len() < PREFIX_LEN_MIN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SnapshotError::Unknown { store, text });
        }
        let mut snapshots = Vec::new();
        for id in view.state().ids_with_prefix(&text, usize::MAX)? {
            let versions = view.state().versions(&id, view.head())?;
            if versions
                .iter()
                .any(|version| version.record.type_tag() == Some(snapshot::TYPE_TAG))
            {
                snapshots.push(id);
            }
        }
        match snapshots.as_slice() {
            [] => Err(SnapshotError::Unknown { store, text }),
            [id] => Ok(*id),
            _ => Err(SnapshotError::Ambiguous { store, text }),
        }
    }

    /// The snapshot with this id, or what is wrong with its bytes. Tombstoned ones are still
    /// evidence.
    ///
    /// # Errors
    /// [`ReadError`] if the state cannot be read.
    pub fn snapshot_of(
        &self,
        id: &CanonicalId,
    ) -> Result<Result<Snapshot, SnapshotBytesError>, ReadError> {
        let versions = {
            let view = self.store.view();
            view.state().versions(id, view.head())?
        };
        let payload = versions
            .iter()
            .find_map(|version| version.record.block_payload());
        Ok(payload
            .ok_or(SnapshotBytesError::Unknown)
            .and_then(|payload| self.decode_snapshot(id, payload.checksum)))
    }

    fn decode_snapshot(
        &self,
        id: &CanonicalId,
        payload: Checksum,
    ) -> Result<Snapshot, SnapshotBytesError> {
        let snapshot = Snapshot::decode(&self.store.blocks().read_all(payload, SNAPSHOT_LEN_MAX)?)?;
        let found = CanonicalId::from(snapshot.id());
        if found == *id {
            Ok(snapshot)
        } else {
            Err(SnapshotBytesError::Other(found))
        }
    }

    /// Every snapshot artifact in the store, ascending by id, whether or not it can be read.
    ///
    /// # Errors
    /// [`ReadError`] if the state cannot be read.
    pub fn snapshots(&self) -> Result<Vec<CanonicalId>, ReadError> {
        let view = self.store.view();
        let filter = Filter::type_tag(snapshot::TYPE_TAG);
        view.state()
            .entries(view.head(), &filter)
            .map(|entry| Ok(entry?.id))
            .collect()
    }
}

/// The snapshot that a text names in any of the stores.
///
/// # Errors
/// [`SnapshotError`]: the first store's reason.
pub fn snapshot_in(stores: &[Audited], text: &str) -> Result<Snapshot, SnapshotError> {
    let mut first = None;
    for audited in stores {
        match audited.snapshot(text) {
            Ok(snapshot) => return Ok(snapshot),
            Err(error @ SnapshotError::State(_)) => return Err(error),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(SnapshotError::NoStores))
}
