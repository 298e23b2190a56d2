//! The state of a store as replay of its log gives it, beside the one that it keeps.

use serde::Serialize;
use uor_index_format::snapshot::Snapshot;

use super::error::AuditError;
use super::subject::Audited;
use super::verdict::Verdict;

/// What replay arrived at.
#[derive(Debug, Clone, Serialize)]
pub struct Replayed {
    /// The state root.
    pub state_root: String,
    /// The highest logseq inside.
    pub logseq_max: u64,
    /// Visible entries.
    pub entries: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Records that were applied.
    pub records: u64,
    /// The snapshot.
    pub snapshot_id: String,
    /// The root of the state that is kept up incrementally: the same, or the store is unsound.
    pub kept_root: String,
}

impl Replayed {
    /// Whether both roots are the same.
    pub fn verdict(&self) -> Verdict {
        if self.state_root == self.kept_root {
            Verdict::Agrees
        } else {
            Verdict::Diverges
        }
    }
}

/// Replays a store's log in the one order, up to a snapshot.
///
/// # Errors
/// [`AuditError::SnapshotNotHere`] if the store lacks part of it; [`AuditError::Store`].
pub fn replay(audited: &Audited, snapshot: &Snapshot) -> Result<Replayed, AuditError> {
    if !audited.store.view().has(snapshot)? {
        return Err(AuditError::SnapshotNotHere {
            store: audited.name.clone(),
            snapshot: snapshot.id().to_string(),
        });
    }
    let replayed = audited.store.replay(snapshot)?;
    let kept = audited.store.view().state().root_at(snapshot)?;
    Ok(Replayed {
        state_root: replayed.root.to_string(),
        logseq_max: snapshot.logseq_max.0,
        entries: replayed.entries.len() as u64,
        conflicts: replayed.conflicts.len() as u64,
        records: replayed.records,
        snapshot_id: snapshot.id().to_string(),
        kept_root: kept.to_string(),
    })
}
