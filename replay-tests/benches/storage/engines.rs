//! The works of storage engines: every system does the same, one after the other.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::clock::{Watch, median, timed};
use crate::commits;
use crate::data::{Queries, Row, chunks, count_with_tag, sorted};
use crate::files;
use crate::lookups::{self, Way};
use crate::report::Report;
use crate::system::{Keys, Kind, Order, Result, System};
use crate::uor::{self, Uor};

/// Works on one database that was loaded unsorted.
const ON_RANDOM: &[&str] = &[
    "load-random",
    "load-random-settled",
    "bytes-per-record",
    "index-per-record",
    "open",
    "scan",
    "hit-1",
    "hit-2",
    "hit-batch-1",
    "hit-batch-2",
    "absent-1",
    "absent-2",
    "absent-batch-1",
    "absent-batch-2",
    "cold",
    "commits-1",
    "commits-16",
    "root",
    "snapshot",
    "replay",
];
const LOAD_ASCENDING: &str = "load-ascending";
const LOAD_UNLOGGED: &str = "load-unlogged";
const AS_OF: &str = "as-of";

const REPEATS: usize = 3;
const OPEN_REPEATS: usize = 5;
/// The tag scans look for.
const TAG: u32 = 5;
/// As-of reads have their own database: this part of the records.
const AS_OF_PART: u64 = 5;
const CHANGES: u64 = 1000;

/// What all systems have in common.
pub(crate) struct Bench<'a> {
    /// How many records are loaded.
    pub(crate) records: u64,
    /// How long each timed pass goes on.
    pub(crate) seconds: f64,
    /// Where databases are made.
    pub(crate) dir: PathBuf,
    /// Which works are wanted.
    pub(crate) wants: &'a dyn Fn(&str) -> bool,
    /// Ids that are there.
    pub(crate) present: Queries,
    /// Ids that are not.
    pub(crate) absent: Queries,
}

impl<'a> Bench<'a> {
    /// Prepares what is asked of every system.
    pub(crate) fn new(
        records: u64,
        seconds: f64,
        dir: PathBuf,
        wants: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        let present = Queries::present(records, records, lookups::QUERIES, 11);
        Self {
            records,
            seconds,
            dir,
            wants,
            present,
            absent: Queries::absent(lookups::QUERIES, 12),
        }
    }

    fn wants_on_random(&self) -> bool {
        ON_RANDOM.iter().any(|work| (self.wants)(work))
    }

    /// Whether any work of this module is wanted.
    pub(crate) fn is_wanted(wants: &dyn Fn(&str) -> bool) -> bool {
        ON_RANDOM
            .iter()
            .chain(&[LOAD_ASCENDING, LOAD_UNLOGGED, AS_OF])
            .any(|work| wants(work))
    }

