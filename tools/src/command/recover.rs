//! `recover`: a site that has lost something, or is a copy, is made usable again, knowingly.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use uor_asl::log::Salvaged;
use uor_index_format::id::{CanonicalId, Checksum};
use uor_node::service::{self, Asked};
use uor_node::site::text::count;
use uor_node::site::{Damaged, Hold, Loss, Remaining, Site};

use super::Context;
use crate::cli::Recover;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};

#[derive(Serialize)]
struct Shown {
    site_id: String,
    /// What was lost when it began, if anything was.
    lost: Option<Loss>,
    #[serde(flatten)]
    remaining: Remaining,
    /// Artifacts and receipts whose payloads were damaged when it began.
    damaged: Vec<String>,
    /// Those of them that nobody gave.
    still_damaged: Vec<String>,
    /// Sites that have given what they have of this site's log.
    asked: Vec<String>,
    /// Sites that may have some of it, and did not answer.
    silent: Vec<String>,
    /// Whether something was given up.
    given_up: bool,
}

/// `uor recover`, where no node runs.
///
/// # Errors
/// [`Failed`]; the site is held as before then.
pub fn recover(args: &Recover, dir: &Path, console: &mut Console<'_>) -> Outcome {
    check_peers(args)?;
    let mut site = Site::open_to_recover(dir)?;
    let (loss, hold) = (site.loss().copied(), site.hold());
    say_what_was_salvaged(&site, console);
    let damaged = want_damaged(&site, console)?;
    let mut shown = Shown {
        site_id: site.site_id().to_string(),
        lost: loss,
        remaining: site.remaining()?,
        damaged: named(damaged.values()),
        still_damaged: Vec::new(),
        asked: Vec::new(),
        silent: Vec::new(),
        given_up: false,
    };
    let is_whole = damaged.is_empty()
        && site.salvaged().is_empty()
        && !site.store().opened().blocks.has_lost();
    if loss.is_none() && hold.is_none() && shown.remaining.is_nothing() && is_whole {
        console.show(&shown, |console, _| {
            console.line("nothing is lost, and this site may write")
        })?;
        return Ok(Exit::Done);
    }
    loss.iter()
        .for_each(|loss| console.note(format!("Lost: {loss}")));
    hold.iter()
        .for_each(|hold| console.note(format!("Held: {hold}")));
    let is_loss = loss.is_some() || !shown.remaining.payloads.is_empty();
    console.note("Asking the other sites for what they have of this site …");
    let meter = &mut console.meter;
    let asked = service::recover(&site, &args.peer, &mut |commits, wanted| {
        meter.items(
            "own commits, and payloads wanted",
            commits,
            (wanted > 0).then_some(commits + wanted),
        );
    })?;
    console.meter.end();
    site.revalidate()?;
    shown.remaining = site.remaining()?;
    shown.asked = asked.heard.iter().map(ToString::to_string).collect();
    shown.silent = asked.silent.iter().map(ToString::to_string).collect();
    let is_missing = |(checksum, _): &(&Checksum, _)| !site.store().blocks().has(**checksum);
    shown.still_damaged = named(damaged.iter().filter(is_missing).map(|(_, ids)| ids));
    let is_level = hold.is_none() || asked.is_answered(shown.remaining.commits_here);
    // Payloads of commits that have just come to a copy may still be on their way: those it had not
    // before.
    if !(shown.remaining.is_nothing() || (!is_loss && shown.remaining.has_all_commits()))
        || !is_level
    {
        give_up(args, &site, &asked, &shown)?;
        shown.given_up = true;
        if !shown.remaining.has_all_commits() {
            drop(site);
            site = Site::open_giving_up(dir)?;
            say_what_was_salvaged(&site, console);
        }
    }
    site.recovered(shown.given_up.then_some(&shown.remaining))?;
    console.show(&shown, |console, shown| {
        lines(shown)
            .into_iter()
            .try_for_each(|line| console.line(line))
    })?;
    let is_all_done = !shown.given_up && shown.still_damaged.is_empty();
    Ok(if is_all_done {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// Refuses addresses that are none, whether anybody has to be asked or not.
fn check_peers(args: &Recover) -> Outcome<()> {
    let mut peers = args.peer.iter();
    Ok(peers.try_for_each(|address| service::check_peer(address))?)
}

/// Looks for payloads that are damaged.
fn want_damaged(site: &Site, console: &mut Console<'_>) -> Outcome<Damaged> {
    let meter = &mut console.meter;
    let damaged =
        site.want_damaged(&mut |read, total| meter.bytes("reading payloads", read, Some(total)))?;
    meter.end();
    Ok(damaged)
}

/// Ids as text.
fn named<'a>(ids: impl Iterator<Item = &'a BTreeSet<CanonicalId>>) -> Vec<String> {
    ids.flatten().map(ToString::to_string).collect()
}

/// Where the log was damaged, and where the bytes are that were there.
fn say_what_was_salvaged(site: &Site, console: &mut Console<'_>) {
    for Salvaged {
        file,
        kept,
        entries,
    } in site.salvaged()
    {
        let was = kept.as_ref().map_or_else(
            || "was missing".to_owned(),
            |kept| format!("is kept as {kept}"),
        );
        console.note(format!(
            "{file} {was}; it was rewritten with {}",
            count(*entries, "entry")
        ));
    }
}

/// Whether what is still lost may be given up; why not, if it may not.
fn give_up(args: &Recover, site: &Site, asked: &Asked, shown: &Shown) -> Outcome<()> {
    let remaining = &shown.remaining;
    let what = still_lost(remaining, site);
    if !args.accept_loss {
        return Err(Failed::new(what).hint(
            "start the nodes of the other sites and try again, name one with --peer, restore a backup with `uor restore`, \
             or go on without with --accept-loss",
        ));
    }
    if site.store().view().genesis().is_none() {
        return Err(Failed::new(format!(
            "{what}; nothing is left of the federation's log, so there is nothing to go on from"
        ))
        .hint(
            "ask another site with --peer, restore a backup, or begin again in another directory",
        ));
    }
    let may_fork = remaining.commits_here < remaining.commits_acknowledged
        || remaining.is_other_log
        || site.hold().is_some();
    let is_seen = !asked.silent.is_empty() || asked.claimed > remaining.commits_here;
    if may_fork && is_seen && !args.force {
        let silent = count(asked.silent.len() as u64, "site");
        let claim = if asked.claimed > remaining.commits_here {
            format!(
                "; a site says that it has commit {} of this site and does not give it",
                asked.claimed
            )
        } else {
            String::new()
        };
        return Err(Failed::new(format!(
            "{what}; {silent} may hold such commits and did not answer{claim}: writing other commits with their numbers would \
             shut this site out of its federation for good"
        ))
        .hint("start their nodes and try again, name one with --peer, or, if they are gone for good, say --accept-loss --force"));
    }
    Ok(())
}

const fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn still_lost(remaining: &Remaining, site: &Site) -> String {
    let Remaining {
        commits_acknowledged: acknowledged,
        commits_here: here,
        payloads,
        ..
    } = remaining;
    let mut parts = Vec::new();
    if here < acknowledged {
        parts.push(format!(
            "{} of this site's {acknowledged} own commits {} lost",
            acknowledged - here,
            are(acknowledged - here)
        ));
    }
    if remaining.is_other_log {
        parts.push(
            "the log holds another history of this site than the one it had acknowledged"
                .to_owned(),
        );
    }
    if !payloads.is_empty() {
        parts.push(format!(
            "{} of its own {} lost",
            count(payloads.len() as u64, "payload"),
            are(payloads.len() as u64)
        ));
    }
    if parts.is_empty() {
        parts.extend(
            site.hold().map(|hold| {
                format!("{hold}, and no other site could be asked for its later commits")
            }),
        );
    }
    parts.join("; ")
}

fn lines(shown: &Shown) -> Vec<String> {
    let remaining = &shown.remaining;
    let mut lines = vec![
        format!(
            "asked       {}; {} did not answer",
            count(shown.asked.len() as u64, "site"),
            shown.silent.len()
        ),
        format!(
            "own log     {} of {}",
            remaining.commits_here,
            count(
                remaining.commits_acknowledged.max(remaining.commits_here),
                "commit",
            )
        ),
    ];
    if !shown.damaged.is_empty() {
        let payloads = count(shown.damaged.len() as u64, "payload");
        lines.push(match shown.still_damaged.len() {
            0 => format!("damaged     {payloads}, all of which other sites gave"),
            still => {
                format!("damaged     {payloads}, {still} of which nobody gave: try again when other sites can be asked")
            }
        });
    }
    let payloads = count(remaining.payloads.len() as u64, "payload");
    lines.push(match (shown.given_up, remaining.payloads.is_empty()) {
        (true, true) => "given up    what is still missing; this site writes again".to_owned(),
        (true, false) => format!(
            "given up    what is still missing, {payloads} among it; this site writes again"
        ),
        (false, true) => {
            "recovered   everything that is this site's own is here; it writes again".to_owned()
        }
        (false, false) => format!(
            "recovered   all commits are here; {payloads} are to come while `uor node` runs"
        ),
    });
    lines
}

/// `uor recover`, in the node that runs on the data directory: it asks by itself, and can only be
/// told not to wait.
///
/// # Errors
/// [`Failed`].
pub fn in_node(args: &Recover, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    check_peers(args)?;
    let site = context.site;
    let mut damaged = Damaged::new();
    let said = match site.hold() {
        None => {
            damaged = want_damaged(site, console)?;
            match damaged.len() as u64 {
                0 => "nothing is lost, and this site may write".to_owned(),
                payloads => format!(
                    "{} damaged: this node asks the other sites",
                    count(payloads, "payload")
                ),
            }
        }
        Some(_) if args.accept_loss && args.force => {
            site.release()?;
            "this site writes again, without having asked".to_owned()
        }
        Some(Hold::Elsewhere) => {
            return Err(Failed::new(Hold::Elsewhere.to_string()).hint(
                "see to it that this site runs nowhere else and start its node again, which asks the others; or go on with \
                 --accept-loss --force",
            ));
        }
        Some(hold) => {
            return Err(Failed::new(format!(
                "{hold}; the node asks by itself as soon as another site answers"
            ))
            .hint("start the node of another site, or go on without with --accept-loss --force"));
        }
    };
    let shown = serde_json::json!({
        "site_id": site.site_id().to_string(),
        "said": said,
        "damaged": named(damaged.values()),
    });
    console.show(&shown, |console, _| console.line(&said))?;
    Ok(Exit::Done)
}
