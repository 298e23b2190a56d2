//! `audit`: every part across several stores, in one report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use uor_index_format::snapshot::Snapshot;

use super::diff::{Difference, common, diff};
use super::exec::{Executed, Proven, execute};
use super::store::{Audited, Opener, one_federation, snapshot_in};
use super::verify::{Verification, verify};
use crate::cli::replay::Which;
use crate::code::Code;
use crate::console::{Console, Meter};
use crate::exit::{Failed, Outcome, Verdict};
use crate::render::{Table, plain, plain_json, short};

/// What an audit across stores found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `agrees`, `diverges` or `incomplete`.
    pub verdict: &'static str,
    /// The verdict.
    #[serde(skip)]
    pub outcome: Verdict,
    /// The snapshot at which stores were compared.
    pub snapshot_id: Option<String>,
    /// The state root there, if all agree.
    pub state_root: Option<String>,
    /// Each store from its bytes up.
    pub stores: Vec<Verification>,
    /// The first store against each other one.
    pub differences: Vec<Difference>,
    /// Receipts run again.
    pub executions: Vec<Executed>,
    /// Stores that could not be looked at, and why.
    pub unreadable: Vec<String>,
}

/// `uor-replay audit`.
///
/// # Errors
/// [`Failed`] if the snapshot is unknown, or the report cannot be written.
pub fn run(
    paths: &[PathBuf],
    at: Option<&str>,
    report_path: Option<&Path>,
    opener: &Opener,
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
                Some(damage) => broken.push(Verification::of_damage(path, damage)),
                None => unreadable.push(Failed::from(error).to_string()),
            },
        }
    }
    one_federation(&stores)?;
    let target = at.map(|text| snapshot_in(&stores, text)).transpose()?;
    let mut report = audit(stores, target, &mut console.meter)?;
    console.meter.end();
    report.stores.extend(broken);
    report.unreadable = unreadable;
    report.conclude();
    if let (Some(path), Some(form)) = (report_path, form) {
        write_report(&console.path(path), form, &report)?;
    }
    console.show(&report, human)?;
    Ok(report.outcome)
}

/// Audits open stores: each by itself, the first against each other, and every receipt claim at
/// every site.
///
/// # Errors
/// [`Failed`] if a disk cannot be read, or there is no engine.
pub fn audit(
    stores: Vec<Audited>,
    target: Option<Snapshot>,
    meter: &mut Meter<'_>,
) -> Outcome<Report> {
    let all: Vec<&Audited> = stores.iter().collect();
    let at = match target {
        Some(target) => target,
        None => common(&all)?.0,
    };
    let given = Some(at.clone());
    let mut report = Report {
        verdict: "",
        outcome: Verdict::Agrees,
        snapshot_id: Some(at.id().to_string()),
        state_root: None,
        stores: Vec::new(),
        differences: Vec::new(),
        executions: Vec::new(),
        unreadable: Vec::new(),
    };
    for audited in &stores {
        report.stores.push(verify(audited, meter)?);
    }
    if let Some((first, others)) = stores.split_first() {
        for other in others {
            // At what all have, and then for contradictions beyond it.
            let mut difference = diff(first, other, given.clone())?;
            if difference.outcome == Verdict::Agrees {
                let beyond = diff(first, other, None)?;
                if beyond.outcome == Verdict::Diverges {
                    difference = beyond;
                }
            }
            report.differences.push(difference);
        }
    }
    let every = Which {
        receipt: None,
        all: true,
        sample: None,
    };
    for Audited {
        name,
        store,
        scratch: _kept_until_done,
        ..
    } in stores
    {
        // Every site is taken at its own word: nothing that was proven with another site's bytes
        // counts here.
        report.executions.push(execute(
            &name,
            Arc::new(store),
            &every,
            &mut Proven::new(),
            meter,
        )?);
    }
    report.conclude();
    Ok(report)
}

impl Report {
    fn conclude(&mut self) {
        let verdicts = self.stores.iter().map(|store| store.outcome);
        let verdicts = verdicts.chain(self.differences.iter().map(|difference| difference.outcome));
        let verdicts = verdicts.chain(self.executions.iter().map(|executed| executed.outcome));
        let unreadable = self.unreadable.iter().map(|_| Verdict::Incomplete);
        self.outcome = verdicts
            .chain(unreadable)
            .fold(Verdict::Agrees, Verdict::and);
        self.verdict = self.outcome.name();
        let roots: Vec<&String> = self
            .differences
            .iter()
            .flat_map(|difference| [&difference.state_root_a, &difference.state_root_b])
            .flatten()
            .collect();
        let one = roots
            .first()
            .filter(|first| roots.iter().all(|root| root == *first));
        self.state_root = one.map(|root| (*root).clone());
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("uor-replay audit: {}", self.verdict.to_uppercase())];
        lines.extend(
            self.snapshot_id
                .iter()
                .map(|id| format!("compared at snapshot {id}")),
        );
        lines.extend(
            self.state_root
                .iter()
                .map(|root| format!("state root           {root}")),
        );
        lines.push(String::new());
        lines.extend(self.table().lines(crate::render::Paint { colour: false }));
        let section = |title: String, body: Vec<String>| {
            let body = body.into_iter().map(|line| format!("  {line}"));
            [String::new(), title]
                .into_iter()
                .chain(body)
                .collect::<Vec<_>>()
        };
        for store in self
            .stores
            .iter()
            .filter(|store| store.outcome != Verdict::Agrees)
        {
            lines.extend(section(format!("verify {}", store.store), store.lines()));
        }
        for difference in self
            .differences
            .iter()
            .filter(|difference| difference.outcome != Verdict::Agrees)
        {
            lines.extend(section(
                format!("diff {} {}", difference.a, difference.b),
                difference.lines(),
            ));
        }
        for executed in self
            .executions
            .iter()
            .filter(|executed| executed.outcome != Verdict::Agrees)
        {
            lines.extend(section(
                format!("exec {}", executed.store),
                executed.lines(),
            ));
        }
        for reason in &self.unreadable {
            lines.extend(section(
                "not looked at".to_owned(),
                reason.lines().map(str::to_owned).collect(),
            ));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// One row for each store.
    pub fn table(&self) -> Table {
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
        for store in &self.stores {
            let executed = self
                .executions
                .iter()
                .find(|executed| executed.store == store.store);
            let with = self
                .differences
                .iter()
                .filter(|difference| difference.a == store.store || difference.b == store.store);
            let compared = with
                .map(|difference| difference.outcome)
                .fold(Verdict::Agrees, Verdict::and);
            let number = |value: Option<u64>| {
                value.map_or_else(|| "-".to_owned(), |value| value.to_string())
            };
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
                if store.outcome == Verdict::Agrees {
                    "sound"
                } else {
                    "NOT SOUND"
                }
                .to_owned(),
                compared.name().to_owned(),
                executed.map_or("-", |executed| executed.verdict).to_owned(),
            ]);
        }
        table
    }
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
        Form::Text => report.text(),
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
    report
        .text()
        .lines()
        .try_for_each(|line| console.line(plain(line)))
}
