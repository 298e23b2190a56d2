//! Running programs: what is known is reused, what is not is executed, and either way the same
//! receipt stands.
//!
//! Every node execution is the run of an [`Atom`](atom::Atom): a canonical program with one node,
//! so that equal work meets at one receipt whatever program, and whatever site, it came from. A
//! program of several nodes gets a receipt of its own whose trace names its nodes' receipts in the
//! one order; the first node that fails in that order ends the run. A mapped node (`each`) is
//! traced likewise by the receipts of its files.
//!
//! A node that gives no result leaves nothing; nodes before it have left receipts that are true and
//! will be reused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use uor_index_format::DecodeError;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::program::{self, Program, Source};
use uor_index_format::receipt::{Derivation, Outcome, PARAMS_LEN_MAX, Status, Step};

use crate::blob::to_vec;
use crate::engine::{Engine, Limits, NoResult};
use crate::gate::{GateError, Module};
use crate::op::{self, OpError};
use crate::shelf::{Shelf, ShelfError};

pub mod atom;
mod each;
mod files;
mod operate;
mod pending;

pub use pending::pending;

/// The execution profile whose rules fix every result: this crate's operations, gate and ABI.
pub const PROFILE: &str = "uor.pel/1";
/// Largest program artifact, in bytes.
pub const PROGRAM_LEN_MAX: u64 = 64 << 20;

/// How to run; none of it changes a result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Limits of each execution of a module.
    pub limits: Limits,
    /// Execute even what is known.
    pub recompute: bool,
}

/// One thing that was done, for people to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A node has its outcome.
    Node {
        /// Its name.
        label: &'a str,
        /// Whether it was known.
        reused: bool,
        /// How many nodes have an outcome now.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// One file of a mapped node has its outcome.
    File {
        /// Name of the node and path of the file.
        label: &'a str,
        /// Whether it was known.
        reused: bool,
        /// How many files have an outcome now.
        done: usize,
        /// How many there are.
        total: usize,
    },
}

/// A derivation with the program that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What to call it: the node, or node and file. A program of several nodes needs no name.
    pub label: String,
    /// What to run.
    pub derivation: Derivation,
    /// Its program.
    pub program: Program,
}

impl Task {
    /// The task behind a receipt: its program must be here.
    pub fn of(shelf: &dyn Shelf, derivation: Derivation) -> Result<Self, RunError> {
        let program = load(shelf, &derivation.program)?;
        Ok(Self {
            label: atom::NODE.to_owned(),
            derivation,
            program,
        })
    }

