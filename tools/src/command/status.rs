//! `status` and `invite`.

use std::io;

use serde::Serialize;
use uor_node::service::PeerStatus;
use uor_node::site::text::count;
use uor_node::site::{Peer, Status};

use super::Context;
use super::history::site;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Paint, Table, plain, short, size};

/// More places are only counted.
const DAMAGE_SHOWN_MAX: usize = 8;

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    running: bool,
    addresses: Vec<String>,
    peers: Vec<PeerShown>,
    /// How far the peer that is furthest behind lags, in logseq; unknown while no node runs.
    lag: Option<u64>,
}

#[derive(Serialize)]
struct PeerShown {
    #[serde(flatten)]
    peer: PeerStatus,
    addresses: Vec<String>,
}

/// `uor status`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn status(context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let status = context.site.status()?;
    let node = context
        .node
        .map(|node| node.status(context.site))
        .transpose()?;
    let lag = node
        .as_ref()
        .and_then(|node| node.peers.iter().filter_map(|peer| peer.lag).max());
    let peers = peers(&status, &context.site.peers()?, node.map(|node| node.peers));
    let shown = Shown {
        running: context.node.is_some(),
        addresses: addresses(context)?,
        peers,
        lag,
        status,
    };
    console.show(&shown, human)?;
    if shown.status.conflicts > 0 {
        console.note("Hint: `uor conflicts` shows every claim");
    }
    if !shown.status.damage.is_empty() {
        console.note(
            "Hint: `uor-replay verify` says what is damaged; `uor recover` asks for it, and goes on without the rest",
        );
    }
    if shown.status.missing_payloads > 0 && !shown.running {
        console.note("Hint: missing payloads arrive while `uor node` runs");
    }
    Ok(Exit::Done)
}

/// Every other member: as the node sees it, or, while none runs, as the records name it.
fn peers(status: &Status, known: &[Peer], live: Option<Vec<PeerStatus>>) -> Vec<PeerShown> {
    let others = status
        .members
        .iter()
        .filter(|member| member.site_id != status.site_id);
    let as_named = others.map(|member| PeerStatus {
        site_id: member.site_id.to_string(),
        name: Some(member.name.clone()),
        connected: false,
        applied_snapshot: None,
        applied_logseq: None,
        lag: None,
    });
    let peers = live
        .filter(|live| !live.is_empty())
        .unwrap_or_else(|| as_named.collect());
    let with_addresses = peers.into_iter().map(|peer| {
        let known = known.iter().find(|known| known.site_id == peer.site_id);
        PeerShown {
            addresses: known
                .map(|known| known.addresses.clone())
                .unwrap_or_default(),
            peer,
        }
    });
    with_addresses.collect()
}

/// Where the node listens, or last listened.
fn addresses(context: &Context<'_>) -> Outcome<Vec<String>> {
    let node = context
        .node
        .map(|node| node.status(context.site))
        .transpose()?;
    let listening = node.map(|node| node.listening).unwrap_or_default();
    Ok(if listening.is_empty() {
        context.site.addresses()?
    } else {
        listening
    })
}

