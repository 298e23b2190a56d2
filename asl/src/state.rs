//! State: what is visible at a snapshot, as a pure function of the *set* of commits inside it.
//!
//! Versions are kept, never overwritten; [`stand`] decides what they amount to. Because it looks only at the versions and
//! their places in the one order, merging is commutative, associative and idempotent, and any snapshot inside the frontier
//! can be asked for at any time. `replay` holds the specification's sequential algorithm against this module.
//!
//! The index here is rebuilt from the log when a store is opened.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::LogError;
use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, Checksum, LogSeq, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Content, Kind, Record};
use uor_index_format::snapshot::{Frontier, Head, Snapshot};
use uor_index_format::state::{Entry, StateHash};

/// One record about an id, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its place in the one order.
    pub place: Place,
    /// Number of the commit that carries it, in the place's domain.
    pub number: u64,
    /// The record.
    pub record: Record,
}

impl Version {
    fn is_within(&self, snapshot: &Snapshot) -> bool {
        snapshot.includes(&self.place.domain, self.number, self.place.logseq)
    }

    fn is_claim(&self) -> bool {
        !matches!(self.record.content(), Content::Tombstone | Content::Resolution { .. })
    }

    fn checksum(&self) -> Checksum {
        self.record.payload().checksum
    }
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Which entries are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    kind: Option<Kind>,
    type_tag: Option<u32>,
}

impl Filter {
    /// All of them.
    pub const ALL: Self = Self { kind: None, type_tag: None };

    /// Those of one kind.
    pub const fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), type_tag: None }
    }

    /// Artifacts with this type tag.
    pub const fn type_tag(tag: u32) -> Self {
        Self { kind: Some(Kind::Artifact), type_tag: Some(tag) }
    }

    fn takes(&self, entry: &Entry) -> bool {
        self.kind.is_none_or(|kind| entry.kind == kind) && (self.type_tag.is_none() || entry.type_tag == self.type_tag)
    }
}

/// What is visible about an id: the entry and the version that stands.
#[derive(Debug, Clone)]
pub struct Visible {
    /// The entry, as the state root sees it.
    pub entry: Entry,
    /// The version that stands; `None` while a conflict withholds all.
    pub version: Option<Version>,
}

/// Unequal claims about one id that nothing has settled.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The id.
    pub id: CanonicalId,
    /// What it is.
    pub kind: Kind,
    /// Every claim that is not shadowed, in the one order.
    pub claims: Vec<Version>,
    /// Checksum of the claim that stands meanwhile.
    pub standing: Option<Checksum>,
}

/// Decides what stands among the versions of one id, given in the one order (design: "State").
pub fn stand<'a>(versions: impl IntoIterator<Item = &'a Version>, rule: ConflictRule) -> Option<Visible> {
    let mut claims: Vec<&Version> = Vec::new();
    let mut resolutions: Vec<&Version> = Vec::new();
    for version in versions {
        match version.record.content() {
            Content::Tombstone => {
                claims.clear();
                resolutions.clear();
            }
            Content::Resolution { .. } => resolutions.push(version),
            _ => claims.push(version),
        }
    }
    let (first, last) = (*claims.first()?, *claims.last()?);
    let kind = first.record.kind();
    if !kind.first_stands() {
        return Some(visible(kind, Some(last), first, &claims, false));
    }
    let resolution = resolutions.into_iter().rfind(|by| claims.iter().any(|claim| claim.checksum() == by.checksum()));
    let (standing, conflict) = match resolution {
        Some(by) => {
            let later_dissent = claims.iter().any(|claim| claim.place > by.place && claim.checksum() != by.checksum());
            (claims.iter().find(|claim| claim.checksum() == by.checksum()).copied(), later_dissent)
        }
        None if claims.iter().all(|claim| claim.checksum() == first.checksum()) => (Some(first), false),
        None => match rule {
            ConflictRule::First => (Some(first), true),
            ConflictRule::Quorum => (claim_of_most(&claims), true),
            ConflictRule::Manual => (None, true),
        },
    };
    Some(visible(kind, standing, first, &claims, conflict))
}

