//! `uor-replay`: proves a store, compares stores, runs receipts again.
//!
//! Invariant: nothing here modifies a store. Stores are opened for reading beside any writer;
//! evidence is left as found, and what is damaged is read as far as it can be. Every part returns a
//! value that carries its verdict; text and JSON are two renderings of that value.

mod artifacts;
pub mod diff;
pub mod exec;
pub mod finding;
pub mod shelf;
pub mod sites;
pub mod state;
pub mod store;
pub mod verify;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use uor_node::service::site_at;
use uor_node::site::Site;

use self::store::{Opener, is_address};
use crate::cli::replay::Command;
use crate::code::Code;
use crate::console::Console;
use crate::exit::{Failed, Outcome, Verdict};
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
    let opener = Opener::new(voucher, &command.stores(), console);
    match command {
        Command::Verify { store } => verify::run(store, &opener, console),
        Command::State { store, at } => state::run(store, at.as_deref(), &opener, console),
        Command::Diff { a, b, at } => diff::run(a, b, at.as_deref(), &opener, console),
        Command::Exec(args) => exec::run(args, &opener, console),
        Command::Audit { stores, at, report } => {
            sites::run(stores, at.as_deref(), report.as_deref(), &opener, console)
        }
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
