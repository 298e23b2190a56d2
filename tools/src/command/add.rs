//! What `add` says beside what was added: what was left out, what would be, and what to do about
//! it.

use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use uor_node::site::text::count;
use uor_node::site::text::{escaped, hex_of, text_of};
use uor_node::site::{AddError, AddOptions, Added, Excludes, Fate, LeftOut, Planned, Source};

use super::Context;
use crate::cli::Add;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::render::{plain, shown_name, size};

/// What is not wanted.
pub(super) fn excludes(args: &Add, console: &Console<'_>) -> Outcome<Excludes> {
    let mut excludes = Excludes::default();
    args.exclude_from
        .iter()
        .try_for_each(|file| excludes.file(&console.path(file), &console.cancel))?;
    args.exclude
        .iter()
        .try_for_each(|pattern| excludes.pattern(pattern))?;
    Ok(excludes)
}

/// Says what to do about what is not added.
pub(super) fn refused(error: AddError) -> Failed {
    let hint = match &error {
        AddError::DataDirectory { .. } => {
            "add what is outside of it; a site's contents are copied by sites that join it"
        }
        AddError::Key { .. } => {
            "whoever has it writes as that site; if it is something else, let others read it (chmod go+r)"
        }
        AddError::Changing { .. } => {
            "add it when it is at rest, or a snapshot of its file system; --exclude leaves it out, --allow-changing \
             stores it all the same"
        }
        _ => return error.into(),
    };
    Failed::from(error).hint(hint)
}

/// What was added, with the path as it was given.
pub(super) fn as_given(given: Option<&PathBuf>, added: &Added) -> Added {
    let Some(given) = given.map(|given| given.as_os_str().as_bytes()) else {
        return added.clone();
    };
    Added {
        path: text_of(given),
        path_hex: hex_of(given),
        ..added.clone()
    }
}

/// What has to be said about things that were added.
#[derive(Default)]
pub(super) struct Remarks {
    left_out: Vec<LeftOut>,
    unnamed: u64,
    changing: Vec<String>,
    changing_unnamed: u64,
    excluded: u64,
}

impl Remarks {
    pub(super) fn note(&mut self, added: &Added) {
        self.left_out.extend_from_slice(&added.left_out.named);
        self.unnamed += added.left_out.unnamed();
        self.changing.extend_from_slice(&added.changing.named);
        self.changing_unnamed += added.changing.unnamed();
        self.excluded += added.excluded;
    }

    /// Says it; what was left out by necessity needs attention, what was not wanted does not.
    pub(super) fn say(&self, console: &mut Console<'_>) -> Exit {
        if self.excluded > 0 {
            console.note(format!(
                "left out {} as asked",
                count(self.excluded, "path")
            ));
        }
        for LeftOut {
            path,
            path_hex,
            reason,
        } in &self.left_out
        {
            console.warn(format!(
                "left out {}: {}",
                shown_name(path, path_hex.is_some()),
                plain(&reason.to_string())
            ));
        }
        for path in &self.changing {
            console.warn(format!(
                "{} kept changing: it is stored as it was read last, which it may never have been",
                plain(path)
            ));
        }
        for unnamed in [self.unnamed, self.changing_unnamed]
            .into_iter()
            .filter(|unnamed| *unnamed > 0)
        {
            console.warn(format!("and {unnamed} more"));
        }
        if self.left_out.is_empty() && self.changing.is_empty() {
            Exit::Done
        } else {
            Exit::Attention
        }
    }
}

/// `uor add --dry-run`.
pub(super) fn plan(
    args: &Add,
    paths: Vec<PathBuf>,
    options: &AddOptions<'_>,
    context: &Context<'_>,
    console: &mut Console<'_>,
) -> Outcome {
    let mut nothing = io::empty();
    let (mut written, mut stdin) = (Ok(()), Some(&mut nothing as &mut dyn Read));
    let source =
        |(given, path): (&PathBuf, PathBuf)| match stdin.take_if(|_| given.as_os_str() == "-") {
            Some(reader) => Source::Reader {
                label: "-".to_owned(),
                reader,
            },
            None => Source::Path(path),
        };
    let sources: Vec<Source<'_>> = args.paths.iter().zip(paths).map(source).collect();
    let planned = {
        let (out, is_told) = (&mut console.out, !console.style.json);
        let mut on_path = |path: &Path, fate: &Fate| {
            let path = plain(&escaped(path.as_os_str().as_bytes()));
            let line = match fate {
                Fate::Added(Some(bytes)) => format!("would add  {path}  ({})", size(*bytes)),
                Fate::Added(None) => format!("would add  {path}"),
                Fate::Excluded => format!("left out   {path}  (as asked)"),
                Fate::LeftOut(reason) => {
                    format!("left out   {path}  ({})", plain(&reason.to_string()))
                }
            };
            if is_told && written.is_ok() {
                written = writeln!(out, "{line}");
            }
        };
        context
            .site
            .plan_add(&sources, options, &mut on_path)
            .map_err(refused)?
    };
    written?;
    let mut is_whole = true;
    for (planned, given) in planned.into_iter().zip(&args.paths) {
        let given = given.as_os_str().as_bytes();
        let planned = Planned {
            path: text_of(given),
            path_hex: hex_of(given),
            ..planned
        };
        is_whole &= planned.left_out.total == 0;
        console.show(&planned, |console, planned| {
            console.line(human_planned(planned))
        })?;
    }
    Ok(if is_whole {
        Exit::Done
    } else {
        Exit::Attention
    })
}

fn human_planned(planned: &Planned) -> String {
    let path = shown_name(&planned.path, planned.path_hex.is_some());
    let bytes = planned
        .bytes
        .map_or_else(|| "length unknown".to_owned(), size);
    let (files, kind) = (count(planned.files, "file"), planned.kind.name());
    let (excluded, left_out) = (planned.excluded, planned.left_out.total);
    format!(
        "{path}  would be added ({kind}: {files}, {bytes}); left out {excluded} as asked, {left_out} by necessity; \
         nothing was written"
    )
}
