//! The command line of `uor-replay`.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

/// Audits stores: reads only, never modifies.
#[derive(Debug, Parser)]
#[command(
    name = "uor-replay",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(
    after_help = "STORE is a data directory, or a running node's multiaddress ending in /p2p/PEER.\n\
    Exit status: 0 agrees, 1 diverges, 2 could not be completed, 64 wrong usage, 130 interrupted."
)]
pub struct UorReplay {
    /// Print JSON: one document
    #[arg(long, global = true)]
    pub json: bool,
    /// No prose and no progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Data directory of the member that vouches at running nodes [default: the first STORE that is
    /// a directory]
    #[arg(long = "as", global = true, value_name = "DIR")]
    pub voucher: Option<PathBuf>,
    /// What is to be audited.
    #[command(subcommand)]
    pub command: Command,
}

/// What `uor-replay` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify every byte of a store: frames, chain, signatures, payloads, index against log,
    /// snapshots against replay
    Verify {
        /// A data directory, or a running node's multiaddress
        store: PathBuf,
    },
    /// Replay the log in the one order and print the state root
    State {
        /// A data directory, or a running node's multiaddress
        store: PathBuf,
        /// As of this snapshot [default: everything]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
    /// Compare two stores: they agree, or the first record that differs and each side's claim
    Diff {
        /// One store
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
        /// Two stores or more
        #[arg(required = true, num_args = 2.., value_name = "STORE")]
        stores: Vec<PathBuf>,
        /// As of this snapshot [default: what all have]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
        /// Write the report here, over what is there: text, or JSON by the file's name
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
}

impl Command {
    /// The stores that are named.
    pub fn stores(&self) -> Vec<&Path> {
        match self {
            Self::Verify { store } | Self::State { store, .. } => vec![store],
            Self::Diff { a, b, .. } => vec![a, b],
            Self::Exec(args) => vec![&args.store],
            Self::Audit { stores, .. } => stores.iter().map(PathBuf::as_path).collect(),
        }
    }
}

/// `uor-replay exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// A data directory, or a running node's multiaddress
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
