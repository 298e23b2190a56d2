//! `uor-replay`: proves a store, compares stores, runs receipts again.
//!
//! Invariant: nothing here modifies a store. Stores are opened for reading beside any writer; evidence is left as found, and
//! what is damaged is read as far as it can be. Every part returns a value that carries its verdict; text and JSON are two
//! renderings of that value.

mod artifacts;
pub mod diff;
pub mod exec;
pub mod finding;
pub mod shelf;
pub mod sites;
pub mod state;
pub mod store;
pub mod verify;

use std::path::Path;

use self::store::Opener;
use crate::cli::replay::Command;
use crate::console::Console;
use crate::exit::{Outcome, Verdict};

/// Runs a command of `uor-replay`.
///
/// # Errors
/// [`crate::exit::Failed`] if the audit could not be completed.
pub fn run(command: &Command, voucher: Option<&Path>, console: &mut Console<'_>) -> Outcome<Verdict> {
    let opener = Opener::new(voucher, &command.stores(), console);
    match command {
        Command::Verify { store } => verify::run(store, &opener, console),
        Command::State { store, at } => state::run(store, at.as_deref(), &opener, console),
        Command::Diff { a, b, at } => diff::run(a, b, at.as_deref(), &opener, console),
        Command::Exec(args) => exec::run(args, &opener, console),
        Command::Audit { stores, at, report } => sites::run(stores, at.as_deref(), report.as_deref(), &opener, console),
    }
}
