//! `gc` and `erase`: how things leave the disk.

use uor_node::site::text::count;

use super::Context;
use crate::cli::Erase;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{plain, size};

/// `uor gc`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn gc(dry_run: bool, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let meter = &mut console.meter;
    let on_progress = &mut |done, total| meter.items("looking at what is shown", done, Some(total));
    let gathered = context.site.gc(dry_run, on_progress)?;
    console.meter.end();
    console.show(&gathered, |console, gathered| {
        let (payloads, bytes) = (count(gathered.payloads, "payload"), size(gathered.bytes_freed));
        let freed = if gathered.dry_run { "would be freed" } else { "freed" };
        let kept = count(gathered.snapshots_retained, "kept snapshot");
        console.line(format!("{payloads} {freed}, {bytes} on disk; {kept} and the present state stay as they are"))?;
        if gathered.bytes_held > 0 {
            let held = size(gathered.bytes_held);
            console.line(format!(
                "{held} more can be freed once what lies beside them has room to move, or is mended: free some space, see \
                 `uor-replay verify`, and run `uor gc` again"
            ))?;
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}

/// `uor erase`.
///
/// # Errors
/// [`crate::exit::Failed`].
pub fn erase(args: &Erase, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let at = context.at(args.at.as_deref())?;
    let erased = context.site.erase(&args.key, &at)?;
    console.show(&erased, |console, erased| {
        let bytes = size(erased.bytes);
        console.line(format!(
            "{}  {}  erased here ({bytes} overwritten)",
            erased.key,
            plain(&args.key)
        ))
    })?;
    Ok(Exit::Done)
}
