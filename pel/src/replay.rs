//! Replay: runs a receipt's derivation again, without believing any receipt and without writing,
//! and says where the outcome first differs from the claim.
//!
//! Steps are compared in the one order. The first step that differs has, by construction, the same
//! inputs on both sides, so it is an origin of the difference and never a victim of one. An
//! execution without a result is inconclusive: it is no evidence against anyone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::program::{Program, Source};
use uor_index_format::receipt::{Derivation, Outcome, Status, Step};

use crate::artifact_store::{ArtifactStore, ArtifactStoreError, Found, key_of};
use crate::blob::{Blob, checksum, first_difference};
use crate::engine::{Engine, Limits};
use crate::run::atom::relabel;
use crate::run::{Options, Progress, RunError, Task, perform};

/// What a replay says about a claimed outcome.
#[derive(Debug)]
pub enum Verdict {
    /// Executed again, with the same outcome in every byte.
    Identical {
        /// Operations that ran.
        operations: u64,
    },
    /// Executed again, with another outcome.
    Diverged(Divergence),
    /// Could not be executed to a result.
    Inconclusive {
        /// Why.
        reason: RunError,
    },
}

/// The first difference between a claim and a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The node, or `name[path]` for one file of a mapped node; empty where no node differs, only
    /// what the claim makes of them.
    pub node: String,
    /// The receipt whose outcome differs.
    pub receipt: ArtifactKey,
    /// What differs.
    pub difference: Difference,
}

/// What differs in an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An output has other bytes.
    Output {
        /// Name of the output.
        name: String,
        /// First byte that differs; the shorter length where one is a prefix of the other. `None`
        /// when the claimed bytes are not here, or only the kind of artifact differs.
        offset: Option<u64>,
        /// The claimed output.
        claimed: Side,
        /// The output of the replay.
        got: Side,
    },
    /// The claim names other outputs than the program has.
    OutputNames {
        /// Names in the claim.
        claimed: Vec<String>,
        /// Names in the replay.
        got: Vec<String>,
    },
    /// One side failed, or both did differently.
    Status {
        /// How the claim ended.
        claimed: Status,
        /// How the replay ended.
        got: Status,
    },
    /// The claimed trace lists other work, or the claimed outcome of a step is not here to be
    /// compared.
    Step {
        /// The claimed step, if the trace has one here.
        claimed: Option<Step>,
        /// The step of the replay, if it has one here.
        got: Option<Step>,
    },
}

/// An output of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Its key.
    pub key: ArtifactKey,
    /// Checksum of its bytes, where they are here.
    pub checksum: Option<Checksum>,
    /// Their length.
    pub len: Option<u64>,
}

