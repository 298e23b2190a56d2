//! One run: every derivation in it is found in the store, or executed and given its receipt.
//!
//! A derivation of an atom is one operation, or, of a mapped node, the operation once for each file
//! of a tree, every file with a receipt of its own, so that a changed file costs one execution. Any
//! other derivation is those of its program's nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::program::{self, Node, Program, Source};
use uor_index_format::receipt::{Derivation, Outcome, Status, Step};

use super::atom::{Atom, NODE, OUTPUT, is_atom, relabel};
use super::error::{Halt, RunError};
use super::files;
use super::known::known;
use super::operator::Operator;
use super::report::{Options, Progress, RunReport};
use super::task::Task;
use crate::artifact_store::ArtifactStore;
use crate::engine::Engine;

/// Runs a task and leaves its receipt in the store.
pub fn perform(
    store: &dyn ArtifactStore,
    engine: &dyn Engine,
    task: &Task,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<RunReport, RunError> {
    task.check()?;
    let mut runner = Runner::new(store, engine, options, progress);
    let settled = runner.settle(&task.derivation, &task.program, &task.label)?;
    let nodes = task.program.nodes().len();
    let (executed, reused) = match (settled.reused, nodes) {
        (true, _) => (0, nodes),
        (false, 1) if is_atom(&task.program) => (1, 0),
        _ => (runner.executed, runner.reused),
    };
    Ok(RunReport {
        program: task.derivation.program,
        receipt: settled.receipt,
        outcome: settled.outcome,
        executed,
        reused,
        operations: runner.operator.operations(),
    })
}

/// One run: everything that lasts from its first node to its last.
struct Runner<'a> {
    store: &'a dyn ArtifactStore,
    operator: Operator<'a>,
    options: Options,
    progress: &'a mut dyn FnMut(Progress<'_>),
    /// Atoms that were put into the store.
    atoms: BTreeSet<ArtifactKey>,
    executed: usize,
    reused: usize,
}

/// A derivation that has its outcome.
struct Settled {
    receipt: ArtifactKey,
    outcome: Outcome,
    reused: bool,
}

impl Settled {
    fn step(&self, label: String) -> Step {
        Step {
            label,
            receipt: self.receipt,
            outcome: Checksum::of(&self.outcome.encode()),
        }
    }
}

impl<'a> Runner<'a> {
    fn new(
        store: &'a dyn ArtifactStore,
        engine: &'a dyn Engine,
        options: Options,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        Self {
            store,
            operator: Operator::new(store, engine, options.limits),
            options,
            progress,
            atoms: BTreeSet::new(),
            executed: 0,
            reused: 0,
        }
    }

    /// Finds the outcome of a derivation, or executes it and puts its receipt. `label` is for
    /// people.
    fn settle(
        &mut self,
        derivation: &Derivation,
        program: &Program,
        label: &str,
    ) -> Result<Settled, RunError> {
        let receipt = derivation.receipt_key();
        if !self.options.recompute
            && let Some(outcome) = known(self.store, &receipt, program)?
        {
            return Ok(Settled {
                receipt,
                outcome,
                reused: true,
            });
        }
        let outcome = if is_atom(program) {
            self.atom(derivation, program, label)?
        } else {
            self.composite(derivation, program)?
        };
        if self.atoms.insert(derivation.program) {
            // Others replay this receipt from its program; a whole program is in the store already,
            // and stays.
            self.store
                .put(Some(program::TYPE_TAG), Arc::new(program.encode()))?;
        }
        self.store.put_receipt(derivation, &outcome)?;
        Ok(Settled {
            receipt,
            outcome,
            reused: false,
        })
    }

