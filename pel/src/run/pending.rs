//! What of a run can be done now, and by anyone: how sites share one program.

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{Node, Source};
use uor_index_format::receipt::{Outcome, Status};

use super::atom::{Atom, NODE, relabel};
use super::error::{Halt, RunError};
use super::files;
use super::known::known;
use super::task::Task;
use crate::artifact_store::ArtifactStore;

/// The tasks of a run that nobody has done yet and whose inputs are named, in the one order; each
/// file of a mapped node is a task of its own. Empty when running the whole task would execute
/// nothing but its own receipt.
pub fn pending(store: &dyn ArtifactStore, task: &Task) -> Result<Vec<Task>, RunError> {
    if known(store, &task.derivation.receipt_key(), &task.program)?.is_some() {
        return Ok(Vec::new());
    }
    let mut tasks = Vec::new();
    // The output of each node, where it is known.
    let mut keys: Vec<Option<ArtifactKey>> = Vec::new();
    for node in task.program.nodes() {
        let resolve = |source: &Source| match source {
            Source::Input(index) => task.derivation.inputs.get(*index as usize).copied(),
            Source::Node(index) => keys.get(*index as usize).copied().flatten(),
        };
        let Some(inputs) = node.inputs.iter().map(resolve).collect::<Option<Vec<_>>>() else {
            keys.push(None);
            continue;
        };
        match outcome(store, task, node, &inputs, &mut tasks)? {
            // Nothing after the first failure is ever run.
            Some(Outcome {
                status: Status::Failed { .. },
                ..
            }) => break,
            Some(outcome) => keys.push(outcome.outputs.first().map(|(_, key)| *key)),
            None => keys.push(None),
        }
    }
    Ok(tasks)
}

/// The outcome of a node whose inputs are known, or what has to be done for it.
fn outcome(
    store: &dyn ArtifactStore,
    task: &Task,
    node: &Node,
    inputs: &[ArtifactKey],
    tasks: &mut Vec<Task>,
) -> Result<Option<Outcome>, RunError> {
    let atom = Atom::of(node);
    let derivation = atom.derivation(inputs.to_vec(), &task.derivation.params);
    if let Some(outcome) = known(store, &derivation.receipt_key(), &atom.program)? {
        return Ok(Some(outcome));
    }
    let before = tasks.len();
    if node.each {
        file_tasks(store, task, node, inputs, tasks)?;
    }
    if tasks.len() == before {
        tasks.push(Task {
            label: node.name.clone(),
            derivation,
            program: atom.program,
        });
    }
    Ok(None)
}

fn file_tasks(
    store: &dyn ArtifactStore,
    task: &Task,
    node: &Node,
    inputs: &[ArtifactKey],
    tasks: &mut Vec<Task>,
) -> Result<(), RunError> {
    let Some((tree, others)) = inputs.split_first() else {
        return Ok(());
    };
    let files = match files::list(store, tree, &node.name) {
        Ok(files) => files,
        // The node itself will say so.
        Err(Halt::Failed(_) | Halt::Error(RunError::Absent { .. })) => return Ok(()),
        Err(Halt::Error(error)) => return Err(error),
    };
    let atom = Atom::of_file(node);
    for file in files {
        let derivation = atom.derivation([&[file.key], others].concat(), &task.derivation.params);
        match known(store, &derivation.receipt_key(), &atom.program)? {
            Some(Outcome {
                status: Status::Failed { .. },
                ..
            }) => break,
            Some(_) => {}
            None => {
                let label = relabel(&format!("{NODE}[{}]", file.path), &node.name);
                tasks.push(Task {
                    label,
                    derivation,
                    program: atom.program.clone(),
                });
            }
        }
    }
    Ok(())
}