/// Runs a derivation again and compares with the claimed outcome. The store is only read.
pub fn replay(
    store: &dyn ArtifactStore,
    engine: &dyn Engine,
    derivation: &Derivation,
    claimed: &Outcome,
    limits: Limits,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Verdict {
    let scratch = Scratch::over(store);
    let options = Options {
        limits,
        recompute: true,
    };
    let verdict = Task::of(store, derivation.clone()).and_then(|task| {
        let report = perform(&scratch, engine, &task, options, progress)?;
        if report.outcome == *claimed {
            return Ok(Verdict::Identical {
                operations: report.operations,
            });
        }
        let receipt = report.receipt;
        compare(&scratch, &task.program, receipt, claimed, &report.outcome).map(Verdict::Diverged)
    });
    verdict.unwrap_or_else(|reason| Verdict::Inconclusive { reason })
}

/// The first difference between two outcomes of one receipt that are not equal.
fn compare(
    scratch: &Scratch<'_>,
    program: &Program,
    receipt: ArtifactKey,
    claimed: &Outcome,
    got: &Outcome,
) -> Result<Divergence, RunError> {
    let steps = claimed.trace.len().max(got.trace.len());
    let pairs = (0..steps).map(|index| (claimed.trace.get(index), got.trace.get(index)));
    if let Some((claimed, got)) = pairs.into_iter().find(|(claimed, got)| claimed != got) {
        return compare_steps(scratch, receipt, claimed, got);
    }
    if claimed.status != got.status {
        let node = [&got.status, &claimed.status]
            .into_iter()
            .find_map(|status| match status {
                Status::Failed { node, .. } => Some(node.clone()),
                Status::Ok => None,
            });
        let difference = Difference::Status {
            claimed: claimed.status.clone(),
            got: got.status.clone(),
        };
        return Ok(Divergence {
            node: node.unwrap_or_default(),
            receipt,
            difference,
        });
    }
    let names = |outcome: &Outcome| {
        outcome
            .outputs
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    for (index, (claimed, got)) in claimed.outputs.iter().zip(&got.outputs).enumerate() {
        if claimed.0 == got.0 && claimed.1 != got.1 {
            let node = node_of(program, index);
            let difference = compare_outputs(scratch, &got.0, claimed.1, got.1)?;
            return Ok(Divergence {
                node,
                receipt,
                difference,
            });
        }
    }
    let difference = Difference::OutputNames {
        claimed: names(claimed),
        got: names(got),
    };
    Ok(Divergence {
        node: String::new(),
        receipt,
        difference,
    })
}

/// Descends into the first step that differs, where both sides' outcomes of it are here.
fn compare_steps(
    scratch: &Scratch<'_>,
    receipt: ArtifactKey,
    claimed: Option<&Step>,
    got: Option<&Step>,
) -> Result<Divergence, RunError> {
    if let (Some(claimed), Some(got)) = (claimed, got)
        && (&claimed.label, claimed.receipt) == (&got.label, got.receipt)
        && let Some(claimed_outcome) = scratch.claim(&claimed.receipt, claimed.outcome)?
        && let Some(got_outcome) = scratch.outcome(&got.receipt)
        && let Some(program) = scratch.program(&got.receipt)
    {
        let inner = compare(
            scratch,
            &program,
            got.receipt,
            &claimed_outcome,
            &got_outcome,
        )?;
        return Ok(Divergence {
            node: nested(&inner.node, &got.label),
            ..inner
        });
    }
    let node = got.map(|step| step.label.clone()).unwrap_or_default();
    Ok(Divergence {
        node,
        receipt,
        difference: Difference::Step {
            claimed: claimed.cloned(),
            got: got.cloned(),
        },
    })
}

/// A label inside an atom as the step around it is called. A step of a mapped node is `node[path]`
/// already.
fn nested(inner: &str, label: &str) -> String {
    if inner.is_empty() {
        label.to_owned()
    } else {
        relabel(inner, label)
    }
}

/// The node that an output comes from; empty for an input that is passed through.
fn node_of(program: &Program, output: usize) -> String {
    match program.outputs().get(output) {
        Some((_, Source::Node(index))) => program
            .nodes()
            .get(*index as usize)
            .map(|node| node.name.clone())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn compare_outputs(
    scratch: &Scratch<'_>,
    name: &str,
    claimed: ArtifactKey,
    got: ArtifactKey,
) -> Result<Difference, RunError> {
    let (claimed_side, got_side) = (scratch.side(claimed)?, scratch.side(got)?);
    let offset = match (scratch.find(&claimed)?, scratch.find(&got)?) {
        (Some(claimed), Some(got)) => {
            first_difference(&*claimed.blob, &*got.blob).map_err(unreadable)?
        }
        _ => None,
    };
    Ok(Difference::Output {
        name: name.to_owned(),
        offset,
        claimed: claimed_side,
        got: got_side,
    })
}

fn unreadable(error: std::io::Error) -> ArtifactStoreError {
    ArtifactStoreError::new("read an output", error)
}

/// A store that reads another and keeps what is put to itself. No receipt of the other counts.
struct Scratch<'a> {
    base: &'a dyn ArtifactStore,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    artifacts: BTreeMap<ArtifactKey, Found>,
    receipts: BTreeMap<ArtifactKey, (ArtifactKey, Outcome)>,
}

impl<'a> Scratch<'a> {
    fn over(base: &'a dyn ArtifactStore) -> Self {
        Self {
            base,
            kept: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome that the other store has for a receipt, if it is the one with this checksum.
    fn claim(
        &self,
        receipt: &ArtifactKey,
        checksum: Checksum,
    ) -> Result<Option<Outcome>, RunError> {
        let outcome = self.base.receipt(receipt)?;
        Ok(outcome.filter(|outcome| Checksum::of(&outcome.encode()) == checksum))
    }

    /// The outcome of this replay for a receipt.
    fn outcome(&self, receipt: &ArtifactKey) -> Option<Outcome> {
        self.lock()
            .receipts
            .get(receipt)
            .map(|(_, outcome)| outcome.clone())
    }

    /// The program of a receipt of this replay.
    fn program(&self, receipt: &ArtifactKey) -> Option<Program> {
        let key = self
            .lock()
            .receipts
            .get(receipt)
            .map(|(program, _)| *program)?;
        crate::run::load(self, &key).ok()
    }

    fn side(&self, key: ArtifactKey) -> Result<Side, RunError> {
        let Some(found) = self.find(&key)? else {
            return Ok(Side {
                key,
                checksum: None,
                len: None,
            });
        };
        let checksum = checksum(&*found.blob).map_err(unreadable)?;
        Ok(Side {
            key,
            checksum: Some(checksum),
            len: Some(found.blob.size()),
        })
    }
}

impl ArtifactStore for Scratch<'_> {
    fn find(&self, key: &ArtifactKey) -> Result<Option<Found>, ArtifactStoreError> {
        let kept = self.lock().artifacts.get(key).cloned();
        kept.map_or_else(|| self.base.find(key), |found| Ok(Some(found)))
    }

    fn put(
        &self,
        type_tag: Option<u32>,
        blob: Arc<dyn Blob>,
    ) -> Result<ArtifactKey, ArtifactStoreError> {
        let key = key_of(type_tag, &*blob)?;
        // What the other store has under this key is these bytes; an honest replay keeps nothing.
        if self.base.find(&key)?.is_none() {
            self.lock().artifacts.insert(key, Found { type_tag, blob });
        }
        Ok(key)
    }

    fn receipt(&self, _: &ArtifactKey) -> Result<Option<Outcome>, ArtifactStoreError> {
        Ok(None)
    }

    fn put_receipt(
        &self,
        derivation: &Derivation,
        outcome: &Outcome,
    ) -> Result<(), ArtifactStoreError> {
        self.lock().receipts.insert(
            derivation.receipt_key(),
            (derivation.program, outcome.clone()),
        );
        Ok(())
    }
}
