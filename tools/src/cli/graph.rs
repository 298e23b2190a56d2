//! Edges and traces.

use clap::{Args, Subcommand, ValueEnum};

/// `uor edge`.
#[derive(Debug, Subcommand)]
pub enum Edge {
    /// Add an edge
    Add(EdgeAdd),
    /// List the edges that touch something
    Ls {
        /// An artifact, a receipt, or site:NAME
        key: String,
        /// As of this snapshot
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
}

/// `uor edge add`.
#[derive(Debug, Args)]
pub struct EdgeAdd {
    /// What the edge says, such as derived-from
    #[arg(long = "type", value_name = "NAME")]
    pub edge_type: String,
    /// Where it starts
    #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
    pub from: Vec<String>,
    /// Where it ends
    #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
    pub to: Vec<String>,
    /// Which side it speaks for
    #[arg(long, value_enum, default_value = "both")]
    pub role: Role,
    /// An artifact that says more
    #[arg(long, value_name = "KEY")]
    pub attr: Option<String>,
}

/// Which side an edge speaks for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// About its from side
    From,
    /// About its to side
    To,
    /// About both
    Both,
}

/// `uor trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// Where to start: an artifact, a receipt, or site:NAME
    pub key: String,
    /// What it came from (the default)
    #[arg(long, conflicts_with = "down")]
    pub up: bool,
    /// What came from it
    #[arg(long)]
    pub down: bool,
    /// At most this many steps away
    #[arg(long, value_name = "N")]
    pub depth: Option<u32>,
    /// As of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TraceFormat,
}

/// Forms of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// Indented lines
    Text,
    /// A graph for Graphviz
    Dot,
    /// W3C PROV in JSON
    ProvJson,
}
