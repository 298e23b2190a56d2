//! Where a call comes in: arguments are parsed, the data directory is found, and the command runs
//! here or, if a node has the directory open, inside that node.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_node::cancel::Cancel;
use uor_node::control::{Client, ControlError, Request};
use uor_node::site::{OpenError, Site};

use crate::audit;
use crate::carried;
use crate::cli::replay::UorReplay;
use crate::cli::{Command, Init, Program, Rule, Uor};
use crate::code::Code;
use crate::command::{self, Context, backup, node, program, recover};
use crate::condition::{say_what_is_damaged, say_what_was_mended};
use crate::console::terminal::{Streams, has_colour};
use crate::console::{Console, Style};
use crate::demo;
use crate::ending::{AUDITING, DOING, finish};
use crate::exit::{Exit, Failed, Outcome, USAGE_OF_REPLAY, status_of};
use crate::interrupt::{Manner, Signals};
use crate::render::plain;
use crate::usage::{program_args, usage};

/// How long to wait for a process that has the data directory open and serves no commands (yet).
const IN_USE_TRIES: u32 = 20;

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

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn cwd() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

/// The data directory: as given, or as the environment says, or the platform's. An empty variable
/// is one that is not set.
fn data_dir(given: Option<&Path>) -> Outcome<PathBuf> {
    let said = std::env::var_os("UOR_DATA")
        .filter(|said| !said.is_empty())
        .map(PathBuf::from);
    match given.or(said.as_deref()) {
        Some(dir) => Ok(cwd().join(dir)),
        None => directories::ProjectDirs::from("", "", "uor")
            .map(|dirs| dirs.data_dir().to_owned())
            .ok_or_else(|| {
                Failed::new("this system names no home directory")
                    .hint("say --data DIR, or set UOR_DATA")
            }),
    }
}

/// Whether a command looks into the data directory, or makes it.
const fn needs_directory(command: &Command) -> bool {
    !matches!(
        command,
        Command::Demo(_) | Command::Program(Program::Check { .. })
    )
}

/// What is looked for in a file is not found in many ways, none of which says that it is one.
fn refuse_file(dir: &Path) -> Outcome<()> {
    if dir.is_file() {
        let message = format!(
            "{} is a file, not a directory",
            plain(&dir.to_string_lossy())
        );
        return Err(Failed::new(message)
            .code(Code::WrongKind)
            .hint("--data, or else UOR_DATA, names the data directory"));
    }
    Ok(())
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
    if needs_directory(&uor.command)
        && let Err(failed) = refuse_file(&dir)
    {
        return finish(Err(failed), &DOING, &mut console);
    }
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
        Command::Restore(args) => {
            // Half a data directory would be in the way of whoever tries again.
            in_good_order(Manner::InGoodOrder);
            backup::restore(args, &dir, &mut console)
        }
        command => match reach(&dir, mode_of(command)) {
            Ok(Reached::Node(client)) => {
                if let Err(failed) = carried::check(command, &cwd()) {
                    return finish(Err(failed), &DOING, &mut console);
                }
                drop(console);
                in_good_order(Manner::Beside(client.canceller()));
                return carry_over(client, uor.global.json, args_os, &cancel);
            }
            Ok(Reached::Here(site)) => {
                say_what_was_mended(&site, &mut console);
                in_good_order(Manner::InGoodOrder);
                run_here(command, &site.cancellable(cancel), &mut console)
            }
            Err(failed) => Err(failed),
        },
    };
    finish(result.map(Exit::status), &DOING, &mut console)
}

const fn mode_of(command: &Command) -> Mode {
    if command.writes() {
        Mode::Write
    } else {
        Mode::ReadOnly
    }
}

fn run_here(command: &Command, site: &Site, console: &mut Console<'_>) -> Outcome {
    let result = command::run(command, &Context { site, node: None }, console);
    say_what_is_damaged(site, console);
    if site.loss().is_some() {
        result.map(Exit::with_attention)
    } else {
        result
    }
}

/// Whether a command is asked to end by a signal, in place of being ended: it leaves something that
/// has to be whole.
const fn ends_in_good_order(command: &Command) -> bool {
    command.writes() && !matches!(command, Command::Demo(_)) || matches!(command, Command::Get(_))
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
