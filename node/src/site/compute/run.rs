//! Runs and their receipts.
//!
//! A run leaves, in one commit where a commit can hold it: the outputs, a receipt for every node
//! that was executed, the run's own receipt, and two edges that say where the outputs came from:
//! `used`, from program and inputs to the receipt, and `generated`, from the receipt to the
//! outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, Checksum, SiteId};
use uor_index_format::receipt::{Derivation, FailureKind, Outcome, Status};
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;
use uor_pel::artifact_store::OUTCOME_LEN_MAX;
use uor_pel::engine::wasmtime::{StartError, Wasmtime};
use uor_pel::engine::{FUEL_DEFAULT, Limits};
use uor_pel::run::{Options, Progress, bind, perform};
use uor_tgk::export::{GENERATED, USED};

use super::run_artifacts::{RunArtifacts, derivation};
use crate::cancel::Cancelled;
use crate::site::catalog::history::ClaimListed;
use crate::site::catalog::payload::{ReadError, wrong_kind};
use crate::site::catalog::resolve::ResolveError;
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::ingest::add::error::AddError;
use crate::site::ingest::add::left_out::Obstacle;
use crate::site::ingest::add::source::{AddOptions, Source};
use crate::site::json;

/// What an input of a program is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Something here: a key or a ref.
    Text(String),
    /// A file or directory that is added first.
    Path(PathBuf),
}

/// How a program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunOptions {
    /// Executes every node even where a receipt is here.
    pub recompute: bool,
    /// Fuel per execution of a module; the engine's default if absent.
    pub fuel: Option<u64>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunProgress {
    /// Nodes executed, each file of a mapped node counted.
    pub executed: u64,
    /// Nodes whose receipts were here, counted alike.
    pub reused: u64,
}

/// How a node failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Label of the node.
    pub node: String,
    /// The kind's word.
    pub kind: &'static str,
    /// What a person wants to know beyond it: of an explicit failure, the guest's code.
    pub detail: Option<String>,
}

/// A run that came to a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// The program.
    #[serde(serialize_with = "json::text")]
    pub program: ArtifactKey,
    /// The run's receipt.
    #[serde(serialize_with = "json::text")]
    pub receipt: ArtifactKey,
    /// `ok` or `failed`.
    pub status: &'static str,
    /// How it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Named outputs, in the program's order.
    #[serde(serialize_with = "json::named_texts")]
    pub outputs: Vec<(String, ArtifactKey)>,
    /// Nodes executed.
    pub executed: u64,
    /// Nodes whose receipts were here.
    pub reused: u64,
    /// Sites that took part.
    #[serde(serialize_with = "json::texts")]
    pub sites: Vec<SiteId>,
    /// Whether the outcome differs from one that another site claims: a conflict is recorded and
    /// needs attention.
    pub conflict: bool,
}

/// A receipt, shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptShown {
    /// Its key.
    #[serde(serialize_with = "json::text")]
    pub receipt: ArtifactKey,
    /// The program.
    #[serde(serialize_with = "json::text")]
    pub program: ArtifactKey,
    /// Keys of the inputs, in the program's order.
    #[serde(serialize_with = "json::texts")]
    pub inputs: Vec<ArtifactKey>,
    /// The execution profile.
    pub profile: String,
    /// `ok` or `failed`.
    pub status: &'static str,
    /// How it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Named outputs, in the program's order.
    #[serde(serialize_with = "json::named_texts")]
    pub outputs: Vec<(String, ArtifactKey)>,
    /// Executed nodes, in canonical order.
    pub trace: Vec<StepShown>,
    /// Every claim about the outcome, in the one order.
    pub claims: Vec<ClaimListed>,
    /// Whether claims differ.
    pub conflict: bool,
}

/// One executed node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepShown {
    /// Its label.
    pub node: String,
    /// Its own receipt.
    #[serde(serialize_with = "json::text")]
    pub receipt: ArtifactKey,
    /// Checksum of that receipt's outcome.
    #[serde(serialize_with = "json::text")]
    pub outcome: Checksum,
}

