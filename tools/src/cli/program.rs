//! Programs, runs and receipts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `uor program`.
#[derive(Debug, Subcommand)]
pub enum Program {
    /// Make artifacts of a program file and its modules
    Add {
        /// The DAG, in TOML
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
        /// Point this name at the program
        #[arg(long = "ref", value_name = "NAME")]
        reference: Option<String>,
    },
    /// Check a program file and its modules, and write nothing
    Check {
        /// The DAG, in TOML
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
    },
    /// Show a program
    Show {
        /// The program
        key: String,
        /// How to show it
        #[arg(long, value_enum, default_value = "text")]
        format: ProgramFormat,
    },
}

/// Forms of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgramFormat {
    /// A line for each node
    Text,
    /// A graph for Graphviz
    Dot,
}

/// `uor run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The program
    pub program: String,
    /// Bind an input: to a key, a ref, or a path that is added first (`./NAME` is always a path)
    #[arg(long = "input", short, value_name = "NAME=KEY|REF|PATH", value_parser = binding)]
    pub inputs: Vec<(String, OsString)>,
    /// Run every node, even where its receipt is here
    #[arg(long)]
    pub recompute: bool,
    /// Fuel of each node, roughly its instructions; a node that uses it up has no result
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
}

fn binding(text: &str) -> Result<(String, OsString), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.into()))
        }
        _ => Err("expected NAME=KEY, NAME=REF or NAME=PATH"),
    }
}

/// `uor receipt`.
#[derive(Debug, Subcommand)]
pub enum Receipt {
    /// Show a receipt with its trace, and which sites claim it
    Show {
        /// The receipt
        key: String,
        /// As of this snapshot
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
}
