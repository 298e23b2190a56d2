//! The command lines of both programs: names, arguments and help, and nothing else.

pub mod artifact;
pub mod graph;
pub mod program;
pub mod replay;
pub mod site;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::artifact::{Add, Cat, Get, Ls, Ref, Rm};
pub use self::graph::{Edge, EdgeAdd, Role, Trace, TraceFormat};
pub use self::program::{Program, ProgramFormat, Receipt, Run};
pub use self::site::{Backup, Demo, Init, Join, Node, Recover, Restore, Rule};

/// A federated store of artifacts, provenance and deterministic computation.
#[derive(Debug, Parser)]
#[command(
    name = "uor",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(
    after_help = "KEY is an id in hexadecimal (a unique prefix of 8 digits is enough) or a ref such as data/iris.\n\
    Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but something needs attention, 130 interrupted."
)]
pub struct Uor {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The data directory [default: what UOR_DATA says, or else the platform's]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON: one document, or one per line where there are several items
    #[arg(long, global = true)]
    pub json: bool,
    /// No prose and no progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What `uor` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a data directory, a site key and a federation of one
    Init(Init),
    /// Print a ticket that lets one new site join this federation
    Invite,
    /// Make a data directory for a new site and join the federation of a ticket
    Join(Join),
    /// Run the node in the foreground until interrupted
    Node(Node),
    /// Show three sites on this machine share data, part, heal and be audited
    Demo(Demo),
    /// Show site, federation, domains, state root, peers and disk use
    Status,
    /// Add files and directories
    Add(Add),
    /// Write a file's bytes, or a whole tree
    Get(Get),
    /// List a tree, or all refs
    Ls(Ls),
    /// Print one file
    Cat(Cat),
    /// Give names to artifacts
    #[command(subcommand)]
    Ref(Ref),
    /// Tombstone an artifact, ref or edge; older snapshots still see it
    Rm(Rm),
    /// List commits, newest last
    Log(Log),
    /// List open conflicts with every claim
    Conflicts,
    /// End a conflict: one claim stands from now on
    Resolve(Resolve),
    /// Connect artifacts
    #[command(subcommand)]
    Edge(Edge),
    /// Show what a result came from, or what came from it
    Trace(Trace),
    /// Make, name, compare and keep snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Free what neither the present state nor a kept snapshot shows
    Gc(Gc),
    /// Erase the bytes of an artifact or receipt here, for good; what is said about it stays
    Erase(Erase),
    /// Make a site that has lost something, is damaged, or is a copy, usable again: ask the others
    /// for what it lacks
    Recover(Recover),
    /// Copy this site into a directory, consistently: only what is new since the last time, and
    /// every byte read back
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Take in snapshots of file systems
    #[command(subcommand)]
    Import(Import),
    /// Turn a DAG and its modules into an artifact
    #[command(subcommand)]
    Program(Program),
    /// Run a program here
    Run(Run),
    /// Show what was executed
    #[command(subcommand)]
    Receipt(Receipt),
}

/// `uor log`.
#[derive(Debug, Args)]
pub struct Log {
    /// Only this site's commits: an id, a prefix or a site's name
    #[arg(long, value_name = "SITE")]
    pub domain: Option<String>,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `uor resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// What the conflict is about
    pub id: String,
    /// The claim that stands
    #[arg(long, value_name = "CHECKSUM")]
    pub keep: String,
}

/// `uor snapshot`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Make a snapshot of everything here
    Create {
        /// A name for it
        #[arg(long, short, value_name = "L")]
        label: Option<String>,
    },
    /// List snapshots
    Ls,
    /// Show a snapshot, its frontier and what it applied
    Show {
        /// The snapshot's id, prefix or label
        id: String,
    },
    /// Show how the second differs from the first
    Diff {
        /// The first
        a: String,
        /// The second
        b: String,
    },
    /// Keep what a snapshot sees
    Keep {
        /// The snapshot's id, prefix or label
        id: String,
    },
    /// Stop keeping a snapshot
    Drop {
        /// The snapshot's id, prefix or label
        id: String,
    },
}

/// `uor gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Say what would be freed, and free nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `uor erase`.
#[derive(Debug, Args)]
pub struct Erase {
    /// Whose bytes; of a tree, its list of names, and of its files nothing
    pub key: String,
    /// As of this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    pub at: Option<String>,
}

/// `uor import`.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Import snapshots from a `zfs send` stream, or one that is mounted; ZFS itself is not needed
    Zfs(ImportZfs),
}

/// `uor import zfs`.
#[derive(Debug, Args)]
pub struct ImportZfs {
    /// The stream, full, incremental or a package; `-` is standard input
    #[arg(required_unless_present = "mounted", conflicts_with = "mounted")]
    pub stream: Option<PathBuf>,
    /// Import a mounted snapshot instead: `.zfs/snapshot/NAME`, or any directory that does not
    /// change
    #[arg(long, value_name = "PATH")]
    pub mounted: Option<PathBuf>,
    /// Name the tree; in a package, the first filesystem's, and others below it
    #[arg(long = "ref", value_name = "NAME")]
    pub reference: Option<String>,
    /// Import a volume, as one file
    #[arg(long, conflicts_with = "mounted")]
    pub volume: bool,
}

impl Command {
    /// Whether the command writes commits, so that the site has to be one that may.
    pub const fn commits(&self) -> bool {
        self.writes()
            && !matches!(
                self,
                Self::Backup(_)
                    | Self::Recover(_)
                    | Self::Restore(_)
                    | Self::Gc(_)
                    | Self::Erase(_)
            )
    }

    /// Whether the command writes to the store.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Status
                | Self::Add(Add { dry_run: true, .. })
                | Self::Get(_)
                | Self::Ls(_)
                | Self::Cat(_)
                | Self::Ref(Ref::Ls { .. })
                | Self::Log(_)
                | Self::Conflicts
                | Self::Edge(Edge::Ls { .. })
                | Self::Trace(_)
                | Self::Snapshot(Snapshot::Ls | Snapshot::Show { .. } | Snapshot::Diff { .. })
                | Self::Program(Program::Check { .. } | Program::Show { .. })
                | Self::Receipt(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_lines_are_sound() {
        super::Uor::command().debug_assert();
        super::replay::UorReplay::command().debug_assert();
    }
}
