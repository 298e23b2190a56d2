//! The operations a node may name, and what each asks of its node. A new meaning gets a new name
//! (`/2`), never an old one.

use std::ops::RangeInclusive;

use uor_index_format::program::{Node, Program};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// The inputs, one after the other; a tree stands for its files in path order.
    Concat,
    /// `len` bytes of the input from `offset`; parameters are both, as 64-bit integers.
    Slice,
    /// The parameters.
    Const,
    /// The BLAKE3 digest of the input, as `b3sum --no-names` prints it.
    Hash,
    /// The parameters of the run.
    Params,
    /// A WebAssembly module (`ABI.md`).
    Wasm,
}

/// A node that its operation does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// No operation has this name.
    #[error("node `{node}`: unknown operation `{op}`; known are {}", known())]
    Unknown {
        /// The node.
        node: String,
        /// The name.
        op: String,
    },
    /// The operation reads another number of inputs.
    #[error("node `{node}`: `{op}` reads {needs}, not {count}")]
    Inputs {
        /// The node.
        node: String,
        /// The operation.
        op: &'static str,
        /// How many it has.
        count: usize,
        /// How many it needs, in words.
        needs: &'static str,
    },
    /// The operation takes other parameters.
    #[error("node `{node}`: `{op}` takes {needs}, not {len} bytes of parameters")]
    Params {
        /// The node.
        node: String,
        /// The operation.
        op: &'static str,
        /// How many bytes there are.
        len: usize,
        /// What it takes, in words.
        needs: &'static str,
    },
    /// A module is missing, or is there without use.
    #[error("node `{node}`: `{op}` {problem}")]
    Module {
        /// The node.
        node: String,
        /// The operation.
        op: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

fn known() -> String {
    Op::ALL.map(Op::name).join(", ")
}

impl Op {
    /// Every operation.
    pub const ALL: [Self; 6] = [
        Self::Concat,
        Self::Slice,
        Self::Const,
        Self::Hash,
        Self::Params,
        Self::Wasm,
    ];

    /// The name in programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Concat => "pel.bytes.concat/1",
            Self::Slice => "pel.bytes.slice/1",
            Self::Const => "pel.bytes.const/1",
            Self::Hash => "pel.bytes.hash/1",
            Self::Params => "pel.bytes.params/1",
            Self::Wasm => "pel.wasm/1",
        }
    }

    /// The operation of a node; an error unless the node is one the operation allows.
    pub fn of(node: &Node) -> Result<Self, OpError> {
        let op = Self::ALL.into_iter().find(|op| op.name() == node.op);
        let op = op.ok_or_else(|| OpError::Unknown {
            node: node.name.clone(),
            op: node.op.clone(),
        })?;
        let (inputs, needs) = op.inputs();
        if !inputs.contains(&node.inputs.len()) {
            let count = node.inputs.len();
            return Err(OpError::Inputs {
                node: node.name.clone(),
                op: op.name(),
                count,
                needs,
            });
        }
        let (params, needs) = op.params();
        if !params.contains(&node.params.len()) {
            let len = node.params.len();
            return Err(OpError::Params {
                node: node.name.clone(),
                op: op.name(),
                len,
                needs,
            });
        }
        let problem = match (op, node.module.is_some()) {
            (Self::Wasm, false) => "needs a module",
            (Self::Wasm, true) | (_, false) => return Ok(op),
            (_, true) => "takes no module",
        };
        Err(OpError::Module {
            node: node.name.clone(),
            op: op.name(),
            problem,
        })
    }

    const fn inputs(self) -> (RangeInclusive<usize>, &'static str) {
        match self {
            Self::Concat | Self::Wasm => (0..=usize::MAX, "any number of inputs"),
            Self::Slice | Self::Hash => (1..=1, "one input"),
            Self::Const | Self::Params => (0..=0, "no input"),
        }
    }

    const fn params(self) -> (RangeInclusive<usize>, &'static str) {
        match self {
            Self::Const | Self::Wasm => (0..=usize::MAX, "any parameters"),
            Self::Slice => (16..=16, "`offset` and `len`"),
            Self::Concat | Self::Hash | Self::Params => (0..=0, "none"),
        }
    }
}

/// Checks every node of a program, wherever the program came from.
pub fn check(program: &Program) -> Result<(), OpError> {
    program
        .nodes()
        .iter()
        .try_for_each(|node| Op::of(node).map(|_| ()))
}
