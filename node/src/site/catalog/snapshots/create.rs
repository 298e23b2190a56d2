//! Snapshots being made.

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_index_format::id::{LogSeq, SnapshotId, StateRoot};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, RefAssignment, check_name};
use uor_index_format::snapshot::{Frontier, Snapshot, TYPE_TAG};

use super::error::{HEAD, SnapshotError};
use crate::site::directory::files::FileError;
use crate::site::handle::Site;
use crate::site::json;

/// A snapshot that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotCreated {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub snapshot_id: SnapshotId,
    /// The highest logseq inside.
    #[serde(serialize_with = "json::logseq")]
    pub logseq_max: LogSeq,
    /// The digest of everything visible at it.
    #[serde(serialize_with = "json::text")]
    pub state_root: StateRoot,
    /// The commits inside.
    #[serde(serialize_with = "json::frontier")]
    pub frontier: Frontier,
    /// Its label.
    pub label: Option<String>,
    /// The snapshot that had the label until now, and was not retained here.
    #[serde(serialize_with = "json::text_option")]
    pub label_was: Option<SnapshotId>,
}

impl Site {
    /// Stores the snapshot of everything here, without the commit that stores it; retained until
    /// dropped. What is retained under a label keeps it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_create(&self, label: Option<&str>) -> Result<SnapshotCreated, SnapshotError> {
        if label == Some(HEAD) {
            return Err(SnapshotError::ReservedLabel);
        }
        label.map_or(Ok(()), check_name)?;
        if self.mode == Mode::ReadOnly {
            return Err(FileError::ReadOnly.into());
        }
        let _putting = self.putting();
        let (snapshot, state_root) = {
            let view = self.store.view();
            (view.head().clone(), view.state().root())
        };
        let snapshot_id = snapshot.id();
        let label_was = self.labelled(label, &snapshot)?;
        if let (Some(label), Some(id)) = (label, label_was)
            && self.retained()?.contains(&id)
        {
            return Err(SnapshotError::LabelTaken {
                label: label.to_owned(),
                id,
            });
        }
        let bytes = snapshot.encode();
        let payload = Payload::of(&bytes);
        self.store.blocks().put_bytes(&bytes)?;
        let mut records = Vec::new();
        if !self.is_visible(&snapshot_id.into())? {
            records.push(Record::artifact(Some(TYPE_TAG), payload));
        }
        if let Some(label) = label {
            let (namespace, name) = (NAMESPACE_SNAPSHOT.to_owned(), label.to_owned());
            records.push(Record::reference(RefAssignment {
                namespace,
                name,
                target: snapshot_id,
            }));
        }
        if !records.is_empty() {
            self.commit(records)?;
        }
        self.change_retained(|retained| retained.insert(snapshot_id))?;
        let Snapshot {
            frontier,
            logseq_max,
            ..
        } = snapshot;
        Ok(SnapshotCreated {
            snapshot_id,
            logseq_max,
            state_root,
            frontier,
            label: label.map(str::to_owned),
            label_was,
        })
    }

    /// The other snapshot that a label stands for.
    fn labelled(
        &self,
        label: Option<&str>,
        snapshot: &Snapshot,
    ) -> Result<Option<SnapshotId>, SnapshotError> {
        let find = |label| self.ref_target_in(NAMESPACE_SNAPSHOT, label, snapshot);
        let found = label.map(find).transpose()?.flatten();
        Ok(found.filter(|id| *id != snapshot.id()))
    }
}
