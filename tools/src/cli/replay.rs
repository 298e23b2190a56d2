//! The command line of `uor-replay`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Audits stores: reads only, never modifies.
#[derive(Debug, Parser)]
#[command(name = "uor-replay", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "STORE is a data directory.\n\
    Exit status: 0 agrees, 1 diverges, 2 could not be completed, 64 wrong usage.")]
pub struct UorReplay {
    /// Print JSON: one document
    #[arg(long, global = true)]
    pub json: bool,
    /// No prose and no progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What is to be audited.
    #[command(subcommand)]
    pub command: Command,
}

/// What `uor-replay` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify every byte of a store: frames, chain, signatures, payloads, index against log, snapshots against replay
    Verify {
        /// The data directory
        store: PathBuf,
    },
    /// Replay the log in the one order and print the state root
    State {
        /// The data directory
        store: PathBuf,
        /// As of this snapshot [default: everything]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
    /// Compare two stores: they agree, or the first record that differs and each side's claim
    Diff {
        /// One data directory
        a: PathBuf,
        /// Another
        b: PathBuf,
        /// As of this snapshot [default: what both have]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
    /// Run receipts again and name the first node and byte that differ
    Exec(Exec),
    /// All of these across sites, in one report
    Audit {
        /// Two data directories or more
        #[arg(required = true, num_args = 2.., value_name = "STORE")]
        stores: Vec<PathBuf>,
        /// As of this snapshot [default: what all have]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
        /// Write the report here: text, or JSON by the file's name
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
}

/// `uor-replay exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The data directory
    pub store: PathBuf,
    /// Which receipts.
    #[command(flatten)]
    pub which: Which,
}

/// Which receipts to run again.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct Which {
    /// This one
    #[arg(long, value_name = "KEY")]
    pub receipt: Option<String>,
    /// All of them (the default)
    #[arg(long)]
    pub all: bool,
    /// Every receipt whose key falls into this share: the same ones at every site
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub sample: Option<u8>,
}
