//! Two stores agree, or the first record that differs is named with each side's claim.
//!
//! Stores rarely hold the same commits. Without a snapshot they are compared at what both have: of
//! every domain the longest common beginning. A domain of which both hold a commit with one number
//! and two hashes has forked: that is named, and the comparison goes on below it. Beyond the common
//! part, two sites may still contradict each other: a receipt for which each alone claims something
//! else, or for which one knows a claim that refutes what the other has.

use std::collections::BTreeSet;

use serde::Serialize;
use uor_asl::state::{Filter, ReadError, State, Visible};
use uor_asl::store::StoreError;
use uor_index_format::id::{CanonicalId, SiteId};
use uor_index_format::record::Kind;
use uor_index_format::snapshot::{Frontier, Head, Snapshot};
use uor_index_format::state::Entry;

use super::subject::Audited;
use super::verdict::Verdict;

/// What comparing two stores gave.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The verdict.
    pub verdict: Verdict,
    /// The first store.
    pub a: String,
    /// The second store.
    pub b: String,
    /// The snapshot at which they were compared.
    pub snapshot_id: String,
    /// Its highest logseq.
    pub logseq_max: u64,
    /// The first store's root there, if it holds the snapshot.
    pub state_root_a: Option<String>,
    /// The second store's.
    pub state_root_b: Option<String>,
    /// Entries visible at the first store there.
    pub entries: u64,
    /// The first record that differs, in ascending order of id.
    pub first: Option<FirstDifference>,
    /// Domains of which the stores hold different chains.
    pub forks: Vec<Fork>,
    /// How far the stores reach beyond the snapshot, or fall short of it.
    pub frontiers: Vec<FrontierDifference>,
}

/// The first record that differs.
#[derive(Debug, Clone, Serialize)]
pub struct FirstDifference {
    /// About what.
    pub id: String,
    /// What that is.
    pub kind: &'static str,
    /// Whether it lies beyond what both stores have: a claim is known to one of them only.
    pub beyond_common: bool,
    /// The first store's claim; absent if nothing is visible there.
    pub a: Option<Claim>,
    /// The second store's claim.
    pub b: Option<Claim>,
}

/// What one store says about an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Checksum of what is effective; absent while a conflict withholds all.
    pub checksum: Option<String>,
    /// Length of what is effective, in bytes.
    pub bytes: u64,
    /// When it was claimed.
    pub logseq: u64,
    /// Whether claims differ there.
    pub conflict: bool,
    /// Whose commit carries it.
    pub domain: Option<String>,
    /// The commit's number.
    pub number: Option<u64>,
    /// The commit's hash.
    pub hash: Option<String>,
    /// While claims differ, all of them, in the one order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<RivalClaim>,
}

/// One of several claims that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RivalClaim {
    /// What is claimed.
    pub checksum: String,
    /// Whose commit carries it.
    pub domain: String,
    /// The commit's number.
    pub number: u64,
}

/// A domain with two chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The domain.
    pub domain: String,
    /// The first number at which the chains differ.
    pub number: u64,
    /// The first store's commit there.
    pub hash_a: String,
    /// The second store's.
    pub hash_b: String,
}

/// How much of one domain the stores hold, where that differs from the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontierDifference {
    /// The domain.
    pub domain: String,
    /// Commits inside the snapshot.
    pub snapshot: u64,
    /// Commits at the first store.
    pub a: u64,
    /// Commits at the second store.
    pub b: u64,
}

