//! Where a call comes in: arguments are parsed, the data directory is found, and the command runs here or, if a node has
//! the directory open, inside that node.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_node::control::{Client, Handler, Request, Session};
use uor_node::service::ServiceHandle;
use uor_node::site::{OpenError, Site};

use crate::audit;
use crate::cli::replay::UorReplay;
use crate::cli::{Command, Init, Program, Rule, Uor};
use crate::command::{self, Context, node, program};
use crate::console::terminal::{Streams, has_colour};
use crate::console::{Console, Style};
use crate::demo;
use crate::exit::{Exit, Failed, Outcome, Verdict};

/// How long to wait for a process that has the data directory open and serves no commands (yet).
const IN_USE_TRIES: u32 = 20;
const IN_USE_PAUSE: Duration = Duration::from_millis(100);

/// The program `uor`.
pub fn uor() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let status = match Uor::try_parse_from(program_args("uor", &args)) {
        Ok(uor) => call(&uor, args),
        Err(error) => usage(&error, Exit::Usage.status()),
    };
    exit_code(status)
}

/// The program `uor-replay`.
pub fn uor_replay() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let parsed = match UorReplay::try_parse_from(program_args("uor-replay", &args)) {
        Ok(parsed) => parsed,
        Err(error) => return exit_code(usage(&error, Verdict::USAGE)),
    };
    let style = Style { json: parsed.json, quiet: parsed.quiet, colour: has_colour() && !parsed.json };
    let mut console = Console::of_process(style, cwd());
    let result = audit::run(&parsed.command, parsed.voucher.as_deref(), &mut console).map(Verdict::status);
    exit_code(finish(result, Verdict::Incomplete.status(), &mut console))
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn program_args(name: &str, args: &[OsString]) -> Vec<OsString> {
    std::iter::once(name.into()).chain(args.iter().cloned()).collect()
}

/// Help and version go to standard output and are no error; everything else is wrong usage.
fn usage(error: &clap::Error, status: i32) -> i32 {
    // Whoever closed the stream does not want the text.
    drop(error.print());
    if error.use_stderr() { status } else { 0 }
}

fn cwd() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

/// The data directory: as given, or the platform's.
fn data_dir(given: Option<&Path>) -> Outcome<PathBuf> {
    match given {
        Some(dir) => Ok(cwd().join(dir)),
        None => directories::ProjectDirs::from("", "", "uor")
            .map(|dirs| dirs.data_dir().to_owned())
            .ok_or_else(|| Failed::new("this system names no home directory").hint("say --data DIR, or set UOR_DATA")),
    }
}

fn call(uor: &Uor, args: Vec<OsString>) -> i32 {
    let style = Style { json: uor.global.json, quiet: uor.global.quiet, colour: has_colour() && !uor.global.json };
    let mut console = Console::of_process(style, cwd());
    let dir = match data_dir(uor.global.data.as_deref()) {
        Ok(dir) => dir,
        Err(failed) => return finish(Err(failed), Exit::Failed.status(), &mut console),
    };
    let result = match &uor.command {
        Command::Init(args) => init(args, &dir, &mut console),
        Command::Demo(args) => demo::run(args.dir.as_deref(), &mut console),
        Command::Join(args) => node::join(args, &dir, &mut console),
        Command::Node(args) => alone(&dir, &mut console).and_then(|site| node::node(args, site, &mut console)),
        Command::Program(Program::Check { file }) => program::check(file, &mut console),
        command => {
            let mode = if command.writes() { Mode::Write } else { Mode::ReadOnly };
            match reach(&dir, mode) {
                Ok(Reached::Node(client)) => {
                    drop(console);
                    return carry_over(client, args);
                }
                Ok(Reached::Here(site)) => {
                    say_what_was_mended(&site, &mut console);
                    command::run(command, &Context { site: &site, node: None }, &mut console)
                }
                Err(failed) => Err(failed),
            }
        }
    };
    finish(result.map(Exit::status), Exit::Failed.status(), &mut console)
}

/// Ends a command: flushes, and says what went wrong. A reader that has gone away is no failure.
fn finish(result: Outcome<i32>, failed_status: i32, console: &mut Console<'_>) -> i32 {
    console.meter.end();
    let flushed = console.out.flush();
    if console.out.is_closed() {
        return Exit::Done.status();
    }
    match result.and_then(|status| Ok(flushed.map(|()| status)?)) {
        Ok(status) => status,
        Err(failed) => {
            console.warn(&failed);
            if failed.exit() == Exit::Failed { failed_status } else { failed.exit().status() }
        }
    }
}

