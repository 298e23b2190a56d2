//! Mapped nodes: the operation once for each file of a tree, every file with a receipt of its own,
//! so that a changed file costs one execution.

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::Node;
use uor_index_format::receipt::{Derivation, Outcome, Status};

use super::atom::{Atom, NODE, OUTPUT, relabel};
use super::operate::Halt;
use super::{Progress, RunError, Runner, files};

impl Runner<'_> {
    /// Executes the atom of a mapped node.
    pub(super) fn each(
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
        trace: &mut Vec<uor_index_format::receipt::Step>,
    ) -> Result<ArtifactKey, (String, Halt)> {
        let whole = |halt: Halt| (NODE.to_owned(), halt);
        let error = |error: RunError| (NODE.to_owned(), Halt::Error(error));
        // A mapped node has an input: programs are checked.
        let Some((tree, others)) = derivation.inputs.split_first() else {
            unreachable!("a mapped node has an input")
        };
        let atom = Atom::of_file(node);
        let files = files::list(self.shelf, tree, label).map_err(whole)?;
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
        self.rebuild(tree, &mut results.into_iter(), label)
            .map_err(whole)
    }
}
