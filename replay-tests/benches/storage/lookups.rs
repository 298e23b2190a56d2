//! Point lookups: warm by one and two threads, one at a time and in batches, and cold.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::clock::{median, now, percentiles_us, timed};
use crate::data::{Id, Queries, Tally};
use crate::engines::Bench;
use crate::files;
use crate::report::Report;
use crate::system::{Keys, Kind, Reader, Result, System};

/// Different ids of a pass: far more than caches of the processor hold.
pub(crate) const QUERIES: usize = 1 << 20;
/// Ids handed over at a time where lookups go in batches, and between two looks at the clock.
const BATCH: usize = 1024;
const PASSES: usize = 3;
const COLD_LOOKUPS: usize = 2000;

/// A way to look things up.
pub(crate) struct Way {
    /// The work it is.
    pub(crate) work: &'static str,
    threads: usize,
    is_batched: bool,
    is_present: bool,
    as_of: Option<u64>,
}

const fn way(work: &'static str, threads: usize, is_batched: bool, is_present: bool) -> Way {
    Way {
        work,
        threads,
        is_batched,
        is_present,
        as_of: None,
    }
}

impl Way {
    /// All ways that are warm.
    pub(crate) const ALL: [Self; 8] = [
        way("hit-1", 1, false, true),
        way("hit-2", 2, false, true),
        way("hit-batch-1", 1, true, true),
        way("hit-batch-2", 2, true, true),
        way("absent-1", 1, false, false),
        way("absent-2", 2, false, false),
        way("absent-batch-1", 1, true, false),
        way("absent-batch-2", 2, true, false),
    ];
    /// As of the first of two loads.
    pub(crate) const AS_OF: Self = Self {
        as_of: Some(1),
        ..way("as-of", 1, false, true)
    };
}

/// Lookups per second, warm; systems that know nothing of batches are left out where they are asked
/// for.
pub(crate) fn warm(
    bench: &Bench<'_>,
    kind: &Kind,
    system: &dyn System,
    way: &Way,
    report: &mut Report,
) -> Result<()> {
    let queries = if way.is_present {
        &bench.present
    } else {
        &bench.absent
    };
    if way.is_batched && !has_batches(system, &queries.ids[..1])? {
        return Ok(());
    }
    report.add(
        way.work,
        kind.name,
        rate(system, queries, way, bench.seconds)?,
        "",
    )
}

fn has_batches(system: &dyn System, ids: &[Id]) -> Result<bool> {
    let mut has_batches = false;
    system.read(None, &mut |reader| {
        has_batches = reader.get_many(ids, &mut |_| ()).transpose()?.is_some();
        Ok(())
    })?;
    Ok(has_batches)
}

/// The median rate of a few passes, after one that checks every answer and warms up.
pub(crate) fn rate(system: &dyn System, queries: &Queries, way: &Way, seconds: f64) -> Result<f64> {
    system.read(way.as_of, &mut |reader| {
        check(reader, queries, way.is_batched)
    })?;
    let rates: Vec<f64> = (0..PASSES)
        .map(|_| pass(system, &queries.ids, way, seconds))
        .collect::<Result<_>>()?;
    Ok(median(rates))
}

/// Looks everything up once, and compares.
pub(crate) fn check(reader: &mut dyn Reader, queries: &Queries, is_batched: bool) -> Result<()> {
    let mut tally = Tally::default();
    queries
        .ids
        .chunks(BATCH)
        .try_for_each(|batch| look_up(reader, batch, is_batched, &mut tally))?;
    if tally == queries.expected {
        Ok(())
    } else {
        Err("lookups found something else than was written".into())
    }
}

fn look_up(
    reader: &mut dyn Reader,
    batch: &[Id],
    is_batched: bool,
    tally: &mut Tally,
) -> Result<()> {
    if is_batched {
        return reader
            .get_many(batch, &mut |mark| tally.add(mark))
            .ok_or("it knows no batches")?;
    }
    for id in batch {
        tally.add(reader.get(id)?);
    }
    Ok(())
}

/// All threads together, each in its own part of the ids.
fn pass(system: &dyn System, ids: &[Id], way: &Way, seconds: f64) -> Result<f64> {
    let limit = Duration::from_secs_f64(seconds);
    let parts = ids.chunks(ids.len().div_ceil(way.threads));
    let rates: Result<Vec<f64>> = thread::scope(|scope| {
        let work = |part| {
            scope.spawn(move || {
                let mut rate = 0.0;
                system.read(way.as_of, &mut |reader| {
                    rate = run(reader, part, way.is_batched, limit)?;
                    Ok(())
                })?;
                Ok(rate)
            })
        };
        let threads: Vec<_> = parts.map(work).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a reading thread panicked")?)
            .collect()
    });
    Ok(rates?.into_iter().sum())
}

fn run(reader: &mut dyn Reader, ids: &[Id], is_batched: bool, limit: Duration) -> Result<f64> {
    let start = now();
    let (mut done, mut tally) = (0, Tally::default());
    for batch in ids.chunks(BATCH).cycle() {
        look_up(reader, batch, is_batched, &mut tally)?;
        done += batch.len();
        if start.elapsed() >= limit {
            break;
        }
    }
    std::hint::black_box(tally);
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Lookups right after the page cache has forgotten everything and the database was opened again.
pub(crate) fn cold(bench: &Bench<'_>, kind: &Kind, dir: &Path, report: &mut Report) -> Result<()> {
    let how = files::forget(dir)?;
    let system = (kind.open)(dir, Keys::Plain)?;
    let mut latencies = Vec::new();
    system.read(None, &mut |reader| {
        for id in bench.present.ids.iter().take(COLD_LOOKUPS) {
            let (found, latency) = timed(|| reader.get(id));
            found?.ok_or("what was loaded is not there")?;
            latencies.push(latency);
        }
        Ok(())
    })?;
    let (p50, p99) = percentiles_us(latencies);
    report.add(
        "cold",
        kind.name,
        p50 / 1e6,
        format!("p99 {p99:.0} µs; {how}"),
    )
}
