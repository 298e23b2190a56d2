//! Artifacts and their names.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `uor add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Files and directories; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Type tag of every file: a number, or 0x and hexadecimal
    #[arg(long, value_name = "N", value_parser = type_tag)]
    pub type_tag: Option<u32>,
    /// Point this name at what is added
    #[arg(long = "ref", value_name = "NAME")]
    pub reference: Option<String>,
    /// Read every file, also those that look unchanged since they were added
    #[arg(long)]
    pub checksum: bool,
    /// Leave out what fits this pattern, written as in .gitignore
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Leave out what fits the patterns in this file, one in a line
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Take what the files .uorignore in a directory say to leave out
    #[arg(long)]
    pub no_uorignore: bool,
    /// Store files that keep changing as they were read last, and do without files that go away
    #[arg(long)]
    pub allow_changing: bool,
    /// Say what would be added and what left out, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn type_tag(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.strip_prefix("0x")
        .map_or_else(|| text.parse(), |digits| u32::from_str_radix(digits, 16))
}

/// `uor get`.
#[derive(Debug, Args)]
pub struct Get {
    /// What to write
    pub key: String,
    /// Where to; it must not exist [default: a file goes to standard output]
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// As of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
}

/// `uor ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// A tree; all refs if absent
    pub key: Option<String>,
    /// As of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
}

/// `uor cat`.
#[derive(Debug, Args)]
pub struct Cat {
    /// A file, or a file in a tree
    #[arg(value_name = "KEY[/PATH]")]
    pub key: String,
    /// As of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
}

/// `uor ref`.
#[derive(Debug, Subcommand)]
pub enum Ref {
    /// Point a name at an artifact
    Set {
        /// The name, such as data/iris
        name: String,
        /// What it points at from now on
        key: String,
    },
    /// List all names
    Ls {
        /// As of this snapshot
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<String>,
    },
}

/// `uor rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// What is shadowed from now on; a bare name is the ref, not what it points at
    pub key: String,
    /// With a ref, what it points at too; of a tree, all that is in it and that nothing else shows
    #[arg(long, short)]
    pub recursive: bool,
    /// Go on though something is not here that may show parts of it
    #[arg(long, requires = "recursive")]
    pub force: bool,
}
