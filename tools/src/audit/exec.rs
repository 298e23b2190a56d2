//! `exec`: runs receipts again and holds every claim about them against what comes out.

use std::io;

use uor_node::audit::{Executed, Proven, Receipts, Verdict, execute};
use uor_node::site::text::count;

use super::store::Opener;
use super::watch;
use crate::cli::replay::Exec;
use crate::console::Console;
use crate::exit::Outcome;
use crate::render::plain;

/// `uor-replay exec`.
///
/// # Errors
/// [`crate::exit::Failed`] if the store could not be looked at, or has no such receipt.
pub fn run(args: &Exec, opener: &mut Opener, console: &mut Console<'_>) -> Outcome<Verdict> {
    let audited = opener.open(&args.store, console)?;
    let receipts = Receipts {
        receipt: args.which.receipt.clone(),
        percent: args.which.sample,
    };
    let mut on_progress = |progress| watch(&mut console.meter, progress);
    let executed = execute(
        &audited.name,
        audited.store,
        &receipts,
        &mut Proven::new(),
        &mut on_progress,
    )?;
    console.meter.end();
    console.show(&executed, human)?;
    Ok(executed.verdict)
}

/// Lines for people.
pub(super) fn lines(executed: &Executed) -> Vec<String> {
    let mut lines = vec![format!(
        "{} run again: {} identical, {} diverged, {} inconclusive ({})",
        count(executed.claims, "claim"),
        executed.identical,
        executed.diverged.len(),
        executed.inconclusive.len(),
        count(executed.operations, "operation"),
    )];
    for diverged in &executed.diverged {
        lines.push(format!(
            "DIVERGED: receipt {} at node {}",
            diverged.receipt, diverged.node
        ));
        lines.push(format!("  {}", diverged.difference));
        lines.push(format!(
            "  claimed outcome {} by {}",
            diverged.claimed,
            diverged.domains.join(", ")
        ));
    }
    for inconclusive in &executed.inconclusive {
        lines.push(format!(
            "inconclusive: receipt {}: {}",
            inconclusive.receipt, inconclusive.reason
        ));
    }
    lines
}

fn human(console: &mut Console<'_>, executed: &Executed) -> io::Result<()> {
    let paint = console.paint();
    let lines = lines(executed);
    lines
        .iter()
        .try_for_each(|line| console.line(plain(line)))?;
    match executed.verdict {
        Verdict::Agrees => console.line(paint.green("agrees")),
        Verdict::Diverges => console.line(paint.red("DIVERGES")),
        Verdict::Incomplete => console.line(paint.yellow("inconclusive")),
    }
}
