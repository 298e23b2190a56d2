//! What the demo's people do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_index_format::edge::Role;
use uor_node::site::text::count;
use uor_node::site::{
    AddEvent, AddOptions, Binding, Bounded, EdgeDraft, LeftOut, RunOptions, Site, Source,
};

use crate::console::Console;
use crate::exit::{Failed, Outcome};
use crate::render::{plain, short, size};

use super::site::Federation;

const SOURCE: &str = "data/source";
const VERDICT: &str = "review/verdict";
const PROGRAM: &str = r#"inputs = ["source"]

[[node]]
name = "count"
op = "pel.wasm/1"
module = "wordcount.wasm"
inputs = ["source"]
each = true

[[node]]
name = "table"
op = "pel.bytes.concat/1"
inputs = ["count"]

[[node]]
name = "digest"
op = "pel.bytes.hash/1"
inputs = ["table"]

[outputs]
table = "table"
digest = "digest"
"#;
const MODULE: &[u8] = include_bytes!("../../../pel/guests/wordcount.wasm");

/// What was added.
#[derive(Debug, Serialize)]
pub(super) struct Ingested {
    pub(super) key: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) new_bytes: u64,
}

/// What the program found.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    pub(super) receipt: String,
    pub(super) files: u64,
    pub(super) lines: u64,
    pub(super) words: u64,
    pub(super) bytes: u64,
    pub(super) digest: String,
    pub(super) executed: u64,
}

/// The lab adds the files of a directory, but for what its `.gitignore` leaves out.
pub(super) fn ingest(
    federation: &Federation,
    dir: &Path,
    console: &mut Console<'_>,
) -> Outcome<Ingested> {
    let kept = not_ignored(dir)?;
    let filter = |path: &Path| kept.contains(path);
    let options = AddOptions {
        type_tag: None,
        reference: Some(SOURCE),
        filter: Some(&filter),
        ..AddOptions::default()
    };
    let added =
        federation
            .lab()
            .site
            .add(vec![Source::Path(dir.to_owned())], &options, &mut |event| {
                if let AddEvent::Progress(progress) = event {
                    console
                        .meter
                        .bytes("adding", progress.bytes, progress.bytes_total);
                }
            })?;
    console.meter.end();
    let added = added
        .into_iter()
        .next()
        .ok_or_else(|| Failed::new("nothing was added"))?;
    warn_of_left_out(&added.left_out, console);
    console.note(format!(
        "  lab adds {}: {}, {} as {SOURCE}",
        dir.display(),
        count(added.files, "file"),
        size(added.bytes)
    ));
    Ok(Ingested {
        key: added.key.to_string(),
        files: added.files,
        bytes: added.bytes,
        new_bytes: added.new_bytes,
    })
}

/// Says what was left out of the directory: a line for each reason, with one of the paths.
fn warn_of_left_out(left_out: &Bounded<LeftOut>, console: &mut Console<'_>) {
    let unnamed = left_out.unnamed();
    let mut by_reason: BTreeMap<String, Vec<&LeftOut>> = BTreeMap::new();
    for left_out in &left_out.named {
        let reason = left_out.reason.to_string();
        by_reason.entry(reason).or_default().push(left_out);
    }
    for (reason, left_out) in by_reason {
        let path = plain(&left_out[0].path);
        console.warn(match left_out.len() {
            1 => format!("  left out {path}: {reason}"),
            paths => format!(
                "  left out {}, such as {path}: {reason}",
                count(paths as u64, "path")
            ),
        });
    }
    if unnamed > 0 {
        console.warn(format!("  left out {} more", count(unnamed, "path")));
    }
}

fn not_ignored(dir: &Path) -> Outcome<BTreeSet<PathBuf>> {
    let mut walk = ignore::WalkBuilder::new(dir);
    walk.hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git");
    let path = |entry: Result<ignore::DirEntry, ignore::Error>| {
        Ok(entry.map_err(Failed::from)?.into_path())
    };
    walk.build().map(path).collect()
}

