//! One id: records applied to it one after the other, and what is then visible.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::{CanonicalId, Checksum, LogSeq};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Kind, RecordHeader};
use uor_index_format::state::Entry;

/// The short form of a record: what decides what is visible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) id: CanonicalId,
    checksum: Checksum,
    len: u64,
    pub(super) logseq: LogSeq,
    type_tag: Option<u32>,
    /// Place of its domain among all, ascending.
    pub(super) domain: u32,
    kind: Kind,
}

impl Version {
    pub(super) const fn new(record: &RecordHeader, logseq: LogSeq, domain: u32) -> Self {
        let RecordHeader {
            id,
            kind,
            type_tag,
            payload,
            ..
        } = *record;
        Self {
            id,
            checksum: payload.checksum,
            len: payload.len,
            logseq,
            type_tag,
            domain,
            kind,
        }
    }

    /// By id, and for each id in the one order: `(logseq, tombstone, domain)`.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let place = |version: &Self| {
            (
                version.logseq,
                version.kind == Kind::Tombstone,
                version.domain,
            )
        };
        // Ids ascend as their prefixes do, and hardly ever share one.
        let by_id = self
            .id
            .prefix()
            .cmp(&other.id.prefix())
            .then_with(|| self.id.cmp(&other.id));
        by_id.then_with(|| place(self).cmp(&place(other)))
    }

    fn is_claim(&self) -> bool {
        !matches!(self.kind, Kind::Tombstone | Kind::Resolution)
    }

    fn entry(&self, conflict: bool, domains: usize) -> Entry {
        Entry {
            id: self.id,
            kind: self.kind,
            type_tag: self.type_tag,
            checksum: Some(self.checksum),
            payload_len: self.len,
            logseq: self.logseq,
            conflict,
            domains: u32::try_from(domains).unwrap_or(u32::MAX),
        }
    }
}

/// What has been applied to one id so far.
#[derive(Debug, Default)]
pub(super) struct Cell<'a> {
    claims: BTreeMap<Checksum, Claim<'a>>,
    /// Resolutions in order, each with the number of claim records that had come before it.
    resolutions: Vec<(Checksum, usize)>,
    /// What each claim record so far has claimed.
    sequence: Vec<Checksum>,
}

#[derive(Debug)]
struct Claim<'a> {
    /// Its first record, or its last, whichever is effective for this kind.
    effective: &'a Version,
    /// Places of its first and its last record in the sequence.
    first: usize,
    last: usize,
    domains: BTreeSet<u32>,
}

impl<'a> Cell<'a> {
    /// What is visible after these versions of one id, in the one order.
    pub(super) fn replay(
        mut versions: impl Iterator<Item = &'a Version>,
        rule: ConflictRule,
    ) -> Option<Entry> {
        let first = versions.next()?;
        let Some(second) = versions.next() else {
            // Nearly every id is spoken of once: a claim is then effective, and anything else is
            // about nothing.
            return first.is_claim().then(|| first.entry(false, 1));
        };
        let mut cell = Self::default();
        [first, second]
            .into_iter()
            .chain(versions)
            .for_each(|version| cell.apply(version));
        cell.entry(rule)
    }

    fn apply(&mut self, version: &'a Version) {
        match version.kind {
            Kind::Tombstone => *self = Self::default(),
            Kind::Resolution => self
                .resolutions
                .push((version.checksum, self.sequence.len())),
            Kind::Artifact
            | Kind::Receipt
            | Kind::Genesis
            | Kind::Edge
            | Kind::Ref
            | Kind::Admission => {
                self.claim(version);
            }
        }
    }

    /// Of artifacts and receipts the first claim is effective and equal ones corroborate it; an
    /// edge or ref is replaced by a later one, and who else had said the same is remembered.
    fn claim(&mut self, version: &'a Version) {
        let at = self.sequence.len();
        self.sequence.push(version.checksum);
        let new = || Claim {
            effective: version,
            first: at,
            last: at,
            domains: BTreeSet::new(),
        };
        let claim = self.claims.entry(version.checksum).or_insert_with(new);
        claim.domains.insert(version.domain);
        claim.last = at;
        if !version.kind.keeps_first() {
            claim.effective = version;
        }
    }

    fn entry(&self, rule: ConflictRule) -> Option<Entry> {
        let first = self.claims.values().min_by_key(|claim| claim.first)?;
        if !first.effective.kind.keeps_first() {
            let last = self.claims.values().max_by_key(|claim| claim.last);
            return last.map(|last| last.entry(false));
        }
        let settled = self
            .resolutions
            .iter()
            .rev()
            .find_map(|(keep, claims_before)| {
                let kept = self.claims.get(keep)?;
                let reopened = self
                    .sequence
                    .iter()
                    .skip(*claims_before)
                    .any(|later| later != keep);
                Some(kept.entry(reopened))
            });
        if settled.is_some() || self.claims.len() == 1 {
            return settled.or_else(|| Some(first.entry(false)));
        }
        Some(match rule {
            ConflictRule::First => first.entry(true),
            ConflictRule::Quorum => {
                let most = self
                    .claims
                    .values()
                    .max_by_key(|claim| (claim.domains.len(), Reverse(claim.first)));
                most.unwrap_or(first).entry(true)
            }
            ConflictRule::Manual => Entry {
                type_tag: None,
                checksum: None,
                payload_len: 0,
                domains: 0,
                ..first.entry(true)
            },
        })
    }
}

impl Claim<'_> {
    fn entry(&self, conflict: bool) -> Entry {
        self.effective.entry(conflict, self.domains.len())
    }
}
