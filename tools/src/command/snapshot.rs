//! `snapshot`.

use std::io;

use serde::Serialize;
use uor_index_format::id::SnapshotId;
use uor_index_format::snapshot::Frontier;
use uor_node::clock::utc;
use uor_node::site::text::count;
use uor_node::site::{EntryListed, SnapshotDiff, SnapshotListed, SnapshotShown};

use super::Context;
use super::history::site;
use crate::cli::Snapshot;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Table, plain, short};

/// `uor snapshot …`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn run(which: &Snapshot, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    match which {
        Snapshot::Create { label } => create(label.as_deref(), context, console),
        Snapshot::Ls => ls(context, console),
        Snapshot::Show { id } => {
            let shown = context.site.snapshot_show(id)?;
            console.show(&shown, human_shown)?;
            Ok(Exit::Done)
        }
        Snapshot::Diff { a, b } => {
            let diff = context.site.snapshot_diff(a, b)?;
            console.show(&diff, human_diff)?;
            Ok(Exit::Done)
        }
        Snapshot::Keep { id } => kept(context.site.snapshot_keep(id)?, None, console),
        Snapshot::Drop { id } => {
            let dropped = context.site.snapshot_drop(id)?;
            kept(dropped.snapshot_id, Some(dropped.was_retained), console)
        }
    }
}

fn create(label: Option<&str>, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let created = context.site.snapshot_create(label)?;
    console.show(&created, |console, created| {
        let label = created
            .label
            .as_ref()
            .map(|label| format!("  {}", plain(label)))
            .unwrap_or_default();
        console.line(format!("{}{label}", created.snapshot_id))?;
        let (domains, commits) = (created.frontier.len() as u64, commits(&created.frontier));
        console.line(format!(
            "  {} of {}, logseq up to {}",
            count(commits, "commit"),
            count(domains, "domain"),
            created.logseq_max
        ))?;
        console.line(format!("  state root {}", created.state_root))
    })?;
    if let (Some(label), Some(before)) = (&created.label, created.label_was) {
        console.note(format!(
            "`{}` was the label of snapshot {} until now",
            plain(label),
            short(before)
        ));
    }
    Ok(Exit::Done)
}

fn commits(frontier: &Frontier) -> u64 {
    frontier.values().map(|head| head.number).sum()
}

fn ls(context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let snapshots = context.site.snapshots()?;
    if snapshots.is_empty() {
        console.note("There are no snapshots yet: `uor snapshot create` makes one.");
    }
    console.show_each(&snapshots, |console, snapshots| {
        let mut table = Table::new(&["snapshot", "label", ">commits", ">logseq", "kept"]);
        for listed in snapshots {
            let number = |value: Option<u64>| {
                value.map_or_else(|| "?".to_owned(), |value| value.to_string())
            };
            table.row([
                short(listed.snapshot_id),
                names(listed),
                number(listed.commits),
                number(listed.logseq_max.map(|logseq| logseq.0)),
                if listed.retained { "yes" } else { "no" }.to_owned(),
            ]);
        }
        let paint = console.paint();
        if table.is_empty() {
            Ok(())
        } else {
            table
                .lines(paint)
                .iter()
                .try_for_each(|line| console.line(line))
        }
    })?;
    Ok(Exit::Done)
}

/// A snapshot's labels; of one that was imported, first what it is called where it came from.
fn names(listed: &SnapshotListed) -> String {
    let imported = listed.zfs.as_ref().map(|zfs| zfs.to_name.clone());
    plain(
        &imported
            .into_iter()
            .chain(listed.labels.iter().cloned())
            .collect::<Vec<_>>()
            .join(", "),
    )
}

fn human_shown(console: &mut Console<'_>, shown: &SnapshotShown) -> io::Result<()> {
    let labels = plain(&shown.labels.join(", "));
    let paint = console.paint();
    console.line(format!("{}  {labels}", paint.bold(&shown.snapshot_id.to_string())).trim_end())?;
    if let Some(zfs) = &shown.zfs {
        let guid = zfs
            .to_guid
            .map(|guid| format!(", GUID {guid:016x}"))
            .unwrap_or_default();
        let taken = zfs
            .creation
            .map(|seconds| format!(", taken {} UTC", utc(seconds.saturating_mul(1000))));
        console.line(format!(
            "  imported    {}{guid}{}",
            plain(&zfs.to_name),
            taken.unwrap_or_default()
        ))?;
    }
    if let Some(tree) = &shown.tree {
        console.line(format!("  tree        {tree}"))?;
    }
    console.line(format!("  state root  {}", shown.state_root))?;
    console.line(format!("  logseq      up to {}", shown.logseq_max))?;
    let conflicts = count(shown.conflicts, "conflict");
    console.line(format!(
        "  entries     {} visible, {conflicts}",
        shown.entries
    ))?;
    let kinds: Vec<String> = shown
        .kinds
        .iter()
        .map(|(kind, number)| count(*number, kind))
        .collect();
    console.line(format!("  applied     {}", kinds.join(", ")))?;
    console.line(format!(
        "  kept        {}",
        if shown.retained { "yes" } else { "no" }
    ))?;
    let mut table = Table::new(&["domain", ">commits", "head", ">records"]);
    for domain in &shown.domains {
        table.row([
            site(domain.name.as_deref(), domain.domain.short()),
            domain.number.to_string(),
            short(domain.hash),
            domain.records.to_string(),
        ]);
    }
    console.line("")?;
    table
        .lines(paint)
        .iter()
        .try_for_each(|line| console.line(line))
}

fn human_diff(console: &mut Console<'_>, diff: &SnapshotDiff) -> io::Result<()> {
    let paint = console.paint();
    if diff.added.is_empty() && diff.removed.is_empty() && diff.changed.is_empty() {
        console.note("They show the same.");
    }
    for entry in &diff.removed {
        console.line(paint.red(&format!("- {}", entry_line(entry))))?;
    }
    for entry in &diff.added {
        console.line(paint.green(&format!("+ {}", entry_line(entry))))?;
    }
    for change in &diff.changed {
        console.line(paint.yellow(&format!("~ {}", entry_line(&change.after))))?;
    }
    Ok(())
}

fn entry_line(entry: &EntryListed) -> String {
    let name = entry
        .name
        .as_deref()
        .map(|name| format!("  {}", plain(name)))
        .unwrap_or_default();
    let conflict = if entry.conflict { "  in conflict" } else { "" };
    format!(
        "{:<10} {}  logseq {}{name}{conflict}",
        entry.kind.name(),
        short(entry.id),
        entry.logseq
    )
}

#[derive(Serialize)]
struct Kept {
    snapshot_id: String,
    kept: bool,
    /// Of one that was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    was_kept: Option<bool>,
}

/// Says that a snapshot is kept; or, of one that was dropped, whether it was until now.
fn kept(id: SnapshotId, was_kept: Option<bool>, console: &mut Console<'_>) -> Outcome {
    let said = match was_kept {
        None => "kept",
        Some(true) => "no longer kept",
        Some(false) => "was not kept",
    };
    let shown = Kept {
        snapshot_id: id.to_string(),
        kept: was_kept.is_none(),
        was_kept,
    };
    console.show(&shown, |console, shown| {
        console.line(format!("{}  {said}", shown.snapshot_id))
    })?;
    Ok(Exit::Done)
}
