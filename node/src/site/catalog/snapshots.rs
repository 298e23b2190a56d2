//! Snapshots: made, named, shown, compared. (For how long: `kept`.)
//!
//! A snapshot is an artifact like any other and replicates like one; its labels are refs in a
//! namespace of their own.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_asl::blocks::BlocksError;
use uor_asl::disk::Mode;
use uor_asl::state::{Filter, ReadError as StateError, State};
use uor_asl::store::{CommitError, StoreError, View};
use uor_index_format::id::{
    ArtifactKey, CanonicalId, Checksum, CommitHash, LogSeq, SiteId, SnapshotId, StateRoot,
};
use uor_index_format::record::{Content, Kind, Payload, Record};
use uor_index_format::reference::{NAMESPACE_SNAPSHOT, NameError, RefAssignment, check_name};
use uor_index_format::snapshot::{DOMAINS_MAX, Frontier, ORIGIN_LEN_MAX, Snapshot, TYPE_TAG};
use uor_index_format::state::{Entry, StateHash};

use super::resolve::{ResolveError, Sort, Target};
use crate::site::directory::files::FileError;
use crate::site::export::read::ReadError;
use crate::site::handle::Site;
use crate::site::ingest::import::ZfsIdentity;
use crate::site::json;

/// The word for the state as it is now, wherever a snapshot is named.
const HEAD: &str = "head";
/// Longest snapshot payload: header and domains of 72 bytes each.
pub(in crate::site) const SNAPSHOT_LEN_MAX: u64 = 64 + DOMAINS_MAX as u64 * 72 + ORIGIN_LEN_MAX;

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
}

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
    /// Whether this site keeps it.
    pub kept: bool,
    /// The ZFS snapshot that it was imported from, if it was.
    pub zfs: Option<ZfsIdentity>,
}

impl SnapshotListed {
    fn of(
        snapshot_id: SnapshotId,
        labels: &BTreeMap<SnapshotId, Vec<String>>,
        snapshot: Option<&Snapshot>,
        kept: bool,
    ) -> Self {
        Self {
            snapshot_id,
            labels: labels.get(&snapshot_id).cloned().unwrap_or_default(),
            logseq_max: snapshot.map(|snapshot| snapshot.logseq_max),
            commits: snapshot
                .map(|snapshot| snapshot.frontier.values().map(|head| head.number).sum()),
            kept,
            zfs: snapshot
                .and_then(|snapshot| snapshot.origin.as_deref())
                .map(ZfsIdentity::of),
        }
    }
}

/// A snapshot and what it applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotShown {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub snapshot_id: SnapshotId,
    /// Its labels, ascending.
    pub labels: Vec<String>,
    /// Whether this site keeps it.
    pub kept: bool,
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

