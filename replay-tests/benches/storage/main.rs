//! Storage beside other engines: the same work, the same data, the same machine, one run.
//!
//! `cargo bench -p uor-replay-tests --features peers --bench storage` prints a table per work and,
//! if asked, writes JSON. BENCHMARKS.md says what each work does and what can be compared. Nothing
//! here asserts a time: a system that answers wrongly stops the run, a slow one shows in its
//! figure.

#![expect(clippy::cast_precision_loss, reason = "figures have three digits")]

mod archives;
mod clock;
mod commits;
mod data;
mod engines;
mod files;
mod fjall;
mod limits;
mod lmdb;
mod lookups;
mod machine;
mod redb;
mod report;
#[cfg(feature = "peers-rocksdb")]
mod rocksdb;
mod sqlite;
mod system;
mod trees;
mod uor;
mod works;

use std::path::{Path, PathBuf};

use clap::Parser;

use engines::Bench;
use report::Report;
use system::{Kind, Result};

const SYSTEMS: &[Kind] = &[
    Kind {
        name: uor::NAME,
        open: uor::Uor::open,
    },
    Kind {
        name: "lmdb",
        open: lmdb::Lmdb::open,
    },
    Kind {
        name: "redb",
        open: redb::Redb::open,
    },
    Kind {
        name: "fjall",
        open: fjall::Fjall::open,
    },
    #[cfg(feature = "peers-rocksdb")]
    Kind {
        name: "rocksdb",
        open: rocksdb::RocksDb::open,
    },
    Kind {
        name: "sqlite",
        open: sqlite::Sqlite::open,
    },
];

/// Measures storage beside its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Records of the bulk loads
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// Only these works, or groups of them such as `hit` (BENCHMARKS.md lists them)
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    only: Vec<String>,
    /// Only these systems
    #[arg(long, value_delimiter = ',', value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Where to write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where databases are made [default: a temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How long a pass of lookups goes on
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Length of the large files, in MiB
    #[arg(long, default_value_t = 1024)]
    large_mib: u64,
    /// Files of the tree
    #[arg(long, default_value_t = 50_000)]
    files: u64,
    /// The program that adds files [default: built from this workspace]
    #[arg(long, value_name = "FILE")]
    uor: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, work: &str) -> bool {
        let is_of = |part: &String| {
            work.strip_prefix(part.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.only.is_empty() || self.only.iter().any(is_of)
    }

    fn wants_system(&self, name: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|wanted| wanted == name)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let temporary = tempfile::Builder::new().prefix("uor-bench-").tempdir()?;
    let dir = options
        .dir
        .clone()
        .unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    let mut report = Report::new(machine::facts(&dir, options.records), options.json.clone());
    let outcome = measure(&options, &dir, &mut report);
    report.print()?;
    outcome
}

fn measure(options: &Options, dir: &Path, report: &mut Report) -> Result<()> {
    let wants = |work: &str| options.wants(work);
    if limits::WORKS.iter().any(|work| wants(work)) {
        limits::measure(dir, report)?;
    }
    if Bench::is_wanted(&wants) {
        let bench = Bench::new(options.records, options.seconds, dir.to_owned(), &wants);
        for kind in SYSTEMS
            .iter()
            .filter(|kind| options.wants_system(kind.name))
        {
            bench.run(kind, report)?;
        }
    }
    if trees::WORKS.iter().any(|work| wants(work)) {
        let program = options.uor.clone().map_or_else(trees::build_uor, Ok)?;
        let sizes = trees::Sizes {
            large_bytes: options.large_mib << 20,
            files: options.files,
        };
        trees::measure(
            sizes,
            program,
            dir,
            &wants,
            &|name| options.wants_system(name),
            report,
        )?;
    }
    Ok(())
}
