//! Where a call comes in: arguments are parsed, the data directory is found, and the command runs
//! here or, if a node has the directory open, inside that node.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_node::audit::Verdict;
use uor_node::cancel::Cancel;
use uor_node::control::{Client, ControlError, Handler, Request, Session};
use uor_node::service::ServiceHandle;
use uor_node::site::text::count;
use uor_node::site::{OpenError, Site};

use crate::audit;
use crate::cli::replay::UorReplay;
use crate::cli::{Command, Init, Program, Rule, Uor};
use crate::code::Code;
use crate::command::{self, Context, backup, node, program, recover};
use crate::console::terminal::{Streams, has_colour};
use crate::console::{Console, OutputFailed, Style};
use crate::demo;
use crate::exit::{Exit, Failed, Outcome, USAGE_OF_REPLAY, status_of};
use crate::interrupt::{Manner, Signals, leave_the_last_word};
use crate::render::short;

/// How long to wait for a process that has the data directory open and serves no commands (yet).
const IN_USE_TRIES: u32 = 20;
/// More damaged places are only counted.
const PLACES_SAID_MAX: usize = 8;
const IN_USE_PAUSE: Duration = Duration::from_millis(100);

/// The program `uor`.
pub fn uor() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let status = match Uor::try_parse_from(program_args("uor", &args)) {
        Ok(uor) => call(&uor, args),
        Err(error) => usage(&error, &args, Exit::Usage.status()),
    };
    exit_code(status)
}

/// The program `uor-replay`.
pub fn uor_replay() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let parsed = match UorReplay::try_parse_from(program_args("uor-replay", &args)) {
        Ok(parsed) => parsed,
        Err(error) => return exit_code(usage(&error, &args, USAGE_OF_REPLAY)),
    };
    let style = Style {
        json: parsed.json,
        quiet: parsed.quiet,
        colour: has_colour() && !parsed.json,
    };
    let cancel = Cancel::default();
    // An audit writes nothing that has to be brought to an end.
    Signals::heed(&cancel, style.json);
    let mut console = Console::of_process(style, cwd(), cancel);
    let result =
        audit::run(&parsed.command, parsed.voucher.as_deref(), &mut console).map(status_of);
    exit_code(finish(result, &AUDITING, &mut console))
}

/// The statuses of one of the programs.
struct Statuses {
    failed: i32,
    usage: i32,
}

const DOING: Statuses = Statuses {
    failed: Exit::Failed.status(),
    usage: Exit::Usage.status(),
};
const AUDITING: Statuses = Statuses {
    failed: status_of(Verdict::Incomplete),
    usage: USAGE_OF_REPLAY,
};

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn program_args(name: &str, args: &[OsString]) -> Vec<OsString> {
    std::iter::once(name.into())
        .chain(args.iter().cloned())
        .collect()
}

/// Help and version go to standard output and are no error; everything else is wrong usage.
fn usage(error: &clap::Error, args: &[OsString], status: i32) -> i32 {
    let is_json = args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--json");
    if error.use_stderr() && is_json {
        // Where standard error is closed, nobody wants to know.
        drop(writeln!(std::io::stderr(), "{}", wrong_usage(error).json()));
        return status;
    }
    match error.print() {
        Err(failure) if !error.use_stderr() && failure.kind() != ErrorKind::BrokenPipe => {
            let failed = Failed::from(OutputFailed {
                problem: failure.to_string(),
            });
            drop(writeln!(std::io::stderr(), "{failed}"));
            Exit::Failed.status()
        }
        _ if error.use_stderr() => status,
        _ => 0,
    }
}

/// What the parser says, without its layout.
fn wrong_usage(error: &clap::Error) -> Failed {
    let said = error.render().to_string();
    let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = said.split("\n\n").map(on_one_line);
    let message = paragraphs.next().unwrap_or_default();
    let hint: Vec<String> = paragraphs.filter(|text| !text.is_empty()).collect();
    Failed::usage(message.trim_start_matches("error: ")).hint(hint.join(" "))
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
            .ok_or_else(|| {
                Failed::new("this system names no home directory")
                    .hint("say --data DIR, or set UOR_DATA")
            }),
    }
}