fn visible(kind: Kind, standing: Option<&Version>, first: &Version, claims: &[&Version], conflict: bool) -> Visible {
    let entry = Entry {
        id: first.place.id,
        kind,
        type_tag: standing.and_then(|version| version.record.type_tag()),
        checksum: standing.map(Version::checksum),
        payload_len: standing.map_or(0, |version| version.record.payload().len),
        logseq: standing.unwrap_or(first).place.logseq,
        conflict,
        domains: standing.map_or(0, |version| domains_claiming(claims, version.checksum())),
    };
    Visible { entry, version: standing.cloned() }
}

fn domains_claiming(claims: &[&Version], checksum: Checksum) -> u32 {
    let domains: BTreeSet<SiteId> =
        claims.iter().filter(|claim| claim.checksum() == checksum).map(|claim| claim.place.domain).collect();
    u32::try_from(domains.len()).unwrap_or(u32::MAX)
}

/// The earliest claim among those whose checksum most domains claim.
fn claim_of_most<'a>(claims: &[&'a Version]) -> Option<&'a Version> {
    let most = claims.iter().map(|claim| domains_claiming(claims, claim.checksum())).max()?;
    claims.iter().find(|claim| domains_claiming(claims, claim.checksum()) == most).copied()
}

/// All versions inside the frontier, and the running digest of what they amount to.
#[derive(Debug, Clone)]
pub struct State {
    rule: ConflictRule,
    versions: BTreeMap<CanonicalId, Vec<Version>>,
    conflicts: BTreeSet<CanonicalId>,
    frontier: Frontier,
    logseq_max: LogSeq,
    sum: StateHash,
}

impl State {
    /// The state of no commits, under the federation's rule for conflicts.
    pub fn new(rule: ConflictRule) -> Self {
        Self {
            rule,
            versions: BTreeMap::new(),
            conflicts: BTreeSet::new(),
            frontier: Frontier::new(),
            logseq_max: LogSeq(0),
            sum: StateHash::default(),
        }
    }

    /// Takes in one commit: the next of its domain. Whether it may be taken in is `judge`'s affair.
    pub fn apply(&mut self, commit: &Commit) {
        let header = commit.header();
        for record in commit.records() {
            let version = Version { place: commit.place(record), number: header.number, record: record.clone() };
            self.insert(version);
        }
        self.frontier.insert(header.domain, Head { number: header.number, hash: commit.hash() });
        self.logseq_max = self.logseq_max.max(header.logseq);
    }

    fn insert(&mut self, version: Version) {
        let id = version.place.id;
        let versions = self.versions.entry(id).or_default();
        let before = stand(versions.iter(), self.rule).map(|visible| visible.entry);
        let at = versions.partition_point(|other| other.place < version.place);
        versions.insert(at, version);
        let after = stand(versions.iter(), self.rule).map(|visible| visible.entry);
        before.iter().for_each(|entry| self.sum.remove(entry));
        after.iter().for_each(|entry| self.sum.add(entry));
        if after.is_some_and(|entry| entry.conflict) {
            self.conflicts.insert(id);
        } else {
            self.conflicts.remove(&id);
        }
    }

    /// The snapshot of everything here.
    pub fn head(&self) -> Snapshot {
        Snapshot { frontier: self.frontier.clone(), logseq_max: self.logseq_max }
    }

    /// Which commits are included.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The highest logseq that is included.
    pub const fn logseq_max(&self) -> LogSeq {
        self.logseq_max
    }

    /// The federation's rule for conflicts.
    pub const fn rule(&self) -> ConflictRule {
        self.rule
    }

    /// The state root at the head: kept, not computed.
    pub fn root(&self) -> StateRoot {
        self.sum.root(&self.head())
    }

