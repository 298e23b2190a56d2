//! Commits that lie in the log and do not count: each by name, with the judge's reason, and whether
//! a fork explains it.
//!
//! Everything is judged anew from the log, so what a checkpoint says of it is held against the log
//! too.

use std::collections::BTreeSet;

use uor_index_format::commit::Commit;
use uor_index_format::id::{CommitHash, SiteId};

use super::Finding;
use super::index::counts;
use crate::entry::{commit_header, decode_commit};
use crate::judge::{Judge, Verdict};
use crate::log::LogPosition;
use crate::state::error::ReadError;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::view::View;

/// A commit in the log that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncounted {
    /// Its domain.
    pub domain: SiteId,
    /// Its number there.
    pub number: u64,
    /// Its hash.
    pub hash: CommitHash,
    /// Where in the log it is.
    pub position: LogPosition,
    /// Why it does not count, in words.
    pub reason: String,
    /// Whether a proven fork took it back. If not, it could never have been accepted, and nobody
    /// who follows the rules has put it there.
    pub is_of_a_fork: bool,
}

/// Judges the log anew, holds what the store says against it, and lists the commits that do not
/// count.
pub(super) fn verify(
    store: &Store,
    view: &View,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Uncounted>, StoreError> {
    let (judge, anew) = store.judged_anew()?;
    differences(view, &anew, findings);
    let mut uncounted = Vec::new();
    let ordinals = anew.state().commits().ordinals();
    for entry in store.log().entries() {
        let entry = entry?;
        let Some(named) = commit_header(&entry) else {
            continue;
        };
        if counts(&anew, ordinals, &named, entry.position).is_none() {
            let commit = decode_commit(entry.position, &entry.body)?;
            // One that lies in the log twice counts once: it has come again to fill a gap.
            if anew.commit_hash(&named.domain, named.number)? == Some(commit.hash()) {
                continue;
            }
            let testifies = judge.memberships().contains_key(&commit.hash());
            let reason = if testifies {
                TESTIFIES.to_owned()
            } else {
                reason(&judge, &commit, &anew)?
            };
            let (header, hash, position) = (commit.header(), commit.hash(), entry.position);
            let (domain, number) = (header.domain, header.number);
            uncounted.push(Uncounted {
                domain,
                number,
                hash,
                position,
                reason,
                is_of_a_fork: testifies,
            });
        }
    }
    if !uncounted.is_empty() && !judge.forks().is_empty() {
        let acceptable = acceptable_without_forks(store, &judge)?;
        uncounted
            .iter_mut()
            .for_each(|commit| commit.is_of_a_fork |= acceptable.contains(&commit.position));
    }
    findings.extend(
        uncounted
            .iter()
            .filter(|commit| !commit.is_of_a_fork)
            .cloned()
            .map(Finding::Uncounted),
    );
    Ok(uncounted)
}

const TESTIFIES: &str = "its writer forked its log; whom it admits is a member all the same";

fn reason(judge: &Judge, commit: &Commit, view: &View) -> Result<String, ReadError> {
    Ok(match judge.judge(commit, view.state())? {
        Verdict::Refused(refusal) => refusal.to_string(),
        Verdict::Parked(parked) => parked.to_string(),
        Verdict::Forks(proof) => format!(
            "another commit of its domain has number {} too, and counts",
            proof.number()
        ),
        Verdict::Testifies => TESTIFIES.to_owned(),
        Verdict::Known => "it is in the log twice".to_owned(),
        Verdict::Counts => "what it rests on came only after it".to_owned(),
    })
}

/// Places of the commits that could be accepted, in the order of the log, by who knew of no fork
/// but of the testimony that `knowing` has.
fn acceptable_without_forks(
    store: &Store,
    knowing: &Judge,
) -> Result<BTreeSet<LogPosition>, StoreError> {
    let mut judge = Judge::new(store.federation());
    let mut acceptable = BTreeSet::new();
    for entry in store.log().entries() {
        let entry = entry?;
        if commit_header(&entry).is_some() {
            let commit = decode_commit(entry.position, &entry.body)?;
            if judge.judge(&commit, &())? == Verdict::Counts {
                judge.admit(&commit);
                acceptable.insert(entry.position);
            } else if knowing.memberships().contains_key(&commit.hash()) {
                judge.testify(&commit);
            }
        }
    }
    Ok(acceptable)
}

/// What the store says of the log, beside what the log says.
fn differences(kept: &View, anew: &View, findings: &mut Vec<Finding>) {
    let mut compare = |what: &str, is_same: bool, kept: String, anew: String| {
        if !is_same {
            let what = format!("the checkpoint says of the {what}: {kept}; the log says: {anew}");
            findings.push(Finding::Index {
                file: Some("index/checkpoint".to_owned()),
                offset: None,
                what,
            });
        }
    };
    let frontier = |view: &View| format!("{:?}", view.head().frontier);
    compare(
        "frontier",
        kept.head() == anew.head(),
        frontier(kept),
        frontier(anew),
    );
    let members = |view: &View| {
        view.members()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    compare(
        "members",
        kept.members() == anew.members(),
        members(kept),
        members(anew),
    );
    let root = |view: &View| view.state().root().to_string();
    compare(
        "state root",
        root(kept) == root(anew),
        root(kept),
        root(anew),
    );
    let conflicts = |view: &View| view.state().conflicting().clone();
    let said = |view: &View| {
        conflicts(view)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    compare(
        "conflicts",
        conflicts(kept) == conflicts(anew),
        said(kept),
        said(anew),
    );
    let uncounted = |view: &View| view.uncounted().to_string();
    compare(
        "commits that do not count",
        kept.uncounted() == anew.uncounted(),
        uncounted(kept),
        uncounted(anew),
    );
    let forks = |view: &View| format!("{:?}", view.forks().keys().collect::<Vec<_>>());
    compare(
        "forks",
        kept.forks() == anew.forks(),
        forks(kept),
        forks(anew),
    );
    let erased = |view: &View| view.erased_len().to_string();
    compare(
        "payloads that were erased",
        erased(kept) == erased(anew),
        erased(kept),
        erased(anew),
    );
}
