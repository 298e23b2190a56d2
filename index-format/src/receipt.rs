//! Execution receipts (PERs): a [`Derivation`] names the work, an [`Outcome`] says what came of it.
//!
//! The derivation is the identity, the outcome the payload. So sites that run the same thing meet
//! at one id: an equal payload corroborates, an unequal one proves divergence. Nothing about who,
//! when, how long or on which engine is in either.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ArtifactKey, Checksum, context, derive};
use crate::program::NAME_LEN_MAX;

/// Most inputs of a derivation, outputs of an outcome.
pub const PORTS_MAX: u32 = 65_536;
/// Most steps of a trace.
pub const STEPS_MAX: u32 = 1 << 20;
/// Longest parameter string, in bytes.
pub const PARAMS_LEN_MAX: u32 = 1 << 20;

/// What was run: program, inputs, parameters, engine profile, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Key of the program artifact.
    pub program: ArtifactKey,
    /// Keys bound to the program's inputs, in the program's order.
    pub inputs: Vec<ArtifactKey>,
    /// Parameters of the run.
    pub params: Vec<u8>,
    /// The execution profile whose rules fix the result, such as `uor.pel/1`.
    pub profile: String,
}

impl Derivation {
    /// The receipt's key.
    pub fn receipt_key(&self) -> ArtifactKey {
        ArtifactKey::from_bytes(derive(&context::RECEIPT, &[&self.encode()]))
    }

    /// The record body.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(self.program.as_bytes()).count(self.inputs.len());
        self.inputs.iter().for_each(|key| {
            writer.raw(key.as_bytes());
        });
        writer.bytes(&self.params).bytes(self.profile.as_bytes());
        writer.into_bytes()
    }

    /// Reads a record body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let program = ArtifactKey::from_bytes(reader.array("receipt program")?);
        let count = reader.count("receipt inputs", PORTS_MAX, ArtifactKey::LEN)?;
        let inputs = (0..count)
            .map(|_| reader.array("receipt input").map(ArtifactKey::from_bytes))
            .collect::<Result<_, _>>()?;
        let params = reader.bytes("receipt parameters", PARAMS_LEN_MAX)?.to_vec();
        let profile = reader.string("receipt profile", NAME_LEN_MAX)?.to_owned();
        reader.finish("receipt derivation")?;
        Ok(Self {
            program,
            inputs,
            params,
            profile,
        })
    }
}

/// Why a node failed. Kinds, never texts: engines word the same trap differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// An `unreachable` instruction.
    Unreachable,
    /// Memory, table or host-call access out of bounds.
    OutOfBounds,
    /// Integer division by zero.
    DivisionByZero,
    /// Integer overflow in division or conversion.
    IntegerOverflow,
    /// Conversion of a float that has no integer value.
    BadConversion,
    /// An indirect call through a null or foreign entry.
    BadIndirectCall,
    /// The guest failed on purpose, with this code.
    Explicit(i32),
    /// An operation's parameters do not fit its input, such as a slice beyond the end.
    OutOfRange,
    /// An input has the wrong kind, such as bytes where a tree is needed.
    WrongInput,
}

impl FailureKind {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out-of-bounds",
            Self::DivisionByZero => "division-by-zero",
            Self::IntegerOverflow => "integer-overflow",
            Self::BadConversion => "bad-conversion",
            Self::BadIndirectCall => "bad-indirect-call",
            Self::Explicit(_) => "explicit",
            Self::OutOfRange => "out-of-range",
            Self::WrongInput => "wrong-input",
        }
    }

    const fn encode(self) -> (u8, i32) {
        match self {
            Self::Unreachable => (1, 0),
            Self::OutOfBounds => (2, 0),
            Self::DivisionByZero => (3, 0),
            Self::IntegerOverflow => (4, 0),
            Self::BadConversion => (5, 0),
            Self::BadIndirectCall => (6, 0),
            Self::Explicit(code) => (7, code),
            Self::OutOfRange => (8, 0),
            Self::WrongInput => (9, 0),
        }
    }

    const fn decode(kind: u8, code: i32) -> Option<Self> {
        Some(match (kind, code) {
            (1, 0) => Self::Unreachable,
            (2, 0) => Self::OutOfBounds,
            (3, 0) => Self::DivisionByZero,
            (4, 0) => Self::IntegerOverflow,
            (5, 0) => Self::BadConversion,
            (6, 0) => Self::BadIndirectCall,
            (7, code) => Self::Explicit(code),
            (8, 0) => Self::OutOfRange,
            (9, 0) => Self::WrongInput,
            _ => return None,
        })
    }
}

