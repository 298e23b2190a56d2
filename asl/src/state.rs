//! State: what is visible at a snapshot, as a pure function of the *set* of commits inside it.
//!
//! Versions are kept, never overwritten; `effective` decides what they amount to. Because it looks
//! only at the versions and their places in the one order, merging is commutative, associative and
//! idempotent, and any snapshot inside the frontier can be asked for at any time. `replay` holds
//! the specification's sequential algorithm against this module.
//!
//! To be read in this order: `version`, `tombstone` (what one shadows), `effective` (which of
//! several versions is visible), `error`, `at` (a snapshot), `many`, `change` and `taken_back`
//! (what a commit, or a fork proof, does), `sum` (the digest), `summary` and `summaries` (ids with
//! many versions).
//!
//! A version is its record's bytes in the log; `index` says where they lie. So what is kept in
//! memory is what has changed since the index was last written, and the digest of what is visible.

mod at;
mod change;
mod effective;
pub(crate) mod error;
mod many;
mod sum;
mod summaries;
mod summary;
mod taken_back;
#[cfg(test)]
mod tests;
mod tombstone;
mod version;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use uor_index_format::codec::Reader;
use uor_index_format::commit::CommitHeader;
use uor_index_format::id::{CanonicalId, Checksum, LogSeq, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Kind, Record, RecordHeader};
use uor_index_format::snapshot::{Frontier, Snapshot};
use uor_index_format::state::{Entry, StateHash};

pub use self::at::At;
pub use self::change::Change;
use self::effective::effective;
pub use self::error::ReadError;
use self::sum::Sum;
use self::summaries::Summaries;
pub(crate) use self::taken_back::TakenBack;
use self::tombstone::unshadowed;
use self::version::VersionHeader;
use crate::commits::{self, Commits, Unstored};
use crate::disk::DiskFile;
pub use crate::index::Filter;
use crate::index::{Found, Ids, Index, Memtable, Run};
use crate::log::{Appended, LogPosition, LogView};
use crate::validator::Past;

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

/// What is visible about an id: the entry and the version that is effective.
#[derive(Debug, Clone)]
pub struct Visible {
    /// The entry, as the state root sees it.
    pub entry: Entry,
    /// The version that is effective; `None` while a conflict withholds all.
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
    /// Checksum of the claim that is effective meanwhile.
    pub effective: Option<Checksum>,
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
    summaries: Mutex<Summaries>,
}

