//! `state`: replays the log in the one order.

use std::io;
use std::path::Path;

use uor_node::audit::{Replayed, Verdict, replay};
use uor_node::site::text::count;

use super::store::Opener;
use crate::console::Console;
use crate::exit::Outcome;

/// `uor-replay state`.
///
/// # Errors
/// [`crate::exit::Failed`] if the store could not be looked at, or lacks part of the snapshot.
pub fn run(
    path: &Path,
    at: Option<&str>,
    opener: &mut Opener,
    console: &mut Console<'_>,
) -> Outcome<Verdict> {
    let audited = opener.open(path, console)?;
    let snapshot = match at {
        Some(text) => audited.snapshot(text)?,
        None => audited.head(),
    };
    let replayed = replay(&audited, &snapshot)?;
    console.show(&replayed, human)?;
    let verdict = replayed.verdict();
    if verdict != Verdict::Agrees {
        let kept = &replayed.kept_root;
        console.warn(format!(
            "DIVERGES: the kept state has root {kept}; `uor-replay verify` says more"
        ));
    }
    Ok(verdict)
}

fn human(console: &mut Console<'_>, shown: &Replayed) -> io::Result<()> {
    console.line(&shown.state_root)?;
    console.note(format!(
        "{} visible, {}, from {} at logseq up to {}",
        count(shown.entries, "entry"),
        count(shown.conflicts, "conflict"),
        count(shown.records, "record"),
        shown.logseq_max
    ));
    Ok(())
}
