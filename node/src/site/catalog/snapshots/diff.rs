//! How two snapshots differ.

use serde::Serialize;
use uor_asl::state::{ReadError as StateError, State};
use uor_index_format::id::{CanonicalId, Checksum, LogSeq, SnapshotId};
use uor_index_format::record::{Content, Kind};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;

use super::error::SnapshotError;
use crate::site::catalog::sort::Sort;
use crate::site::handle::Site;
use crate::site::json;

/// What is visible about one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryListed {
    /// The id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it is.
    pub kind: Sort,
    /// What stands.
    #[serde(serialize_with = "json::text_option")]
    pub checksum: Option<Checksum>,
    /// Since when.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// Whether claims differ.
    pub conflict: bool,
    /// Name of a ref.
    pub name: Option<String>,
}

impl EntryListed {
    fn of(entry: &Entry, state: &State, at: &Snapshot) -> Result<Self, StateError> {
        let version = match entry.kind {
            Kind::Ref => state
                .get(&entry.id, at)?
                .and_then(|visible| visible.version),
            _ => None,
        };
        let name = version.and_then(|version| match version.record.content() {
            Content::Ref(assignment) => Some(assignment.name.clone()),
            _ => None,
        });
        let kind = Sort::of(entry);
        Ok(Self {
            id: entry.id,
            kind,
            checksum: entry.checksum,
            logseq: entry.logseq,
            conflict: entry.conflict,
            name,
        })
    }
}

/// An entry that is visible at both of two snapshots and not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// At the first.
    pub before: EntryListed,
    /// At the second.
    pub after: EntryListed,
}

/// How two snapshots differ; each list ascends by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotDiff {
    /// The first.
    #[serde(serialize_with = "json::text")]
    pub a: SnapshotId,
    /// The second.
    #[serde(serialize_with = "json::text")]
    pub b: SnapshotId,
    /// Visible at the second only.
    pub added: Vec<EntryListed>,
    /// Visible at the first only.
    pub removed: Vec<EntryListed>,
    /// Visible at both, differently.
    pub changed: Vec<Change>,
}

impl Site {
    /// How `b` differs from `a`.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_diff(&self, a: &str, b: &str) -> Result<SnapshotDiff, SnapshotError> {
        let (at_a, at_b) = (self.at(Some(a))?, self.at(Some(b))?);
        let mut diff = SnapshotDiff {
            a: at_a.id(),
            b: at_b.id(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        };
        let ids = self.store.changed_ids(&at_a, &at_b)?;
        let view = self.store.view();
        let state = view.state();
        for id in &ids {
            let (before, after) = (state.entry(id, &at_a)?, state.entry(id, &at_b)?);
            if before.as_ref().map(Entry::encode) == after.as_ref().map(Entry::encode) {
                continue;
            }
            let before = before
                .map(|entry| EntryListed::of(&entry, state, &at_a))
                .transpose()?;
            let after = after
                .map(|entry| EntryListed::of(&entry, state, &at_b))
                .transpose()?;
            match (before, after) {
                (Some(before), Some(after)) => diff.changed.push(Change { before, after }),
                (before, after) => {
                    diff.removed.extend(before);
                    diff.added.extend(after);
                }
            }
        }
        Ok(diff)
    }
}