fn call(uor: &Uor, args_os: Vec<OsString>) -> i32 {
    let style = Style {
        json: uor.global.json,
        quiet: uor.global.quiet,
        colour: has_colour() && !uor.global.json,
    };
    let cancel = Cancel::default();
    let mut console = Console::of_process(style, cwd(), cancel.clone());
    let dir = match data_dir(uor.global.data.as_deref()) {
        Ok(dir) => dir,
        Err(failed) => return finish(Err(failed), &DOING, &mut console),
    };
    let signals =
        (!matches!(uor.command, Command::Node(_))).then(|| Signals::heed(&cancel, style.json));
    let in_good_order = |manner| {
        if let Some(signals) = signals
            .as_ref()
            .filter(|_| ends_in_good_order(&uor.command))
        {
            signals.mean(manner);
        }
    };
    let result = match &uor.command {
        Command::Init(args) => {
            // Soon done, and not to be left half done.
            in_good_order(Manner::InGoodOrder);
            init(args, &dir, &mut console)
        }
        Command::Demo(args) => demo::run(args.dir.as_deref(), &mut console),
        Command::Join(args) => {
            in_good_order(Manner::InGoodOrder);
            node::join(args, &dir, &mut console)
        }
        Command::Node(args) => {
            alone(&dir, &mut console).and_then(|site| node::node(args, site, &mut console))
        }
        Command::Program(Program::Check { file }) => program::check(file, &mut console),
        Command::Recover(args) => match Client::connect(&dir) {
            Some(client) => {
                drop(console);
                in_good_order(Manner::Beside(client.canceller()));
                return carry_over(client, uor.global.json, args_os, &cancel);
            }
            None => recover::recover(args, &dir, &mut console),
        },
        Command::Restore(args) => backup::restore(args, &dir, &mut console),
        command => match reach(
            &dir,
            if command.writes() {
                Mode::Write
            } else {
                Mode::ReadOnly
            },
        ) {
            Ok(Reached::Node(client)) => {
                drop(console);
                in_good_order(Manner::Beside(client.canceller()));
                return carry_over(client, uor.global.json, args_os, &cancel);
            }
            Ok(Reached::Here(site)) => {
                say_what_was_mended(&site, &mut console);
                in_good_order(Manner::InGoodOrder);
                let site = site.cancellable(cancel);
                let result = command::run(
                    command,
                    &Context {
                        site: &site,
                        node: None,
                    },
                    &mut console,
                );
                say_what_is_damaged(&site, &mut console);
                if site.loss().is_some() {
                    result.map(Exit::with_attention)
                } else {
                    result
                }
            }
            Err(failed) => Err(failed),
        },
    };
    finish(result.map(Exit::status), &DOING, &mut console)
}

/// Whether a command is asked to end by a signal, in place of being ended: it leaves something that
/// has to be whole.
const fn ends_in_good_order(command: &Command) -> bool {
    command.writes() && !matches!(command, Command::Demo(_)) || matches!(command, Command::Get(_))
}

/// Ends a command: flushes, and says what went wrong. A reader that has gone away is no failure.
fn finish(result: Outcome<i32>, statuses: &Statuses, console: &mut Console<'_>) -> i32 {
    leave_the_last_word();
    console.meter.end();
    // What could not be flushed is remembered there.
    drop(console.out.flush());
    let of_output = |failed: &Failed| failed.error().is::<std::io::Error>();
    let failed = match result {
        Err(_) if console.cancel.is_cancelled() => Failed::interrupted(),
        Err(failed) if !(of_output(&failed) && console.out.has_failed()) => failed,
        _ if console.out.is_closed() => return Exit::Done.status(),
        result => match (console.out.failure(), result) {
            (Some(failure), _) => {
                console.fail(&Failed::from(failure));
                return Exit::Failed.status();
            }
            (None, Ok(status)) => return status,
            (None, Err(failed)) => failed,
        },
    };
    console.fail(&failed);
    match failed.exit() {
        Exit::Failed if failed.advice().code == Code::Usage => statuses.usage,
        Exit::Failed => statuses.failed,
        Exit::Usage => statuses.usage,
        exit => exit.status(),
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
                    .code(Code::InUse)
                    .hint("wait until it is done; beside a running `uor node` every command works"));
            }
            Err(error @ OpenError::Lost { .. }) => {
                return Err(Failed::from(error).hint(
                    "`uor recover` asks the other sites for it; `uor status`, `uor ls` and `uor-replay verify` show what is here",
                ));
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
        Reached::Node(_) => Err(Failed::new(format!(
            "a node is running on {} already",
            dir.display()
        ))
        .code(Code::InUse)),
    }
}

