//! `ref` and `rm`.

use super::Context;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{Table, short};

/// `uor ref set`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn set(name: &str, key: &str, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let target = context.target(key)?;
    let set = context.site.ref_set(name, &target)?;
    console.show(&set, |console, set| {
        let before = set.previous.filter(|previous| *previous != set.key);
        let before = before.map(|previous| format!("  (was {})", short(previous))).unwrap_or_default();
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
        console.note("There are no refs yet: `uor add PATH --ref NAME` or `uor ref set NAME KEY` makes one.");
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
        table.lines(paint).iter().try_for_each(|line| console.line(line))
    })?;
    Ok(Exit::Done)
}

/// `uor rm`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn rm(key: &str, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let target = context.target(key)?;
    let removed = context.site.rm(&target)?;
    console.show(&removed, |console, removed| {
        console.line(format!("{}  {} shadowed from logseq {} on", removed.id, removed.kind.name(), removed.logseq))
    })?;
    Ok(Exit::Done)
}