/// Why there is no such snapshot, or why it cannot be read or stored here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// No snapshot is meant.
    #[error(
        "there is no snapshot `{text}`: it is neither a label nor an id or its beginning, nor `{HEAD}`"
    )]
    Unknown {
        /// The text as it was given.
        text: String,
        /// What else may be said.
        #[source]
        source: ResolveError,
    },
    /// The id is something else's.
    #[error("`{text}` is {}, not a snapshot", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// It includes commits that are not here.
    #[error(
        "snapshot {id} includes commits up to {needed} of domain {domain}; here are {here} (or others): wait for them"
    )]
    Behind {
        /// The snapshot.
        id: SnapshotId,
        /// The first domain that lacks something.
        domain: SiteId,
        /// How many commits of it the snapshot includes.
        needed: u64,
        /// How many are here.
        here: u64,
    },
    /// Its payload could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The label cannot be a name.
    #[error(transparent)]
    Label(#[from] NameError),
    /// The label has a meaning of its own.
    #[error("`{HEAD}` is not a label: it means the state as it is now")]
    ReservedLabel,
    /// The payload could not be stored.
    #[error("could not store the snapshot")]
    Blocks(#[from] BlocksError),
    /// The records could not be written.
    #[error("could not write the snapshot")]
    Commit(#[from] CommitError),
    /// The list of kept snapshots could not be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Site {
    /// The snapshot to read at: the state as it is now, or what a snapshot's label, id, prefix or
    /// `head` names.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn at(&self, text: Option<&str>) -> Result<Snapshot, SnapshotError> {
        let head = self.head();
        let Some(text) = text.filter(|text| *text != HEAD) else {
            return Ok(head);
        };
        let target = self.resolve_snapshot(text, &head)?;
        let snapshot = self.read_snapshot(&target)?;
        self.check_commits(&target.key(), &snapshot)?;
        Ok(snapshot)
    }

    /// Whether every commit inside a snapshot is here.
    pub(in crate::site) fn check_commits(
        &self,
        id: &SnapshotId,
        snapshot: &Snapshot,
    ) -> Result<(), SnapshotError> {
        let view = self.store.view();
        for (domain, needed) in &snapshot.frontier {
            if view.commit_hash(domain, needed.number)? != Some(needed.hash) {
                return Err(SnapshotError::Behind {
                    id: *id,
                    domain: *domain,
                    needed: needed.number,
                    here: view
                        .head()
                        .frontier
                        .get(domain)
                        .map_or(0, |head| head.number),
                });
            }
        }
        Ok(())
    }

    /// Stores the snapshot of everything here, without the commit that stores it; kept until
    /// dropped.
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
        let bytes = snapshot.encode();
        let payload = Payload::of(&bytes);
        self.store.blocks().put_bytes(&bytes)?;
        let snapshot_id = snapshot.id();
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
        self.change_kept(|kept| kept.insert(snapshot_id))?;
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
        })
    }

    /// Stored snapshots, oldest first.
    ///
    /// # Errors
    /// [`SnapshotError`]. One whose payload is not here, or is no snapshot whoever signed it, is
    /// listed without it.
    pub fn snapshots(&self) -> Result<Vec<SnapshotListed>, SnapshotError> {
        let head = self.head();
        let kept = self.kept()?;
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
            let is_kept = kept.contains(&snapshot_id);
            listed.push(SnapshotListed::of(
                snapshot_id,
                &labels,
                snapshot.as_ref(),
                is_kept,
            ));
        }
        // What was removed, and is kept nevertheless.
        for snapshot_id in kept
            .into_iter()
            .filter(|id| listed.iter().all(|listed| listed.snapshot_id != *id))
            .collect::<Vec<_>>()
        {
            let snapshot = self
                .kept_snapshot(&snapshot_id)
                .ok()
                .map(|kept| kept.snapshot);
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

    /// A snapshot and what it applied.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_show(&self, text: &str) -> Result<SnapshotShown, SnapshotError> {
        let snapshot = self.at(Some(text))?;
        let snapshot_id = snapshot.id();
        let kept = self.kept()?.contains(&snapshot_id);
        let labels = self
            .labels(&self.head())?
            .remove(&snapshot_id)
            .unwrap_or_default();
        let names = self.shown_names()?;
        let view = self.store.view();
        let applied = applied(&view, &snapshot)?;
        let mut kinds = BTreeMap::new();
        let mut records: BTreeMap<SiteId, u64> = BTreeMap::new();
        for record in &applied {
            *kinds.entry(record.kind.name()).or_default() += 1;
            *records.entry(record.domain).or_default() += 1;
        }
        let (mut sum, mut conflicts) = (StateHash::default(), 0);
        for entry in view.state().entries(&snapshot, &Filter::ALL) {
            let entry = entry?;
            conflicts += u64::from(entry.conflict);
            sum.add(&entry);
        }
        let domains = snapshot.frontier.iter().map(|(domain, head)| {
            Ok(DomainApplied {
                domain: *domain,
                name: names.get(domain).cloned(),
                number: head.number,
                hash: head.hash,
                records: records.get(domain).copied().unwrap_or(0),
            })
        });
        let domains = domains.collect::<Result<_, StateError>>()?;
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
            kept,
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

    pub(in crate::site) fn resolve_snapshot(
        &self,
        text: &str,
        at: &Snapshot,
    ) -> Result<Target, SnapshotError> {
        let unknown = |source| match source {
            ResolveError::State(error) => SnapshotError::State(error),
            source => SnapshotError::Unknown {
                text: text.to_owned(),
                source,
            },
        };
        let target = match self.ref_target_in(NAMESPACE_SNAPSHOT, text, at)? {
            Some(id) => self.resolve_id(&id.into(), at).map_err(unknown)?,
            None => match self.resolve_digits(text, text, at, |sort| sort == Sort::Snapshot) {
                Err(ResolveError::State(error)) => return Err(error.into()),
                meant => meant.or_else(|_| self.resolve(text, at)).map_err(unknown)?,
            },
        };
        if target.sort == Sort::Snapshot {
            Ok(target)
        } else {
            Err(SnapshotError::WrongKind {
                text: text.to_owned(),
                found: target.sort,
            })
        }
    }

    fn read_snapshot(&self, target: &Target) -> Result<Snapshot, SnapshotError> {
        let payload = self.read_payload(target, SNAPSHOT_LEN_MAX)?;
        let failed = |source| ReadError::Content {
            id: target.id,
            what: "snapshot",
            source,
        };
        Ok(Snapshot::decode(&payload).map_err(failed)?)
    }

    /// Labels of snapshots, ascending.
    fn labels(&self, at: &Snapshot) -> Result<BTreeMap<SnapshotId, Vec<String>>, StateError> {
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
