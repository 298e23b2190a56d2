//! The one place of the benchmarks that reads a clock.

use std::time::{Duration, Instant};

/// Now, for differences only.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is what a clock is for"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What `work` answers, and how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let answer = work();
    (answer, start.elapsed())
}

/// Adds up the parts of a work that count.
#[derive(Debug, Default)]
pub(crate) struct Watch(Duration);

impl Watch {
    /// Runs a part that counts.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (answer, duration) = timed(work);
        self.0 += duration;
        answer
    }

    /// All parts so far.
    pub(crate) const fn total(&self) -> Duration {
        self.0
    }
}

/// The middle one of a few measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Median and 99th percentile of many latencies, in microseconds.
pub(crate) fn percentiles_us(mut latencies: Vec<Duration>) -> (f64, f64) {
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies
            .get(latencies.len() * part / 100)
            .map_or(0.0, |value| value.as_secs_f64() * 1e6)
    };
    (at(50), at(99))
}
