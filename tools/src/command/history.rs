//! `log`, `conflicts` and `resolve`.

use std::io;

use uor_node::clock::utc;
use uor_node::site::text::count;
use uor_node::site::{ClaimListed, ConflictListed, LogListed};

use super::Context;
use crate::cli::{Log, Resolve};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Table, plain, short, size};

/// `uor log`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn log(args: &Log, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let domain = args
        .domain
        .as_ref()
        .map(|site| context.site.resolve_site(site))
        .transpose()?;
    let commits = context.site.log(domain, args.limit)?;
    console.show_each(&commits, |console, commits| {
        let mut table = Table::new(&[
            ">logseq",
            "site",
            ">number",
            "hash",
            "time (UTC)",
            ">records",
            "of which",
        ]);
        for commit in commits {
            table.row([
                commit.logseq.to_string(),
                site(commit.name.as_deref(), commit.domain.short()),
                commit.number.to_string(),
                short(commit.hash),
                utc(commit.wall_ms),
                commit.records.to_string(),
                kinds(commit),
            ]);
        }
        let paint = console.paint();
        table
            .lines(paint)
            .iter()
            .try_for_each(|line| console.line(line))
    })?;
    Ok(Exit::Done)
}

fn kinds(commit: &LogListed) -> String {
    let kinds = commit
        .kinds
        .iter()
        .map(|(kind, number)| count(*number, kind));
    kinds.collect::<Vec<_>>().join(", ")
}

/// A site's name, or the beginning of its id.
pub(super) fn site(name: Option<&str>, short_id: String) -> String {
    name.map_or(short_id, str::to_owned)
}

/// `uor conflicts`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn conflicts(context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let conflicts = context.site.conflicts(&context.site.head())?;
    if conflicts.is_empty() {
        console.note("No open conflicts.");
    }
    console.show_each(&conflicts, |console, conflicts| {
        conflicts
            .iter()
            .try_for_each(|conflict| human(conflict, console))
    })?;
    Ok(Exit::Done)
}

fn human(conflict: &ConflictListed, console: &mut Console<'_>) -> io::Result<()> {
    let heading = format!("{} {}", conflict.kind.name(), conflict.id);
    let heading = console.paint().bold(&heading);
    console.line(heading)?;
    for claim in &conflict.claims {
        let mark = if conflict.effective == Some(claim.checksum) {
            "effective "
        } else {
            "          "
        };
        console.line(format!("  {mark}{}", claim_line(claim)))?;
    }
    console.note(format!(
        "Hint: end it with `uor resolve {} --keep CHECKSUM`",
        short(conflict.id)
    ));
    Ok(())
}

fn claim_line(claim: &ClaimListed) -> String {
    let who = plain(&site(claim.name.as_deref(), claim.domain.short()));
    let here = if claim.here { "" } else { ", bytes not here" };
    let (number, logseq) = (claim.number, claim.logseq);
    format!(
        "{}  by {who} in commit {number} at logseq {logseq} ({}{here})",
        claim.checksum,
        size(claim.bytes)
    )
}

/// `uor resolve`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn resolve(args: &Resolve, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let resolved = context.site.resolve_conflict(&args.id, &args.keep)?;
    console.show(&resolved, |console, resolved| {
        console.line(format!(
            "{}  {} is effective from logseq {} on",
            resolved.id, resolved.keep, resolved.logseq
        ))
    })?;
    Ok(Exit::Done)
}
