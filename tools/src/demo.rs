//! `uor demo`: three sites on this machine, over real libp2p, from founding to audit.
//!
//! Every step is what a person would do, through the same libraries as the commands: found, invite,
//! join, add, run, cut the network, write on both sides, heal, audit. Each wait ends with a check,
//! and the end is what `uor-replay audit` says of the three data directories.

mod site;
mod steps;

use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_node::audit::{Audited, Executed, Report, Verdict, Verification, audit};
use uor_node::clock::wall_ms;
use uor_node::site::text::count;

use crate::audit::watch;
use crate::code::Code;
use crate::console::Console;
use crate::exit::{Exit, Failed, Outcome};
use crate::render::{Table, short, size};
use crate::scratch::Scratch;

use self::site::{Ended, Federation};
use self::steps::{Counted, Ingested};

/// What the demo shows at its end.
#[derive(Debug, Serialize)]
struct Shown {
    verdict: Verdict,
    data: PathBuf,
    ingested: Ingested,
    counted: Counted,
    sites: Vec<SiteShown>,
    milliseconds: u64,
}

/// One site at the end.
#[derive(Debug, Serialize)]
struct SiteShown {
    name: String,
    commits: u64,
    entries: u64,
    state_root: Option<String>,
    receipts: u64,
    receipts_verified: u64,
    verify: Verdict,
    /// How long it took, in all waits together, until everything that was written elsewhere had
    /// arrived.
    complete_ms: u64,
}

/// Runs the demo on the files of `dir`.
///
/// # Errors
/// [`Failed`] if a step fails or anything disagrees; the sites are then left in place to be looked
/// at.
pub fn run(dir: Option<&Path>, console: &mut Console<'_>) -> Outcome<Exit> {
    let began_ms = wall_ms();
    // Collecting the components drops the `.` of the current directory.
    let source: PathBuf = console
        .path(dir.unwrap_or_else(|| Path::new(".")))
        .components()
        .collect();
    if !source.is_dir() {
        let missing = format!("{} is no directory", source.display());
        return Err(Failed::new(missing)
            .code(Code::FileNotFound)
            .hint("`uor demo` takes a directory whose files it adds"));
    }
    let root = Scratch::new("uor-demo")?;
    match play(&source, root.path(), began_ms, console) {
        Ok(shown) if shown.verdict == Verdict::Agrees => {
            console.show(&shown, render)?;
            Ok(Exit::Done)
        }
        Ok(shown) => {
            let failed = Failed::new("the sites do not agree").hint(left_in_place(root));
            console.show(&shown, render)?;
            Err(failed)
        }
        Err(failed) => Err(failed.hint(left_in_place(root))),
    }
}

/// Leaves the sites where they are, to be looked at, and says so.
fn left_in_place(root: Scratch) -> String {
    let path = root.path().to_owned();
    root.keep();
    format!(
        "the three data directories are left in {}: `uor-replay audit` them",
        path.display()
    )
}

fn play(source: &Path, root: &Path, began_ms: u64, console: &mut Console<'_>) -> Outcome<Shown> {
    console.note(format!("Three sites in {}", root.display()));
    let mut federation = Federation::found(root, console)?;
    let ingested = steps::ingest(&federation, source, console)?;
    federation.agree("every site has every record and every byte", console)?;
    let counted = steps::run_program(&federation, root, console)?;
    federation.agree("the results are everywhere", console)?;
    steps::write_apart(&mut federation, console)?;
    federation.agree("both sides have caught up", console)?;
    let ended = federation.stop()?;

    console.note("Auditing all three: every byte, the state of each, and every receipt executed again at every site …");
    let opened = ended
        .iter()
        .map(|site| Audited::open(site.name, site.dir.clone()).map_err(Failed::from))
        .collect::<Outcome<Vec<_>>>()?;
    let report = audit(&opened, None, &mut |progress| {
        watch(&mut console.meter, progress)
    })?;
    console.meter.end();
    Ok(Shown {
        verdict: report.verdict,
        data: root.to_owned(),
        ingested,
        counted,
        sites: sites(&report, &ended),
        milliseconds: wall_ms().saturating_sub(began_ms),
    })
}

fn sites(report: &Report, ended: &[Ended]) -> Vec<SiteShown> {
    let shown = |((verified, executed), ended): ((&Verification, &Executed), &Ended)| SiteShown {
        name: verified.store.clone(),
        commits: verified.commits,
        entries: verified.entries,
        state_root: verified.state_root.clone(),
        receipts: executed.claims,
        receipts_verified: executed.identical,
        verify: verified.verdict,
        complete_ms: ended.complete_ms,
    };
    report
        .stores
        .iter()
        .zip(&report.executions)
        .zip(ended)
        .map(shown)
        .collect()
}

fn render(console: &mut Console<'_>, shown: &Shown) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "site",
        ">commits",
        ">entries",
        "state root",
        ">receipts verified",
        "every byte",
        ">caught up after",
    ]);
    for site in &shown.sites {
        table.row([
            site.name.clone(),
            site.commits.to_string(),
            site.entries.to_string(),
            site.state_root
                .as_deref()
                .map_or_else(|| "-".to_owned(), short),
            format!("{} of {}", site.receipts_verified, site.receipts),
            site.verify.name().to_owned(),
            format!("{} ms", site.complete_ms),
        ]);
    }
    let paint = console.paint();
    console.line("")?;
    table
        .lines(paint)
        .iter()
        .try_for_each(|line| console.line(line))?;
    console.line("")?;
    let Counted {
        files,
        lines,
        words,
        bytes,
        digest,
        ..
    } = &shown.counted;
    console.line(format!(
        "counted   {lines} lines, {words} words, {bytes} bytes in {}; digest {}",
        count(*files, "file"),
        short(digest)
    ))?;
    console.line(format!(
        "ingested  {} in {}",
        size(shown.ingested.bytes),
        count(shown.ingested.files, "file")
    ))?;
    let seconds = std::time::Duration::from_millis(shown.milliseconds).as_secs_f32();
    let agree = shown.verdict == Verdict::Agrees;
    let verdict = if agree {
        paint.green("all three sites agree")
    } else {
        paint.red("the sites do NOT agree")
    };
    console.line(format!("verdict   {verdict}, after {seconds:.1} s"))
}
