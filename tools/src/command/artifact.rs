//! `add`, `get`, `ls`, `cat`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_index_format::codec::hex;
use uor_node::site::text::count;
use uor_node::site::text::escaped;
use uor_node::site::{
    AddEvent, AddOptions, Added, Listed, ListedKind, Progress, Site, Sort, Source, Target,
};

use super::{Context, add, name};
use crate::cli::{Add, Cat, Get, Ls};
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::render::{Table, mode, plain, short_or_dash, shown_name, size};

/// The longest content that goes into a JSON document, in bytes.
const JSON_CONTENT_LEN_MAX: u64 = 64 << 20;

/// `uor add`.
///
/// # Errors
/// [`Failed`].
pub fn add(args: &Add, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
    if args.paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Failed::usage("standard input can be added only once"));
    }
    if args.reference.is_some() && args.paths.len() > 1 {
        return Err(
            Failed::usage(format!("--ref names one thing, not {}", args.paths.len()))
                .hint("add the paths one by one, or the directory that holds them"),
        );
    }
    let paths: Vec<PathBuf> = args.paths.iter().map(|path| console.path(path)).collect();
    let excludes = add::excludes(args, console)?;
    let options = AddOptions {
        type_tag: args.type_tag,
        reference: args.reference.as_deref(),
        reread: args.checksum,
        excludes: Some(&excludes),
        ignores_uorignore: args.no_uorignore,
        allows_changing: args.allow_changing,
        ..AddOptions::default()
    };
    if args.dry_run {
        return add::plan(args, paths, &options, context, console);
    }
    let Console {
        input,
        meter,
        out,
        style,
        ..
    } = console;
    let mut stdin = Some(input);
    let mut sources = Vec::new();
    for (given, path) in args.paths.iter().zip(paths) {
        match stdin.take_if(|_| is_stdin(given)) {
            Some(reader) => sources.push(Source::Reader {
                label: "-".to_owned(),
                reader,
            }),
            None => sources.push(Source::Path(path)),
        }
    }
    let mut given = args.paths.iter();
    let mut written = Ok(());
    let mut remarks = add::Remarks::default();
    context
        .site
        .add(sources, &options, &mut |event| match event {
            AddEvent::Progress(now) => meter.bytes(&adding(&now), now.bytes, now.bytes_total),
            AddEvent::Added(added) => {
                meter.end();
                remarks.note(added);
                let added = add::as_given(given.next(), added);
                let line = if style.json {
                    out.json(&added)
                } else {
                    writeln!(out, "{}", human_added(&added))
                };
                let line = line.and_then(|()| out.flush());
                // What follows is still added when nobody reads any more: that was asked for.
                if written.is_ok() {
                    written = line;
                }
            }
        })
        .map_err(add::refused)?;
    console.meter.end();
    written?;
    Ok(remarks.say(console))
}

fn adding(now: &Progress) -> String {
    match now.files_total {
        Some(total) => format!("adding {} of {}", now.files, count(total, "file")),
        None => "adding".to_owned(),
    }
}

fn human_added(added: &Added) -> String {
    let files = if added.kind == Sort::Tree {
        format!("{}, ", count(added.files, "file"))
    } else {
        String::new()
    };
    let (key, path) = (added.key, shown_name(&added.path, added.path_hex.is_some()));
    format!(
        "{key}  {path}  ({}: {files}{}, {} new)",
        added.kind.name(),
        size(added.bytes),
        size(added.new_bytes)
    )
}

