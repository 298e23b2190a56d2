//! Commits that lie in the log and are not accepted: each by name, with the validator's reason, and
//! whether a fork explains it.
//!
//! Everything is rebuilt from the log, so what a checkpoint says of it is held against the log
//! too.

use std::collections::BTreeSet;

use uor_index_format::commit::Commit;
use uor_index_format::id::{CommitHash, SiteId};

use super::Finding;
use super::index::accepted_at;
use crate::entry::{commit_header, decode_commit};
use crate::log::LogPosition;
use crate::state::error::ReadError;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::view::View;
use crate::validator::{CommitValidator, Verdict};

/// A commit in the log that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unaccepted {
    /// Its domain.
    pub domain: SiteId,
    /// Its number there.
    pub number: u64,
    /// Its hash.
    pub hash: CommitHash,
    /// Where in the log it is.
    pub position: LogPosition,
    /// Why it is not accepted, in words.
    pub reason: String,
    /// Whether a proven fork took it back. If not, it could never have been accepted, and nobody
    /// who follows the rules has put it there.
    pub is_of_a_fork: bool,
}

/// Rebuilds everything from the log, holds what the store says against it, and lists the commits
/// that are not accepted.
pub(super) fn verify(
    store: &Store,
    view: &View,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Unaccepted>, StoreError> {
    let (validator, rebuilt) = store.revalidated()?;
    differences(view, &rebuilt, findings);
    let mut unaccepted = Vec::new();
    let ordinals = rebuilt.state().commits().ordinals();
    for entry in store.log().entries() {
        let entry = entry?;
        let Some(named) = commit_header(&entry) else {
            continue;
        };
        if accepted_at(&rebuilt, ordinals, &named, entry.position).is_none() {
            let commit = decode_commit(entry.position, &entry.body)?;
            // One that lies in the log twice is taken in once: it has come again to fill a gap.
            if rebuilt.commit_hash(&named.domain, named.number)? == Some(commit.hash()) {
                continue;
            }
            let testifies = validator.memberships().contains_key(&commit.hash());
            let reason = if testifies {
                TESTIFIES.to_owned()
            } else {
                reason(&validator, &commit, &rebuilt)?
            };
            let (header, hash, position) = (commit.header(), commit.hash(), entry.position);
            let (domain, number) = (header.domain, header.number);
            unaccepted.push(Unaccepted {
                domain,
                number,
                hash,
                position,
                reason,
                is_of_a_fork: testifies,
            });
        }
    }
    if !unaccepted.is_empty() && !validator.forks().is_empty() {
        let acceptable = acceptable_without_forks(store, &validator)?;
        unaccepted
            .iter_mut()
            .for_each(|commit| commit.is_of_a_fork |= acceptable.contains(&commit.position));
    }
    findings.extend(
        unaccepted
            .iter()
            .filter(|commit| !commit.is_of_a_fork)
            .cloned()
            .map(Finding::Unaccepted),
    );
    Ok(unaccepted)
}

const TESTIFIES: &str = "its writer forked its log; whom it admits is a member all the same";

fn reason(validator: &CommitValidator, commit: &Commit, view: &View) -> Result<String, ReadError> {
    Ok(match validator.validate(commit, view.state())? {
        Verdict::Rejected(rejection) => rejection.to_string(),
        Verdict::Parked(parked) => parked.to_string(),
        Verdict::Forks(proof) => format!(
            "another commit of its domain has number {} too, and is accepted",
            proof.number()
        ),
        Verdict::Testifies => TESTIFIES.to_owned(),
        Verdict::Known => "it is in the log twice".to_owned(),
        Verdict::Accepted => "what it rests on came only after it".to_owned(),
    })
}

/// Places of the commits that could be accepted, in the order of the log, by who knew of no fork
/// but of the testimony that `knowing` has.
fn acceptable_without_forks(
    store: &Store,
    knowing: &CommitValidator,
) -> Result<BTreeSet<LogPosition>, StoreError> {
    let mut validator = CommitValidator::new(store.federation());
    let mut acceptable = BTreeSet::new();
    for entry in store.log().entries() {
        let entry = entry?;
        if commit_header(&entry).is_some() {
            let commit = decode_commit(entry.position, &entry.body)?;
            if validator.validate(&commit, &())? == Verdict::Accepted {
                validator.accept(&commit);
                acceptable.insert(entry.position);
            } else if knowing.memberships().contains_key(&commit.hash()) {
                validator.testify(&commit);
            }
        }
    }
    Ok(acceptable)
}

/// What the store says of the log, beside what the log says.
fn differences(kept: &View, rebuilt: &View, findings: &mut Vec<Finding>) {
    let mut compare = |what: &str, is_same: bool, kept: String, rebuilt: String| {
        if !is_same {
            let what =
                format!("the checkpoint says of the {what}: {kept}; the log says: {rebuilt}");
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
        kept.head() == rebuilt.head(),
        frontier(kept),
        frontier(rebuilt),
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
        kept.members() == rebuilt.members(),
        members(kept),
        members(rebuilt),
    );
    let root = |view: &View| view.state().root().to_string();
    compare(
        "state root",
        root(kept) == root(rebuilt),
        root(kept),
        root(rebuilt),
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
        conflicts(kept) == conflicts(rebuilt),
        said(kept),
        said(rebuilt),
    );
    let unaccepted = |view: &View| view.unaccepted().to_string();
    compare(
        "commits that are not accepted",
        kept.unaccepted() == rebuilt.unaccepted(),
        unaccepted(kept),
        unaccepted(rebuilt),
    );
    let forks = |view: &View| format!("{:?}", view.forks().keys().collect::<Vec<_>>());
    compare(
        "forks",
        kept.forks() == rebuilt.forks(),
        forks(kept),
        forks(rebuilt),
    );
    let erased = |view: &View| view.erased_len().to_string();
    compare(
        "payloads that were erased",
        erased(kept) == erased(rebuilt),
        erased(kept),
        erased(rebuilt),
    );
}
