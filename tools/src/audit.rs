//! `uor-replay`: opens stores, calls the audit library, renders what it returns.
//!
//! Invariant: nothing here modifies a store. Every part of an audit is a value that carries its
//! verdict; text and JSON are two renderings of it.

pub mod diff;
pub mod error;
pub mod exec;
pub mod sites;
pub mod state;
pub mod store;
pub mod verify;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use uor_node::audit::{Progress, Verdict};
use uor_node::service::site_at;
use uor_node::site::Site;

use self::store::{Opener, is_address};
use crate::cli::replay::Command;
use crate::code::Code;
use crate::console::{Console, Meter};
use crate::exit::{Failed, Outcome};
use crate::render::plain;

/// Runs a command of `uor-replay`.
///
/// # Errors
/// [`crate::exit::Failed`] if the audit could not be completed.
pub fn run(
    command: &Command,
    voucher: Option<&Path>,
    console: &mut Console<'_>,
) -> Outcome<Verdict> {
    refuse_one_twice(&command.stores(), console)?;
    let mut opener = Opener::new(voucher, &command.stores(), console);
    match command {
        Command::Verify { store } => verify::run(store, &mut opener, console),
        Command::State { store, at } => state::run(store, at.as_deref(), &mut opener, console),
        Command::Diff { a, b, at } => diff::run(a, b, at.as_deref(), &mut opener, console),
        Command::Exec(args) => exec::run(args, &mut opener, console),
        Command::Audit { stores, at, report } => sites::run(
            stores,
            at.as_deref(),
            report.as_deref(),
            &mut opener,
            console,
        ),
    }
}

/// Shows how far an audit has come.
pub(crate) fn watch(meter: &mut Meter<'_>, progress: Progress) {
    match progress {
        Progress::Payloads(read, total) => meter.bytes("reading payloads", read, Some(total)),
        Progress::Log(read, total) => meter.bytes("reading the log", read, Some(total)),
        Progress::Index => meter.end(),
        Progress::Commits(done, total) => meter.items("replaying commits", done, Some(total)),
        Progress::Snapshots(total) => meter.items("replaying snapshots", 0, Some(total)),
        Progress::Claims(done, total) => meter.items("running receipts again", done, Some(total)),
    }
}

/// Refuses to compare a store with itself, which would agree whatever is in it; says if two are
/// copies of one site's.
fn refuse_one_twice(stores: &[&Path], console: &mut Console<'_>) -> Outcome<()> {
    for (at, a) in stores.iter().enumerate() {
        for b in stores.iter().take(at) {
            let shown = |store: &Path| plain(&store.to_string_lossy());
            match relation(&console.path(a), &console.path(b)) {
                Relation::Others => {}
                Relation::Copies => console.warn(format!(
                    "{} and {} are copies of one site's data directory: that they agree says nothing about other sites",
                    shown(b),
                    shown(a)
                )),
                Relation::Same => {
                    let message = format!("{} and {} are one and the same store", shown(b), shown(a));
                    let hint = "name stores of different sites: there is nothing to compare a store with in itself";
                    return Err(Failed::usage(message).code(Code::SameStore).hint(hint));
                }
            }
        }
    }
    Ok(())
}

enum Relation {
    Others,
    Same,
    Copies,
}

fn relation(a: &Path, b: &Path) -> Relation {
    let identity = |path: &Path| {
        std::fs::metadata(path)
            .ok()
            .map(|metadata| (metadata.dev(), metadata.ino()))
    };
    let [in_a, in_b] = [a, b].map(|store| {
        if is_address(store) {
            None
        } else {
            identity(store)
        }
    });
    if in_a.is_some() && in_a == in_b {
        return Relation::Same;
    }
    let [of_a, of_b] = [a, b].map(|store| match is_address(store) {
        true => site_at(&store.to_string_lossy()),
        false => Site::owner(store).ok(),
    });
    match of_a.is_some() && of_a == of_b {
        false => Relation::Others,
        // A directory and the node that has it open, or one node by two addresses; of two
        // directories, both are read.
        true if is_address(a) || is_address(b) => Relation::Same,
        true => Relation::Copies,
    }
}
