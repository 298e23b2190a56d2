//! What executes a gated module, and how an execution may end.
//!
//! An engine is a function of module, inputs and parameters: no clock, no entropy, no network, no
//! files. What may differ between engines (running out of fuel, stack or memory) is [`NoResult`]:
//! it never becomes a receipt.

pub mod wasmtime;

use std::sync::Arc;

use uor_index_format::receipt::FailureKind;

use crate::blob::Blob;
use crate::gate::Module;

/// Fuel of one execution unless the caller says otherwise: some ten seconds of a current core.
pub const FUEL_DEFAULT: u64 = 20_000_000_000;
/// Longest output of one execution, in bytes.
pub const OUTPUT_LEN_MAX: usize = 256 << 20;
/// Stack of a guest, in bytes.
pub const STACK_LEN_MAX: usize = 512 << 10;

/// What one execution may use. Limits never change a result, they only withhold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fuel, in units of roughly one WebAssembly instruction or eight bytes moved by the host.
    pub fuel: u64,
    /// Longest output, in bytes.
    pub output_len: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: FUEL_DEFAULT,
            output_len: OUTPUT_LEN_MAX,
        }
    }
}

/// What a module is run on.
#[derive(Clone, Default)]
pub struct Call {
    /// The inputs, in order.
    pub inputs: Vec<Arc<dyn Blob>>,
    /// The node's parameters.
    pub params: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// `run` returned; this is the output.
    Returned(Vec<u8>),
    /// The guest trapped or failed. Every conforming engine says the same.
    Failed(FailureKind),
    /// No statement about the guest: engines may differ here.
    NoResult(NoResult),
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoResult {
    /// The fuel was used up.
    #[error("out of fuel after {limit} units")]
    Fuel {
        /// How much there was.
        limit: u64,
    },
    /// The call stack was used up.
    #[error("out of stack beyond {limit} bytes")]
    Stack {
        /// How large it was.
        limit: usize,
    },
    /// The host could not supply memory that the module may use.
    #[error("the host has no memory left for the module")]
    Memory,
    /// The output grew too long.
    #[error("the output grew beyond {limit} bytes")]
    Output {
        /// The limit.
        limit: usize,
    },
    /// The host failed: an input could not be read, or the engine refused what the gate passed.
    #[error("the host failed: {problem}")]
    Host {
        /// How.
        problem: String,
    },
}

/// Executes gated modules.
pub trait Engine: Send + Sync {
    /// Runs the module's `run` once, in a fresh instance.
    fn run(&self, module: &Module, call: Call) -> Ended;
}
