//! What a node knows of writes that failed, and when it tries again.

/// How long after a failed write the store is opened again, in milliseconds; twice as long each
/// time that it fails again soon.
const REOPEN_MS_MIN: u64 = 5_000;
const REOPEN_MS_MAX: u64 = 300_000;

/// What a node knows of writes that failed.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// When the store is opened again; nothing if no write has failed.
    pub(super) due_ms: Option<u64>,
    /// How long that took the last time, and when it was done.
    waited_ms: u64,
    pub(super) reopened_ms: u64,
}

impl Failing {
    /// A write has failed. Says in how many milliseconds the store is opened again, if that is
    /// news.
    pub(super) fn note(&mut self, now_ms: u64) -> Option<u64> {
        if self.due_ms.is_some() {
            return None;
        }
        let is_again =
            self.waited_ms > 0 && now_ms.saturating_sub(self.reopened_ms) <= REOPEN_MS_MAX;
        self.waited_ms = if is_again {
            (2 * self.waited_ms).min(REOPEN_MS_MAX)
        } else {
            REOPEN_MS_MIN
        };
        self.due_ms = Some(now_ms + self.waited_ms);
        Some(self.waited_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_soon_waits_longer_and_after_a_while_does_not() {
        let mut failing = Failing::default();
        let (mut now_ms, mut waits) = (1, Vec::new());
        for _ in 0..9 {
            waits.extend(failing.note(now_ms));
            assert_eq!(failing.note(now_ms), None, "it is said once");
            now_ms = failing.due_ms.take().unwrap_or_default();
            failing.reopened_ms = now_ms;
        }
        assert_eq!(
            waits,
            [
                5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000
            ]
        );
        assert_eq!(
            failing.note(now_ms + REOPEN_MS_MAX + 1),
            Some(REOPEN_MS_MIN)
        );
    }
}
