//! Arguments as the parser takes them, and what it says of wrong ones.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};

use crate::console::OutputFailed;
use crate::exit::{Exit, Failed};

pub(crate) fn program_args(name: &str, args: &[OsString]) -> Vec<OsString> {
    std::iter::once(name.into())
        .chain(args.iter().cloned())
        .collect()
}

/// Help and version go to standard output and are no error; everything else is wrong usage.
pub(crate) fn usage(error: &clap::Error, args: &[OsString], status: i32) -> i32 {
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