/// `uor get`.
///
/// # Errors
/// [`Failed`].
pub fn get(args: &Get, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let at = context.at(args.at.as_deref())?;
    let target = context.site.resolve(&args.key, &at)?;
    let output = args
        .output
        .as_deref()
        .filter(|output| *output != Path::new("-"));
    let Some(output) = output else {
        if target.sort == Sort::Tree {
            return Err(Failed::usage(format!(
                "`{}` is a tree: say where to write it with --output",
                args.key
            )));
        }
        return content(context.site, &target, false, console);
    };
    let path = console.path(output);
    let len = (target.sort != Sort::Tree).then_some(target.len);
    let meter = &mut console.meter;
    let written = context
        .site
        .materialise(&target, &at, &path, &mut |_, bytes| {
            meter.bytes("writing", bytes, len)
        })?;
    console.meter.end();
    console.show(&written, |console, written| {
        let (files, bytes) = (count(written.files, "file"), size(written.bytes));
        console.line(format!(
            "{}  {}  ({}: {files}, {bytes})",
            written.key,
            plain(&escaped(output.as_os_str().as_bytes())),
            written.kind.name()
        ))
    })?;
    written
        .warnings
        .iter()
        .for_each(|warning| console.warn(plain(warning)));
    Ok(if written.warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// `uor cat`.
///
/// # Errors
/// [`Failed`].
pub fn cat(args: &Cat, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let at = context.at(args.at.as_deref())?;
    let target = context.site.resolve(&args.key, &at)?;
    content(context.site, &target, true, console)
}

/// A file's bytes on standard output: as they are, or inside a JSON document.
fn content(site: &Site, target: &Target, only_files: bool, console: &mut Console<'_>) -> Outcome {
    let mut opened = if only_files {
        site.open_file(target)?
    } else {
        site.open_payload(target)?
    };
    if console.style.json {
        if opened.len > JSON_CONTENT_LEN_MAX {
            return Err(Failed::new(format!(
                "{} are too much for a JSON document",
                size(opened.len)
            ))
            .hint("leave out --json, or write to a file with `uor get KEY --output PATH`"));
        }
        let mut bytes = Vec::new();
        opened.reader.read_to_end(&mut bytes)?;
        console.out.json(&ContentShown::of(target, &bytes))?;
        return Ok(Exit::Done);
    }
    copy(&mut opened.reader, opened.len, console)?;
    Ok(Exit::Done)
}

fn copy(reader: &mut dyn io::Read, len: u64, console: &mut Console<'_>) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    let mut done = 0;
    loop {
        let read = reader.read(&mut piece)?;
        if read == 0 {
            break;
        }
        console
            .out
            .write_all(piece.get(..read).unwrap_or_default())?;
        done += read as u64;
        console.meter.bytes("reading", done, Some(len));
    }
    console.meter.end();
    Ok(())
}

#[derive(Serialize)]
struct ContentShown {
    key: String,
    kind: Sort,
    bytes: usize,
    encoding: &'static str,
    content: String,
}

impl ContentShown {
    fn of(target: &Target, bytes: &[u8]) -> Self {
        let (encoding, content) = match std::str::from_utf8(bytes) {
            Ok(text) => ("utf-8", text.to_owned()),
            Err(_) => ("hex", hex(bytes)),
        };
        Self {
            key: target.id.to_string(),
            kind: target.sort,
            bytes: bytes.len(),
            encoding,
            content,
        }
    }
}

/// `uor ls`.
///
/// # Errors
/// [`Failed`].
pub fn ls(args: &Ls, context: &Context<'_>, console: &mut Console<'_>) -> Outcome {
    let Some(key) = &args.key else {
        return name::ls(args.at.as_deref(), context, console);
    };
    let at = context.at(args.at.as_deref())?;
    let target = context.site.resolve(key, &at)?;
    let entries = context.site.list_tree(&target)?;
    console.show_each(&entries, |console, entries| {
        let mut table = Table::new(&["mode", ">bytes", "key", "name"]);
        for entry in entries {
            let bytes = entry.bytes.map_or_else(|| "-".to_owned(), size);
            table.row([
                entry_mode(entry),
                bytes,
                short_or_dash(entry.key),
                entry_name(entry),
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

fn entry_mode(entry: &Listed) -> String {
    let letter = match entry.kind {
        ListedKind::File => '-',
        ListedKind::Tree => 'd',
        ListedKind::Symlink => 'l',
        ListedKind::Fifo => 'p',
        ListedKind::Socket => 's',
        ListedKind::Char => 'c',
        ListedKind::Block => 'b',
    };
    mode(letter, entry.mode)
}

fn entry_name(entry: &Listed) -> String {
    let name = shown_name(&entry.name, entry.name_hex.is_some());
    match (entry.kind, &entry.target) {
        (ListedKind::Tree, _) => format!("{name}/"),
        (ListedKind::Symlink, Some(target)) => {
            format!(
                "{name} -> {}",
                shown_name(target, entry.target_hex.is_some())
            )
        }
        _ => name,
    }
}
