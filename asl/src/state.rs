//! State: what is visible at a snapshot, as a pure function of the *set* of commits inside it.
//!
//! Versions are kept, never overwritten; `stand` decides what they amount to. Because it looks only at the versions and
//! their places in the one order, merging is commutative, associative and idempotent, and any snapshot inside the frontier
//! can be asked for at any time. `replay` holds the specification's sequential algorithm against this module.
//!
//! A version is its record's bytes in the log; `index` says where they lie. So what is kept in memory is what has changed
//! since the index was last written, and the digest of what is visible.

mod sum;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use uor_index_format::DecodeError;
use uor_index_format::codec::Reader;
use uor_index_format::commit::{Commit, CommitHeader};
use uor_index_format::id::{CanonicalId, Checksum, CommitHash, LogSeq, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Kind, Record, RecordHeader};
use uor_index_format::snapshot::{Frontier, Snapshot};
use uor_index_format::state::{Entry, StateHash};

use self::sum::Sum;
use crate::commits::{CommitRow, Commits, Cut, Unstored};
use crate::disk::{DiskError, DiskFile};
pub use crate::index::Filter;
use crate::index::{Class, Found, Head, Ids, Index, IndexError, Row, Run};
use crate::judge::History;
use crate::log::{Appended, LogError, LogPosition, LogView};

/// So many ids are looked up together: enough that their memory accesses overlap, few enough to stay in the nearest cache.
const BATCH: usize = 32;

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A row of a commit table is not what was written.
    #[error("{file} is damaged at offset {offset}: the check should be {expected}, it is {found}")]
    Damaged {
        /// The file's path inside the store.
        file: String,
        /// Where the row begins.
        offset: u64,
        /// The check in the row.
        expected: String,
        /// The check of its bytes.
        found: String,
    },
    /// There is no record where the index says.
    #[error("the log holds no record in segment {} at offset {}, where the index has one", position.segment, position.offset)]
    Record {
        /// Where it should be.
        position: LogPosition,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The index names a commit that the commit table does not have.
    #[error("the index names commit {number} of domain {domain}, which the commit table does not have")]
    Commit {
        /// The domain's ordinal.
        domain: u32,
        /// The commit's number.
        number: u64,
    },
}

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

/// A version without its record's body: all that deciding needs.
#[derive(Debug, Clone, Copy)]
struct Seen {
    place: Place,
    number: u64,
    at: LogPosition,
    header: RecordHeader,
}

impl Seen {
    fn is_claim(&self) -> bool {
        !matches!(self.header.kind, Kind::Tombstone | Kind::Resolution)
    }

    fn checksum(&self) -> Checksum {
        self.header.payload.checksum
    }
}

/// Decides what stands among the versions of one id, given in the one order (design: "State"): the entry, and which of the
/// versions it is.
fn stand(versions: &[Seen], rule: ConflictRule) -> Option<(Entry, Option<Seen>)> {
    let live = versions.iter().rposition(|version| version.header.kind == Kind::Tombstone).map_or(0, |at| at + 1);
    let versions = &versions[live..];
    let claims = || versions.iter().filter(|version| version.is_claim());
    let first = claims().next()?;
    let kind = first.header.kind;
    let (standing, conflict) = if !kind.first_stands() {
        (claims().next_back(), false)
    } else if claims().all(|claim| claim.checksum() == first.checksum()) {
        (Some(first), false)
    } else {
        let claimed = |by: &&Seen| claims().any(|claim| claim.checksum() == by.checksum());
        let resolutions = versions.iter().filter(|version| version.header.kind == Kind::Resolution);
        match resolutions.rev().find(claimed) {
            Some(by) => {
                let dissents = |claim: &Seen| claim.place > by.place && claim.checksum() != by.checksum();
                (claims().find(|claim| claim.checksum() == by.checksum()), claims().any(dissents))
            }
            None => match rule {
                ConflictRule::First => (Some(first), true),
                ConflictRule::Quorum => (claim_of_most(versions), true),
                ConflictRule::Manual => (None, true),
            },
        }
    };
    let entry = Entry {
        id: first.place.id,
        kind,
        type_tag: standing.and_then(|version| version.header.type_tag),
        checksum: standing.map(Seen::checksum),
        payload_len: standing.map_or(0, |version| version.header.payload.len),
        logseq: standing.unwrap_or(first).place.logseq,
        conflict,
        domains: standing.map_or(0, |version| domains_claiming(versions, version.checksum())),
    };
    Some((entry, standing.copied()))
}

