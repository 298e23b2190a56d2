//! Sequential replay: the specification's §5, step by step.
//!
//! Records of all logs are sorted once by the one order and applied one after the other; what is beyond the target is
//! skipped; a tombstone clears what stands at its id. Nothing here is shared with the incremental `state`: the two must
//! agree for every set of commits, and that equality is the project's first invariant.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, Checksum, LogSeq, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Content, Kind, Record};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::{Entry, StateHash};

/// The state that replay arrived at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Visible entries, ascending by id.
    pub entries: Vec<Entry>,
    /// Ids with an open conflict, ascending.
    pub conflicts: Vec<CanonicalId>,
    /// The state root.
    pub root: StateRoot,
    /// How many records were applied.
    pub records: u64,
}

/// Replays the commits that lie inside `target`.
pub fn replay<'a>(commits: impl IntoIterator<Item = &'a Commit>, target: &Snapshot, rule: ConflictRule) -> Replayed {
    let mut log: Vec<(Place, &Record)> = commits
        .into_iter()
        .filter(|commit| {
            let header = commit.header();
            target.frontier.get(&header.domain).is_some_and(|head| header.number <= head.number)
        })
        .flat_map(|commit| commit.records().iter().map(|record| (commit.place(record), record)))
        .collect();
    log.sort_by_key(|(place, _)| *place);

    let mut cells: BTreeMap<CanonicalId, Cell> = BTreeMap::new();
    let mut records = 0;
    for (place, record) in log {
        if place.logseq > target.logseq_max {
            continue;
        }
        records += 1;
        cells.entry(place.id).or_default().apply(place, record);
    }

    let entries: Vec<Entry> = cells.iter().filter_map(|(id, cell)| cell.entry(*id, rule)).collect();
    let mut sum = StateHash::default();
    entries.iter().for_each(|entry| sum.add(entry));
    let conflicts = entries.iter().filter(|entry| entry.conflict).map(|entry| entry.id).collect();
    Replayed { root: sum.root(target), entries, conflicts, records }
}

/// What has been applied to one id so far.
#[derive(Debug, Default)]
struct Cell {
    /// Different claims in the order in which each first came.
    claims: Vec<Claim>,
    /// Resolutions in order, each with the number of claim records that had come before it.
    resolutions: Vec<(Checksum, usize)>,
    /// Claim records so far: when each was made, and what it claimed.
    sequence: Vec<Checksum>,
}

#[derive(Debug, Clone)]
struct Claim {
    kind: Kind,
    type_tag: Option<u32>,
    checksum: Checksum,
    len: u64,
    logseq: LogSeq,
    domains: BTreeSet<SiteId>,
}

impl Cell {
    fn apply(&mut self, place: Place, record: &Record) {
        match record.content() {
            Content::Tombstone => *self = Self::default(),
            Content::Resolution { keep } => self.resolutions.push((*keep, self.sequence.len())),
            Content::Artifact { .. } | Content::Receipt { .. } | Content::Genesis(_) => self.keep_first(place, record),
            Content::Edge(_) | Content::Ref(_) | Content::Admission(_) => self.keep_last(place, record),
        }
    }

    fn keep_first(&mut self, place: Place, record: &Record) {
        let claim = Claim::new(place, record);
        self.sequence.push(claim.checksum);
        match self.claims.iter_mut().find(|known| known.checksum == claim.checksum) {
            Some(duplicate) => {
                duplicate.domains.insert(place.domain);
            }
            None => self.claims.push(claim),
        }
    }

    /// A later edge or ref replaces the earlier; who else had said the same is remembered for corroboration.
    fn keep_last(&mut self, place: Place, record: &Record) {
        let mut claim = Claim::new(place, record);
        if let Some(at) = self.claims.iter().position(|known| known.checksum == claim.checksum) {
            claim.domains.append(&mut self.claims.remove(at).domains);
        }
        self.claims.push(claim);
    }

    fn entry(&self, id: CanonicalId, rule: ConflictRule) -> Option<Entry> {
        let (first, last) = (self.claims.first()?, self.claims.last()?);
        if !first.kind.first_stands() {
            return Some(last.entry(id, false));
        }
        let settled = self.resolutions.iter().rev().find_map(|(keep, claims_before)| {
            let kept = self.claims.iter().find(|claim| claim.checksum == *keep)?;
            let reopened = self.sequence.iter().skip(*claims_before).any(|later| later != keep);
            Some(kept.entry(id, reopened))
        });
        if settled.is_some() || self.claims.len() == 1 {
            return settled.or_else(|| Some(first.entry(id, false)));
        }
        Some(match rule {
            ConflictRule::First => first.entry(id, true),
            ConflictRule::Quorum => {
                // `max_by_key` takes the last of equals; reversed, that is the one that came first.
                let most = self.claims.iter().rev().max_by_key(|claim| claim.domains.len());
                most.unwrap_or(first).entry(id, true)
            }
            ConflictRule::Manual => {
                Entry { type_tag: None, checksum: None, payload_len: 0, domains: 0, ..first.entry(id, true) }
            }
        })
    }
}

impl Claim {
    fn new(place: Place, record: &Record) -> Self {
        let payload = record.payload();
        Self {
            kind: record.kind(),
            type_tag: record.type_tag(),
            checksum: payload.checksum,
            len: payload.len,
            logseq: place.logseq,
            domains: BTreeSet::from([place.domain]),
        }
    }

    fn entry(&self, id: CanonicalId, conflict: bool) -> Entry {
        Entry {
            id,
            kind: self.kind,
            type_tag: self.type_tag,
            checksum: Some(self.checksum),
            payload_len: self.len,
            logseq: self.logseq,
            conflict,
            domains: u32::try_from(self.domains.len()).unwrap_or(u32::MAX),
        }
    }
}
