//! PEL programs: a DAG of operations as canonical bytes.
//!
//! Nodes stand in a topological order and name only inputs and earlier nodes, so a decoded program
//! cannot hold a cycle.

use std::collections::BTreeSet;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ArtifactKey;
use crate::receipt::{PARAMS_LEN_MAX, PORTS_MAX};

/// Type tag of program artifacts: `PELP`.
pub const TYPE_TAG: u32 = u32::from_le_bytes(*b"PELP");
/// Longest name of an input, node, output, operation or profile, in bytes.
pub const NAME_LEN_MAX: u32 = 255;
/// Most nodes of a program.
pub const NODES_MAX: u32 = 65_536;

const MAGIC: [u8; 4] = *b"UORP";
const VERSION: u16 = 1;
/// Two one-byte names behind their lengths, flags, no parameters, no inputs.
const NODE_LEN_MIN: usize = 5 + 5 + 1 + 4 + 4;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The program input with this index.
    Input(u32),
    /// The output of the node with this index.
    Node(u32),
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name, unique in the program.
    pub name: String,
    /// The operation, such as `pel.bytes.concat/1`.
    pub op: String,
    /// The WebAssembly module, for operations that take one.
    pub module: Option<ArtifactKey>,
    /// Parameters of the operation.
    pub params: Vec<u8>,
    /// What it reads, in order.
    pub inputs: Vec<Source>,
    /// Whether it runs once for each file of the tree that is its first input, giving a tree of the
    /// results.
    pub each: bool,
}

/// A program: valid once built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    inputs: Vec<String>,
    nodes: Vec<Node>,
    outputs: Vec<(String, Source)>,
}