/// Puts versions into the one order. A commit that began to count late may be indexed twice, its records are still one each.
fn in_order(versions: &mut Vec<Seen>) {
    versions.sort_unstable_by_key(|version| version.place);
    versions.dedup_by_key(|version| version.place);
}

/// What stands where there is one version: what [`stand`] says, sooner.
#[inline]
fn alone(header: &RecordHeader, logseq: LogSeq) -> Option<Entry> {
    let RecordHeader { id, kind, type_tag, payload, .. } = *header;
    let (checksum, payload_len) = (Some(payload.checksum), payload.len);
    let entry = Entry { id, kind, type_tag, checksum, payload_len, logseq, conflict: false, domains: 1 };
    (!matches!(kind, Kind::Tombstone | Kind::Resolution)).then_some(entry)
}

fn domains_claiming(versions: &[Seen], checksum: Checksum) -> u32 {
    let claim = |version: &&Seen| version.is_claim() && version.checksum() == checksum;
    if versions.len() == 1 {
        return 1;
    }
    let domains: BTreeSet<SiteId> = versions.iter().filter(claim).map(|version| version.place.domain).collect();
    u32::try_from(domains.len()).unwrap_or(u32::MAX)
}

/// The earliest claim among those whose checksum most domains claim.
fn claim_of_most(versions: &[Seen]) -> Option<&Seen> {
    let claims = || versions.iter().filter(|version| version.is_claim());
    let mut counts: BTreeMap<Checksum, u32> = BTreeMap::new();
    for claim in claims() {
        counts.entry(claim.checksum()).or_insert_with(|| domains_claiming(versions, claim.checksum()));
    }
    let most = counts.values().copied().max()?;
    claims().find(|claim| counts.get(&claim.checksum()) == Some(&most))
}

/// All versions inside the frontier, and the running digest of what they amount to.
pub struct State {
    rule: ConflictRule,
    index: Index,
    log: LogView,
    commits: Commits,
    conflicts: BTreeSet<CanonicalId>,
    logseq_max: LogSeq,
    sum: Sum,
}

/// What taking in one commit changes, looked up beforehand.
pub struct Change {
    at: LogPosition,
    /// For each record: its version, and the entry of its id before and after.
    records: Vec<RecordChange>,
}

struct RecordChange {
    at: LogPosition,
    class: Class,
    before: Option<Entry>,
    after: Option<Entry>,
}

impl State {
    /// The state of no commits, under the federation's rule for conflicts. Versions are read from `log`, which is to be given
    /// what is appended to it.
    pub fn new(rule: ConflictRule, index: Index, log: LogView) -> Self {
        let (commits, sum) = (Commits::default(), StateHash::default());
        Self::resume(rule, index, log, commits, sum, BTreeSet::new(), LogSeq(0))
    }

    /// The state that these parts amount to.
    pub(crate) fn resume(
        rule: ConflictRule,
        index: Index,
        log: LogView,
        commits: Commits,
        sum: StateHash,
        conflicts: BTreeSet<CanonicalId>,
        logseq_max: LogSeq,
    ) -> Self {
        Self { rule, index, log, commits, conflicts, logseq_max, sum: Sum::new(sum) }
    }

    /// Lets what was just appended to the log be read.
    pub fn take_log(&mut self, appended: Appended) {
        self.log.take(appended);
    }

