//! `node` and `join`: the commands that open the data directory for themselves.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use uor_index_format::ticket::Ticket;
use uor_node::control::Server;
use uor_node::service::{self, ServiceConfig, ServiceEvent};
use uor_node::site::Site;
use uor_node::site::text::count;

use crate::beside;
use crate::cli::{Join, Node};
use crate::condition::say_what_is_damaged;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::render::plain;

/// Longest text that is read as a ticket, in bytes: far more than any ticket has.
const TICKET_LEN_MAX: u64 = 64 << 10;

/// `uor node`: until SIGINT or SIGTERM.
///
/// # Errors
/// [`Failed`].
pub fn node(args: &Node, site: Site, console: &mut Console<'_>) -> Outcome {
    let site = Arc::new(site);
    let (handle, control) = service::handle();
    let server = Server::start(site.dir(), beside::handler(Arc::clone(&site), Some(handle)))?;
    let config = ServiceConfig {
        listen: args.listen.clone(),
        peers: args.peer.clone(),
        ends_on_signals: true,
    };
    let result = service::run(&site, &config, control, &mut |event| {
        // A node goes on when nobody reads what it says.
        drop(report(&event, console));
        say_what_is_damaged(&site, console);
    });
    server.stop();
    result?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Reported<'a> {
    Listening { address: &'a str },
    Ready,
}

fn report(event: &ServiceEvent, console: &mut Console<'_>) -> io::Result<()> {
    let (reported, line) = match event {
        ServiceEvent::Listening(address) => (
            Reported::Listening { address },
            format!("listening {}", plain(address)),
        ),
        ServiceEvent::Ready => (Reported::Ready, "ready".to_owned()),
        ServiceEvent::Notice(text) => {
            console.note(plain(text));
            return Ok(());
        }
        _ => return Ok(()),
    };
    console.show(&reported, |console, _| console.line(line))?;
    console.out.flush()
}

#[derive(Serialize)]
struct Joined {
    site_id: String,
    federation_id: String,
    name: String,
    data: String,
    commits: u64,
}

/// The ticket's text: as it was given, or from a file or standard input.
fn ticket_text(args: &Join, console: &mut Console<'_>) -> Outcome<String> {
    let (mut reader, from): (Box<dyn Read + '_>, _) =
        match (&args.ticket_file, args.ticket.as_deref()) {
            (None, Some(ticket)) if ticket != "-" => return Ok(ticket.to_owned()),
            (Some(file), _) => {
                let opened = console.cancel.open(&console.path(file));
                (
                    Box::new(opened.map_err(|source| unread(&file.display().to_string(), source))?),
                    file.display().to_string(),
                )
            }
            (None, _) => (Box::new(&mut console.input), "standard input".to_owned()),
        };
    let mut text = Vec::new();
    reader
        .by_ref()
        .take(TICKET_LEN_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|source| unread(&from, source))?;
    let fits = text.len() as u64 <= TICKET_LEN_MAX;
    // What is no text, or too long, is no ticket either: that is said where tickets are read.
    Ok(String::from_utf8(text)
        .ok()
        .filter(|_| fits)
        .unwrap_or_default()
        .trim()
        .to_owned())
}

/// The ticket could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read the ticket from {from}")]
struct TicketUnread {
    from: String,
    #[source]
    source: io::Error,
}

fn unread(from: &str, source: io::Error) -> Failed {
    Failed::from(TicketUnread {
        from: from.to_owned(),
        source,
    })
}

/// `uor join`.
///
/// # Errors
/// [`Failed`]; the directory is then what it was before.
pub fn join(args: &Join, dir: &Path, console: &mut Console<'_>) -> Outcome {
    let ticket = Ticket::from_text(&ticket_text(args, console)?)?;
    if !console.style.json {
        console.note("Asking the site that gave the ticket …");
    }
    let joined = service::join_unless(
        &console.cancel,
        dir,
        args.name.as_deref(),
        &ticket,
        &args.peer,
    )?;
    let shown = Joined {
        site_id: joined.site_id.to_string(),
        federation_id: joined.federation_id.to_string(),
        name: joined.name,
        data: dir.display().to_string(),
        commits: joined.commits,
    };
    console.show(&shown, |console, shown| {
        console.line(format!(
            "site        {}  {}",
            shown.site_id,
            plain(&shown.name)
        ))?;
        console.line(format!("federation  {}", shown.federation_id))?;
        console.line(format!("data        {}", shown.data))?;
        console.line(format!("fetched     {}", count(shown.commits, "commit")))
    })?;
    console.note("Hint: `uor node` keeps this site caught up with the others");
    Ok(Exit::Done)
}
