//! What is measured, in what, and what the storage issue asks of it.

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things per second; more is better.
    PerSecond(&'static str),
    /// Bytes per second; more is better.
    BytesPerSecond,
    /// Seconds; less is better.
    Seconds,
    /// Bytes; less is better.
    Bytes,
}

impl Unit {
    /// Whether more is better.
    pub(crate) const fn is_rate(self) -> bool {
        matches!(self, Self::PerSecond(_) | Self::BytesPerSecond)
    }

    /// The unit of the plain number in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PerSecond(_) => "1/s",
            Self::BytesPerSecond => "bytes/s",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
        }
    }

    /// A figure as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &str)]| {
            let (step, name) = steps
                .iter()
                .find(|(step, _)| value >= *step)
                .unwrap_or(&steps[steps.len() - 1]);
            format!("{} {name}", significant(value / step))
        };
        match self {
            Self::PerSecond(things) => {
                format!(
                    "{}{things}/s",
                    scaled(&[(1e6, "M "), (1e3, "k "), (1.0, "")])
                )
            }
            Self::BytesPerSecond => scaled(&[(1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")]),
            Self::Seconds => scaled(&[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")]),
            Self::Bytes => scaled(&[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
        }
    }
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// What ours is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Against {
    /// The best other system at a work.
    BestPeer(&'static str),
    /// The best of some at the same work.
    BestOf(&'static [&'static str]),
    /// Ours at another work.
    Ours(&'static str),
    /// A limit of the machine.
    Machine(&'static str),
}

/// What the storage issue asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// To be this many times better.
    Times(f64, Against),
    /// A figure on its own, at least or at most according to its unit.
    Figure(f64),
}

/// One thing that is measured.
pub(crate) struct Work {
    /// What `--only` and JSON call it.
    pub(crate) name: &'static str,
    /// The heading of its table.
    pub(crate) title: &'static str,
    /// What its figures count.
    pub(crate) unit: Unit,
    /// What is asked of it.
    pub(crate) goals: &'static [Goal],
}

const fn work(name: &'static str, title: &'static str, unit: Unit, goals: &'static [Goal]) -> Work {
    Work {
        name,
        title,
        unit,
        goals,
    }
}

use Against::{BestOf, BestPeer, Machine, Ours};
use Goal::{Figure, Times};
use Unit::{Bytes, BytesPerSecond, PerSecond, Seconds};

/// What keeps files by their parts, as ours does.
const BACKUPS: &[&str] = &["restic", "borg"];

const RECORDS: Unit = PerSecond("records");
const COMMITS: Unit = PerSecond("commits");
const LOOKUPS: Unit = PerSecond("lookups");

/// Everything, in the order of the report.
pub(crate) const WORKS: &[Work] = &[
    work(
        "memory-read",
        "memory: sequential read, one thread",
        BytesPerSecond,
        &[],
    ),
    work(
        "memory-dependent",
        "memory: one random line after the other",
        Seconds,
        &[],
    ),
    work(
        "memory-independent",
        "memory: random lines that do not depend on each other",
        Seconds,
        &[],
    ),
    work(
        "blake3-large",
        "BLAKE3 of large input, one thread",
        BytesPerSecond,
        &[],
    ),
    work("blake3-record", "BLAKE3 of 128 bytes", Seconds, &[]),
    work(
        "disk-write",
        "disk: sequential write and one sync",
        BytesPerSecond,
        &[],
    ),
    work(
        "disk-read",
        "disk: sequential read, cold",
        BytesPerSecond,
        &[],
    ),
    work(
        "disk-random",
        "disk: one random 4 KiB read, cold, p50",
        Seconds,
        &[],
    ),
    work(
        "sync-growing",
        "disk: sync of a 4 KiB append, file grows, p50",
        Seconds,
        &[],
    ),
    work(
        "sync-preallocated",
        "disk: sync of a 4 KiB append, preallocated, p50",
        Seconds,
        &[],
    ),
    work(
        "sync-zeroed",
        "disk: sync of a 4 KiB append, preallocated and zeroed, p50",
        Seconds,
        &[],
    ),
    work(
        "load-random",
        "bulk load, unsorted, one durable end",
        RECORDS,
        &[Times(10.0, BestPeer("load-random"))],
    ),
    work(
        "load-random-settled",
        "bulk load, unsorted, until nothing is put off",
        RECORDS,
        &[],
    ),
    work(
        "load-ascending",
        "bulk load, presorted, one durable end",
        RECORDS,
        &[],
    ),
    work(
        "load-unlogged",
        "bulk load, unsorted, without the log it has, one durable end",
        RECORDS,
        &[],
    ),
    work(
        "bytes-per-record",
        "bytes on disk per record, settled",
        Bytes,
        &[],
    ),
    work(
        "index-per-record",
        "bytes of index per record",
        Bytes,
        &[Figure(12.0)],
    ),
    work("open", "open and one lookup", Seconds, &[Figure(0.05)]),
    work(
        "scan",
        "full scan with a filter on a 32-bit column",
        RECORDS,
        &[Figure(400e6)],
    ),
    work(
        "hit-1",
        "lookups that hit, warm, one thread",
        LOOKUPS,
        &[Times(5.0, BestPeer("hit-1"))],
    ),
    work(
        "hit-2",
        "lookups that hit, warm, two threads",
        LOOKUPS,
        &[Times(1.8, Ours("hit-1"))],
    ),
    work(
        "hit-batch-1",
        "lookups that hit, in batches, one thread",
        LOOKUPS,
        &[Times(15.0, BestPeer("hit-1"))],
    ),
    work(
        "hit-batch-2",
        "lookups that hit, in batches, two threads",
        LOOKUPS,
        &[Times(1.8, Ours("hit-batch-1"))],
    ),
    work(
        "absent-1",
        "lookups of absent ids, one thread",
        LOOKUPS,
        &[Times(8.0, BestPeer("absent-1"))],
    ),
    work(
        "absent-2",
        "lookups of absent ids, two threads",
        LOOKUPS,
        &[],
    ),
    work(
        "absent-batch-1",
        "lookups of absent ids, in batches, one thread",
        LOOKUPS,
        &[],
    ),
    work(
        "absent-batch-2",
        "lookups of absent ids, in batches, two threads",
        LOOKUPS,
        &[],
    ),
    work(
        "cold",
        "cold lookup, p50",
        Seconds,
        &[Times(1.0 / 1.3, Machine("disk-random"))],
    ),
    work(
        "commits-1",
        "durable commits of 100 records, one writer",
        COMMITS,
        &[Times(4.0, BestPeer("commits-1"))],
    ),
    work(
        "commits-16",
        "durable commits of 100 records, 16 writers",
        COMMITS,
        &[Times(5.0, Ours("commits-1"))],
    ),
    work(
        "as-of",
        "lookups as of an earlier version, one thread",
        LOOKUPS,
        &[],
    ),
    work("root", "state root at the head", Seconds, &[]),
    work(
        "snapshot",
        "durable snapshot after 1,000 changes",
        Seconds,
        &[Figure(0.01)],
    ),
    work(
        "replay",
        "sequential replay of the log",
        RECORDS,
        &[Figure(1e6)],
    ),
    work(
        "read-and-hash",
        "reading the large file (in the page cache) and BLAKE3, one thread",
        Seconds,
        &[],
    ),
    work(
        "read-hash-write",
        "the same, and writing a copy with one sync",
        Seconds,
        &[],
    ),
    work(
        "add-random",
        "add a large file that does not compress",
        Seconds,
        &[
            Times(2.0, BestPeer("add-random")),
            Times(0.7, Machine("read-and-hash")),
        ],
    ),
    work(
        "add-text",
        "add a large file of words",
        Seconds,
        &[
            Times(2.0, BestPeer("add-text")),
            Times(0.7, Machine("read-and-hash")),
        ],
    ),
    work(
        "add-tree",
        "add a tree of small files",
        Seconds,
        &[Times(2.0, BestPeer("add-tree"))],
    ),
    work(
        "readd-tree",
        "add the same tree again",
        Seconds,
        &[Times(2.0, BestOf(BACKUPS))],
    ),
    work(
        "readd-random",
        "add the large file again",
        Seconds,
        &[Times(2.0, BestOf(BACKUPS))],
    ),
    work(
        "edit",
        "add the large file after a one-byte edit",
        Seconds,
        &[Times(2.0, BestOf(BACKUPS))],
    ),
    work(
        "edit-bytes",
        "bytes that edit has cost on disk",
        Bytes,
        &[Figure(8_388_608.0)],
    ),
    work(
        "add-random-bytes",
        "bytes on disk: the large file that does not compress",
        Bytes,
        &[],
    ),
    work(
        "add-text-bytes",
        "bytes on disk: the large file of words",
        Bytes,
        &[],
    ),
    work("add-tree-bytes", "bytes on disk: the tree", Bytes, &[]),
];

/// The work of this name.
pub(crate) fn named(name: &str) -> Option<&'static Work> {
    WORKS.iter().find(|work| work.name == name)
}
