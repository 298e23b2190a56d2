//! Commands that run inside a node, beside it: they come through its control socket.

use std::io::Write as _;
use std::sync::Arc;

use clap::Parser as _;
use uor_node::control::{Handler, Request, Session};
use uor_node::service::ServiceHandle;
use uor_node::site::Site;

use crate::cli::Uor;
use crate::command::{self, Context};
use crate::condition::say_what_is_damaged;
use crate::console::{Console, Style};
use crate::ending::{DOING, finish};
use crate::exit::Exit;
use crate::usage::program_args;

/// What a node does with the commands that come through its control socket.
pub fn handler(site: Arc<Site>, node: Option<ServiceHandle>) -> Handler {
    Arc::new(move |request, session| answer(&site, node.as_ref(), &request, session))
}

fn answer(site: &Site, node: Option<&ServiceHandle>, request: &Request, session: &Session) -> i32 {
    match Uor::try_parse_from(program_args("uor", &request.args)) {
        Ok(uor) => {
            let json = uor.global.json;
            let style = Style {
                json,
                quiet: uor.global.quiet,
                colour: request.colour && !json,
            };
            let mut console = Console::of_session(style, request, session);
            let site = &site.cancellable(session.cancel().clone());
            let result =
                command::run(&uor.command, &Context { site, node }, &mut console).map(Exit::status);
            say_what_is_damaged(site, &mut console);
            finish(result, &DOING, &mut console)
        }
        Err(error) => {
            // The client parsed the same arguments before; one that is gone needs no explanation.
            drop(write!(session.err(), "{error}"));
            Exit::Usage.status()
        }
    }
}
