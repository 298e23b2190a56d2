//! `backup` and `restore`.

use std::path::{Path, PathBuf};

use uor_node::site::text::count;
use uor_node::site::{BackupProgress, Site};

use super::Context;
use crate::cli::{Backup, Restore};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::render::{plain, size};

/// `uor backup`.
///
/// # Errors
/// [`crate::exit::Failed`]; the backup before is in place then.
pub fn backup(args: &Backup, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let dir = console.path(&args.dir);
    let meter = &mut console.meter;
    let done = context
        .site
        .backup(&dir, args.damaged, &mut |progress| match progress {
            BackupProgress::Copied(done, total) => {
                meter.bytes("copying and reading back", done, Some(total));
            }
            BackupProgress::Verified(done, total) => meter.bytes("verifying", done, Some(total)),
        })?;
    console.meter.end();
    console.show(&done, |console, done| {
        console.line(format!(
            "{}  {}",
            plain(&done.path.to_string_lossy()),
            count(done.commits, "own commit")
        ))?;
        let (files, bytes, new) = (
            count(done.files, "file"),
            size(done.bytes),
            size(done.new_bytes),
        );
        console.line(format!(
            "{files}, {bytes}, {new} of it new; every byte was read back"
        ))
    })?;
    warn_of_unreadable(&done.unreadable, console);
    console.note(
        "The backup holds the site's key: whoever can read it can write in the name of this site",
    );
    if done.damaged.is_empty() {
        return Ok(Exit::Done);
    }
    for damage in &done.damaged {
        console.warn(format!(
            "damaged, here and in the backup: {}",
            plain(damage)
        ));
    }
    console
        .note("The backups before are where they were; the next that is sound takes their place");
    Ok(Exit::Attention)
}

/// `uor restore`.
///
/// # Errors
/// [`crate::exit::Failed`]; the data directory is as it was then.
pub fn restore(args: &Restore, dir: &Path, console: &mut Console<'_>) -> Outcome {
    let from = console.path(&args.dir);
    let (meter, cancel) = (&mut console.meter, &console.cancel);
    let restored = Site::restore(&from, dir, cancel, &mut |done, total| {
        meter.bytes("copying", done, Some(total))
    })?;
    console.meter.end();
    console.show(&restored, |console, restored| {
        console.line(format!("site        {}", restored.site_id))?;
        console.line(format!(
            "data        {}",
            plain(&restored.data.to_string_lossy())
        ))?;
        console.line(format!(
            "from        {}",
            plain(&restored.from.to_string_lossy())
        ))?;
        console.line(format!("own log     {}", count(restored.commits, "commit")))
    })?;
    warn_of_unreadable(&restored.unreadable, console);
    for damage in &restored.damaged {
        console.warn(format!("damaged in the backup: {}", plain(damage)));
    }
    if let Some(sound) = &restored.sound {
        let sound = plain(&sound.to_string_lossy());
        console.note(format!("{sound} is older, and was sound when it was made"));
    }
    if restored.asks_first {
        console.note(
            "Hint: what this site wrote after the backup is at the others: it asks them before it writes, when `uor node` \
             runs or with `uor recover`. The site must not run anywhere else any more.",
        );
    } else {
        console.note(
            "This site has no others to ask. What it wrote after the backup is lost; it must not run anywhere else",
        );
    }
    Ok(if restored.damaged.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// A backup without a manifest that can be read may be what is left of a newer one.
fn warn_of_unreadable(paths: &[PathBuf], console: &mut Console<'_>) {
    for path in paths {
        console.warn(format!(
            "{} has no manifest that can be read, and was left as it is: remove it when nothing in it is needed any more",
            plain(&path.to_string_lossy())
        ));
    }
}