/// How a run ended. Running out of fuel, stack, memory or time is no result and has no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Every node returned.
    Ok,
    /// A node failed: the first in the canonical order.
    Failed {
        /// Label of the node.
        node: String,
        /// What it did.
        kind: FailureKind,
    },
}

/// One executed node in a run's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Name of the node; for one file of a mapped tree, `name[path]`.
    pub label: String,
    /// Key of the node's own receipt.
    pub receipt: ArtifactKey,
    /// Checksum of that receipt's outcome.
    pub outcome: Checksum,
}

/// What came of a derivation: the payload of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Named outputs in the program's order; empty after a failure.
    pub outputs: Vec<(String, ArtifactKey)>,
    /// Executed nodes in canonical order; empty for a single-node program, whose receipt is its own
    /// trace.
    pub trace: Vec<Step>,
}

const MAGIC: [u8; 4] = *b"UORX";
const VERSION: u16 = 1;

impl Outcome {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        match &self.status {
            Status::Ok => writer.u8(0),
            Status::Failed { node, kind } => {
                let (kind, code) = kind.encode();
                writer
                    .u8(kind)
                    .raw(&code.to_le_bytes())
                    .bytes(node.as_bytes())
            }
        };
        writer.count(self.outputs.len());
        for (name, key) in &self.outputs {
            writer.bytes(name.as_bytes()).raw(key.as_bytes());
        }
        writer.count(self.trace.len());
        for step in &self.trace {
            writer
                .bytes(step.label.as_bytes())
                .raw(step.receipt.as_bytes())
                .raw(step.outcome.as_bytes());
        }
        writer.into_bytes()
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.header("receipt outcome", MAGIC, VERSION)?;
        let status = Self::status(&mut reader)?;
        let count = reader.count("outcome outputs", PORTS_MAX, 36)?;
        let outputs = (0..count)
            .map(|_| {
                let name = reader.string("output name", NAME_LEN_MAX)?.to_owned();
                Ok((name, ArtifactKey::from_bytes(reader.array("output key")?)))
            })
            .collect::<Result<_, DecodeError>>()?;
        let count = reader.count("outcome trace", STEPS_MAX, 68)?;
        let trace = (0..count)
            .map(|_| {
                Ok(Step {
                    label: reader.string("step label", LABEL_LEN_MAX)?.to_owned(),
                    receipt: ArtifactKey::from_bytes(reader.array("step receipt")?),
                    outcome: Checksum::from_bytes(reader.array("step outcome")?),
                })
            })
            .collect::<Result<_, DecodeError>>()?;
        reader.finish("receipt outcome")?;
        Ok(Self {
            status,
            outputs,
            trace,
        })
    }

    fn status(reader: &mut Reader<'_>) -> Result<Status, DecodeError> {
        let offset = reader.offset();
        let kind = reader.u8("outcome status")?;
        if kind == 0 {
            return Ok(Status::Ok);
        }
        let code = i32::from_le_bytes(reader.array("failure code")?);
        let kind = FailureKind::decode(kind, code).ok_or(Reader::invalid(
            "outcome status",
            offset,
            "unknown kind of failure",
        ))?;
        Ok(Status::Failed {
            node: reader.string("failed node", LABEL_LEN_MAX)?.to_owned(),
            kind,
        })
    }
}

/// Longest label of a step: a node name and a path in a tree.
pub const LABEL_LEN_MAX: u32 = 8192;
