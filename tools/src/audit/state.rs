//! `state`: replays the log in the one order.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::store::Opener;
use crate::code::Code;
use crate::console::Console;
use crate::exit::{Failed, Outcome, Verdict};
use crate::render::count;

/// What replay arrived at.
#[derive(Debug, Clone, Serialize)]
pub struct StateShown {
    /// The state root.
    pub state_root: String,
    /// The highest logseq inside.
    pub logseq_max: u64,
    /// Visible entries.
    pub entries: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Records that were applied.
    pub records: u64,
    /// The snapshot.
    pub snapshot_id: String,
    /// The root of the state that is kept up incrementally: the same, or the store is unsound.
    pub kept_root: String,
}

/// `uor-replay state`.
///
/// # Errors
/// [`Failed`] if the store could not be looked at, or lacks part of the snapshot.
pub fn run(
    path: &Path,
    at: Option<&str>,
    opener: &Opener,
    console: &mut Console<'_>,
) -> Outcome<Verdict> {
    let audited = opener.open(path, console)?;
    let snapshot = match at {
        Some(text) => audited.snapshot(text)?,
        None => audited.head(),
    };
    if !audited.store.view().has(&snapshot)? {
        return Err(Failed::new(format!(
            "store {} does not hold all of snapshot {}",
            audited.name,
            snapshot.id()
        ))
        .code(Code::MissingPayload)
        .hint("name a store that holds it; `uor status` at the site shows what it lacks"));
    }
    let replayed = audited.store.replay(&snapshot)?;
    let kept = audited.store.view().state().root_at(&snapshot)?;
    let shown = StateShown {
        state_root: replayed.root.to_string(),
        logseq_max: snapshot.logseq_max.0,
        entries: replayed.entries.len() as u64,
        conflicts: replayed.conflicts.len() as u64,
        records: replayed.records,
        snapshot_id: snapshot.id().to_string(),
        kept_root: kept.to_string(),
    };
    console.show(&shown, human)?;
    if kept != replayed.root {
        console.warn(format!(
            "DIVERGES: the kept state has root {kept}; `uor-replay verify` says more"
        ));
        return Ok(Verdict::Diverges);
    }
    Ok(Verdict::Agrees)
}

fn human(console: &mut Console<'_>, shown: &StateShown) -> io::Result<()> {
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