    /// All works of one system.
    pub(crate) fn run(&self, kind: &Kind, report: &mut Report) -> Result<()> {
        let dir = self.dir.join(kind.name);
        if self.wants_on_random() {
            self.on_random(kind, &dir, report)?;
        }
        if (self.wants)(LOAD_ASCENDING) {
            self.load_ascending(kind, &dir, report)?;
        }
        if (self.wants)(LOAD_UNLOGGED) {
            self.load_unlogged(kind, &dir, report)?;
        }
        if (self.wants)(AS_OF) {
            self.as_of(kind, &dir, report)?;
        }
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn on_random(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        self.load_random(kind, dir, report)?;
        if (self.wants)("open") {
            self.open(kind, dir, report)?;
        }
        let system = (kind.open)(dir, Keys::Plain)?;
        if (self.wants)("scan") {
            self.scan(kind, system.as_ref(), report)?;
        }
        for way in Way::ALL.iter().filter(|way| (self.wants)(way.work)) {
            lookups::warm(self, kind, system.as_ref(), way, report)?;
        }
        drop(system);
        if (self.wants)("cold") {
            lookups::cold(self, kind, dir, report)?;
        }
        let mut written = self.records;
        for (work, writers) in [("commits-1", 1), ("commits-16", 16)] {
            if (self.wants)(work) {
                written = commits::measure(self, kind, dir, (work, writers), written, report)?;
            }
        }
        if kind.name == uor::NAME {
            self.only_ours(dir, written, report)
        } else {
            Ok(())
        }
    }

    fn load_random(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        let mut system = (kind.open)(&files::fresh(dir)?, Keys::Plain)?;
        let mut watch = Watch::default();
        system.load(Order::Random, &mut chunks(0..self.records, 1), &mut watch)?;
        let records = self.records as f64;
        report.add(
            "load-random",
            kind.name,
            records / watch.total().as_secs_f64(),
            "",
        )?;
        watch.time(|| system.settle())?;
        report.add(
            "load-random-settled",
            kind.name,
            records / watch.total().as_secs_f64(),
            "",
        )?;
        drop(system);
        let system = (kind.open)(dir, Keys::Plain)?;
        report.add(
            "bytes-per-record",
            kind.name,
            files::bytes_on_disk(dir)? as f64 / records,
            "",
        )?;
        if let Some(bytes) = system.index_bytes()? {
            report.add("index-per-record", kind.name, bytes as f64 / records, "")?;
        }
        check_holds(system.as_ref(), 0..self.records)
    }

    fn open(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        let open = || -> Result<f64> {
            let (opened, duration) = timed(|| -> Result<_> {
                let system = (kind.open)(dir, Keys::Plain)?;
                system.read(None, &mut |reader| {
                    reader
                        .get(&Row::of(0, 1).id)?
                        .ok_or("what was loaded is not there")?;
                    Ok(())
                })?;
                Ok(system)
            });
            opened?;
            Ok(duration.as_secs_f64())
        };
        let times: Vec<f64> = (0..OPEN_REPEATS).map(|_| open()).collect::<Result<_>>()?;
        report.add(
            "open",
            kind.name,
            median(times),
            format!("{} records", self.records),
        )
    }

    fn scan(&self, kind: &Kind, system: &dyn System, report: &mut Report) -> Result<()> {
        let expected = count_with_tag(self.records, TAG);
        let scan = || -> Result<f64> {
            let (count, duration) = timed(|| system.count(TAG));
            if count? != expected {
                return Err("a scan found another number of records".into());
            }
            Ok(self.records as f64 / duration.as_secs_f64())
        };
        let rates: Vec<f64> = (0..REPEATS).map(|_| scan()).collect::<Result<_>>()?;
        report.add(
            "scan",
            kind.name,
            median(rates),
            format!("{expected} found"),
        )
    }

    fn load_ascending(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        let mut system = (kind.open)(&files::fresh(dir)?, Keys::Plain)?;
        let mut watch = Watch::default();
        system.load(
            Order::Ascending,
            &mut std::iter::once(sorted(0..self.records)),
            &mut watch,
        )?;
        check_holds(system.as_ref(), 0..self.records)?;
        report.add(
            LOAD_ASCENDING,
            kind.name,
            self.records as f64 / watch.total().as_secs_f64(),
            "",
        )
    }

    fn load_unlogged(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        let mut system = (kind.open)(&files::fresh(dir)?, Keys::Plain)?;
        if !system.has_unlogged() {
            return Ok(());
        }
        let mut watch = Watch::default();
        system.load(Order::Unlogged, &mut chunks(0..self.records, 1), &mut watch)?;
        check_holds(system.as_ref(), 0..self.records)?;
        report.add(
            LOAD_UNLOGGED,
            kind.name,
            self.records as f64 / watch.total().as_secs_f64(),
            "",
        )
    }

    /// Half of the records come as version 1, the others as version 2; what is asked for is the
    /// state at version 1.
    fn as_of(&self, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
        let records = (self.records / AS_OF_PART).max(2);
        let mut system = (kind.open)(&files::fresh(dir)?, Keys::Versioned)?;
        for (version, range) in [(1, 0..records / 2), (2, records / 2..records)] {
            system.load(
                Order::Random,
                &mut chunks(range, version),
                &mut Watch::default(),
            )?;
        }
        system.settle()?;
        let queries = Queries::present(records, records / 2, lookups::QUERIES, 13);
        let rate = lookups::rate(system.as_ref(), &queries, &Way::AS_OF, self.seconds)?;
        report.add(
            AS_OF,
            kind.name,
            rate,
            format!("{records} records, half of them later"),
        )
    }

    /// What no peer has.
    fn only_ours(&self, dir: &Path, written: u64, report: &mut Report) -> Result<()> {
        let store = Uor::open_here(dir)?;
        let mut first = written;
        // Each time there are changes that nothing has been made of yet.
        let mut after_changes = |work: &dyn Fn() -> Result<()>| -> Result<f64> {
            let mut times = Vec::new();
            for _ in 0..OPEN_REPEATS {
                store.stage(
                    (first..first + CHANGES)
                        .map(|index| Row::of(index, 1))
                        .collect(),
                )()?;
                first += CHANGES;
                let (done, duration) = timed(work);
                done?;
                times.push(duration.as_secs_f64());
            }
            Ok(median(times))
        };
        if (self.wants)("root") {
            let seconds = after_changes(&|| {
                std::hint::black_box(store.root());
                Ok(())
            })?;
            report.add("root", uor::NAME, seconds, "after 1,000 changes")?;
        }
        if (self.wants)("snapshot") {
            report.add(
                "snapshot",
                uor::NAME,
                after_changes(&|| store.snapshot())?,
                "with its sync",
            )?;
        }
        if (self.wants)("replay") {
            let (replayed, duration) = timed(|| store.replay());
            let replayed = replayed?;
            if replayed.root != store.root() {
                return Err("replay arrives at another state root".into());
            }
            report.add(
                "replay",
                uor::NAME,
                replayed.records as f64 / duration.as_secs_f64(),
                "",
            )?;
        }
        Ok(())
    }
}

/// Looks up some of the rows that were written.
pub(crate) fn check_holds(system: &dyn System, rows: Range<u64>) -> Result<()> {
    const SAMPLES: u64 = 10_000;
    let step = ((rows.end - rows.start) / SAMPLES).max(1);
    let queries = Queries::exactly(rows.step_by(usize::try_from(step).unwrap_or(usize::MAX)));
    system.read(None, &mut |reader| lookups::check(reader, &queries, false))
}
