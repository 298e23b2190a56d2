//! How to run, what is reported meanwhile, and what came of it.

use uor_index_format::id::ArtifactKey;
use uor_index_format::receipt::Outcome;

use crate::engine::Limits;

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
