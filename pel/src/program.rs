//! Programs as people write them: TOML in, the canonical program out, and back as text or a graph.
//!
//! ```toml
//! inputs = ["text"]
//!
//! [[node]]
//! name = "count"
//! op = "pel.wasm/1"
//! module = "wordcount.wasm"
//! inputs = ["text"]
//!
//! [outputs]
//! counts = "count"
//! ```
//!
//! A node may have `each = true` (run once for each file of the tree that is its first input), and
//! parameters as `params = "text"`, as `params_hex = "00ff"`, or, for a slice, as `offset` and
//! `len`. The order in which a text lists inputs, nodes and outputs means nothing: inputs and
//! outputs are sorted by name, nodes stand in the one order of [`plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Deserialize;
use uor_index_format::codec::from_hex;
use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{Node, Program, ProgramError, Source};
use uor_index_format::record::{Payload, artifact_key};

use crate::gate::{self, GateError};
use crate::kernel::slice_params;
use crate::op::{Op, OpError};
use crate::plan;

mod show;

pub use show::{dot, text};

/// A program that was compiled, with the modules that its nodes name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// The bytes of its modules: artifacts without a type tag, to be stored with it.
    pub modules: BTreeMap<ArtifactKey, Vec<u8>>,
}

/// Why a text is not a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Not TOML, or a key that programs do not have.
    #[error("not a program: {0}")]
    Syntax(#[from] Box<toml::de::Error>),
    /// Two things share a name that sources could mean.
    #[error("`{name}` is the name of {first} and of {second}")]
    Duplicate {
        /// The name.
        name: String,
        /// An input or a node.
        first: &'static str,
        /// An input or a node.
        second: &'static str,
    },
    /// A source that is neither an input nor a node.
    #[error("{reader} reads `{source_name}`, which is neither an input nor a node; there are {}", list(.known))]
    UnknownSource {
        /// The node or output that reads.
        reader: String,
        /// What it reads.
        source_name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Nodes that wait for one another.
    #[error("nodes wait for one another in a cycle: {}", chain(.nodes))]
    Cycle {
        /// The nodes, each before one that it reads.
        nodes: Vec<String>,
    },
    /// Nothing comes out.
    #[error("the program has no outputs: add `[outputs]` with `name = \"node\"`")]
    NoOutputs,
    /// A field of a node that does not fit.
    #[error("node `{node}`: {field} {problem}")]
    Field {
        /// The node.
        node: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A module cannot be read.
    #[error("node `{node}`: cannot read module `{path}`")]
    ModuleUnreadable {
        /// The node.
        node: String,
        /// The module as the text names it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The gate refuses a module.
    #[error("node `{node}`: module `{path}` is refused")]
    ModuleRefused {
        /// The node.
        node: String,
        /// The module as the text names it.
        path: String,
        /// Why.
        source: GateError,
    },
    /// The operation does not allow the node.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The format does not hold the program.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn chain(nodes: &[String]) -> String {
    nodes
        .iter()
        .chain(nodes.first())
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" reads ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default, rename = "node")]
    nodes: Vec<NodeText>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    name: String,
    op: String,
    module: Option<String>,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    each: bool,
    params: Option<String>,
    params_hex: Option<String>,
    offset: Option<u64>,
    len: Option<u64>,
}

/// Compiles a program. `read_module` gives the bytes behind what a node calls its `module`: a path,
/// usually.
///
/// ```
/// let text = r#"
///     inputs = ["file"]
///     [[node]]
///     name = "digest"
///     op = "pel.bytes.hash/1"
///     inputs = ["file"]
///     [outputs]
///     digest = "digest"
/// "#;
/// let compiled = uor_pel::program::compile(text, |path| std::fs::read(path))?;
/// assert_eq!(compiled.program.inputs(), ["file"]);
/// # Ok::<(), uor_pel::program::CompileError>(())
/// ```
pub fn compile(
    toml_text: &str,
    mut read_module: impl FnMut(&str) -> io::Result<Vec<u8>>,
) -> Result<Compiled, CompileError> {
    let mut document: Document = toml::from_str(toml_text).map_err(Box::new)?;
    if document.outputs.is_empty() {
        return Err(CompileError::NoOutputs);
    }
    document.inputs.sort();
    check_names(&document)?;
    sort_nodes(&mut document)?;
    let sources = sources(&document);
    let resolve = |reader: String, name: &String| {
        sources
            .get(name.as_str())
            .copied()
            .ok_or_else(|| unknown_source(reader, name, &document))
    };
    let mut modules = BTreeMap::new();
    let mut nodes = Vec::new();
    for text in &document.nodes {
        let reader = || format!("node `{}`", text.name);
        let node = Node {
            name: text.name.clone(),
            op: text.op.clone(),
            module: text
                .module
                .as_ref()
                .map(|path| module(text, path, &mut modules, &mut read_module))
                .transpose()?,
            params: params(text)?,
            inputs: text
                .inputs
                .iter()
                .map(|name| resolve(reader(), name))
                .collect::<Result<_, _>>()?,
            each: text.each,
        };
        Op::of(&node)?;
        nodes.push(node);
    }
    let outputs = document
        .outputs
        .iter()
        .map(|(name, source)| Ok((name.clone(), resolve(format!("output `{name}`"), source)?)))
        .collect::<Result<_, CompileError>>()?;
    let program = Program::new(document.inputs.clone(), nodes, outputs)?;
    Ok(Compiled { program, modules })
}

fn check_names(document: &Document) -> Result<(), CompileError> {
    let inputs = document.inputs.iter().map(|name| (name, "an input"));
    let nodes = document.nodes.iter().map(|node| (&node.name, "a node"));
    let mut seen: BTreeMap<&str, &'static str> = BTreeMap::new();
    for (name, second) in inputs.chain(nodes) {
        if let Some(first) = seen.insert(name, second) {
            return Err(CompileError::Duplicate {
                name: name.clone(),
                first,
                second,
            });
        }
    }
    Ok(())
}

fn sort_nodes(document: &mut Document) -> Result<(), CompileError> {
    let names: BTreeSet<&str> = document
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    let reads = document
        .nodes
        .iter()
        .map(|node| {
            (
                node.name.as_str(),
                node.inputs
                    .iter()
                    .filter_map(|name| names.get(name.as_str()).copied())
                    .collect(),
            )
        })
        .collect();
    let order = plan::order(&reads).map_err(|nodes| CompileError::Cycle { nodes })?;
    let rank: BTreeMap<String, usize> = order
        .into_iter()
        .enumerate()
        .map(|(rank, name)| (name, rank))
        .collect();
    document
        .nodes
        .sort_by_key(|node| rank.get(&node.name).copied());
    Ok(())
}

fn sources(document: &Document) -> BTreeMap<&str, Source> {
    let inputs = document
        .inputs
        .iter()
        .map(String::as_str)
        .zip((0..).map(Source::Input));
    let nodes = document
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .zip((0..).map(Source::Node));
    inputs.chain(nodes).collect()
}

fn unknown_source(reader: String, name: &str, document: &Document) -> CompileError {
    let known = document
        .inputs
        .iter()
        .chain(document.nodes.iter().map(|node| &node.name))
        .cloned()
        .collect();
    CompileError::UnknownSource {
        reader,
        source_name: name.to_owned(),
        known,
    }
}

fn module(
    text: &NodeText,
    path: &str,
    modules: &mut BTreeMap<ArtifactKey, Vec<u8>>,
    read_module: &mut impl FnMut(&str) -> io::Result<Vec<u8>>,
) -> Result<ArtifactKey, CompileError> {
    let (node, path) = (|| text.name.clone(), || path.to_owned());
    let bytes = read_module(&path()).map_err(|source| CompileError::ModuleUnreadable {
        node: node(),
        path: path(),
        source,
    })?;
    gate::check(&bytes).map_err(|source| CompileError::ModuleRefused {
        node: node(),
        path: path(),
        source,
    })?;
    let key = artifact_key(None, &Payload::of(&bytes));
    modules.insert(key, bytes);
    Ok(key)
}

fn params(text: &NodeText) -> Result<Vec<u8>, CompileError> {
    let wrong = |field, problem| {
        Err(CompileError::Field {
            node: text.name.clone(),
            field,
            problem,
        })
    };
    match (&text.params, &text.params_hex, text.offset, text.len) {
        (None, None, None, None) if text.op == Op::Slice.name() => {
            wrong("`offset` and `len`", "are missing")
        }
        (None, None, None, None) => Ok(Vec::new()),
        (Some(params), None, None, None) => Ok(params.clone().into_bytes()),
        (None, Some(hex), None, None) => match from_hex(hex) {
            Some(params) => Ok(params),
            None => wrong(
                "`params_hex`",
                "is not a whole number of bytes in hexadecimal",
            ),
        },
        (None, None, Some(_), Some(_)) if text.op != Op::Slice.name() => {
            wrong("`offset` and `len`", "belong to `pel.bytes.slice/1`")
        }
        (None, None, Some(offset), Some(len)) => Ok(slice_params(offset, len)),
        (None, None, Some(_), None) => wrong("`len`", "is missing beside `offset`"),
        (None, None, None, Some(_)) => wrong("`offset`", "is missing beside `len`"),
        _ => wrong(
            "parameters",
            "are given in more than one of `params`, `params_hex`, `offset` with `len`",
        ),
    }
}
