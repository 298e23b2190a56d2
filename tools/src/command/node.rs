//! `node` and `join`: the commands that open the data directory for themselves.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use uor_index_format::ticket::Ticket;
use uor_node::control::Server;
use uor_node::service::{self, ServiceConfig, ServiceEvent};
use uor_node::site::Site;

use crate::cli::{Join, Node};
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::front;
use crate::render::{count, plain};

/// `uor node`: until SIGINT or SIGTERM.
///
/// # Errors
/// [`Failed`].
pub fn node(args: &Node, site: Site, console: &mut Console<'_>) -> Outcome {
    let site = Arc::new(site);
    let (handle, control) = service::handle();
    let server = Server::start(site.dir(), front::handler(Arc::clone(&site), Some(handle)))?;
    let config = ServiceConfig { listen: args.listen.clone(), peers: args.peer.clone(), ends_on_signals: true };
    let result = service::run(&site, &config, control, &mut |event| {
        // A node goes on when nobody reads what it says.
        drop(tell(&event, console));
        front::say_what_is_damaged(&site, console);
    });
    server.stop();
    result?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told<'a> {
    Listening { address: &'a str },
    Ready,
}

fn tell(event: &ServiceEvent, console: &mut Console<'_>) -> io::Result<()> {
    let (told, line) = match event {
        ServiceEvent::Listening(address) => (Told::Listening { address }, format!("listening {}", plain(address))),
        ServiceEvent::Ready => (Told::Ready, "ready".to_owned()),
        ServiceEvent::Notice(text) => {
            console.note(plain(text));
            return Ok(());
        }
        _ => return Ok(()),
    };
    console.show(&told, |console, _| console.line(line))?;
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

/// `uor join`.
///
/// # Errors
/// [`Failed`]; the directory is then what it was before.
pub fn join(args: &Join, dir: &Path, console: &mut Console<'_>) -> Outcome {
    let ticket = Ticket::from_text(&args.ticket)?;
    console.note("Asking the site that gave the ticket …");
    let joined = service::join(dir, args.name.as_deref(), &ticket, &args.peer).map_err(|error| {
        Failed::from(error).hint("`uor node` must run at the site that gave the ticket; a ticket works once")
    })?;
    let shown = Joined {
        site_id: joined.site_id.to_string(),
        federation_id: joined.federation_id.to_string(),
        name: joined.name,
        data: dir.display().to_string(),
        commits: joined.commits,
    };
    console.show(&shown, |console, shown| {
        console.line(format!("site        {}  {}", shown.site_id, plain(&shown.name)))?;
        console.line(format!("federation  {}", shown.federation_id))?;
        console.line(format!("data        {}", shown.data))?;
        console.line(format!("fetched     {}", count(shown.commits, "commit")))
    })?;
    console.note("Hint: `uor node` keeps this site level with the others");
    Ok(Exit::Done)
}