    /// Takes over the federation's rule, before the first commit is applied.
    pub(crate) fn set_rule(&mut self, rule: ConflictRule) {
        self.rule = rule;
    }

    /// Looks up what taking in a commit, the next of its domain, changes; its frame in the log is at `position`. Whether it
    /// may be taken in is `judge`'s affair.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn prepare(&self, commit: &Commit, position: LogPosition) -> Result<Change, ReadError> {
        let ids: Vec<CanonicalId> = commit.records().iter().map(Record::id).collect();
        let mut known: Vec<(usize, Found)> = Vec::new();
        self.index.candidates_batch(&ids, |record, found| known.push((record, found)))?;
        known.sort_unstable_by_key(|(record, _)| *record);
        let mut known = known.as_slice();
        let body = position.body();
        let mut records = Vec::with_capacity(ids.len());
        let mut versions = Vec::new();
        for (index, (record, offset)) in commit.records().iter().zip(commit.record_offsets()).enumerate() {
            let at = body.plus(offset);
            let header = read_header(&commit.as_bytes()[offset..], at)?;
            let here = known.iter().take_while(|(record, _)| *record == index).count();
            let (these, rest) = known.split_at(here);
            known = rest;
            let class = Class { kind: header.kind, type_tag: header.type_tag };
            if these.is_empty() {
                let after = alone(&header, commit.header().logseq);
                records.push(RecordChange { at, class, before: None, after });
                continue;
            }
            versions.clear();
            for (_, found) in these {
                versions.extend(self.confirm(*found, &header.id)?);
            }
            in_order(&mut versions);
            let before = stand(&versions, self.rule).map(|(entry, _)| entry);
            let (place, number) = (commit.place(record), commit.header().number);
            let after_it = versions.partition_point(|version| version.place < place);
            versions.insert(after_it, Seen { place, number, at, header });
            let after = stand(&versions, self.rule).map(|(entry, _)| entry);
            records.push(RecordChange {
                at,
                class: Class { kind: header.kind, type_tag: header.type_tag },
                before,
                after,
            });
        }
        Ok(Change { at: position, records })
    }

    /// Takes in a commit with the change that was prepared for it.
    pub fn apply(&mut self, commit: &Commit, change: Change) {
        let header = commit.header();
        let row = CommitRow { at: change.at, logseq: header.logseq, hash: commit.hash() };
        let commit_ref = self.commits.push(header.domain, row);
        let code = self.index.begin_commit(commit_ref);
        for (record, RecordChange { at, class, before, after }) in commit.records().iter().zip(change.records) {
            let id = record.id();
            self.index.insert(Row { id, at, class, commit: code });
            if after.is_some_and(|entry| entry.conflict) {
                self.conflicts.insert(id);
            } else if before.is_some_and(|entry| entry.conflict) {
                self.conflicts.remove(&id);
            }
            self.sum.change(before, after);
        }
        self.logseq_max = self.logseq_max.max(header.logseq);
    }

    /// The snapshot of everything here.
    pub fn head(&self) -> Snapshot {
        Snapshot { frontier: self.frontier(), logseq_max: self.logseq_max, origin: None }
    }

    /// Which commits are included.
    pub fn frontier(&self) -> Frontier {
        self.commits.frontier()
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
        self.sum.whole().root(&self.head())
    }

    /// How many entries are visible at the head.
    pub const fn entries_len(&self) -> u64 {
        self.sum.entries()
    }

    /// Folds into the digest what waits to be.
    pub(crate) fn fold(&self) {
        self.sum.fold();
    }

    /// The digest of what is visible.
    pub(crate) fn sum(&self) -> StateHash {
        self.sum.whole().clone()
    }

    /// Ids with an open conflict.
    pub(crate) const fn conflicting(&self) -> &BTreeSet<CanonicalId> {
        &self.conflicts
    }

    /// The index.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// The log's bytes.
    pub(crate) const fn log(&self) -> &LogView {
        &self.log
    }

    /// Sets aside the records that are indexed in memory, to be written.
    pub(crate) fn freeze(&mut self) -> Arc<Head> {
        self.index.freeze()
    }

    /// What was set aside has become a run.
    pub(crate) fn thaw(&mut self, run: Arc<Run>) {
        self.index.thaw(run);
    }

    /// What was set aside has become a run, and these rows of the commit table are in their files.
    pub(crate) fn sealed(&mut self, run: Arc<Run>, rows: impl IntoIterator<Item = (Unstored, Arc<dyn DiskFile>)>) {
        self.commits.stored(rows);
        self.index.thaw(run);
    }

    /// These runs have become one.
    pub(crate) fn merged(&mut self, runs: Range<usize>, run: Arc<Run>) {
        self.index.merged(runs, run);
    }

    /// The commits that count.
    pub(crate) const fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Everything at a snapshot inside the frontier.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn at(&self, snapshot: &Snapshot) -> Result<At<'_>, ReadError> {
        Ok(At { state: self, cut: self.commits.cut(snapshot)? })
    }

    /// The state root at any snapshot inside the frontier.
    ///
    /// # Errors
    /// [`ReadError`], here and wherever the state is read.
    pub fn root_at(&self, snapshot: &Snapshot) -> Result<StateRoot, ReadError> {
        Ok(self.at(snapshot)?.sum()?.root(snapshot))
    }

    /// The entry of `id` at a snapshot.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Entry>, ReadError> {
        self.at(snapshot)?.entry(id)
    }

    /// What is visible about `id` at a snapshot.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Visible>, ReadError> {
        self.at(snapshot)?.get(id)
    }

    /// The entries at a snapshot that `filter` takes, ascending by id.
    pub fn entries<'a>(
        &'a self,
        snapshot: &Snapshot,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<Entry, ReadError>> + 'a {
        flatten(self.at(snapshot).map(|at| at.into_standing(filter))).map(|standing| Ok(standing?.0))
    }

    /// What is visible at a snapshot and `filter` takes, ascending by id.
    pub fn visible<'a>(
        &'a self,
        snapshot: &Snapshot,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<Visible, ReadError>> + 'a {
        let standing = flatten(self.at(snapshot).map(|at| at.into_standing(filter)));
        standing.map(|standing| self.visible_of(standing?))
    }

    /// Every version of `id` inside a snapshot, shadowed or not, in the one order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn versions(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Vec<Version>, ReadError> {
        self.at(snapshot)?.seen(id)?.into_iter().map(|seen| self.version(&seen)).collect()
    }

    /// Every version inside a snapshot, ascending by id and then in the one order.
    pub fn all_versions<'a>(&'a self, snapshot: &Snapshot) -> impl Iterator<Item = Result<Version, ReadError>> + 'a {
        let groups = flatten(self.at(snapshot).map(|at| at.into_groups(&Filter::ALL)));
        groups.flat_map(|group| match group {
            Ok(versions) => versions.iter().map(|seen| self.version(seen)).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// Open conflicts at a snapshot, ascending by id.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn conflicts(&self, snapshot: &Snapshot) -> Result<Vec<Conflict>, ReadError> {
        if *snapshot == self.head() {
            return self.conflicts.iter().filter_map(|id| self.conflict(id, snapshot).transpose()).collect();
        }
        let groups = self.at(snapshot)?.into_groups(&Filter::ALL);
        groups.filter_map(|versions| versions.and_then(|versions| self.conflict_of(versions)).transpose()).collect()
    }

    /// The conflict about `id` at a snapshot, if it is open.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn conflict(&self, id: &CanonicalId, snapshot: &Snapshot) -> Result<Option<Conflict>, ReadError> {
        self.conflict_of(self.at(snapshot)?.seen(id)?)
    }

    fn conflict_of(&self, versions: Vec<Seen>) -> Result<Option<Conflict>, ReadError> {
        let Some((Entry { id, kind, conflict: true, checksum: standing, .. }, _)) = stand(&versions, self.rule) else {
            return Ok(None);
        };
        let live = versions.iter().rposition(|seen| seen.header.kind == Kind::Tombstone).map_or(0, |at| at + 1);
        let claims = versions[live..].iter().filter(|seen| seen.is_claim()).map(|seen| self.version(seen));
        Ok(Some(Conflict { id, kind, claims: claims.collect::<Result<_, _>>()?, standing }))
    }

    /// How many records there are of the kind, type tag and times that `filter` takes, visible or not and whatever their
    /// ids: as fast as columns are read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn count_records(&self, filter: &Filter) -> Result<u64, ReadError> {
        Ok(self.index.count(filter)?)
    }

    /// Ids of all records, visible or not, whose id begins with the hexadecimal digits `prefix`; at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn ids_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CanonicalId>, ReadError> {
        let prefix = prefix.to_ascii_lowercase();
        let padded = format!("{prefix:0<64}");
        let Ok(start) = padded.parse::<CanonicalId>() else { return Ok(Vec::new()) };
        let mut ids: Vec<CanonicalId> = Vec::new();
        let mut last = [0xff; CanonicalId::LEN];
        last[..1].copy_from_slice(&start.as_bytes()[..1]);
        let whole_byte = prefix.len() >= 2;
        let end = if whole_byte { CanonicalId::from_bytes(last) } else { *Filter::ALL.ids.end() };
        for row in self.index.ascending(&Filter { ids: start..=end, ..Filter::ALL }, &self.log) {
            let (id, _) = row?;
            if !id.to_string().starts_with(&prefix) {
                break;
            }
            if ids.last() != Some(&id) {
                if ids.len() == limit {
                    break;
                }
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// The version of `id` that the index may have found: the fingerprint is not the id.
    #[inline]
    fn confirm(&self, found: Found, id: &CanonicalId) -> Result<Option<Seen>, ReadError> {
        let bytes = self.log.bytes(found.at, RecordHeader::LEN)?;
        if bytes[..CanonicalId::LEN] != *id.as_bytes() {
            return Ok(None);
        }
        self.seen(found, bytes).map(Some)
    }

    fn seen(&self, found: Found, bytes: &[u8]) -> Result<Seen, ReadError> {
        let header = read_header(bytes, found.at)?;
        let (commit, number) = (found.commit, found.commit.number);
        let missing = || ReadError::Commit { domain: commit.domain, number };
        let domain = self.commits.site(commit.domain).ok_or_else(missing)?;
        let tombstone = header.kind == Kind::Tombstone;
        let place = Place { logseq: commit.logseq, id: header.id, tombstone, domain };
        Ok(Seen { place, number, at: found.at, header })
    }

    fn version(&self, seen: &Seen) -> Result<Version, ReadError> {
        let bytes = self.log.bytes(seen.at, RecordHeader::LEN + seen.header.body_len as usize)?;
        let record = Record::decode_again(bytes).map_err(|source| ReadError::Record { position: seen.at, source })?;
        Ok(Version { place: seen.place, number: seen.number, record })
    }

    fn visible_of(&self, (entry, standing): (Entry, Option<Seen>)) -> Result<Visible, ReadError> {
        Ok(Visible { entry, version: standing.map(|seen| self.version(&seen)).transpose()? })
    }
}

impl Ids for LogView {
    type Error = ReadError;

    fn id(&self, at: LogPosition) -> Result<CanonicalId, ReadError> {
        let mut id = [0; CanonicalId::LEN];
        id.copy_from_slice(self.bytes(at, CanonicalId::LEN)?);
        Ok(CanonicalId::from_bytes(id))
    }
}

impl History for State {
    fn header(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHeader>, ReadError> {
        let Some(row) = self.commits.row(domain, number)? else { return Ok(None) };
        let bytes = self.log.bytes(row.at.body(), CommitHeader::LEN)?;
        CommitHeader::decode(bytes).map(Some).map_err(|source| ReadError::Record { position: row.at, source })
    }

    fn holds(&self, hash: &CommitHash) -> Result<bool, ReadError> {
        for row in self.commits.iter() {
            if row?.2.hash == *hash {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn read_header(bytes: &[u8], position: LogPosition) -> Result<RecordHeader, ReadError> {
    RecordHeader::read(&mut Reader::new(bytes)).map_err(|source| ReadError::Record { position, source })
}

/// An iterator, or the error there was instead of it.
fn flatten<T, I: Iterator<Item = Result<T, ReadError>>>(
    iterator: Result<I, ReadError>,
) -> impl Iterator<Item = Result<T, ReadError>> {
    let (iterator, error) = match iterator {
        Ok(iterator) => (Some(iterator), None),
        Err(error) => (None, Some(Err(error))),
    };
    error.into_iter().chain(iterator.into_iter().flatten())
}

/// The state at a snapshot. Whoever asks several questions about one snapshot asks them here.
#[derive(Clone)]
pub struct At<'a> {
    state: &'a State,
    cut: Cut,
}

impl<'a> At<'a> {
    /// The entry of `id`.
    ///
    /// # Errors
    /// [`ReadError`].
    #[inline]
    pub fn entry(&self, id: &CanonicalId) -> Result<Option<Entry>, ReadError> {
        let (mut only, mut others) = (None, Vec::new());
        self.state.index.candidates(id, |found| match only {
            _ if !self.cut.includes(found.commit) => {}
            None => only = Some(found),
            Some(_) => others.push(found),
        })?;
        self.entry_among(id, only, others)
    }

    /// The entry of `id`, whose versions are among these. Most ids have one version, which stands if it is a claim.
    #[inline]
    fn entry_among(
        &self,
        id: &CanonicalId,
        only: Option<Found>,
        others: Vec<Found>,
    ) -> Result<Option<Entry>, ReadError> {
        let Some(only) = only else { return Ok(None) };
        if others.is_empty() {
            let bytes = self.state.log.bytes(only.at, RecordHeader::LEN)?;
            if bytes[..CanonicalId::LEN] != *id.as_bytes() {
                return Ok(None);
            }
            return Ok(alone(&read_header(bytes, only.at)?, only.commit.logseq));
        }
        let mut versions = Vec::with_capacity(1 + others.len());
        for found in [only].into_iter().chain(others) {
            versions.extend(self.state.confirm(found, id)?);
        }
        in_order(&mut versions);
        Ok(stand(&versions, self.state.rule).map(|(entry, _)| entry))
    }

    /// What is visible about `id`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, id: &CanonicalId) -> Result<Option<Visible>, ReadError> {
        stand(&self.seen(id)?, self.state.rule).map(|standing| self.state.visible_of(standing)).transpose()
    }

    /// The entries of many ids, in their order: faster than one by one, since memory is waited for once for many of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entries_of(
        &self,
        ids: &[CanonicalId],
        mut on_entry: impl FnMut(usize, Option<Entry>),
    ) -> Result<(), ReadError> {
        for (start, ids) in (0..).step_by(BATCH).zip(ids.chunks(BATCH)) {
            let mut only = [None; BATCH];
            let mut others: Vec<(usize, Found)> = Vec::new();
            self.state.index.candidates_batch(ids, |at, found| {
                if self.cut.includes(found.commit) {
                    self.state.log.prefetch(found.at);
                    match &mut only[at] {
                        Some(_) => others.push((at, found)),
                        none => *none = Some(found),
                    }
                }
            })?;
            for (at, (id, only)) in ids.iter().zip(only).enumerate() {
                let others = others.iter().filter(|(of, _)| *of == at).map(|(_, found)| *found).collect();
                on_entry(start + at, self.entry_among(id, only, others)?);
            }
        }
        Ok(())
    }

    /// Every version of `id`, in the one order.
    fn seen(&self, id: &CanonicalId) -> Result<Vec<Seen>, ReadError> {
        let mut candidates = Vec::with_capacity(2);
        self.state.index.candidates(id, |found| candidates.push(found))?;
        let mut versions = Vec::with_capacity(candidates.len());
        for found in candidates.into_iter().filter(|found| self.cut.includes(found.commit)) {
            versions.extend(self.state.confirm(found, id)?);
        }
        in_order(&mut versions);
        Ok(versions)
    }
}

/// Going through everything at a snapshot.
impl<'a> At<'a> {
    /// The sum of everything visible, on as many threads as there are processors and shards.
    fn sum(&self) -> Result<StateHash, ReadError> {
        let shards = self.state.index.shards();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(shards as usize).max(1);
        let part = |thread: usize| {
            let mut sum = StateHash::default();
            for shard in (0..shards).skip(thread).step_by(threads) {
                let rows = self.state.index.ascending_in(shard, &Filter::ALL, &self.state.log);
                for group in (Groups { at: self.clone(), rows: rows.peekable(), complete: true }) {
                    stand(&group?, self.state.rule).into_iter().for_each(|(entry, _)| sum.add(&entry));
                }
            }
            Ok::<_, ReadError>(sum)
        };
        thread::scope(|scope| {
            let part = &part;
            let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            let mut sum = part(0);
            for other in others {
                match (other.join(), &mut sum) {
                    (Ok(Ok(part)), Ok(sum)) => sum.merge(&part),
                    (Ok(Err(error)), _) => return Err(error),
                    (Ok(Ok(_)), Err(_)) => {}
                    (Err(panic), _) => std::panic::resume_unwind(panic),
                }
            }
            sum
        })
    }

    /// The versions of each id of which `filter` takes one, ascending by id.
    fn into_groups(self, filter: &Filter) -> impl Iterator<Item = Result<Vec<Seen>, ReadError>> + use<'a> {
        let state = self.state;
        Groups { at: self, rows: state.index.ascending(filter, &state.log).peekable(), complete: filter.is_all() }
    }

    /// What stands and `filter` takes, ascending by id.
    fn into_standing(
        self,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<(Entry, Option<Seen>), ReadError>> + use<'a> {
        let (rule, filter) = (self.state.rule, filter.clone());
        let standing = self.into_groups(&filter).filter_map(move |group| match group {
            Ok(versions) => stand(&versions, rule).map(Ok),
            Err(error) => Some(Err(error)),
        });
        standing.filter(move |standing| standing.as_ref().map_or(true, |(entry, _)| filter.takes(entry)))
    }
}

/// The versions of one id after the other.
struct Groups<'a, I: Iterator> {
    at: At<'a>,
    rows: std::iter::Peekable<I>,
    /// Whether the rows are all there are about their ids.
    complete: bool,
}

impl<I: Iterator<Item = Result<(CanonicalId, Found), ReadError>>> Groups<'_, I> {
    /// The versions of the next id, which may all lie outside the snapshot.
    fn step(&mut self) -> Option<Result<Vec<Seen>, ReadError>> {
        let (id, first) = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let mut found = vec![first];
        while let Some(Ok((_, next))) = self.rows.next_if(|row| row.as_ref().is_ok_and(|(other, _)| *other == id)) {
            found.push(next);
        }
        if !self.complete {
            return Some(self.at.seen(&id));
        }
        let inside = found.into_iter().filter(|found| self.at.cut.includes(found.commit));
        let seen = inside.map(|found| self.at.state.seen(found, self.at.state.log.bytes(found.at, RecordHeader::LEN)?));
        Some(seen.collect::<Result<Vec<_>, _>>().map(|mut versions| {
            in_order(&mut versions);
            versions
        }))
    }
}

impl<I: Iterator<Item = Result<(CanonicalId, Found), ReadError>>> Iterator for Groups<'_, I> {
    type Item = Result<Vec<Seen>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step()? {
                Ok(versions) if versions.is_empty() => {}
                other => return Some(other),
            }
        }
    }
}
