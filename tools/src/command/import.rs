//! `import zfs`.

use std::path::Path;

use uor_node::site::text::count;
use uor_node::site::{ImportError, ImportOptions, ImportProgress, ImportReport, Imported};

use super::Context;
use crate::cli::ImportZfs;
use crate::code::Code;
use crate::console::{Console, Meter};
use crate::exit::{Exit, Failed, Outcome};
use crate::render::{plain, size};

/// `uor import zfs`.
///
/// # Errors
/// [`Failed`].
pub fn zfs(args: &ImportZfs, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let options = ImportOptions {
        reference: args.reference.as_deref(),
        volume: args.volume,
    };
    let report = read(args, &options, context, console)?;
    console.meter.end();
    console.show_each(&report.imported, |console, imported| {
        imported
            .iter()
            .try_for_each(|imported| console.line(human(imported)))
    })?;
    report
        .warnings
        .iter()
        .for_each(|warning| console.warn(plain(warning)));
    Ok(if report.warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

fn read(
    args: &ImportZfs,
    options: &ImportOptions<'_>,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome<ImportReport> {
    let mounted = args.mounted.as_deref().map(|path| console.path(path));
    let stream = args
        .stream
        .as_deref()
        .filter(|stream| *stream != Path::new("-"))
        .map(|path| console.path(path));
    let Console {
        input,
        meter,
        cancel,
        ..
    } = console;
    if let Some(directory) = mounted {
        return Ok(context
            .site
            .import_zfs_mounted(&directory, options, &mut |now| tell(meter, now, None))?);
    }
    let Some(path) = stream else {
        return Ok(context
            .site
            .import_zfs(input, options, &mut |now| tell(meter, now, None))?);
    };
    let opened = cancel
        .open(&path)
        .and_then(|opened| Ok((opened.file().metadata()?.len(), opened)));
    let unread = |source| ImportError::Read {
        path: path.clone(),
        source,
    };
    let (len, mut file) = opened.map_err(unread)?;
    if path.is_dir() {
        let message = format!(
            "{} is a directory, not a stream",
            plain(&path.to_string_lossy())
        );
        return Err(Failed::new(message)
            .code(Code::WrongKind)
            .hint("--mounted imports a mounted snapshot"));
    }
    // A pipe has no length that is known.
    let total = Some(len).filter(|len| *len > 0);
    Ok(context
        .site
        .import_zfs(&mut file, options, &mut |now| tell(meter, now, total))?)
}

fn tell(meter: &mut Meter<'_>, now: ImportProgress, total: Option<u64>) {
    if now.stored == 0 {
        meter.bytes("reading", now.bytes, total);
    } else {
        meter.bytes("storing", now.stored, None);
    }
}

fn human(imported: &Imported) -> String {
    let Imported {
        tree,
        files,
        bytes,
        new_bytes,
        zfs,
        reference,
        known,
        ..
    } = imported;
    let name = plain(&zfs.to_name);
    let guid = zfs
        .to_guid
        .map(|guid| format!("GUID {guid:016x}, "))
        .unwrap_or_default();
    let reference = reference
        .as_deref()
        .map(|name| format!(" as {}", plain(name)))
        .unwrap_or_default();
    if *known {
        return format!("{tree}  {name}{reference}  ({guid}is here already)");
    }
    let (files, bytes, new_bytes) = (count(*files, "file"), size(*bytes), size(*new_bytes));
    format!("{tree}  {name}{reference}  ({guid}{files}, {bytes}, {new_bytes} new)")
}
