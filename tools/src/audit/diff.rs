//! `diff`: two stores agree, or the first record that differs is named with each side's claim.

use std::io;
use std::path::Path;

use uor_node::audit::{
    Claim, Difference, Fork, FrontierDifference, RivalClaim, Verdict, compare, one_federation,
    snapshot_in,
};
use uor_node::site::text::count;

use super::store::Opener;
use crate::console::Console;
use crate::exit::Outcome;
use crate::render::plain;

/// `uor-replay diff`.
///
/// # Errors
/// [`crate::exit::Failed`] if a store could not be looked at.
pub fn run(
    a: &Path,
    b: &Path,
    at: Option<&str>,
    opener: &mut Opener,
    console: &mut Console<'_>,
) -> Outcome<Verdict> {
    let stores = [opener.open(a, console)?, opener.open(b, console)?];
    let [a, b] = &stores;
    one_federation(&stores)?;
    let target = at.map(|text| snapshot_in(&stores, text)).transpose()?;
    let difference = compare(a, b, target)?;
    console.show(&difference, human)?;
    Ok(difference.verdict)
}

/// Lines for people.
pub(super) fn lines(difference: &Difference) -> Vec<String> {
    let Difference { a, b, .. } = difference;
    let mut lines = vec![format!(
        "compared at snapshot {} (logseq up to {})",
        difference.snapshot_id, difference.logseq_max
    )];
    for (name, root) in [(a, &difference.state_root_a), (b, &difference.state_root_b)] {
        let root = root.as_ref().map_or_else(
            || "does not hold all of it".to_owned(),
            |root| format!("state root {root}"),
        );
        lines.push(format!("  {name}: {root}"));
    }
    for other in &difference.frontiers {
        let FrontierDifference {
            domain,
            snapshot,
            a,
            b,
        } = other;
        lines.push(format!(
            "  of domain {domain}: {snapshot} commits compared; {} has {a}, {} has {b}",
            difference.a, difference.b
        ));
    }
    for fork in &difference.forks {
        let Fork {
            domain,
            number,
            hash_a,
            hash_b,
        } = fork;
        lines.push(format!(
            "FORK: domain {domain} has two commits with number {number}:"
        ));
        lines.push(format!("  {a}: {hash_a}"));
        lines.push(format!("  {b}: {hash_b}"));
    }
    if let Some(first) = &difference.first {
        let beyond = if first.beyond_common {
            ", by claims that only one of the stores knows"
        } else {
            ""
        };
        lines.push(format!(
            "first difference: {} {}{beyond}",
            first.kind, first.id
        ));
        for (name, claim) in [(a, &first.a), (b, &first.b)] {
            lines.push(format!("  {name}: {}", claim_line(claim.as_ref())));
            let rivals = claim.iter().flat_map(|claim| &claim.claims);
            lines.extend(rivals.map(
                |RivalClaim {
                     checksum,
                     domain,
                     number,
                 }| {
                    format!("    claims {checksum}: commit {number} of {domain}")
                },
            ));
        }
    }
    lines
}

fn claim_line(claim: Option<&Claim>) -> String {
    let Some(claim) = claim else {
        return "nothing visible".to_owned();
    };
    let what = claim.checksum.as_ref().map_or_else(
        || "no claim stands".to_owned(),
        |checksum| format!("checksum {checksum}"),
    );
    let conflict = if claim.conflict { ", in conflict" } else { "" };
    let by = match (&claim.domain, claim.number) {
        (Some(domain), Some(number)) => format!(", commit {number} of {domain}"),
        _ => String::new(),
    };
    format!(
        "{what}, {} bytes, logseq {}{conflict}{by}",
        claim.bytes, claim.logseq
    )
}

fn human(console: &mut Console<'_>, difference: &Difference) -> io::Result<()> {
    let paint = console.paint();
    for line in lines(difference) {
        console.line(plain(&line))?;
    }
    let incomplete = "could not be compared: a store lacks commits of the snapshot, or they have \
                      none in common";
    console.line(match difference.verdict {
        Verdict::Agrees => paint.green(&format!("agrees: {}", count(difference.entries, "entry"))),
        Verdict::Diverges => paint.red("DIVERGES"),
        Verdict::Incomplete => paint.yellow(incomplete),
    })
}
