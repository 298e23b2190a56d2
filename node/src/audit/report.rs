//! Every part of an audit across several stores, in one report.

use std::sync::Arc;

use serde::Serialize;
use uor_index_format::snapshot::Snapshot;

use super::compare::{Difference, common, compare};
use super::error::AuditError;
use super::execute::{Executed, Proven, Receipts, execute};
use super::subject::Audited;
use super::verdict::{Progress, Verdict};
use super::verify::{Verification, verify};

/// What an audit across stores found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// The snapshot at which stores were compared.
    pub snapshot_id: Option<String>,
    /// The state root there, if all agree.
    pub state_root: Option<String>,
    /// Each store from its bytes up.
    pub stores: Vec<Verification>,
    /// The first store against each other one.
    pub differences: Vec<Difference>,
    /// Receipts run again.
    pub executions: Vec<Executed>,
    /// Stores that could not be looked at, and why.
    pub unreadable: Vec<String>,
}

/// Audits open stores: each by itself, the first against each other, and every receipt claim at
/// every site.
///
/// # Errors
/// [`AuditError`] if a disk cannot be read, or there is no engine.
pub fn audit(
    stores: &[Audited],
    target: Option<Snapshot>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    let all: Vec<&Audited> = stores.iter().collect();
    let at = match target {
        Some(target) => target,
        None => common(&all)?.0,
    };
    let mut report = Report {
        verdict: Verdict::Agrees,
        snapshot_id: Some(at.id().to_string()),
        state_root: None,
        stores: Vec::new(),
        differences: Vec::new(),
        executions: Vec::new(),
        unreadable: Vec::new(),
    };
    for audited in stores {
        report.stores.push(verify(audited, on_progress)?);
    }
    if let Some((first, others)) = stores.split_first() {
        for other in others {
            report.differences.push(differ(first, other, &at)?);
        }
    }
    for Audited { name, store, .. } in stores {
        // Every site is taken at its own word: nothing that was proven with another site's bytes
        // counts here.
        let (every, mut proven) = (Receipts::default(), Proven::new());
        let store = Arc::clone(store);
        report
            .executions
            .push(execute(name, store, &every, &mut proven, on_progress)?);
    }
    report.conclude();
    Ok(report)
}

/// How two stores differ at a snapshot; if they do not, how they contradict each other beyond it.
fn differ(first: &Audited, other: &Audited, at: &Snapshot) -> Result<Difference, AuditError> {
    let difference = compare(first, other, Some(at.clone()))?;
    if difference.verdict == Verdict::Agrees {
        let beyond = compare(first, other, None)?;
        if beyond.verdict == Verdict::Diverges {
            return Ok(beyond);
        }
    }
    Ok(difference)
}

impl Report {
    /// The same with stores that could not be opened: those that are too damaged, and those that
    /// could not be looked at, with the reason.
    #[must_use]
    pub fn with_unopened(mut self, damaged: Vec<Verification>, unreadable: Vec<String>) -> Self {
        self.stores.extend(damaged);
        self.unreadable.extend(unreadable);
        self.conclude();
        self
    }

    /// Draws the verdict, and the state root that all agree on, from what the report holds.
    fn conclude(&mut self) {
        let stores = self.stores.iter().map(|store| store.verdict);
        let differences = self.differences.iter().map(|difference| difference.verdict);
        let executions = self.executions.iter().map(|executed| executed.verdict);
        let unreadable = self.unreadable.iter().map(|_| Verdict::Incomplete);
        let verdicts = stores.chain(differences).chain(executions);
        self.verdict = verdicts
            .chain(unreadable)
            .fold(Verdict::Agrees, Verdict::and);
        let roots = |difference: &Difference| {
            let Difference {
                state_root_a,
                state_root_b,
                ..
            } = difference;
            [state_root_a.clone(), state_root_b.clone()]
        };
        let mut roots: Vec<String> = self.differences.iter().flat_map(roots).flatten().collect();
        roots.dedup();
        self.state_root = roots.pop().filter(|_| roots.is_empty());
    }
}