/// Why inputs, nodes and outputs do not make a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A name is empty, too long, or holds a control character or a bracket.
    #[error("{what} `{name}`: a name has 1 to 255 bytes, no control characters and no brackets")]
    Name {
        /// Input, node, output or operation.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two of a kind share a name.
    #[error("{what} `{name}` is defined twice")]
    Duplicate {
        /// Input, node or output.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A source points at nothing, or at a node that does not stand before its reader.
    #[error("{reader} reads {missing:?}, which is not an input or an earlier node")]
    Source {
        /// The node or output that reads.
        reader: String,
        /// What it reads.
        missing: Source,
    },
    /// A mapped node has no input to map over.
    #[error("node `{name}` has `each` but no input")]
    EachWithoutInput {
        /// The node.
        name: String,
    },
    /// There are no outputs, or more of something than the format holds.
    #[error("a program has {what} {count}; allowed are {min} to {max}")]
    Count {
        /// Inputs, nodes, outputs, parameters.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
}

impl Program {
    /// Checks that nodes read only inputs and earlier nodes, that names are unique and that there
    /// is an output.
    pub fn new(
        inputs: Vec<String>,
        nodes: Vec<Node>,
        outputs: Vec<(String, Source)>,
    ) -> Result<Self, ProgramError> {
        let program = Self {
            inputs,
            nodes,
            outputs,
        };
        program.check()?;
        Ok(program)
    }

    /// Names of the inputs, in the order a derivation binds them.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Nodes in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Named outputs, in the order an outcome lists them.
    pub fn outputs(&self) -> &[(String, Source)] {
        &self.outputs
    }

    fn check(&self) -> Result<(), ProgramError> {
        Self::check_count("inputs", self.inputs.len(), 0, PORTS_MAX)?;
        Self::check_count("nodes", self.nodes.len(), 1, NODES_MAX)?;
        Self::check_count("outputs", self.outputs.len(), 1, PORTS_MAX)?;
        Self::check_names("input", self.inputs.iter())?;
        Self::check_names("node", self.nodes.iter().map(|node| &node.name))?;
        Self::check_names("output", self.outputs.iter().map(|(name, _)| name))?;
        for (index, node) in self.nodes.iter().enumerate() {
            Self::check_names("operation", [&node.op].into_iter())?;
            Self::check_count("parameter bytes", node.params.len(), 0, PARAMS_LEN_MAX)?;
            Self::check_count("node inputs", node.inputs.len(), 0, PORTS_MAX)?;
            if node.each && node.inputs.is_empty() {
                return Err(ProgramError::EachWithoutInput {
                    name: node.name.clone(),
                });
            }
            for source in &node.inputs {
                self.check_source(&node.name, *source, index)?;
            }
        }
        self.outputs
            .iter()
            .try_for_each(|(name, source)| self.check_source(name, *source, self.nodes.len()))
    }

    fn check_count(
        what: &'static str,
        count: usize,
        min: usize,
        max: u32,
    ) -> Result<(), ProgramError> {
        let max = max as usize;
        if (min..=max).contains(&count) {
            Ok(())
        } else {
            Err(ProgramError::Count {
                what,
                count,
                min,
                max,
            })
        }
    }

    fn check_names<'a>(
        what: &'static str,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), ProgramError> {
        let mut seen = BTreeSet::new();
        for name in names {
            let strange =
                |character: char| character.is_control() || matches!(character, '[' | ']');
            if name.is_empty() || name.len() > NAME_LEN_MAX as usize || name.chars().any(strange) {
                return Err(ProgramError::Name {
                    what,
                    name: name.clone(),
                });
            }
            if !seen.insert(name) {
                return Err(ProgramError::Duplicate {
                    what,
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_source(
        &self,
        reader: &str,
        source: Source,
        nodes_before: usize,
    ) -> Result<(), ProgramError> {
        let exists = match source {
            Source::Input(index) => (index as usize) < self.inputs.len(),
            Source::Node(index) => (index as usize) < nodes_before,
        };
        if exists {
            Ok(())
        } else {
            Err(ProgramError::Source {
                reader: reader.to_owned(),
                missing: source,
            })
        }
    }

    /// The payload of the program artifact.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.count(self.inputs.len());
        self.inputs.iter().for_each(|name| {
            writer.bytes(name.as_bytes());
        });
        writer.count(self.nodes.len());
        self.nodes
            .iter()
            .for_each(|node| encode_node(node, &mut writer));
        writer.count(self.outputs.len());
        for (name, source) in &self.outputs {
            encode_source(*source, writer.bytes(name.as_bytes()));
        }
        writer.into_bytes()
    }

    /// Reads a program artifact's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.header("program", MAGIC, VERSION)?;
        let count = reader.count("program inputs", PORTS_MAX, 5)?;
        let inputs = (0..count)
            .map(|_| reader.string("input name", NAME_LEN_MAX).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        let offset = reader.offset();
        let count = reader.count("program nodes", NODES_MAX, NODE_LEN_MIN)?;
        let nodes = (0..count)
            .map(|_| decode_node(&mut reader))
            .collect::<Result<_, _>>()?;
        let count = reader.count("program outputs", PORTS_MAX, 10)?;
        let outputs = (0..count)
            .map(|_| {
                let name = reader.string("output name", NAME_LEN_MAX)?.to_owned();
                Ok((name, decode_source(&mut reader)?))
            })
            .collect::<Result<_, DecodeError>>()?;
        reader.finish("program")?;
        Self::new(inputs, nodes, outputs).map_err(|_| {
            Reader::invalid(
                "program",
                offset,
                "names, counts or sources break the rules of a program",
            )
        })
    }
}

fn encode_node(node: &Node, writer: &mut Writer) {
    writer.bytes(node.name.as_bytes()).bytes(node.op.as_bytes());
    writer.u8(u8::from(node.module.is_some()) | u8::from(node.each) << 1);
    if let Some(module) = &node.module {
        writer.raw(module.as_bytes());
    }
    writer.bytes(&node.params).count(node.inputs.len());
    node.inputs
        .iter()
        .for_each(|source| encode_source(*source, writer));
}

fn decode_node(reader: &mut Reader<'_>) -> Result<Node, DecodeError> {
    let name = reader.string("node name", NAME_LEN_MAX)?.to_owned();
    let op = reader.string("node operation", NAME_LEN_MAX)?.to_owned();
    let offset = reader.offset();
    let flags = reader.u8("node flags")?;
    if flags > 3 {
        return Err(Reader::invalid("node flags", offset, "unknown flag"));
    }
    let module = match flags & 1 {
        0 => None,
        _ => Some(ArtifactKey::from_bytes(reader.array("node module")?)),
    };
    let params = reader.bytes("node parameters", PARAMS_LEN_MAX)?.to_vec();
    let count = reader.count("node inputs", PORTS_MAX, 5)?;
    let inputs = (0..count)
        .map(|_| decode_source(reader))
        .collect::<Result<_, _>>()?;
    Ok(Node {
        name,
        op,
        module,
        params,
        inputs,
        each: flags & 2 != 0,
    })
}

fn encode_source(source: Source, writer: &mut Writer) {
    match source {
        Source::Input(index) => writer.u8(0).u32(index),
        Source::Node(index) => writer.u8(1).u32(index),
    };
}

fn decode_source(reader: &mut Reader<'_>) -> Result<Source, DecodeError> {
    let offset = reader.offset();
    match (reader.u8("source kind")?, reader.u32("source index")?) {
        (0, index) => Ok(Source::Input(index)),
        (1, index) => Ok(Source::Node(index)),
        _ => Err(Reader::invalid(
            "source kind",
            offset,
            "neither input (0) nor node (1)",
        )),
    }
}
