//! Atoms: canonical programs of one node. A node's own name, the names of what it reads and the
//! program around it are not part of its work, so they are not part of its atom.

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{self, Node, Program, Source};
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Payload, artifact_key};

use super::profile::PROFILE;
use crate::op::Op;

/// Name of an atom's node.
pub const NODE: &str = "node";
/// Name of an atom's output.
pub const OUTPUT: &str = "out";

/// The canonical program of one node: inputs `0`, `1`, … in the node's order, the node [`NODE`],
/// its output [`OUTPUT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    /// The program.
    pub program: Program,
    /// Its key.
    pub key: ArtifactKey,
}

impl Atom {
    /// The atom of a node.
    pub fn of(node: &Node) -> Self {
        let program = shape(node);
        let key = artifact_key(Some(program::TYPE_TAG), &Payload::of(&program.encode()));
        Self { program, key }
    }

    /// The atom that a mapped node runs for one file.
    pub fn of_file(node: &Node) -> Self {
        Self::of(&Node {
            each: false,
            ..node.clone()
        })
    }

    /// The atom's run on these inputs. Parameters of the run matter to `pel.bytes.params/1` only.
    pub fn derivation(&self, inputs: Vec<ArtifactKey>, params: &[u8]) -> Derivation {
        let reads_params = self
            .program
            .nodes()
            .iter()
            .any(|node| node.op == Op::Params.name());
        let params = if reads_params {
            params.to_vec()
        } else {
            Vec::new()
        };
        Derivation {
            program: self.key,
            inputs,
            params,
            profile: PROFILE.to_owned(),
        }
    }
}

/// Whether a program is an atom already.
pub fn is_atom(program: &Program) -> bool {
    matches!(program.nodes(), [node] if shape(node) == *program)
}

/// `node` or `node[path]` in an atom's outcome, as the node called `name` around it says it.
pub(crate) fn relabel(label: &str, name: &str) -> String {
    format!("{name}{}", label.strip_prefix(NODE).unwrap_or_default())
}

fn shape(node: &Node) -> Program {
    let count = node.inputs.len();
    let inputs = (0..count).map(|index| index.to_string()).collect();
    let sources = (0..).map(Source::Input).take(count).collect();
    let node = Node {
        name: NODE.to_owned(),
        inputs: sources,
        ..node.clone()
    };
    let outputs = vec![(OUTPUT.to_owned(), Source::Node(0))];
    // A node of a valid program is valid alone: its name and its inputs are, and nothing else is
    // checked across nodes.
    Program::new(inputs, vec![node], outputs)
        .unwrap_or_else(|error| unreachable!("an atom is a program: {error}"))
}