impl State {
    /// The state of no commits, under the federation's rule for conflicts. Versions are read from
    /// `log`, which is to be given what is appended to it.
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
        let summaries = Mutex::default();
        Self {
            rule,
            index,
            log,
            commits,
            conflicts,
            logseq_max,
            sum: Sum::new(sum),
            summaries,
        }
    }

    /// Lets what was just appended to the log be read.
    pub fn take_log(&mut self, appended: Appended) {
        self.log.take(appended);
    }

    /// Takes over the federation's rule, before the first commit is applied.
    pub(crate) fn set_rule(&mut self, rule: ConflictRule) {
        self.rule = rule;
    }

    /// The snapshot of everything here.
    pub fn head(&self) -> Snapshot {
        Snapshot {
            frontier: self.frontier(),
            logseq_max: self.logseq_max,
            origin: None,
        }
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
        self.sum.whole(|sum| sum.root(&self.head()))
    }

    /// How many entries are visible at the head.
    pub const fn entries_len(&self) -> u64 {
        self.sum.entries()
    }

    /// Folds into the digest what waits to be.
    pub(crate) fn fold(&self) {
        self.sum.whole(|_| ());
    }

    /// The digest of what is visible.
    pub(crate) fn sum(&self) -> StateHash {
        self.sum.whole(StateHash::clone)
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
    pub(crate) fn rotate(&mut self) -> Arc<Memtable> {
        self.index.rotate()
    }

    /// What was set aside has become a run.
    pub(crate) fn install(&mut self, run: Arc<Run>) {
        self.index.install(run);
    }

    /// What was set aside has become a run, and these rows of the commit table are in their files.
    pub(crate) fn sealed(
        &mut self,
        run: Arc<Run>,
        rows: impl IntoIterator<Item = (Unstored, Arc<dyn DiskFile>)>,
        source: &Arc<dyn commits::Source>,
    ) {
        self.commits.stored(rows, source);
        self.index.install(run);
    }

    /// These runs have become one.
    pub(crate) fn merged(&mut self, runs: Range<usize>, run: Arc<Run>) {
        self.index.merged(runs, run);
    }

    /// The accepted commits.
    pub(crate) const fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Everything at a snapshot inside the frontier.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn at(&self, snapshot: &Snapshot) -> Result<At<'_>, ReadError> {
        let cut = self.commits.cut(snapshot)?;
        Ok(At {
            state: self,
            is_head: self.commits.are_inside(&cut),
            cut,
        })
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

    /// The entries at a snapshot that `filter` takes, ascending by id. They are right up to the
    /// first error: what comes after it may lack what could not be read.
    pub fn entries<'a>(
        &'a self,
        snapshot: &Snapshot,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<Entry, ReadError>> + 'a {
        flatten(self.at(snapshot).map(|at| at.into_effective(filter)))
            .map(|effective| Ok(effective?.0))
    }

    /// What is visible at a snapshot and `filter` takes, ascending by id; right up to the first
    /// error.
    pub fn visible<'a>(
        &'a self,
        snapshot: &Snapshot,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<Visible, ReadError>> + 'a {
        let effective = flatten(self.at(snapshot).map(|at| at.into_effective(filter)));
        effective.map(|effective| self.visible_of(effective?))
    }

    /// Every version of `id` inside a snapshot, shadowed or not, in the one order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn versions(
        &self,
        id: &CanonicalId,
        snapshot: &Snapshot,
    ) -> Result<Vec<Version>, ReadError> {
        self.at(snapshot)?
            .seen(id)?
            .into_iter()
            .map(|seen| self.version(&seen))
            .collect()
    }

    /// The versions of `id` inside a snapshot that no tombstone shadows, in the one order: claims,
    /// whether or not they are effective, and resolutions.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn unshadowed(
        &self,
        id: &CanonicalId,
        snapshot: &Snapshot,
    ) -> Result<Vec<Version>, ReadError> {
        unshadowed(&self.at(snapshot)?.seen(id)?)
            .iter()
            .map(|seen| self.version(seen))
            .collect()
    }

    /// Every version inside a snapshot, ascending by id and then in the one order.
    pub fn all_versions<'a>(
        &'a self,
        snapshot: &Snapshot,
    ) -> impl Iterator<Item = Result<Version, ReadError>> + 'a {
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
            return self
                .conflicts
                .iter()
                .filter_map(|id| self.conflict(id, snapshot).transpose())
                .collect();
        }
        let groups = self.at(snapshot)?.into_groups(&Filter::ALL);
        groups
            .filter_map(|versions| {
                versions
                    .and_then(|versions| self.conflict_of(versions))
                    .transpose()
            })
            .collect()
    }

    /// The conflict about `id` at a snapshot, if it is open.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn conflict(
        &self,
        id: &CanonicalId,
        snapshot: &Snapshot,
    ) -> Result<Option<Conflict>, ReadError> {
        self.conflict_of(self.at(snapshot)?.seen(id)?)
    }

    fn conflict_of(&self, versions: Vec<VersionHeader>) -> Result<Option<Conflict>, ReadError> {
        let Some((
            Entry {
                id,
                kind,
                conflict: true,
                checksum: effective,
                ..
            },
            _,
        )) = effective(&versions, self.rule)
        else {
            return Ok(None);
        };
        let claims = unshadowed(&versions)
            .iter()
            .filter(|seen| seen.is_claim())
            .map(|seen| self.version(seen));
        Ok(Some(Conflict {
            id,
            kind,
            claims: claims.collect::<Result<_, _>>()?,
            effective,
        }))
    }

    /// How many records there are of the kind, type tag and times that `filter` takes, visible or
    /// not and whatever their ids: as fast as columns are read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn count_records(&self, filter: &Filter) -> Result<u64, ReadError> {
        Ok(self.index.count(filter)?)
    }

    /// Ids of all records, visible or not, whose id begins with the hexadecimal digits `prefix`; at
    /// most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn ids_with_prefix(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CanonicalId>, ReadError> {
        let prefix = prefix.to_ascii_lowercase();
        let padded = format!("{prefix:0<64}");
        let Ok(start) = padded.parse::<CanonicalId>() else {
            return Ok(Vec::new());
        };
        let mut ids: Vec<CanonicalId> = Vec::new();
        let mut last = [0xff; CanonicalId::LEN];
        last[..1].copy_from_slice(&start.as_bytes()[..1]);
        let whole_byte = prefix.len() >= 2;
        let end = if whole_byte {
            CanonicalId::from_bytes(last)
        } else {
            *Filter::ALL.ids.end()
        };
        for row in self.index.ascending(
            &Filter {
                ids: start..=end,
                ..Filter::ALL
            },
            &self.log,
        ) {
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
    fn confirm(&self, found: Found, id: &CanonicalId) -> Result<Option<VersionHeader>, ReadError> {
        let bytes = self.log.bytes(found.at, RecordHeader::LEN)?;
        if bytes[..CanonicalId::LEN] != *id.as_bytes() {
            return Ok(None);
        }
        self.seen(found, bytes).map(Some)
    }

    fn seen(&self, found: Found, bytes: &[u8]) -> Result<VersionHeader, ReadError> {
        let header = read_header(bytes, found.at)?;
        let (commit, number) = (found.commit, found.commit.number);
        let missing = || ReadError::Commit {
            domain: commit.domain,
            number,
        };
        let domain = self.commits.site(commit.domain).ok_or_else(missing)?;
        let tombstone = header.kind == Kind::Tombstone;
        let place = Place {
            logseq: commit.logseq,
            id: header.id,
            tombstone,
            domain,
        };
        Ok(VersionHeader {
            place,
            number,
            at: found.at,
            header,
        })
    }

    fn version(&self, seen: &VersionHeader) -> Result<Version, ReadError> {
        let bytes = self
            .log
            .bytes(seen.at, RecordHeader::LEN + seen.header.body_len as usize)?;
        let record = Record::decode_again(bytes).map_err(|source| ReadError::Record {
            position: seen.at,
            source,
        })?;
        Ok(Version {
            place: seen.place,
            number: seen.number,
            record,
        })
    }

    fn visible_of(
        &self,
        (entry, effective): (Entry, Option<VersionHeader>),
    ) -> Result<Visible, ReadError> {
        Ok(Visible {
            entry,
            version: effective.map(|seen| self.version(&seen)).transpose()?,
        })
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

impl Past for State {
    fn header(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHeader>, ReadError> {
        let Some(row) = self.commits.row(domain, number)? else {
            return Ok(None);
        };
        let bytes = self.log.bytes(row.at.body(), CommitHeader::LEN)?;
        CommitHeader::decode(bytes)
            .map(Some)
            .map_err(|source| ReadError::Record {
                position: row.at,
                source,
            })
    }
}

fn read_header(bytes: &[u8], position: LogPosition) -> Result<RecordHeader, ReadError> {
    RecordHeader::read(&mut Reader::new(bytes))
        .map_err(|source| ReadError::Record { position, source })
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