/// Compares two stores at a snapshot, or at what both have.
///
/// # Errors
/// [`StoreError`] if a log cannot be read.
pub fn compare(
    a: &Audited,
    b: &Audited,
    target: Option<Snapshot>,
) -> Result<Difference, StoreError> {
    let given = target.is_some();
    let (common, mut forks) = common(&[a, b])?;
    let at = target.unwrap_or(common);
    forks.retain(|fork| {
        !given
            || at
                .frontier
                .iter()
                .any(|(domain, head)| fork.is_within(domain, head))
    });
    let complete =
        !at.frontier.is_empty() && a.store.view().has(&at)? && b.store.view().has(&at)?;
    let mut difference = Difference {
        verdict: if forks.is_empty() {
            Verdict::Agrees
        } else {
            Verdict::Diverges
        },
        a: a.name.clone(),
        b: b.name.clone(),
        snapshot_id: at.id().to_string(),
        logseq_max: at.logseq_max.0,
        state_root_a: None,
        state_root_b: None,
        entries: 0,
        first: None,
        forks,
        frontiers: frontiers(a, b, &at),
    };
    if complete {
        difference.compare_states(a, b, &at)?;
        if difference.first.is_none() && !given {
            difference.first = contradiction(a, b)?;
        }
        if difference.first.is_some() {
            difference.verdict = Verdict::Diverges;
        }
    } else {
        difference.verdict = difference.verdict.and(Verdict::Incomplete);
    }
    Ok(difference)
}

impl Fork {
    fn is_within(&self, domain: &SiteId, head: &Head) -> bool {
        self.domain == domain.to_string() && self.number <= head.number
    }
}

/// What all stores have: of each domain that all know, the longest common beginning; and where
/// chains differ (between the first store and another).
///
/// # Errors
/// [`StoreError`] if a log cannot be read.
pub fn common(stores: &[&Audited]) -> Result<(Snapshot, Vec<Fork>), StoreError> {
    let mut snapshot = Snapshot::default();
    let mut forks = Vec::new();
    let Some((first, others)) = stores.split_first() else {
        return Ok((snapshot, forks));
    };
    for (domain, head) in &first.head().frontier {
        let mut shared = head.number;
        for other in others {
            let hash_here = |number| first.store.view().commit_hash(domain, number);
            let hash_there = |number| other.store.view().commit_hash(domain, number);
            let theirs = other
                .head()
                .frontier
                .get(domain)
                .map_or(0, |head| head.number);
            shared = shared.min(theirs);
            // Chains are linked: once they differ they differ for ever, so the first difference can
            // be searched for.
            let differs = |number| Ok::<_, ReadError>(hash_here(number)? != hash_there(number)?);
            if let Some(number) = first_where(shared, differs)? {
                if let (Some(a), Some(b)) = (hash_here(number)?, hash_there(number)?) {
                    let (domain, hash_a, hash_b) =
                        (domain.to_string(), a.to_string(), b.to_string());
                    forks.push(Fork {
                        domain,
                        number,
                        hash_a,
                        hash_b,
                    });
                }
                shared = number - 1;
            }
        }
        if let Some(commit) = first.store.read_commit(domain, shared)? {
            snapshot.frontier.insert(
                *domain,
                Head {
                    number: shared,
                    hash: commit.hash(),
                },
            );
            snapshot.logseq_max = snapshot.logseq_max.max(commit.header().logseq);
        }
    }
    Ok((snapshot, forks))
}

/// The first number from 1 to `last` for which `holds` is true, if it is true from there on.
fn first_where<E>(last: u64, holds: impl Fn(u64) -> Result<bool, E>) -> Result<Option<u64>, E> {
    if last == 0 || !holds(last)? {
        return Ok(None);
    }
    let (mut low, mut high) = (1, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle
        } else {
            low = middle + 1
        }
    }
    Ok(Some(low))
}

fn frontiers(a: &Audited, b: &Audited, at: &Snapshot) -> Vec<FrontierDifference> {
    let (head_a, head_b) = (a.head().frontier, b.head().frontier);
    let number =
        |frontier: &Frontier, domain: &SiteId| frontier.get(domain).map_or(0, |head| head.number);
    let domains: BTreeSet<&SiteId> = head_a
        .keys()
        .chain(head_b.keys())
        .chain(at.frontier.keys())
        .collect();
    let shown = domains.into_iter().map(|domain| FrontierDifference {
        domain: domain.to_string(),
        snapshot: number(&at.frontier, domain),
        a: number(&head_a, domain),
        b: number(&head_b, domain),
    });
    shown
        .filter(|shown| shown.a != shown.snapshot || shown.b != shown.snapshot)
        .collect()
}

