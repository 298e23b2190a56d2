//! Runs receipts again and holds every claim about them against what comes out.
//!
//! Not only the claim that stands is tried but every claim that is not shadowed: a forged one must
//! be named even where the conflict rule never let it stand. A run that was replayed to the same
//! bytes proves the receipts in its trace too, so they are not executed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use uor_asl::state::{Filter, ReadError};
use uor_asl::store::Store;
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum, SiteId};
use uor_index_format::receipt::{Derivation, Status, Step};
use uor_index_format::record::{Content, Kind};
use uor_pel::engine::Limits;
use uor_pel::engine::wasmtime::Wasmtime;
use uor_pel::replay::{Difference, Divergence, Side, Verdict as Replayed, replay};

use super::error::AuditError;
use super::stored_artifacts::StoredArtifacts;
use super::verdict::{Progress, Verdict};

/// What running receipts again gave.
#[derive(Debug, Clone, Serialize)]
pub struct Executed {
    /// The verdict.
    pub verdict: Verdict,
    /// How the store was named.
    pub store: String,
    /// Claims that were looked at.
    pub claims: u64,
    /// Of these, those that came out the same.
    pub identical: u64,
    /// Of these, those that another replay had proven along with it.
    pub proven_within: u64,
    /// Operations that ran.
    pub operations: u64,
    /// Claims that did not come out the same.
    pub diverged: Vec<Diverged>,
    /// Claims that could not be tried.
    pub inconclusive: Vec<Inconclusive>,
}

/// A claim that replay refutes.
#[derive(Debug, Clone, Serialize)]
pub struct Diverged {
    /// The receipt that was run again.
    pub receipt: String,
    /// Checksum of the refuted outcome.
    pub claimed: String,
    /// Who claims it.
    pub domains: Vec<String>,
    /// The first node that differs.
    pub node: String,
    /// That node's receipt.
    pub node_receipt: String,
    /// The first byte that differs, where it is an output's.
    pub offset: Option<u64>,
    /// In words.
    pub difference: String,
}

/// A claim that could not be tried.
#[derive(Debug, Clone, Serialize)]
pub struct Inconclusive {
    /// The receipt.
    pub receipt: String,
    /// Checksum of the outcome.
    pub claimed: String,
    /// Why.
    pub reason: String,
}

/// Which receipts are run again.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// The one that this names, by its id in hexadecimal or at least its first 8 digits; else all.
    pub receipt: Option<String>,
    /// Of these, how many in a hundred: the same ones at every site.
    pub percent: Option<u8>,
}

/// Claims that are known to come out the same: receipt and checksum of the outcome.
pub type Proven = BTreeSet<(ArtifactKey, Checksum)>;

struct Claim {
    receipt: ArtifactKey,
    derivation: Derivation,
    checksum: Checksum,
    domains: BTreeSet<SiteId>,
}