fn human(console: &mut Console<'_>, shown: &Shown) -> io::Result<()> {
    let (paint, status) = (console.paint(), &shown.status);
    let node = if shown.running {
        "running"
    } else {
        "not running"
    };
    let line = |name: &str, value: String| format!("{}{value}", paint.dim(&format!("{name:<12}")));
    console.line(line(
        "site",
        format!("{}  {}", status.site_id, paint.bold(&plain(&status.name))),
    ))?;
    let rule = status
        .conflict_rule
        .map(|rule| format!("  (conflicts: {rule})"))
        .unwrap_or_default();
    console.line(line(
        "federation",
        format!("{}{rule}", status.federation_id),
    ))?;
    console.line(line("data", plain(&status.data.to_string_lossy())))?;
    console.line(line("node", node.to_owned()))?;
    console.line(line("state root", status.state_root.to_string()))?;
    let logseq = status.logseq_max;
    console.line(line(
        "entries",
        format!("{} visible at logseq {logseq}", status.entries),
    ))?;
    console.line(line(
        "conflicts",
        attention(status.conflicts, "none", paint),
    ))?;
    if !status.forks.is_empty() {
        let forks: Vec<String> = status.forks.iter().map(short).collect();
        console.line(line("forked", paint.red(&forks.join(" "))))?;
    }
    if status.missing_payloads > 0 {
        let missing = format!(
            "{} ({})",
            count(status.missing_payloads, "payload"),
            size(status.missing_bytes)
        );
        console.line(line("missing", paint.yellow(&missing)))?;
    }
    for damage in status.damage.iter().take(DAMAGE_SHOWN_MAX) {
        console.line(line("damage", paint.yellow(damage)))?;
    }
    let more = status.damage.len().saturating_sub(DAMAGE_SHOWN_MAX);
    if more > 0 {
        console.line(line(
            "damage",
            paint.yellow(&format!("and at {} more", count(more as u64, "place"))),
        ))?;
    }
    if let Some(loss) = &status.lost {
        console.line(line("LOST", paint.red(&loss.to_string())))?;
    }
    if let Some(hold) = &status.held {
        console.line(line(
            "held",
            paint.yellow(&format!("{hold}; it asks the others before it writes")),
        ))?;
    }
    let disk = status.disk;
    let (log, blocks) = (size(disk.log_bytes), size(disk.blocks_bytes));
    console.line(line("disk", format!("{log} log, {blocks} payloads")))?;
    for address in &shown.addresses {
        console.line(line(
            if shown.running {
                "listening"
            } else {
                "last at"
            },
            plain(address),
        ))?;
    }
    domains(console, shown, paint)
}

fn domains(console: &mut Console<'_>, shown: &Shown, paint: Paint) -> io::Result<()> {
    let mut table = Table::new(&["domain", ">commits", ">logseq", "head"]);
    for domain in &shown.status.domains {
        let name = site(domain.name.as_deref(), domain.domain.short());
        table.row([
            name,
            domain.commits.to_string(),
            domain.logseq.to_string(),
            short(domain.hash),
        ]);
    }
    console.line("")?;
    table
        .lines(paint)
        .iter()
        .try_for_each(|line| console.line(line))?;
    if shown.peers.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        "peer",
        "connected",
        ">caught up at logseq",
        ">lag",
        "address",
    ]);
    for PeerShown { peer, addresses } in &shown.peers {
        let name = site(peer.name.as_deref(), short(&peer.site_id));
        let connected = if peer.connected { "yes" } else { "no" };
        let number =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let address = addresses.first().cloned().unwrap_or_default();
        table.row([
            name,
            connected.to_owned(),
            number(peer.applied_logseq),
            number(peer.lag),
            address,
        ]);
    }
    console.line("")?;
    table
        .lines(paint)
        .iter()
        .try_for_each(|line| console.line(line))
}

fn attention(number: u64, none: &str, paint: Paint) -> String {
    if number == 0 {
        none.to_owned()
    } else {
        paint.yellow(&number.to_string())
    }
}

#[derive(Serialize)]
struct Invited {
    ticket: String,
    federation_id: String,
    addresses: Vec<String>,
}

/// `uor invite`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn invite(context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let addresses = addresses(context)?;
    if addresses.is_empty() {
        console.warn(
            "This site has no known address yet, so the ticket carries none.\nHint: start `uor node` and invite again, \
             or give the new member an address with `uor join TICKET --peer MULTIADDR`",
        );
    } else if context.node.is_none() {
        console.note(
            "No node runs here: the ticket carries the addresses it last had. Start `uor node` to admit the bearer.",
        );
    }
    let ticket = context.site.invite(addresses)?;
    let shown = Invited {
        ticket: ticket.to_text(),
        federation_id: ticket.federation.to_string(),
        addresses: ticket.addresses.clone(),
    };
    console.show(&shown, |console, shown| console.line(&shown.ticket))?;
    Ok(Exit::Done)
}
