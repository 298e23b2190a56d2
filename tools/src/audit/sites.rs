//! `audit`: every part across several stores, in one report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uor_node::audit::{Report, Verdict, Verification, audit, one_federation, snapshot_in};

use super::store::Opener;
use super::{diff, exec, verify, watch};
use crate::code::Code;
use crate::console::Console;
use crate::exit::{Failed, Outcome};
use crate::render::{Table, plain, plain_json, short};

/// `uor-replay audit`.
///
/// # Errors
/// [`Failed`] if the snapshot is unknown, or the report cannot be written.
pub fn run(
    paths: &[PathBuf],
    at: Option<&str>,
    report_path: Option<&Path>,
    opener: &mut Opener,
    console: &mut Console<'_>,
) -> Outcome<Verdict> {
    let form = report_path.map(form_of).transpose()?;
    let mut stores = Vec::new();
    let mut broken = Vec::new();
    let mut unreadable = Vec::new();
    for path in paths {
        match opener.open(path, console) {
            Ok(audited) => stores.push(audited),
            Err(error) => match error.damage() {
                Some(damage) => {
                    broken.push(Verification::of_damage(path.to_string_lossy(), damage))
                }
                None => unreadable.push(Failed::from(error).to_string()),
            },
        }
    }
    one_federation(&stores)?;
    let target = at.map(|text| snapshot_in(&stores, text)).transpose()?;
    let mut on_progress = |progress| watch(&mut console.meter, progress);
    let report = audit(&stores, target, &mut on_progress)?.with_unopened(broken, unreadable);
    console.meter.end();
    if let (Some(path), Some(form)) = (report_path, form) {
        write_report(&console.path(path), form, &report)?;
    }
    console.show(&report, human)?;
    Ok(report.verdict)
}

/// The report as text.
fn text(report: &Report) -> String {
    let mut lines = vec![format!(
        "uor-replay audit: {}",
        report.verdict.name().to_uppercase()
    )];
    lines.extend(
        report
            .snapshot_id
            .iter()
            .map(|id| format!("compared at snapshot {id}")),
    );
    lines.extend(
        report
            .state_root
            .iter()
            .map(|root| format!("state root           {root}")),
    );
    lines.push(String::new());
    lines.extend(table(report).lines(crate::render::Paint { colour: false }));
    let section = |title: String, body: Vec<String>| {
        let body = body.into_iter().map(|line| format!("  {line}"));
        [String::new(), title]
            .into_iter()
            .chain(body)
            .collect::<Vec<_>>()
    };
    for store in report
        .stores
        .iter()
        .filter(|store| store.verdict != Verdict::Agrees)
    {
        lines.extend(section(
            format!("verify {}", store.store),
            verify::lines(store),
        ));
    }
    for difference in report
        .differences
        .iter()
        .filter(|difference| difference.verdict != Verdict::Agrees)
    {
        lines.extend(section(
            format!("diff {} {}", difference.a, difference.b),
            diff::lines(difference),
        ));
    }
    for executed in report
        .executions
        .iter()
        .filter(|executed| executed.verdict != Verdict::Agrees)
    {
        lines.extend(section(
            format!("exec {}", executed.store),
            exec::lines(executed),
        ));
    }
    for reason in &report.unreadable {
        lines.extend(section(
            "not looked at".to_owned(),
            reason.lines().map(str::to_owned).collect(),
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// One row for each store.
fn table(report: &Report) -> Table {
    let headers = [
        "store",
        ">commits",
        ">entries",
        "state root",
        ">payloads",
        ">receipts",
        ">identical",
        "verify",
        "diff",
        "exec",
    ];
    let mut table = Table::new(&headers);
    for store in &report.stores {
        let executed = report
            .executions
            .iter()
            .find(|executed| executed.store == store.store);
        let with = report
            .differences
            .iter()
            .filter(|difference| difference.a == store.store || difference.b == store.store);
        let compared = with
            .map(|difference| difference.verdict)
            .fold(Verdict::Agrees, Verdict::and);
        let number =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        table.row([
            store.store.clone(),
            store.commits.to_string(),
            store.entries.to_string(),
            store
                .state_root
                .as_ref()
                .map_or_else(|| "-".to_owned(), short),
            store.payloads.to_string(),
            number(executed.map(|executed| executed.claims)),
            number(executed.map(|executed| executed.identical)),
            if store.verdict == Verdict::Agrees {
                "sound"
            } else {
                "NOT SOUND"
            }
            .to_owned(),
            compared.name().to_owned(),
            executed
                .map_or("-", |executed| executed.verdict.name())
                .to_owned(),
        ]);
    }
    table
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Json,
}

fn form_of(path: &Path) -> Outcome<Form> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("txt" | "text") => Ok(Form::Text),
        Some("json") => Ok(Form::Json),
        _ => Err(
            Failed::new(format!("cannot tell the form of report {}", path.display()))
                .code(Code::BadInput)
                .hint("name it FILE.txt or FILE.json"),
        ),
    }
}

/// The report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write report {}", path.display())]
struct ReportUnwritten {
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn write_report(path: &Path, form: Form, report: &Report) -> Outcome<()> {
    let content = match form {
        Form::Text => text(report),
        Form::Json => {
            plain_json(serde_json::to_string_pretty(report).map_err(io::Error::other)?) + "\n"
        }
    };
    let unwritten = |source| ReportUnwritten {
        path: path.to_owned(),
        source,
    };
    Ok(fs::write(path, content).map_err(unwritten)?)
}

fn human(console: &mut Console<'_>, report: &Report) -> io::Result<()> {
    text(report)
        .lines()
        .try_for_each(|line| console.line(plain(line)))
}
