//! What a node reads.

use uor_index_format::id::ArtifactKey;

use super::error::RunError;
use crate::artifact_store::{ArtifactStore, Found};

/// An artifact that a node reads.
pub(super) fn found(
    store: &dyn ArtifactStore,
    key: &ArtifactKey,
    label: &str,
) -> Result<Found, RunError> {
    store.find(key)?.ok_or_else(|| RunError::Absent {
        label: label.to_owned(),
        key: *key,
    })
}