/// Runs receipts of a store again; what is `proven` already is not run, and what is proven now is
/// added.
///
/// # Errors
/// [`AuditError`] if there is no engine, or no such receipt.
pub fn execute(
    name: &str,
    store: Arc<Store>,
    which: &Receipts,
    proven: &mut Proven,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Executed, AuditError> {
    let engine = Wasmtime::shared()?;
    let artifacts = StoredArtifacts(Arc::clone(&store));
    let mut claims = claims(&store, which)?;
    // Whole runs first: each proves the receipts in its trace.
    let mut outcomes = BTreeMap::new();
    for claim in &claims {
        outcomes.insert(
            (claim.receipt, claim.checksum),
            artifacts.outcome(claim.checksum),
        );
    }
    let trace_len = |claim: &Claim| match outcomes.get(&(claim.receipt, claim.checksum)) {
        Some(Ok(Some(outcome))) => outcome.trace.len(),
        _ => 0,
    };
    claims.sort_by_key(|claim| std::cmp::Reverse(trace_len(claim)));
    let mut executed = Executed::none(name);
    let total = claims.len() as u64;
    for claim in &claims {
        on_progress(Progress::Claims(executed.claims, total));
        executed.claims += 1;
        if proven.contains(&(claim.receipt, claim.checksum)) {
            executed.identical += 1;
            executed.proven_within += 1;
            continue;
        }
        let outcome = match outcomes.get(&(claim.receipt, claim.checksum)) {
            Some(Ok(Some(outcome))) => outcome,
            Some(Err(error)) => {
                executed.give_up(claim, chain(error));
                continue;
            }
            _ => {
                executed.give_up(claim, "the outcome's bytes are not here".to_owned());
                continue;
            }
        };
        let mut progress = |_: uor_pel::run::Progress<'_>| {};
        match replay(
            &artifacts,
            engine,
            &claim.derivation,
            outcome,
            Limits::default(),
            &mut progress,
        ) {
            Replayed::Identical { operations } => {
                executed.identical += 1;
                executed.operations += operations;
                prove(&artifacts, claim.receipt, claim.checksum, proven);
            }
            Replayed::Diverged(divergence) => executed.refute(claim, &divergence),
            Replayed::Inconclusive { reason } => executed.give_up(claim, chain(&reason)),
        }
    }
    executed.verdict = match (
        executed.diverged.is_empty(),
        executed.inconclusive.is_empty(),
    ) {
        (false, _) => Verdict::Diverges,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Agrees,
    };
    Ok(executed)
}

/// Notes a replayed claim and everything in its trace, down to the files of mapped nodes.
fn prove(
    artifacts: &StoredArtifacts,
    receipt: ArtifactKey,
    checksum: Checksum,
    proven: &mut Proven,
) {
    let mut open = vec![(receipt, checksum)];
    while let Some((receipt, checksum)) = open.pop() {
        if proven.insert((receipt, checksum))
            && let Ok(Some(outcome)) = artifacts.outcome(checksum)
        {
            open.extend(
                outcome
                    .trace
                    .iter()
                    .map(|step| (step.receipt, step.outcome)),
            );
        }
    }
}

/// Every claim about the chosen receipts that no tombstone shadows, ascending by receipt and then
/// by checksum.
fn claims(store: &Store, which: &Receipts) -> Result<Vec<Claim>, AuditError> {
    let chosen = which
        .receipt
        .as_ref()
        .map(|text| receipt_id(store, text))
        .transpose()?;
    let view = store.view();
    let (state, head) = (view.state(), view.head());
    let ids = match chosen {
        Some(id) => vec![id],
        None => {
            let receipts = Filter::kind(Kind::Receipt);
            state
                .entries(head, &receipts)
                .map(|entry| Ok(entry?.id))
                .collect::<Result<_, ReadError>>()?
        }
    };
    let mut claims: BTreeMap<(ArtifactKey, Checksum), Claim> = BTreeMap::new();
    for id in ids.into_iter().filter(|id| is_sampled(id, which.percent)) {
        for version in state.unshadowed(&id, head)? {
            let Content::Receipt {
                derivation,
                payload,
            } = version.record.content()
            else {
                continue;
            };
            let (receipt, checksum) = (ArtifactKey::from(id), payload.checksum);
            let claim = claims.entry((receipt, checksum)).or_insert_with(|| Claim {
                receipt,
                derivation: derivation.clone(),
                checksum,
                domains: BTreeSet::new(),
            });
            claim.domains.insert(version.place.domain);
        }
    }
    Ok(claims.into_values().collect())
}

fn receipt_id(store: &Store, text: &str) -> Result<CanonicalId, AuditError> {
    let view = store.view();
    let is_hex = text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = if is_hex {
        view.state().ids_with_prefix(text, usize::MAX)?
    } else {
        Vec::new()
    };
    let mut receipts = Vec::new();
    for id in found {
        let entry = view.state().entry(&id, view.head())?;
        receipts.extend(
            entry
                .filter(|entry| entry.kind == Kind::Receipt)
                .map(|_| id),
        );
    }
    match receipts.as_slice() {
        [id] => Ok(*id),
        [] => Err(AuditError::UnknownReceipt {
            text: text.to_owned(),
        }),
        several => Err(AuditError::AmbiguousReceipt {
            text: text.to_owned(),
            count: several.len(),
        }),
    }
}

/// Whether a receipt falls into the sample: decided by its key alone, so alike at every site.
fn is_sampled(id: &CanonicalId, percent: Option<u8>) -> bool {
    let [a, b, c, d, ..] = *id.as_bytes();
    let share = (u64::from(u32::from_le_bytes([a, b, c, d])) * 100) >> 32;
    percent.is_none_or(|percent| share < percent.into())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Executed {
    fn none(name: &str) -> Self {
        Self {
            verdict: Verdict::Agrees,
            store: name.to_owned(),
            claims: 0,
            identical: 0,
            proven_within: 0,
            operations: 0,
            diverged: Vec::new(),
            inconclusive: Vec::new(),
        }
    }

    fn give_up(&mut self, claim: &Claim, reason: String) {
        let (receipt, claimed) = (claim.receipt.to_string(), claim.checksum.to_string());
        self.inconclusive.push(Inconclusive {
            receipt,
            claimed,
            reason,
        });
    }

    fn refute(&mut self, claim: &Claim, divergence: &Divergence) {
        let offset = match &divergence.difference {
            Difference::Output { offset, .. } => *offset,
            _ => None,
        };
        self.diverged.push(Diverged {
            receipt: claim.receipt.to_string(),
            claimed: claim.checksum.to_string(),
            domains: claim.domains.iter().map(ToString::to_string).collect(),
            node: divergence.node.clone(),
            node_receipt: divergence.receipt.to_string(),
            offset,
            difference: describe(&divergence.difference),
        });
    }
}

fn describe(difference: &Difference) -> String {
    match difference {
        Difference::Output {
            name,
            offset,
            claimed,
            got,
        } => {
            let place = offset.map_or_else(
                || "differs".to_owned(),
                |offset| format!("differs first at byte {offset}"),
            );
            format!(
                "output {name} {place}: claimed {}, got {}",
                side(claimed),
                side(got)
            )
        }
        Difference::OutputNames { claimed, got } => {
            format!(
                "outputs are named otherwise: claimed {}, got {}",
                claimed.join(", "),
                got.join(", ")
            )
        }
        Difference::Status { claimed, got } => {
            format!(
                "ended otherwise: claimed {}, got {}",
                status(claimed),
                status(got)
            )
        }
        Difference::Step { claimed, got } => {
            format!(
                "the trace lists other work: claimed {}, got {}",
                step(claimed.as_ref()),
                step(got.as_ref())
            )
        }
    }
}

fn side(side: &Side) -> String {
    let len = side
        .len
        .map_or_else(|| "bytes not here".to_owned(), |len| format!("{len} bytes"));
    format!("{} ({len})", side.key)
}

fn status(status: &Status) -> String {
    match status {
        Status::Ok => "ok".to_owned(),
        Status::Failed { node, kind } => format!("failed at {node}: {}", kind.name()),
    }
}

fn step(step: Option<&Step>) -> String {
    step.map_or_else(
        || "nothing".to_owned(),
        |step| format!("{} with outcome {}", step.label, step.outcome),
    )
}

#[cfg(test)]
mod tests {
    use super::{CanonicalId, is_sampled};

    #[test]
    fn a_sample_grows_with_its_share_and_never_drops_a_receipt() {
        let ids = (0..1000u64).map(|seed| CanonicalId::from_bytes(*blake(seed).as_bytes()));
        let ids: Vec<CanonicalId> = ids.collect();
        let sampled = |percent| {
            ids.iter()
                .filter(|id| is_sampled(id, Some(percent)))
                .count()
        };
        assert_eq!(sampled(100), 1000);
        assert!((50..150).contains(&sampled(10)));
        assert!(
            ids.iter()
                .all(|id| !is_sampled(id, Some(10)) || is_sampled(id, Some(20)))
        );
    }

    fn blake(seed: u64) -> uor_index_format::id::Checksum {
        uor_index_format::id::Checksum::of(&seed.to_le_bytes())
    }
}
