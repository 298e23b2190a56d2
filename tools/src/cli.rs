//! The command lines of both programs: names, arguments and help, and nothing else.

pub mod replay;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// The data directory [default: the platform's]
    #[arg(long, global = true, env = "UOR_DATA", value_name = "DIR")]
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

/// `uor init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The site's name [default: the host's]
    #[arg(long)]
    pub name: Option<String>,
    /// What stands while claims about one receipt differ
    #[arg(long, value_enum, default_value = "first", value_name = "RULE")]
    pub conflict_rule: Rule,
}

/// `uor demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Directory whose files are shared; what its .gitignore names is left out [default: the
    /// current one]
    pub dir: Option<PathBuf>,
}

/// Rules for conflicts.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Rule {
    /// The first claim in the one order
    First,
    /// The claim of most sites
    Quorum,
    /// None, until somebody resolves
    Manual,
}

/// `uor join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The ticket that `uor invite` printed; `-` reads it from standard input, so that no list of
    /// processes shows it
    #[arg(
        required_unless_present = "ticket_file",
        conflicts_with = "ticket_file"
    )]
    pub ticket: Option<String>,
    /// Read the ticket from this file
    #[arg(long, value_name = "FILE")]
    pub ticket_file: Option<PathBuf>,
    /// The site's name [default: the host's]
    #[arg(long)]
    pub name: Option<String>,
    /// Further addresses of members to try
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,
}

/// `uor node`.
#[derive(Debug, Args)]
pub struct Node {
    /// Addresses to listen on [default: any free port, TCP and QUIC]
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// Addresses of members to connect to
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,
}

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

/// `uor recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// Go on without what nobody gives back; refused while a site that may have it has not answered
    #[arg(long)]
    pub accept_loss: bool,
    /// With --accept-loss: even if such a site has not answered. If it has later commits of this
    /// site, this site is shut out
    #[arg(long, requires = "accept_loss")]
    pub force: bool,
    /// Further addresses of members to ask
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,
}

/// `uor backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Where the backups of this site are; made if it is not there
    pub dir: PathBuf,
}

/// `uor restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where the backups of the site are
    pub dir: PathBuf,
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
