//! Figures, tables, and what the goals say to them.

use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stderr, stdout};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::system::Result;
use crate::uor;
use crate::works::{Against, Goal, WORKS, Work, named};

/// What limits of the machine are called where systems have their names.
pub(crate) const MACHINE: &str = "machine";

struct Figure {
    work: &'static Work,
    system: String,
    value: f64,
    note: String,
}

impl Figure {
    /// How many times better this is than that.
    fn times_better_than(&self, other: f64) -> f64 {
        if self.work.unit.is_rate() {
            self.value / other
        } else {
            other / self.value
        }
    }
}

/// A goal, and how far it is reached.
struct Judged {
    text: String,
    reached: String,
    is_met: bool,
}

/// Everything measured so far.
pub(crate) struct Report {
    figures: Vec<Figure>,
    facts: Value,
    json: Option<PathBuf>,
}

impl Report {
    /// A report on a machine and a run, to be kept as JSON too if a file is given.
    pub(crate) const fn new(facts: Value, json: Option<PathBuf>) -> Self {
        Self {
            figures: Vec::new(),
            facts,
            json,
        }
    }

    /// Takes in a figure in the unit of its work, shows it, and brings the JSON up to date.
    pub(crate) fn add(
        &mut self,
        work: &str,
        system: &str,
        value: f64,
        note: impl Into<String>,
    ) -> Result<()> {
        let work = named(work).ok_or_else(|| format!("no work is called `{work}`"))?;
        let note = note.into();
        let shown = work.unit.show(value);
        writeln!(
            stderr(),
            "{:22} {system:10} {shown}{}",
            work.name,
            bracketed(&note)
        )?;
        self.figures.push(Figure {
            work,
            system: system.to_owned(),
            value,
            note,
        });
        self.save()
    }

    fn save(&self) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        Ok(fs::write(path, format!("{:#}\n", self.as_json()))?)
    }

    fn as_json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| {
            let Figure { work, system, value, note } = figure;
            json!({ "work": work.name, "system": system, "value": value, "unit": work.unit.name(), "note": note })
        });
        json!({ "facts": self.facts, "figures": figures.collect::<Vec<Value>>(), "goals": self.goals_as_json() })
    }

    fn goals_as_json(&self) -> Vec<Value> {
        let all = WORKS
            .iter()
            .flat_map(|work| work.goals.iter().map(move |goal| (work, goal)));
        let judged = all.filter_map(|(work, goal)| Some((work, self.judge(work, goal)?)));
        judged
            .map(|(work, judged)| {
                json!({ "work": work.name, "goal": judged.text, "reached": judged.reached, "met": judged.is_met })
            })
            .collect()
    }

    fn of(&self, work: &str) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(move |figure| figure.work.name == work)
    }

    fn figure(&self, work: &str, system: &str) -> Option<&Figure> {
        self.of(work).find(|figure| figure.system == system)
    }

    fn best(&self, work: &str, is_in: impl Fn(&str) -> bool) -> Option<&Figure> {
        let peers = self.of(work).filter(|figure| is_in(&figure.system));
        peers.reduce(|best, figure| {
            if figure.times_better_than(best.value) > 1.0 {
                figure
            } else {
                best
            }
        })
    }

    fn judge(&self, work: &Work, goal: &Goal) -> Option<Judged> {
        let ours = self.figure(work.name, uor::NAME)?;
        Some(match *goal {
            Goal::Figure(value) => {
                let word = if work.unit.is_rate() {
                    "at least"
                } else {
                    "at most"
                };
                let text = format!("{word} {}", work.unit.show(value));
                Judged {
                    text,
                    reached: work.unit.show(ours.value),
                    is_met: ours.times_better_than(value) >= 1.0,
                }
            }
            Goal::Times(factor, against) => {
                let (other, name) = match against {
                    Against::BestPeer(work) => {
                        let best = self.best(work, |system| system != uor::NAME)?;
                        (best, format!("the best peer, {}", best.system))
                    }
                    Against::BestOf(systems) => {
                        let best = self.best(work.name, |system| systems.contains(&system))?;
                        (
                            best,
                            format!("the best of {}, {}", systems.join(" and "), best.system),
                        )
                    }
                    Against::Ours(work) => {
                        (self.figure(work, uor::NAME)?, format!("ours at {work}"))
                    }
                    Against::Machine(work) => (
                        self.figure(work, MACHINE)?,
                        format!("the machine at {work}"),
                    ),
                };
                let times = ours.times_better_than(other.value);
                let text = format!(
                    "at least {factor:.2} × {name} ({})",
                    other.work.unit.show(other.value)
                );
                Judged {
                    text,
                    reached: format!("{times:.2} ×"),
                    is_met: times >= factor,
                }
            }
        })
    }

    /// Prints all tables.
    pub(crate) fn print(&self) -> Result<()> {
        let tables: String = WORKS
            .iter()
            .map(|work| self.table(work))
            .collect::<std::result::Result<_, _>>()?;
        writeln!(
            stdout(),
            "system, figure, how many times better ours is, note"
        )?;
        Ok(stdout().write_all(tables.as_bytes())?)
    }

    fn table(&self, work: &Work) -> std::result::Result<String, std::fmt::Error> {
        let mut table = String::new();
        if self.of(work.name).next().is_none() {
            return Ok(table);
        }
        writeln!(table, "\n{} ({})", work.title, work.name)?;
        let ours = self.figure(work.name, uor::NAME);
        for figure in self.of(work.name) {
            let ratio = ours.map_or_else(String::new, |ours| {
                match ours.times_better_than(figure.value) {
                    _ if figure.system == uor::NAME => "1".to_owned(),
                    times => format!("{times:.2}"),
                }
            });
            let Figure {
                system,
                value,
                note,
                ..
            } = figure;
            writeln!(
                table,
                "  {system:10} {:>22} {ratio:>10}  {note}",
                work.unit.show(*value)
            )?;
        }
        for judged in work.goals.iter().filter_map(|goal| self.judge(work, goal)) {
            let verdict = if judged.is_met { "met" } else { "NOT MET" };
            writeln!(
                table,
                "  goal: {}: {} — {verdict}",
                judged.text, judged.reached
            )?;
        }
        Ok(table)
    }
}

fn bracketed(note: &str) -> String {
    if note.is_empty() {
        String::new()
    } else {
        format!("  ({note})")
    }
}
