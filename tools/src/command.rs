//! What `uor` does, one file for each group of commands: parse, call the library, render.
//!
//! Commands get an open [`Site`] and a [`Console`], and never know whether they run in the process
//! that the person started or in the node beside it.

mod add;
pub mod artifact;
pub mod backup;
pub mod edge;
pub mod history;
pub mod import;
pub mod name;
pub mod node;
pub mod program;
pub mod recover;
pub mod snapshot;
pub mod space;
pub mod status;

use uor_index_format::snapshot::Snapshot;
use uor_node::service::ServiceHandle;
use uor_node::site::{Hold, HoldError, Site, Target};

use crate::cli::{Command, Edge, Import, Program, Receipt, Ref};
use crate::console::Console;
use crate::exit::{Failed, Outcome};

/// Where a command runs.
pub struct Context<'a> {
    /// The open site.
    pub site: &'a Site,
    /// The node that runs on it, if one does.
    pub node: Option<&'a ServiceHandle>,
}

impl Context<'_> {
    /// The snapshot to read at.
    fn at(&self, text: Option<&str>) -> Outcome<Snapshot> {
        Ok(self.site.at(text)?)
    }

    /// What a text means now.
    fn target(&self, text: &str) -> Outcome<Target> {
        Ok(self.site.resolve(text, &self.site.head())?)
    }
}

fn held(error: HoldError) -> Failed {
    let hint = match error {
        HoldError::Held {
            hold: Hold::Elsewhere,
        } => Some(
            "see to it that this site runs nowhere else, and start its node again, which asks them",
        ),
        HoldError::Held { .. } => Some(
            "`uor node` asks them by itself, and so does `uor recover`, which also goes on without them",
        ),
        _ => None,
    };
    let failed = Failed::from(error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Runs a command on an open site.
///
/// # Errors
/// [`Failed`], with the exit status.
pub fn run(command: &Command, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    if command.commits() {
        // Before anything is read or put: the commit at the end would be refused.
        let on_wait = &mut || {
            console.note("The node is asking the other sites for later commits of this site …")
        };
        context.site.wait_to_write(on_wait).map_err(held)?;
    }
    match command {
        Command::Init(_)
        | Command::Join(_)
        | Command::Node(_)
        | Command::Demo(_)
        | Command::Restore(_) => Err(Failed::new("this command does not run inside a node")),
        Command::Invite => status::invite(context, console),
        Command::Status => status::status(context, console),
        Command::Add(args) => artifact::add(args, context, console),
        Command::Get(args) => artifact::get(args, context, console),
        Command::Ls(args) => artifact::ls(args, context, console),
        Command::Cat(args) => artifact::cat(args, context, console),
        Command::Ref(Ref::Set { name, key }) => name::set(name, key, context, console),
        Command::Ref(Ref::Ls { at }) => name::ls(at.as_deref(), context, console),
        Command::Rm(args) => name::rm(args, context, console),
        Command::Log(args) => history::log(args, context, console),
        Command::Conflicts => history::conflicts(context, console),
        Command::Resolve(args) => history::resolve(args, context, console),
        Command::Edge(Edge::Add(args)) => edge::add(args, context, console),
        Command::Edge(Edge::Ls { key, at }) => edge::ls(key, at.as_deref(), context, console),
        Command::Trace(args) => edge::trace(args, context, console),
        Command::Snapshot(which) => snapshot::run(which, context, console),
        Command::Gc(args) => space::gc(args.dry_run, context, console),
        Command::Erase(args) => space::erase(args, context, console),
        Command::Recover(args) => recover::in_node(args, context, console),
        Command::Backup(args) => backup::backup(args, context, console),
        Command::Import(Import::Zfs(args)) => import::zfs(args, context, console),
        Command::Program(Program::Add { file, reference }) => {
            program::add(file, reference.as_deref(), context, console)
        }
        Command::Program(Program::Check { file }) => program::check(file, console),
        Command::Program(Program::Show { key, format }) => {
            program::show(key, *format, context, console)
        }
        Command::Run(args) => program::run(args, context, console),
        Command::Receipt(Receipt::Show { key, at }) => {
            program::receipt(key, at.as_deref(), context, console)
        }
    }
}