/// A crash leaves the beginnings of writes that were never acknowledged; opening for writing sets
/// them aside, and says so.
fn say_what_was_mended(site: &Site, console: &mut Console<'_>) {
    if site.was_open_to_others() {
        let dir = site.dir().display();
        console.note(format!(
            "Other users could read {dir}: from now on only its owner can (modes 0700 and 0600)"
        ));
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
    if let Some(stale) = opened.index.as_ref().filter(|stale| stale.is_damage) {
        console.note(format!(
            "Damage: {}; the index was found in the log anew",
            stale.what
        ));
    }
    say_what_packs_lost(site, console);
    if let Some(loss) = site.loss() {
        // Whether it is known whom to ask is worth knowing; a book that cannot be read knows
        // nobody.
        let known: Vec<String> = site
            .peers()
            .unwrap_or_default()
            .iter()
            .map(|peer| short(&peer.site_id))
            .collect();
        let whom = if known.is_empty() {
            "no address of one is known here: name one with --peer".to_owned()
        } else {
            format!("addresses are known of {}", known.join(", "))
        };
        console.warn(format!(
            "This site has lost something: {loss}\nHint: `uor recover` asks the other sites for it ({whom})"
        ));
    }
    let again = site.commits_to_fetch_again();
    if again > 0 {
        console.warn(format!(
            "{} of other sites were in the log and are no longer: they are fetched again while `uor node` runs",
            count(again, "commit")
        ));
    }
    if site.is_lone_copy() {
        console.note(
            "This data directory is a copy. There is no other site to ask for later commits: see to it that nobody goes on \
             writing at the other copy.",
        );
    }
}

/// What is damaged or missing of the packs, what was made anew, and what follows.
fn say_what_packs_lost(site: &Site, console: &mut Console<'_>) {
    let opened = site.store().opened();
    for damage in opened.blocks.mended.iter().take(PLACES_SAID_MAX) {
        console.note(format!("Damage: {damage}; it was made anew from the packs"));
    }
    let damages = &opened.blocks.damages;
    for damage in damages.iter().take(PLACES_SAID_MAX) {
        console.warn(format!("Damage: {damage}"));
    }
    if damages.len() > PLACES_SAID_MAX {
        let more = count((damages.len() - PLACES_SAID_MAX) as u64, "place");
        console.warn(format!(
            "Damage at {more} more: `uor-replay verify` names all"
        ));
    }
    if !opened.erased_again.is_empty() {
        let payloads = count(opened.erased_again.len() as u64, "payload");
        console.note(format!(
            "{payloads} erased here on request came with older packs and stay erased"
        ));
    }
    if damages.is_empty() || site.loss().is_some() {
        return;
    }
    let wanted = site.store().view().wanted().len() as u64;
    if wanted > 0 {
        console.warn(format!(
            "Not here: {}; they come from other sites while `uor node` runs",
            count(wanted, "payload")
        ));
    }
    console
        .warn("Hint: put back from a backup what was lost, or go on without it with `uor recover`");
}

/// A damaged index costs no answer; that it is damaged is worth knowing, since disks seldom leave
/// it at that.
pub fn say_what_is_damaged(site: &Site, console: &mut Console<'_>) {
    for damage in site.store().take_index_damage() {
        console.note(format!("Damage: {damage}"));
    }
}

/// Runs the command inside the node. Interrupting this process takes the command back there, and
/// how it ended comes back.
fn carry_over(client: Client, json: bool, args: Vec<OsString>, cancel: &Cancel) -> i32 {
    let request = Request {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        args,
        cwd: cwd(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        colour: has_colour(),
    };
    let failed = match client.run(&request, &mut Streams::new(cancel)) {
        Ok(status) => return status,
        Err(ControlError::Silent) if cancel.is_cancelled() => Failed::interrupted().hint(
            "the node does not answer; when it goes on, it finds the command taken back, and commits nothing more",
        ),
        Err(error) => Failed::from(error),
    };
    // Where standard error is closed, nobody wants to know.
    drop(writeln!(
        std::io::stderr(),
        "{}",
        if json {
            failed.json()
        } else {
            failed.to_string()
        }
    ));
    failed.exit().status()
}

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