/// The hospital runs the program on the lab's files.
pub(super) fn run_program(
    federation: &Federation,
    root: &Path,
    console: &mut Console<'_>,
) -> Outcome<Counted> {
    let file = root.join("wordcount.toml");
    std::fs::write(&file, PROGRAM)?;
    std::fs::write(root.join("wordcount.wasm"), MODULE)?;
    let site = &federation.hospital().site;
    let program = site.program_add(&file, Some("program/wordcount"))?.program;
    let inputs = [("source".to_owned(), Binding::Text(SOURCE.to_owned()))];
    let ran = site.run(
        &program.key.to_string(),
        &inputs,
        &RunOptions::default(),
        &mut |progress| {
            console
                .meter
                .items("running", progress.executed + progress.reused, None);
        },
    )?;
    console.meter.end();
    if let Some(failure) = ran.failure {
        return Err(Failed::new(format!(
            "the program failed at node {}: {}",
            failure.node, failure.kind
        )));
    }
    let output = |name: &str| {
        let key = ran
            .outputs
            .iter()
            .find(|(output, _)| output == name)
            .map(|(_, key)| key.to_string());
        read_text(
            site,
            &key.ok_or_else(|| Failed::new(format!("the program has no output `{name}`")))?,
        )
    };
    let digest = output("digest")?.trim().to_owned();
    let rows: Vec<[u64; 3]> = output("table")?.lines().filter_map(row).collect();
    let sum = |column: usize| rows.iter().filter_map(|row| row.get(column)).sum();
    console.note(format!(
        "  hospital runs wordcount on every file of {SOURCE}: {}, receipt {}",
        count(rows.len() as u64, "file"),
        short(ran.receipt)
    ));
    Ok(Counted {
        receipt: ran.receipt.to_string(),
        files: rows.len() as u64,
        lines: sum(0),
        words: sum(1),
        bytes: sum(2),
        digest,
        executed: ran.executed,
    })
}

fn row(line: &str) -> Option<[u64; 3]> {
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

fn read_text(site: &Site, key: &str) -> Outcome<String> {
    let head = site.head();
    let mut text = String::new();
    site.open_payload(&site.resolve(key, &head)?)?
        .reader
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The plant is cut off; both sides change the same names, edges and artifacts; then the network is
/// mended.
pub(super) fn write_apart(federation: &mut Federation, console: &mut Console<'_>) -> Outcome<()> {
    federation.cut()?;
    console.note(
        "  the network is cut: plant is alone (its connections are closed, new ones refused)",
    );
    let (lab, plant) = (&federation.lab().site, &federation.plant().site);
    review(lab, "accepted by the lab\n", Role::From)?;
    review(plant, "rejected by the plant\n", Role::Both)?;
    review(plant, "rejected by the plant, again\n", Role::To)?;
    let program = lab.resolve("program/wordcount", &lab.head())?;
    lab.ref_set("program/latest", &program)?;
    plant.rm(
        &plant.resolve("program/wordcount", &plant.head())?,
        &mut |_| {},
    )?;
    federation.agree_without_plant()?;
    let (here, there) = (federation.lab().site.head(), federation.plant().site.head());
    if here.frontier == there.frontier {
        return Err(Failed::new(
            "the network was to be cut, and both sides are at one place",
        ));
    }
    console.note(format!(
        "  both sides write: lab and hospital are at logseq {}, plant is at {}",
        here.logseq_max, there.logseq_max
    ));
    federation.heal();
    console.note("  the network is back");
    Ok(())
}

/// One side's word on the source: a text, a name that points at it, and an edge from one to the
/// other.
fn review(site: &Site, text: &str, role: Role) -> Outcome<()> {
    let mut bytes = text.as_bytes();
    let source = Source::Reader {
        label: "review".to_owned(),
        reader: &mut bytes,
    };
    let options = AddOptions {
        type_tag: None,
        reference: Some(VERDICT),
        filter: None,
        ..AddOptions::default()
    };
    site.add(vec![source], &options, &mut |_| {})?;
    site.edge_add(&EdgeDraft {
        edge_type: "reviewed".to_owned(),
        from: vec![SOURCE.to_owned()],
        to: vec!["program/wordcount".to_owned()],
        role,
        attribute: Some(VERDICT.to_owned()),
    })?;
    Ok(())
}
