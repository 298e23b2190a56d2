//! Why there is no receipt, and why an operation has no output.

use std::io;

use uor_index_format::DecodeError;
use uor_index_format::id::ArtifactKey;
use uor_index_format::receipt::FailureKind;

use super::profile::PROFILE;
use crate::artifact_store::ArtifactStoreError;
use crate::engine::NoResult;
use crate::gate::GateError;
use crate::op::OpError;

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
    Store(#[from] ArtifactStoreError),
}

/// Why an operation has no output: it failed, which is a result, or it could not be carried out.
pub(super) enum Halt {
    /// A result.
    Failed(FailureKind),
    /// None.
    Error(RunError),
}

impl From<FailureKind> for Halt {
    fn from(kind: FailureKind) -> Self {
        Self::Failed(kind)
    }
}

impl From<RunError> for Halt {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

impl From<ArtifactStoreError> for Halt {
    fn from(error: ArtifactStoreError) -> Self {
        Self::Error(error.into())
    }
}
