//! `program`, `run` and `receipt`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use uor_node::site::text::count;
use uor_node::site::{Binding, ProgramChecked, Ran, ReceiptShown, RunOptions, Site};

use super::Context;
use super::history::site;
use crate::cli::{ProgramFormat, Run};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Table, plain, short, size};

/// `uor program add`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn add(
    file: &Path,
    reference: Option<&str>,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let added = context.site.program_add(&console.path(file), reference)?;
    console.show(&added, |console, added| {
        let name = plain(&file.to_string_lossy());
        console.line(format!(
            "{}  {name}  ({}, {} new)",
            added.program.key,
            shape(&added.program),
            size(added.new_bytes)
        ))
    })?;
    Ok(Exit::Done)
}

/// `uor program check`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn check(file: &Path, console: &mut Console<'_>) -> Outcome {
    let checked = Site::program_check(&console.path(file))?;
    console.show(&checked, |console, checked| {
        console.line(format!(
            "{}  {}  (sound: {})",
            checked.key,
            plain(&file.to_string_lossy()),
            shape(checked)
        ))
    })?;
    Ok(Exit::Done)
}

fn shape(program: &ProgramChecked) -> String {
    let number = |list: usize, noun| count(list as u64, noun);
    let (inputs, nodes) = (
        number(program.inputs.len(), "input"),
        number(program.nodes.len(), "node"),
    );
    format!(
        "program: {inputs}, {nodes}, {}",
        number(program.outputs.len(), "output")
    )
}

/// `uor program show`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn show(
    key: &str,
    format: ProgramFormat,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let shown = context.site.program_show(&context.target(key)?)?;
    console.show(&shown, |console, shown| {
        let text = match format {
            ProgramFormat::Text => &shown.text,
            ProgramFormat::Dot => &shown.dot,
        };
        text.lines().try_for_each(|line| console.line(plain(line)))
    })?;
    Ok(Exit::Done)
}

/// `uor run`.
///
/// # Errors
/// [`crate::exit::Failed`]; a run without a result leaves nothing behind.
pub fn run(args: &Run, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let bind = |(name, text): &(String, OsString)| (name.clone(), binding(text, context, console));
    let inputs: Vec<(String, Binding)> = args.inputs.iter().map(bind).collect();
    let options = RunOptions {
        recompute: args.recompute,
        fuel: args.fuel,
    };
    let meter = &mut console.meter;
    let ran = context
        .site
        .run(&args.program, &inputs, &options, &mut |now| {
            meter.items("running nodes", now.executed + now.reused, None);
        })?;
    console.meter.end();
    console.show(&ran, human_ran)?;
    if ran.conflict {
        console.warn(format!(
            "Another site claims another outcome: a conflict was recorded.\nHint: `uor conflicts` shows the claims; \
             `uor-replay exec {} --receipt {}` runs it again",
            plain(&context.site.dir().to_string_lossy()),
            short(ran.receipt)
        ));
    }
    Ok(if ran.conflict || ran.failure.is_some() {
        Exit::Attention
    } else {
        Exit::Done
    })
}

/// What an input is bound to: a key or ref if the text means one here, else a path. `./NAME` and
/// `/NAME` are always paths.
fn binding(text: &OsStr, context: &Context<'_>, console: &Console<'_>) -> Binding {
    let path = console.path(Path::new(text));
    let as_path = text
        .to_str()
        .is_none_or(|text| text.starts_with('/') || text.starts_with('.'));
    match text.to_str() {
        Some(text) if !as_path && (context.target(text).is_ok() || !path.exists()) => {
            Binding::Text(text.to_owned())
        }
        _ => Binding::Path(path),
    }
}

fn human_ran(console: &mut Console<'_>, ran: &Ran) -> io::Result<()> {
    let paint = console.paint();
    for (name, key) in &ran.outputs {
        console.line(format!("{key}  {}", plain(name)))?;
    }
    if let Some(failure) = &ran.failure {
        let detail = failure
            .detail
            .as_deref()
            .map(|detail| format!(" ({})", plain(detail)))
            .unwrap_or_default();
        console.line(paint.red(&format!(
            "failed at node {}: {}{detail}",
            plain(&failure.node),
            failure.kind
        )))?;
    }
    console.line(format!(
        "receipt {}  ({} executed, {} reused)",
        ran.receipt,
        count(ran.executed, "node"),
        ran.reused
    ))
}

/// `uor receipt show`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn receipt(
    key: &str,
    at: Option<&str>,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let at = context.at(at)?;
    let shown = context
        .site
        .receipt_show(&context.site.resolve(key, &at)?, &at)?;
    console.show(&shown, human_receipt)?;
    Ok(if shown.conflict {
        Exit::Attention
    } else {
        Exit::Done
    })
}

fn human_receipt(console: &mut Console<'_>, shown: &ReceiptShown) -> io::Result<()> {
    let paint = console.paint();
    console.line(format!(
        "receipt  {}",
        paint.bold(&shown.receipt.to_string())
    ))?;
    console.line(format!("program  {}", shown.program))?;
    shown
        .inputs
        .iter()
        .try_for_each(|input| console.line(format!("input    {input}")))?;
    console.line(format!("profile  {}", plain(&shown.profile)))?;
    match &shown.failure {
        Some(failure) => {
            let detail = failure
                .detail
                .as_deref()
                .map(|detail| format!(" ({})", plain(detail)))
                .unwrap_or_default();
            console.line(format!(
                "status   {} at {}: {}{detail}",
                shown.status,
                plain(&failure.node),
                failure.kind
            ))?;
        }
        None => console.line(format!("status   {}", shown.status))?,
    }
    for (name, key) in &shown.outputs {
        console.line(format!("output   {key}  {}", plain(name)))?;
    }
    if !shown.trace.is_empty() {
        let mut table = Table::new(&["node", "receipt", "outcome"]);
        shown.trace.iter().for_each(|step| {
            table.row([step.node.clone(), short(step.receipt), short(step.outcome)])
        });
        console.line("")?;
        table
            .lines(paint)
            .iter()
            .try_for_each(|line| console.line(line))?;
    }
    let mut table = Table::new(&["claimed by", "outcome", ">logseq", "commit"]);
    for claim in &shown.claims {
        let hash = claim.hash.map_or_else(|| "-".to_owned(), short);
        let who = site(claim.name.as_deref(), claim.domain.short());
        table.row([who, short(claim.checksum), claim.logseq.to_string(), hash]);
    }
    console.line("")?;
    table
        .lines(paint)
        .iter()
        .try_for_each(|line| console.line(line))?;
    if shown.conflict {
        console.line(paint.red("The claims differ: this is an open conflict."))?;
    }
    Ok(())
}