fn init(args: &Init, dir: &Path, console: &mut Console<'_>) -> Outcome {
    let rule = match args.conflict_rule {
        Rule::First => ConflictRule::First,
        Rule::Quorum => ConflictRule::Quorum,
        Rule::Manual => ConflictRule::Manual,
    };
    let made = Site::init(dir, args.name.as_deref(), rule)?;
    console.show(&made, |console, made| {
        console.line(format!("site        {}  {}", made.site_id, made.name))?;
        console.line(format!("federation  {}", made.federation_id))?;
        console.line(format!("data        {}", made.data.display()))
    })?;
    Ok(Exit::Done)
}

enum Reached {
    Node(Client),
    Here(Box<Site>),
}

/// The node that has the directory open, or the directory itself.
fn reach(dir: &Path, mode: Mode) -> Outcome<Reached> {
    let mut tries = 0;
    loop {
        if let Some(client) = Client::connect(dir) {
            return Ok(Reached::Node(client));
        }
        match Site::open(dir, mode) {
            Ok(site) => return Ok(Reached::Here(Box::new(site))),
            // A node that is starting will answer soon; another command will be done soon.
            Err(OpenError::InUse { .. }) if tries < IN_USE_TRIES => thread::sleep(IN_USE_PAUSE),
            Err(OpenError::InUse { dir }) => {
                return Err(Failed::new(format!("another process is using {}", dir.display()))
                    .hint("wait until it is done; beside a running `uor node` every command works"));
            }
            Err(error) => return Err(error.into()),
        }
        tries += 1;
    }
}

/// The data directory, for a process that will be its node.
fn alone(dir: &Path, console: &mut Console<'_>) -> Outcome<Site> {
    match reach(dir, Mode::Write)? {
        Reached::Here(site) => {
            say_what_was_mended(&site, console);
            Ok(*site)
        }
        Reached::Node(_) => Err(Failed::new(format!("a node is running on {} already", dir.display()))),
    }
}

/// A crash leaves the beginnings of writes that were never acknowledged; opening for writing sets them aside, and says so.
fn say_what_was_mended(site: &Site, console: &mut Console<'_>) {
    if site.was_open_to_others() {
        let dir = site.dir().display();
        console.note(format!("Other users could read {dir}: from now on only its owner can (modes 0700 and 0600)"));
    }
    let opened = site.store().opened();
    if let Some(cut) = &opened.log.cut
        && let Some(saved) = &cut.saved
    {
        console.note(format!(
            "After a crash, {} bytes of an unfinished commit were moved from {} to {saved}",
            cut.bytes, cut.file
        ));
    }
}

/// Runs the command inside the node. Interrupting this process ends only this process.
fn carry_over(client: Client, args: Vec<OsString>) -> i32 {
    let request = Request {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        args,
        cwd: cwd(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        colour: has_colour(),
    };
    let mut streams = Streams::default();
    match client.run(&request, &mut streams) {
        Ok(status) => status,
        Err(_) if streams.out_is_closed() => Exit::Done.status(),
        Err(error) => {
            let failed =
                Failed::from(error).hint("the node may have stopped; `uor log` shows whether the command was done");
            // Where standard error is closed, nobody wants to know.
            drop(writeln!(std::io::stderr(), "{failed}"));
            Exit::Failed.status()
        }
    }
}

/// What a node does with the commands that come through its control socket.
pub fn handler(site: Arc<Site>, node: Option<ServiceHandle>) -> Handler {
    Arc::new(move |request, session| answer(&site, node.as_ref(), &request, session))
}

fn answer(site: &Site, node: Option<&ServiceHandle>, request: &Request, session: &Session) -> i32 {
    match Uor::try_parse_from(program_args("uor", &request.args)) {
        Ok(uor) => {
            let json = uor.global.json;
            let style = Style { json, quiet: uor.global.quiet, colour: request.colour && !json };
            let mut console = Console::of_session(style, request, session);
            let result = command::run(&uor.command, &Context { site, node }, &mut console).map(Exit::status);
            finish(result, Exit::Failed.status(), &mut console)
        }
        Err(error) => {
            // The client parsed the same arguments before; one that is gone needs no explanation.
            drop(write!(session.err(), "{error}"));
            Exit::Usage.status()
        }
    }
}
