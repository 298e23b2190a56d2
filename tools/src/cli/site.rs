//! Sites: founding, joining, running, losing and getting back.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// Keep a backup of what is damaged too, beside the one before
    #[arg(long)]
    pub damaged: bool,
}

/// `uor restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where the backups of the site are
    pub dir: PathBuf,
}