/// Why a run came to no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The program or an input means nothing here.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The program or an input is of the wrong kind, or its bytes are not here.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An input is bound twice.
    #[error("input `{name}` is given twice")]
    InputTwice {
        /// The input.
        name: String,
    },
    /// A file could not be added.
    #[error("could not add the file for input `{name}`")]
    Add {
        /// The input.
        name: String,
        /// What is wrong.
        #[source]
        source: AddError,
    },
    /// A directory cannot be added as a whole, so its tree would not be what was meant.
    #[error(
        "the directory for input `{name}` holds {count} thing(s) that cannot be added, the first at {path}: {reason}"
    )]
    LeftOut {
        /// The input.
        name: String,
        /// How many things.
        count: u64,
        /// The first of them.
        path: String,
        /// Why not.
        reason: Obstacle,
    },
    /// The engine cannot run on this host.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// The program could not be run to a result; nothing was written.
    #[error("the run came to no result")]
    Run(#[from] uor_pel::run::RunError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Receipts and outputs could not be written.
    #[error("could not write the run's records")]
    Commit(#[from] CommitError),
}

impl RunError {
    /// Whether the records are in order and only bytes are missing here.
    pub const fn is_missing_payload(&self) -> bool {
        match self {
            Self::Read(error) => error.is_missing_payload(),
            Self::Run(error) => matches!(error, uor_pel::run::RunError::Absent { .. }),
            _ => false,
        }
    }
}

impl Site {
    /// Runs a program here. What is known is reused; what is new is written as the module says.
    ///
    /// # Errors
    /// [`RunError`]; files given as inputs have been added all the same.
    pub fn run(
        &self,
        program: &str,
        inputs: &[(String, Binding)],
        options: &RunOptions,
        on_progress: &mut dyn FnMut(RunProgress),
    ) -> Result<Ran, RunError> {
        let _putting = self.putting();
        let program = self.resolve(program, &self.head())?;
        self.read_program(&program)?;
        let inputs = self.bind_inputs(inputs)?;
        let artifacts = RunArtifacts::new(self.store.clone(), self.head(), self.site_id())
            .cancellable(self.cancel.clone());
        let task = bind(&artifacts, program.key(), &inputs, Vec::new())?;
        let limits = Limits {
            fuel: options.fuel.unwrap_or(FUEL_DEFAULT),
            ..Limits::default()
        };
        let options = Options {
            limits,
            recompute: options.recompute,
        };
        let mut counted = RunProgress::default();
        let report = perform(
            &artifacts,
            Wasmtime::shared()?,
            &task,
            options,
            &mut |progress| {
                count(&mut counted, progress);
                on_progress(counted);
            },
        );
        // Whatever it failed of, once it was cancelled: that is why.
        self.cancel.check()?;
        let report = report?;
        let mut records = artifacts.into_records();
        records.extend(self.new_edges(&task.derivation, &report.outcome)?);
        self.commit_in_order(records)?;
        let (status, failure) = status(&report.outcome.status);
        Ok(Ran {
            program: report.program,
            receipt: report.receipt,
            status,
            failure,
            outputs: report.outcome.outputs,
            executed: report.executed as u64,
            reused: report.reused as u64,
            sites: vec![self.site_id()],
            conflict: self.is_contested(&report.receipt, &report.outcome.trace)?,
        })
    }

    /// A receipt with its trace, and who claims it.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] if it is none; [`ReadError`].
    pub fn receipt_show(&self, target: &Target, at: &Snapshot) -> Result<ReceiptShown, ReadError> {
        let derivation =
            derivation(&self.store, &target.key(), at)?.filter(|_| target.sort == Sort::Receipt);
        let Some(Derivation {
            program,
            inputs,
            profile,
            ..
        }) = derivation
        else {
            return Err(wrong_kind(target, "receipt"));
        };
        let payload = self.read_payload(target, OUTCOME_LEN_MAX)?;
        let failed = |source| ReadError::Content {
            id: target.id,
            what: "outcome",
            source,
        };
        let Outcome {
            status: ended,
            outputs,
            trace,
        } = Outcome::decode(&payload).map_err(failed)?;
        let (status, failure) = status(&ended);
        let step = |step: uor_index_format::receipt::Step| StepShown {
            node: step.label,
            receipt: step.receipt,
            outcome: step.outcome,
        };
        Ok(ReceiptShown {
            receipt: target.key(),
            program,
            inputs,
            profile,
            status,
            failure,
            outputs,
            trace: trace.into_iter().map(step).collect(),
            claims: self.claims(target, at)?,
            conflict: target.conflict,
        })
    }

    fn bind_inputs(
        &self,
        inputs: &[(String, Binding)],
    ) -> Result<BTreeMap<String, ArtifactKey>, RunError> {
        let mut bound = BTreeMap::new();
        for (name, binding) in inputs {
            let key = match binding {
                Binding::Text(text) => self.bind_known(text)?,
                Binding::Path(path) => self.bind_path(name, path)?,
            };
            if bound.insert(name.clone(), key).is_some() {
                return Err(RunError::InputTwice { name: name.clone() });
            }
        }
        Ok(bound)
    }

    /// What a text means, with its bytes here.
    fn bind_known(&self, text: &str) -> Result<ArtifactKey, RunError> {
        let target = self.resolve(text, &self.head())?;
        if target.sort == Sort::Receipt {
            return Err(wrong_kind(&target, "file or tree").into());
        }
        self.checksum_here(&target)?;
        Ok(target.key())
    }

    /// Adds a file or directory for the input `name`.
    fn bind_path(&self, name: &str, path: &Path) -> Result<ArtifactKey, RunError> {
        let failed = |source| RunError::Add {
            name: name.to_owned(),
            source,
        };
        let sources = vec![Source::Path(path.to_owned())];
        let added = self
            .add(sources, &AddOptions::default(), &mut |_| {})
            .map_err(failed)?;
        let Some(added) = added.first() else {
            unreachable!("one source is added as one thing")
        };
        match added.left_out.named.first() {
            None => Ok(added.key),
            Some(first) => Err(RunError::LeftOut {
                name: name.to_owned(),
                count: added.left_out.total,
                path: first.path.clone(),
                reason: first.reason.clone(),
            }),
        }
    }

    /// The edges of a run that are not visible yet.
    fn new_edges(
        &self,
        derivation: &Derivation,
        outcome: &Outcome,
    ) -> Result<Vec<Record>, StateError> {
        let receipt = Endpoint::Artifact(derivation.receipt_key());
        let used = [derivation.program]
            .into_iter()
            .chain(derivation.inputs.iter().copied());
        let generated = outcome.outputs.iter().map(|(_, key)| *key);
        let edge = |edge_type: &str, from, to| Edge {
            edge_type: edge_type.to_owned(),
            from,
            to,
            role: Role::Both,
            attribute: None,
        };
        let edges = [
            edge(USED, used.map(Endpoint::Artifact).collect(), vec![receipt]),
            edge(
                GENERATED,
                vec![receipt],
                generated.map(Endpoint::Artifact).collect(),
            ),
        ];
        let mut records = Vec::new();
        for edge in edges {
            // A failed run generated nothing, and an edge needs an end.
            if edge.is_valid() && !self.is_visible(&edge.id())? {
                records.push(Record::edge(edge));
            }
        }
        Ok(records)
    }

    /// Whether the receipt, or one in its trace, has claims that differ.
    fn is_contested(
        &self,
        receipt: &ArtifactKey,
        trace: &[uor_index_format::receipt::Step],
    ) -> Result<bool, StateError> {
        let view = self.store.view();
        for key in trace.iter().map(|step| step.receipt).chain([*receipt]) {
            if view
                .state()
                .entry(&key.into(), view.head())?
                .is_some_and(|entry| entry.conflict)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every unshadowed claim about something, in the one order.
    fn claims(&self, target: &Target, at: &Snapshot) -> Result<Vec<ClaimListed>, StateError> {
        let names = self.shown_names()?;
        let view = self.store.view();
        let versions = view.state().unshadowed(&target.id, at)?;
        let claims = versions
            .iter()
            .filter(|version| version.record.block_payload().is_some());
        claims
            .map(|version| self.claim(&view, version, &names))
            .collect()
    }
}

fn count(counted: &mut RunProgress, progress: Progress<'_>) {
    let (Progress::Node { reused, .. } | Progress::File { reused, .. }) = progress;
    if reused {
        counted.reused += 1;
    } else {
        counted.executed += 1;
    }
}

/// The word for how a run ended, and what failed.
fn status(status: &Status) -> (&'static str, Option<Failure>) {
    let Status::Failed { node, kind } = status else {
        return ("ok", None);
    };
    let detail = match kind {
        FailureKind::Explicit(code) => Some(format!("code {code}")),
        _ => None,
    };
    (
        "failed",
        Some(Failure {
            node: node.clone(),
            kind: kind.name(),
            detail,
        }),
    )
}