impl Difference {
    fn compare_states(
        &mut self,
        a: &Audited,
        b: &Audited,
        at: &Snapshot,
    ) -> Result<(), StoreError> {
        let (replayed_a, replayed_b) = (a.store.replay(at)?, b.store.replay(at)?);
        self.state_root_a = Some(replayed_a.root.to_string());
        self.state_root_b = Some(replayed_b.root.to_string());
        self.entries = replayed_a.entries.len() as u64;
        if let Some(Entry { id, kind, .. }) =
            first_difference(&replayed_a.entries, &replayed_b.entries)
        {
            self.first = Some(FirstDifference {
                id: id.to_string(),
                kind: kind.name(),
                beyond_common: false,
                a: claim(a, id, at)?,
                b: claim(b, id, at)?,
            });
        }
        Ok(())
    }
}

/// The first entry that differs of two lists ascending by id.
fn first_difference<'a>(a: &'a [Entry], b: &'a [Entry]) -> Option<&'a Entry> {
    // Corroboration differs while claims are under way, and is not part of the state.
    let same = |a: &Entry, b: &Entry| a.encode() == b.encode();
    let at = a
        .iter()
        .zip(b)
        .position(|(a, b)| !same(a, b))
        .unwrap_or(a.len().min(b.len()));
    a.get(at)
        .into_iter()
        .chain(b.get(at))
        .min_by_key(|entry| entry.id)
}

fn claim(audited: &Audited, id: &CanonicalId, at: &Snapshot) -> Result<Option<Claim>, ReadError> {
    let view = audited.store.view();
    let Some(Visible { entry, version }) = view.state().get(id, at)? else {
        return Ok(None);
    };
    let place = version.map(|version| (version.place.domain, version.number));
    let hash = place
        .map(|(domain, number)| view.commit_hash(&domain, number))
        .transpose()?
        .flatten();
    Ok(Some(Claim {
        checksum: entry.checksum.map(|checksum| checksum.to_string()),
        bytes: entry.payload_len,
        logseq: entry.logseq.0,
        conflict: entry.conflict,
        domain: place.map(|(domain, _)| domain.to_string()),
        number: place.map(|(_, number)| number),
        hash: hash.map(|hash| hash.to_string()),
        claims: rivals(view.state(), id, at)?,
    }))
}

/// The claims of an open conflict, if there is one.
fn rivals(state: &State, id: &CanonicalId, at: &Snapshot) -> Result<Vec<RivalClaim>, ReadError> {
    let claims = state
        .conflict(id, at)?
        .map(|conflict| conflict.claims)
        .unwrap_or_default();
    let shown = claims.into_iter().map(|version| RivalClaim {
        checksum: version.record.payload().checksum.to_string(),
        domain: version.place.domain.to_string(),
        number: version.number,
    });
    Ok(shown.collect())
}

/// The first artifact or receipt of which the stores, each at its own head, know different claims.
fn contradiction(a: &Audited, b: &Audited) -> Result<Option<FirstDifference>, ReadError> {
    let Some((id, kind)) = contradicted(a, b)? else {
        return Ok(None);
    };
    Ok(Some(FirstDifference {
        id: id.to_string(),
        kind: kind.name(),
        beyond_common: true,
        a: claim(a, &id, &a.head())?,
        b: claim(b, &id, &b.head())?,
    }))
}

fn contradicted(a: &Audited, b: &Audited) -> Result<Option<(CanonicalId, Kind)>, ReadError> {
    let (a, b) = (a.store.view(), b.store.view());
    for mine in a.state().entries(a.head(), &Filter::ALL) {
        let mine = mine?;
        if !mine.kind.keeps_first() {
            continue;
        }
        let theirs = b.state().entry(&mine.id, b.head())?;
        if theirs.is_some_and(|theirs| {
            (theirs.checksum, theirs.conflict) != (mine.checksum, mine.conflict)
        }) {
            return Ok(Some((mine.id, mine.kind)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::first_where;

    #[test]
    fn the_first_difference_is_found_wherever_it_is() {
        for last in 0..40 {
            for first in 1..=last + 1 {
                let expected = (first <= last).then_some(first);
                assert_eq!(
                    first_where(last, |number| Ok::<_, ()>(number >= first)),
                    Ok(expected),
                    "{first} of {last}"
                );
            }
        }
    }
}
