//! Small durable commits, by one writer and by several at once.

use std::path::Path;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::now;
use crate::data::Row;
use crate::engines::{Bench, check_holds};
use crate::report::Report;
use crate::system::{Keys, Kind, Result, Staged, System};

const RECORDS: u64 = 100;
/// Prepared beforehand; a writer that is through with them stops early.
const COMMITS_MAX: u64 = 8000;
/// Passes of lookups have more to say in the same time.
const SECONDS_FACTOR: f64 = 2.0;

/// Commits until time is up, then looks for all of them in the database opened again. Answers the
/// index behind the last row.
pub(crate) fn measure(
    bench: &Bench<'_>,
    kind: &Kind,
    dir: &Path,
    (work, writers): (&str, usize),
    first: u64,
    report: &mut Report,
) -> Result<u64> {
    let system = (kind.open)(dir, Keys::Plain)?;
    let limit = Duration::from_secs_f64(bench.seconds * SECONDS_FACTOR);
    let (commits, rate) = commit(system.as_ref(), first, writers, limit)?;
    drop(system);
    let end = first + commits * RECORDS;
    check_holds((kind.open)(dir, Keys::Plain)?.as_ref(), first..end)?;
    report.add(work, kind.name, rate, format!("{commits} commits"))?;
    Ok(end)
}

fn commit(system: &dyn System, first: u64, writers: usize, limit: Duration) -> Result<(u64, f64)> {
    let rows = |number| {
        let from = first + number * RECORDS;
        (from..from + RECORDS)
            .map(|index| Row::of(index, 1))
            .collect()
    };
    let staged: Vec<Staged<'_>> = (0..COMMITS_MAX)
        .map(|number| system.stage(rows(number)))
        .collect();
    let waiting = Mutex::new(staged.into_iter());
    let barrier = Barrier::new(writers + 1);
    let (done, duration) = thread::scope(|scope| -> Result<_> {
        let write = || -> Result<u64> {
            barrier.wait();
            let start = now();
            let mut done = 0;
            while start.elapsed() < limit {
                let next = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next();
                let Some(commit) = next else { break };
                commit()?;
                done += 1;
            }
            Ok(done)
        };
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        barrier.wait();
        let start = now();
        let counts: Result<Vec<u64>> = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a writing thread panicked")?)
            .collect();
        Ok((counts?.into_iter().sum::<u64>(), start.elapsed()))
    })?;
    Ok((done, done as f64 / duration.as_secs_f64()))
}
