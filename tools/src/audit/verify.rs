//! `verify`: one store, from its bytes up.

use std::io;
use std::path::Path;

use uor_node::audit::{Finding, Verdict, Verification, verify};
use uor_node::site::text::count;

use super::store::Opener;
use super::watch;
use crate::console::Console;
use crate::exit::Outcome;
use crate::render::{plain, size};

/// `uor-replay verify`.
///
/// # Errors
/// [`crate::exit::Failed`] if the store could not be looked at.
pub fn run(path: &Path, opener: &mut Opener, console: &mut Console<'_>) -> Outcome<Verdict> {
    let verification = match opener.open(path, console) {
        Ok(audited) => verify(&audited, &mut |progress| {
            watch(&mut console.meter, progress)
        })?,
        Err(error) => match error.damage() {
            Some(damage) => Verification::of_damage(path.to_string_lossy(), damage),
            None => return Err(error.into()),
        },
    };
    console.meter.end();
    console.show(&verification, human)?;
    Ok(verification.verdict)
}

/// Lines for people.
pub(super) fn lines(verification: &Verification) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, {}, {}, {} in {}",
        count(verification.commits, "commit"),
        count(verification.records, "record"),
        count(verification.snapshots, "snapshot"),
        count(verification.payloads, "payload"),
        size(verification.block_bytes),
    )];
    if verification.unaccepted > 0 {
        let of_forks = verification.taken_back.len();
        lines.push(format!(
            "{} not accepted, {of_forks} of them because of forks",
            count(verification.unaccepted, "commit")
        ));
        lines.extend(verification.taken_back.iter().cloned());
    }
    if !verification.missing.is_empty() {
        lines.push(format!(
            "{} not here: no damage, they may be fetched",
            count(verification.missing.len() as u64, "payload")
        ));
    }
    if !verification.erased.is_empty() {
        lines.push(format!(
            "{} erased here on request: no damage",
            count(verification.erased.len() as u64, "payload")
        ));
    }
    lines.extend(verification.torn_tails.iter().cloned());
    lines.extend(
        verification
            .stale_index
            .iter()
            .map(|reason| format!("the index was not used: {reason}")),
    );
    lines.extend(
        verification
            .state_root
            .iter()
            .map(|root| format!("state root {root}")),
    );
    lines.extend(verification.findings.iter().flat_map(finding_lines));
    lines
}

/// The message, then what it concerns.
fn finding_lines(finding: &Finding) -> Vec<String> {
    let keys = finding.keys.iter().map(|key| format!("  concerns {key}"));
    std::iter::once(finding.message.clone())
        .chain(keys)
        .collect()
}

fn human(console: &mut Console<'_>, verification: &Verification) -> io::Result<()> {
    let paint = console.paint();
    let lines = lines(verification);
    lines
        .iter()
        .try_for_each(|line| console.line(plain(line)))?;
    match verification.verdict {
        Verdict::Agrees => console.line(paint.green("sound")),
        _ => console.line(paint.red(&format!(
            "NOT SOUND: {}",
            count(verification.findings.len() as u64, "finding")
        ))),
    }
}