    fn composite(
        &mut self,
        derivation: &Derivation,
        program: &Program,
    ) -> Result<Outcome, RunError> {
        let mut keys = Vec::new();
        let mut trace = Vec::new();
        let total = program.nodes().len();
        for node in program.nodes() {
            let atom = Atom::of(node);
            let inputs = node
                .inputs
                .iter()
                .filter_map(|source| resolve(*source, &derivation.inputs, &keys))
                .collect();
            let settled = self.settle(
                &atom.derivation(inputs, &derivation.params),
                &atom.program,
                &node.name,
            )?;
            if settled.reused {
                self.reused += 1
            } else {
                self.executed += 1
            }
            trace.push(settled.step(node.name.clone()));
            let (label, reused, done) = (node.name.as_str(), settled.reused, trace.len());
            (self.progress)(Progress::Node {
                label,
                reused,
                done,
                total,
            });
            match settled.outcome.status {
                Status::Ok => keys.extend(settled.outcome.outputs.first().map(|(_, key)| *key)),
                Status::Failed { node: inner, kind } => {
                    let status = Status::Failed {
                        node: relabel(&inner, &node.name),
                        kind,
                    };
                    return Ok(Outcome {
                        status,
                        outputs: Vec::new(),
                        trace,
                    });
                }
            }
        }
        let output = |(name, source): &(String, Source)| {
            resolve(*source, &derivation.inputs, &keys).map(|key| (name.clone(), key))
        };
        Ok(Outcome {
            status: Status::Ok,
            outputs: program.outputs().iter().filter_map(output).collect(),
            trace,
        })
    }

    /// Executes an atom.
    fn atom(
        &mut self,
        derivation: &Derivation,
        program: &Program,
        label: &str,
    ) -> Result<Outcome, RunError> {
        let Some(node) = program.nodes().first() else {
            unreachable!("a program has a node")
        };
        if node.each {
            return self.each(node, derivation, label);
        }
        match self.operator.operate(node, derivation, label) {
            Ok(blob) => {
                let key = self.store.put(None, blob)?;
                Ok(Outcome {
                    status: Status::Ok,
                    outputs: vec![(OUTPUT.to_owned(), key)],
                    trace: Vec::new(),
                })
            }
            Err(Halt::Failed(kind)) => {
                let status = Status::Failed {
                    node: NODE.to_owned(),
                    kind,
                };
                Ok(Outcome {
                    status,
                    outputs: Vec::new(),
                    trace: Vec::new(),
                })
            }
            Err(Halt::Error(error)) => Err(error),
        }
    }

    /// Executes the atom of a mapped node.
    fn each(
        &mut self,
        node: &Node,
        derivation: &Derivation,
        label: &str,
    ) -> Result<Outcome, RunError> {
        let mut trace = Vec::new();
        let (status, outputs) = match self.map(node, derivation, label, &mut trace) {
            Ok(tree) => (Status::Ok, vec![(OUTPUT.to_owned(), tree)]),
            Err((_, Halt::Error(error))) => return Err(error),
            Err((node, Halt::Failed(kind))) => (Status::Failed { node, kind }, Vec::new()),
        };
        Ok(Outcome {
            status,
            outputs,
            trace,
        })
    }

    /// The tree of results; a failure comes with the label of what failed.
    fn map(
        &mut self,
        node: &Node,
        derivation: &Derivation,
        label: &str,
        trace: &mut Vec<Step>,
    ) -> Result<ArtifactKey, (String, Halt)> {
        let whole = |halt: Halt| (NODE.to_owned(), halt);
        let error = |error: RunError| (NODE.to_owned(), Halt::Error(error));
        // A mapped node has an input: programs are checked.
        let Some((tree, others)) = derivation.inputs.split_first() else {
            unreachable!("a mapped node has an input")
        };
        let atom = Atom::of_file(node);
        let files = files::list(self.store, tree, label).map_err(whole)?;
        let total = files.len();
        let mut results = Vec::with_capacity(total);
        for file in files {
            let inner = format!("{NODE}[{}]", file.path);
            let outer = relabel(&inner, label);
            let inputs = [&[file.key], others].concat();
            let derivation = atom.derivation(inputs, &derivation.params);
            let settled = self
                .settle(&derivation, &atom.program, &outer)
                .map_err(error)?;
            trace.push(settled.step(inner.clone()));
            let (reused, done) = (settled.reused, trace.len());
            (self.progress)(Progress::File {
                label: &outer,
                reused,
                done,
                total,
            });
            match settled.outcome.status {
                Status::Ok => results.extend(settled.outcome.outputs.first().map(|(_, key)| *key)),
                Status::Failed { kind, .. } => return Err((inner, Halt::Failed(kind))),
            }
        }
        files::rebuild(self.store, tree, &mut results.into_iter(), label).map_err(whole)
    }
}

/// What a source stands for. A valid program names only inputs and earlier nodes, and these are all
/// there.
fn resolve(source: Source, inputs: &[ArtifactKey], nodes: &[ArtifactKey]) -> Option<ArtifactKey> {
    match source {
        Source::Input(index) => inputs.get(index as usize).copied(),
        Source::Node(index) => nodes.get(index as usize).copied(),
    }
}