    /// How many entries are visible at the head.
    pub const fn entries_len(&self) -> u64 {
        self.sum.entries()
    }

    /// The state root at any snapshot inside the frontier.
    ///
    /// # Errors
    /// [`ReadError`], here and wherever the state is read.
    pub fn root_at(&self, snapshot: &Snapshot) -> Result<StateRoot, ReadError> {
        let mut sum = StateHash::default();
        for entry in self.entries(snapshot, &Filter::ALL) {
            sum.add(&entry?);
        }
        Ok(sum.root(snapshot))
    }

    /// The entry of `id` at a snapshot.
    pub fn entry(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Entry>, ReadError> {
        Ok(self.get(id, snapshot)?.map(|visible| visible.entry))
    }

    /// What is visible about `id` at a snapshot.
    pub fn get(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Visible>, ReadError> {
        let versions = self.versions.get(id).into_iter().flatten().filter(|version| version.is_within(snapshot));
        Ok(stand(versions, self.rule))
    }

    /// The entries at a snapshot that `filter` takes, ascending by id.
    pub fn entries<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<Entry, ReadError>> + 'a {
        self.visible(snapshot, filter).map(|visible| Ok(visible?.entry))
    }

    /// What is visible at a snapshot and `filter` takes, ascending by id.
    pub fn visible<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<Visible, ReadError>> + 'a {
        let within = |versions: &'a Vec<Version>| versions.iter().filter(|version| version.is_within(snapshot));
        let visible = self.versions.values().filter_map(move |versions| stand(within(versions), self.rule));
        visible.filter(|visible| filter.takes(&visible.entry)).map(Ok)
    }

    /// Every version of `id` inside a snapshot, shadowed or not, in the one order.
    pub fn versions(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Vec<Version>, ReadError> {
        let versions = self.versions.get(id).into_iter().flatten();
        Ok(versions.filter(|version| version.is_within(snapshot)).cloned().collect())
    }

    /// Every version inside a snapshot, ascending by id and then in the one order.
    pub fn all_versions<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = Result<Version, ReadError>> + 'a {
        self.versions.values().flatten().filter(|version| version.is_within(snapshot)).cloned().map(Ok)
    }

    /// Open conflicts at a snapshot, ascending by id.
    pub fn conflicts(&self, snapshot: &Snapshot) -> Result<Vec<Conflict>, ReadError> {
        let at_head = *snapshot == self.head();
        let candidates: Vec<&CanonicalId> =
            if at_head { self.conflicts.iter().collect() } else { self.versions.keys().collect() };
        candidates.into_iter().filter_map(|id| self.conflict(id, snapshot).transpose()).collect()
    }

    /// The conflict about `id` at a snapshot, if it is open.
    pub fn conflict(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Conflict>, ReadError> {
        let versions = self.versions(id, snapshot)?;
        let Some(Entry { kind, conflict: true, checksum: standing, .. }) =
            stand(&versions, self.rule).map(|visible| visible.entry)
        else {
            return Ok(None);
        };
        let live = versions.iter().rposition(|version| version.record.is_tombstone()).map_or(0, |at| at + 1);
        let claims = versions.into_iter().skip(live).filter(Version::is_claim).collect();
        Ok(Some(Conflict { id: *id, kind, claims, standing }))
    }

    /// Ids of all records, visible or not, whose id begins with the hexadecimal digits `prefix`; at most `limit`.
    pub fn ids_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CanonicalId>, ReadError> {
        let padded = format!("{prefix:0<64}");
        let Ok(start) = padded.to_ascii_lowercase().parse::<CanonicalId>() else { return Ok(Vec::new()) };
        let matches = |id: &&CanonicalId| id.to_string().starts_with(&prefix.to_ascii_lowercase());
        Ok(self.versions.range(start..).map(|(id, _)| id).take_while(matches).take(limit).copied().collect())
    }
}