    fn check(&self) -> Result<(), RunError> {
        if self.derivation.profile != PROFILE {
            return Err(RunError::Profile {
                profile: self.derivation.profile.clone(),
            });
        }
        let (have, need) = (self.derivation.inputs.len(), self.program.inputs().len());
        if have != need {
            return Err(RunError::InputCount { have, need });
        }
        Ok(())
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// Key of the program.
    pub program: ArtifactKey,
    /// Key of the run's receipt.
    pub receipt: ArtifactKey,
    /// Status, named outputs and trace.
    pub outcome: Outcome,
    /// Nodes of the program that were executed, at least in part.
    pub executed: usize,
    /// Nodes of the program whose receipts were known.
    pub reused: usize,
    /// Operations that ran, each file of a mapped tree counted.
    pub operations: u64,
}

/// Why a run gave no receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The program is not here.
    #[error("program {key} is not here")]
    ProgramAbsent {
        /// Its key.
        key: ArtifactKey,
    },
    /// The artifact is something else.
    #[error("artifact {key} is not a program")]
    NotAProgram {
        /// Its key.
        key: ArtifactKey,
        /// What is wrong with its bytes, where they claim to be one.
        source: Option<DecodeError>,
    },
    /// A node that its operation does not allow.
    #[error(transparent)]
    Op(#[from] OpError),
    /// An input of the program has no artifact.
    #[error("input `{name}` of the program is not bound")]
    InputUnbound {
        /// The input.
        name: String,
    },
    /// The program has no such input.
    #[error("the program has no input `{name}`; it has {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    InputUnknown {
        /// The input.
        name: String,
        /// The inputs there are.
        known: Vec<String>,
    },
    /// A derivation that does not fit its program.
    #[error("the derivation binds {have} inputs; its program has {need}")]
    InputCount {
        /// Inputs of the derivation.
        have: usize,
        /// Inputs of the program.
        need: usize,
    },
    /// The run's parameters are too long.
    #[error("parameters of {len} bytes; at most {max} are allowed")]
    Params {
        /// Their length.
        len: usize,
        /// The limit.
        max: u32,
    },
    /// A receipt of another profile.
    #[error("profile `{profile}` is not `{PROFILE}`, the one this release executes")]
    Profile {
        /// The profile.
        profile: String,
    },
    /// Bytes that a node reads are not here.
    #[error("node `{label}`: artifact {key} is not here")]
    Absent {
        /// The node.
        label: String,
        /// What is missing.
        key: ArtifactKey,
    },
    /// Bytes that a node reads cannot be read.
    #[error("node `{label}`: artifact {key} cannot be read")]
    Unreadable {
        /// The node.
        label: String,
        /// What it reads.
        key: ArtifactKey,
        /// Why.
        source: io::Error,
    },
    /// The gate refuses a node's module.
    #[error("node `{label}`: module {key} is refused")]
    Module {
        /// The node.
        label: String,
        /// The module.
        key: ArtifactKey,
        /// Why.
        source: GateError,
    },
    /// A node ended without a result.
    #[error("node `{label}` gave no result: {source}")]
    NoResult {
        /// The node.
        label: String,
        /// Why.
        source: NoResult,
    },
    /// The store failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// The program with this key, every node checked against its operation.
pub fn load(shelf: &dyn Shelf, key: &ArtifactKey) -> Result<Program, RunError> {
    let found = shelf
        .find(key)?
        .ok_or(RunError::ProgramAbsent { key: *key })?;
    if found.type_tag != Some(program::TYPE_TAG) || found.blob.size() > PROGRAM_LEN_MAX {
        return Err(RunError::NotAProgram {
            key: *key,
            source: None,
        });
    }
    let payload = to_vec(&*found.blob, PROGRAM_LEN_MAX).map_err(|source| RunError::Unreadable {
        label: "program".to_owned(),
        key: *key,
        source,
    })?;
    let program = Program::decode(&payload).map_err(|source| RunError::NotAProgram {
        key: *key,
        source: Some(source),
    })?;
    op::check(&program)?;
    Ok(program)
}

/// The task of running a program on these inputs.
pub fn bind(
    shelf: &dyn Shelf,
    program_key: ArtifactKey,
    inputs: &BTreeMap<String, ArtifactKey>,
    params: Vec<u8>,
) -> Result<Task, RunError> {
    let program = load(shelf, &program_key)?;
    if let Some(name) = inputs.keys().find(|name| !program.inputs().contains(name)) {
        return Err(RunError::InputUnknown {
            name: name.clone(),
            known: program.inputs().to_vec(),
        });
    }
    if params.len() > PARAMS_LEN_MAX as usize {
        return Err(RunError::Params {
            len: params.len(),
            max: PARAMS_LEN_MAX,
        });
    }
    let bound = |name: &String| {
        inputs
            .get(name)
            .copied()
            .ok_or_else(|| RunError::InputUnbound { name: name.clone() })
    };
    let inputs = program
        .inputs()
        .iter()
        .map(bound)
        .collect::<Result<_, _>>()?;
    let derivation = Derivation {
        program: program_key,
        inputs,
        params,
        profile: PROFILE.to_owned(),
    };
    Ok(Task {
        label: atom::NODE.to_owned(),
        derivation,
        program,
    })
}

/// Runs a task and leaves its receipt on the shelf.
pub fn perform(
    shelf: &dyn Shelf,
    engine: &dyn Engine,
    task: &Task,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<RunReport, RunError> {
    task.check()?;
    let mut runner = Runner::new(shelf, engine, options, progress);
    let settled = runner.settle(&task.derivation, &task.program, &task.label)?;
    let nodes = task.program.nodes().len();
    let (executed, reused) = match (settled.reused, nodes) {
        (true, _) => (0, nodes),
        (false, 1) if atom::is_atom(&task.program) => (1, 0),
        _ => (runner.executed, runner.reused),
    };
    Ok(RunReport {
        program: task.derivation.program,
        receipt: settled.receipt,
        outcome: settled.outcome,
        executed,
        reused,
        operations: runner.operations,
    })
}

/// One run: everything that lasts from its first node to its last.
struct Runner<'a> {
    shelf: &'a dyn Shelf,
    engine: &'a dyn Engine,
    options: Options,
    progress: &'a mut dyn FnMut(Progress<'_>),
    /// Modules that passed the gate.
    modules: BTreeMap<ArtifactKey, Module>,
    /// Atoms that were put on the shelf.
    atoms: BTreeSet<ArtifactKey>,
    executed: usize,
    reused: usize,
    operations: u64,
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
        shelf: &'a dyn Shelf,
        engine: &'a dyn Engine,
        options: Options,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        let (modules, atoms) = (BTreeMap::new(), BTreeSet::new());
        Self {
            shelf,
            engine,
            options,
            progress,
            modules,
            atoms,
            executed: 0,
            reused: 0,
            operations: 0,
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
            && let Some(outcome) = known(self.shelf, &receipt, program)?
        {
            return Ok(Settled {
                receipt,
                outcome,
                reused: true,
            });
        }
        let outcome = if atom::is_atom(program) {
            self.atom(derivation, program, label)?
        } else {
            self.composite(derivation, program)?
        };
        if self.atoms.insert(derivation.program) {
            // Others replay this receipt from its program; a whole program is on the shelf already,
            // and stays.
            self.shelf
                .put(Some(program::TYPE_TAG), Arc::new(program.encode()))?;
        }
        self.shelf.put_receipt(derivation, &outcome)?;
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
            let atom = atom::Atom::of(node);
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
                        node: atom::relabel(&inner, &node.name),
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
}

/// What a source stands for. A valid program names only inputs and earlier nodes, and these are all
/// there.
fn resolve(source: Source, inputs: &[ArtifactKey], nodes: &[ArtifactKey]) -> Option<ArtifactKey> {
    match source {
        Source::Input(index) => inputs.get(index as usize).copied(),
        Source::Node(index) => nodes.get(index as usize).copied(),
    }
}

/// The outcome on the shelf, if it is one of this program's and everything that it names is here.
fn known(
    shelf: &dyn Shelf,
    receipt: &ArtifactKey,
    program: &Program,
) -> Result<Option<Outcome>, RunError> {
    let Some(outcome) = shelf.receipt(receipt)? else {
        return Ok(None);
    };
    let expected = program.outputs().iter().map(|(name, _)| name);
    if outcome.status == Status::Ok && !outcome.outputs.iter().map(|(name, _)| name).eq(expected) {
        return Ok(None);
    }
    for (_, key) in &outcome.outputs {
        if !files::is_whole(shelf, key)? {
            return Ok(None);
        }
    }
    Ok(Some(outcome))
}
