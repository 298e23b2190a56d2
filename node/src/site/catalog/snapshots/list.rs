//! Stored snapshots, listed with their labels.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_asl::state::{Filter, ReadError as StateError};
use uor_index_format::id::{LogSeq, SnapshotId};
use uor_index_format::record::{Content, Kind};
use uor_index_format::reference::NAMESPACE_SNAPSHOT;
use uor_index_format::snapshot::{Snapshot, TYPE_TAG};
use uor_index_format::state::Entry;

use super::error::SnapshotError;
use crate::site::catalog::origin::ZfsIdentity;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;

/// One stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotListed {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub snapshot_id: SnapshotId,
    /// Its labels, ascending.
    pub labels: Vec<String>,
    /// The highest logseq inside; unknown while its payload cannot be read.
    #[serde(serialize_with = "json::logseq_option")]
    pub logseq_max: Option<LogSeq>,
    /// How many commits are inside.
    pub commits: Option<u64>,
    /// Whether this site retains it.
    #[serde(rename = "kept")]
    pub retained: bool,
    /// The ZFS snapshot that it was imported from, if it was.
    pub zfs: Option<ZfsIdentity>,
}

impl SnapshotListed {
    fn of(
        snapshot_id: SnapshotId,
        labels: &BTreeMap<SnapshotId, Vec<String>>,
        snapshot: Option<&Snapshot>,
        retained: bool,
    ) -> Self {
        Self {
            snapshot_id,
            labels: labels.get(&snapshot_id).cloned().unwrap_or_default(),
            logseq_max: snapshot.map(|snapshot| snapshot.logseq_max),
            commits: snapshot
                .map(|snapshot| snapshot.frontier.values().map(|head| head.number).sum()),
            retained,
            zfs: snapshot
                .and_then(|snapshot| snapshot.origin.as_deref())
                .map(ZfsIdentity::of),
        }
    }
}

impl Site {
    /// Stored snapshots, oldest first.
    ///
    /// # Errors
    /// [`SnapshotError`]. One whose payload is not here, or is no snapshot whoever signed it, is
    /// listed without it.
    pub fn snapshots(&self) -> Result<Vec<SnapshotListed>, SnapshotError> {
        let head = self.head();
        let retained = self.retained()?;
        let labels = self.labels(&head)?;
        let targets = {
            let view = self.store.view();
            let listed = |entry: Entry| Target::of(&entry.id.to_string(), &entry);
            let filter = Filter::type_tag(TYPE_TAG);
            let entries = view.state().entries(&head, &filter);
            entries
                .map(|entry| entry.map(listed))
                .collect::<Result<Vec<_>, _>>()?
        };
        let mut listed = Vec::new();
        for target in targets {
            let snapshot = match self.read_snapshot(&target) {
                Err(SnapshotError::Read(_)) => None,
                other => Some(other?),
            };
            let snapshot_id = target.key();
            let is_retained = retained.contains(&snapshot_id);
            listed.push(SnapshotListed::of(
                snapshot_id,
                &labels,
                snapshot.as_ref(),
                is_retained,
            ));
        }
        // What was removed, and is retained nevertheless.
        for snapshot_id in retained
            .into_iter()
            .filter(|id| listed.iter().all(|listed| listed.snapshot_id != *id))
            .collect::<Vec<_>>()
        {
            let snapshot = self
                .retained_snapshot(&snapshot_id)
                .ok()
                .map(|retained| retained.snapshot);
            listed.push(SnapshotListed::of(
                snapshot_id,
                &labels,
                snapshot.as_ref(),
                true,
            ));
        }
        listed.sort_by_key(|snapshot| (snapshot.logseq_max, snapshot.snapshot_id));
        Ok(listed)
    }

    /// Labels of snapshots, ascending.
    pub(super) fn labels(
        &self,
        at: &Snapshot,
    ) -> Result<BTreeMap<SnapshotId, Vec<String>>, StateError> {
        let mut labels: BTreeMap<SnapshotId, Vec<String>> = BTreeMap::new();
        let view = self.store.view();
        for visible in view.state().visible(at, &Filter::kind(Kind::Ref)) {
            let Some(version) = visible?.version else {
                continue;
            };
            if let Content::Ref(assignment) = version.record.content()
                && assignment.namespace == NAMESPACE_SNAPSHOT
            {
                labels
                    .entry(assignment.target)
                    .or_default()
                    .push(assignment.name.clone());
            }
        }
        labels.values_mut().for_each(|labels| labels.sort());
        Ok(labels)
    }
}
