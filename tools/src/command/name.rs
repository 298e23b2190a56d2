//! `ref` and `rm`.

use uor_node::site::text::count;
use uor_node::site::{RemoveError, Target};

use super::Context;
use crate::cli::Rm;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::render::{Table, plain, short, size};

/// `uor ref set`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn set(name: &str, key: &str, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let target = context.target(key)?;
    let set = context.site.ref_set(name, &target)?;
    console.show(&set, |console, set| {
        let before = set.previous.filter(|previous| *previous != set.key);
        let before = before
            .map(|previous| format!("  (was {})", short(previous)))
            .unwrap_or_default();
        console.line(format!("{} -> {}{before}", set.name, set.key))
    })?;
    Ok(Exit::Done)
}

/// `uor ref ls`, and `uor ls` without a key.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn ls(at: Option<&str>, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let refs = context.site.refs(&context.at(at)?)?;
    if refs.is_empty() && !console.style.json {
        console.note(
            "There are no refs yet: `uor add PATH --ref NAME` or `uor ref set NAME KEY` makes one.",
        );
        return Ok(Exit::Done);
    }
    console.show_each(&refs, |console, refs| {
        let mut table = Table::new(&["name", "kind", "key", ">logseq", "by"]);
        for listed in refs {
            let kind = listed.kind.map_or("unknown here", |kind| kind.name());
            table.row([
                listed.name.clone(),
                kind.to_owned(),
                short(listed.key),
                listed.logseq.to_string(),
                listed.domain.short(),
            ]);
        }
        let paint = console.paint();
        table
            .lines(paint)
            .iter()
            .try_for_each(|line| console.line(line))
    })?;
    Ok(Exit::Done)
}

/// `uor rm`.
///
/// # Errors
/// [`Failed`].
pub fn rm(args: &Rm, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let target = context.target(&args.key)?;
    if args.recursive {
        return rm_recursive(&target, args.force, context, console);
    }
    let meter = &mut console.meter;
    let removed = context
        .site
        .rm(&target, &mut |trees| {
            meter.items("looking at trees", trees, None)
        })
        .map_err(refused)?;
    console.meter.end();
    console.show(&removed, |console, removed| {
        console.line(format!(
            "{}  {} shadowed from logseq {} on",
            removed.id,
            removed.kind.name(),
            removed.logseq
        ))
    })?;
    for name in &removed.broken.named {
        console.warn(format!(
            "{} no longer shows everything: {} is gone from it",
            plain(name),
            short(removed.id)
        ));
    }
    if removed.broken.unnamed() > 0 {
        console.warn(format!(
            "and {} more",
            count(removed.broken.unnamed(), "name")
        ));
    }
    say_unread(removed.unread, console);
    Ok(if removed.broken.total > 0 {
        Exit::Attention
    } else {
        Exit::Done
    })
}

fn rm_recursive(
    target: &Target,
    force: bool,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let meter = &mut console.meter;
    let on_progress = &mut |trees| meter.items("looking at what shows it", trees, None);
    let removed = context
        .site
        .rm_recursive(target, force, on_progress)
        .map_err(refused)?;
    console.meter.end();
    console.show(&removed, |console, removed| {
        let (files, trees) = (count(removed.files, "file"), count(removed.trees, "tree"));
        let (bytes, kept) = (size(removed.bytes), removed.kept);
        let (id, kind) = (removed.id, removed.kind.name());
        console.line(format!("{id}  {kind} shadowed, with {files} and {trees} ({bytes}); {kept} stay, shown elsewhere"))
    })?;
    if removed.kept > 0 {
        console.note(format!(
            "what stays is shown by {}",
            plain(&removed.kept_by.to_string())
        ));
    }
    say_unread(removed.unread, console);
    Ok(if removed.unread > 0 {
        Exit::Attention
    } else {
        Exit::Done
    })
}

fn say_unread(unread: u64, console: &mut Console<'_>) {
    if unread > 0 {
        console.warn(format!(
            "{} not here: whether it shows this as well is not known",
            count(unread, "tree")
        ));
    }
}

/// Says what to do about what is not removed.
fn refused(error: RemoveError) -> Failed {
    let hint = match &error {
        RemoveError::InsideTree { key, .. } => format!(
            "add the directory again without it and give the name to that; or `uor rm --recursive NAME` the whole; or \
             `uor rm {}`, which takes it from everything",
            short(key)
        ),
        RemoveError::StillShown { .. } => {
            "give the name in place of the key, or remove what shows it first".to_owned()
        }
        RemoveError::NotHere { .. } => {
            "wait until they have arrived (`uor status`), or say --force to go on without knowing"
                .to_owned()
        }
        _ => return error.into(),
    };
    Failed::from(error).hint(hint)
}
