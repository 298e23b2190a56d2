//! One snapshot, and what it applied.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_asl::state::{Filter, ReadError as StateError};
use uor_asl::store::View;
use uor_index_format::id::{
    ArtifactKey, CanonicalId, CommitHash, LogSeq, SiteId, SnapshotId, StateRoot,
};
use uor_index_format::record::Kind;
use uor_index_format::snapshot::{Frontier, Snapshot};
use uor_index_format::state::StateHash;

use super::error::SnapshotError;
use crate::site::catalog::origin::ZfsIdentity;
use crate::site::handle::Site;
use crate::site::json;

/// A snapshot and what it applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotShown {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub snapshot_id: SnapshotId,
    /// Its labels, ascending.
    pub labels: Vec<String>,
    /// Whether this site retains it.
    #[serde(rename = "kept")]
    pub retained: bool,
    /// The highest logseq inside.
    #[serde(serialize_with = "json::logseq")]
    pub logseq_max: LogSeq,
    /// The ZFS snapshot that it was imported from, if it was.
    pub zfs: Option<ZfsIdentity>,
    /// The tree, or the volume's bytes, that the import brought.
    #[serde(serialize_with = "json::text_option")]
    pub tree: Option<ArtifactKey>,
    /// The import that it rests on.
    #[serde(serialize_with = "json::text_option")]
    pub predecessor: Option<SnapshotId>,
    /// The digest of everything visible at it.
    #[serde(serialize_with = "json::text")]
    pub state_root: StateRoot,
    /// The commits inside.
    #[serde(serialize_with = "json::frontier")]
    pub frontier: Frontier,
    /// How many entries are visible.
    pub entries: u64,
    /// How many of them have an open conflict.
    pub conflicts: u64,
    /// How many records it applied, by the kind's word.
    pub kinds: BTreeMap<&'static str, u64>,
    /// What it applied of each domain.
    pub domains: Vec<DomainApplied>,
    /// The provenance table: every record it applied, in the one order.
    pub applied: Vec<Applied>,
}

/// What a snapshot applied of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainApplied {
    /// The domain.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
    /// Its site's name, if it is known.
    pub name: Option<String>,
    /// Number of its last commit inside.
    pub number: u64,
    /// Hash of that commit.
    #[serde(serialize_with = "json::text")]
    pub hash: CommitHash,
    /// How many records.
    pub records: u64,
}

/// One record that a snapshot applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
    /// About what.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// What it says.
    #[serde(serialize_with = "json::kind")]
    pub kind: Kind,
    /// By whom.
    #[serde(serialize_with = "json::text")]
    pub domain: SiteId,
    /// Number of the commit that carried it.
    pub number: u64,
}

impl Site {
    /// A snapshot and what it applied.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_show(&self, text: &str) -> Result<SnapshotShown, SnapshotError> {
        let snapshot = self.at(Some(text))?;
        let snapshot_id = snapshot.id();
        let retained = self.retained()?.contains(&snapshot_id);
        let labels = self
            .labels(&self.head())?
            .remove(&snapshot_id)
            .unwrap_or_default();
        let names = self.shown_names()?;
        let view = self.store.view();
        let applied = applied(&view, &snapshot)?;
        let mut kinds = BTreeMap::new();
        for record in &applied {
            *kinds.entry(record.kind.name()).or_default() += 1;
        }
        let domains = domains_applied(&snapshot, &applied, &names);
        let (mut sum, mut conflicts) = (StateHash::default(), 0);
        for entry in view.state().entries(&snapshot, &Filter::ALL) {
            let entry = entry?;
            conflicts += u64::from(entry.conflict);
            sum.add(&entry);
        }
        let (state_root, entries) = (sum.root(&snapshot), sum.entries());
        let Snapshot {
            frontier,
            logseq_max,
            origin,
        } = snapshot;
        let zfs = origin.as_deref().map(ZfsIdentity::of);
        let (tree, predecessor) = origin
            .map(|origin| (origin.contents, origin.predecessor))
            .unzip();
        let predecessor = predecessor.flatten();
        Ok(SnapshotShown {
            snapshot_id,
            labels,
            retained,
            logseq_max,
            zfs,
            tree,
            predecessor,
            state_root,
            frontier,
            entries,
            conflicts,
            kinds,
            domains,
            applied,
        })
    }
}

/// What a snapshot applied of each domain inside it.
fn domains_applied(
    snapshot: &Snapshot,
    applied: &[Applied],
    names: &BTreeMap<SiteId, String>,
) -> Vec<DomainApplied> {
    let mut records: BTreeMap<SiteId, u64> = BTreeMap::new();
    for record in applied {
        *records.entry(record.domain).or_default() += 1;
    }
    let domains = snapshot.frontier.iter();
    domains
        .map(|(domain, head)| DomainApplied {
            domain: *domain,
            name: names.get(domain).cloned(),
            number: head.number,
            hash: head.hash,
            records: records.get(domain).copied().unwrap_or(0),
        })
        .collect()
}

/// Every record inside a snapshot, in the one order.
fn applied(view: &View, snapshot: &Snapshot) -> Result<Vec<Applied>, StateError> {
    let mut versions = view
        .state()
        .all_versions(snapshot)
        .collect::<Result<Vec<_>, _>>()?;
    versions.sort_by_key(|version| version.place);
    let listed = versions.into_iter().map(|version| Applied {
        logseq: version.place.logseq,
        id: version.place.id,
        kind: version.record.kind(),
        domain: version.place.domain,
        number: version.number,
    });
    Ok(listed.collect())
}
