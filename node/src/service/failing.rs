//! A node whose disk is full goes on: it answers, says what failed, and opens log and packs again
//! by itself.

use std::error::Error;
use std::io;

use super::{NetCommand, Service, ServiceError, ServiceEvent};

/// How long after a failed write the store is opened again, in milliseconds; twice as long each
/// time that it fails again soon.
const REOPEN_MS_MIN: u64 = 5_000;
const REOPEN_MS_MAX: u64 = 300_000;

/// What a node knows of writes that failed.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// When the store is opened again; nothing if no write has failed.
    due_ms: Option<u64>,
    /// How long that took the last time, and when it was done.
    waited_ms: u64,
    reopened_ms: u64,
}

impl Failing {
    /// A write has failed. Says in how many milliseconds the store is opened again, if that is
    /// news.
    fn note(&mut self, now_ms: u64) -> Option<u64> {
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

impl Service {
    /// After a failed step: where the disk is full, or was when the store last wrote, the node goes
    /// on, and has whoever it was talking with begin again.
    ///
    /// # Errors
    /// What failed, if that is no reason to go on.
    pub(super) async fn go_on_after(
        &mut self,
        error: ServiceError,
        on_event: &mut dyn FnMut(ServiceEvent),
    ) -> Result<(), ServiceError> {
        let is_passing = match cause(&error) {
            Some(kind) => kind == io::ErrorKind::StorageFull,
            // The failed write was another's.
            None => self.site.store().is_poisoned(),
        };
        if !is_passing {
            return Err(error);
        }
        self.say_failed(&error, on_event);
        let peers: Vec<_> = self.core.connected().copied().collect();
        for peer in peers {
            self.send(NetCommand::Disconnect(*peer.as_bytes())).await?;
        }
        Ok(())
    }

    /// Opens the store again that a failed write has closed to writers, when that is due: whether
    /// the disk has room is found out by writing.
    pub(super) fn reopen(&mut self, on_event: &mut dyn FnMut(ServiceEvent)) {
        let now_ms = self.now_ms();
        if !self.site.store().is_poisoned() {
            // Whoever made room has opened it.
            self.failing.due_ms = None;
            return;
        }
        if self.failing.due_ms.is_none() {
            self.failing.note(now_ms);
        }
        if self.failing.due_ms.is_some_and(|due_ms| now_ms < due_ms) {
            return;
        }
        (self.failing.due_ms, self.failing.reopened_ms) = (None, now_ms);
        match self.site.reopen() {
            Ok(true) => on_event(ServiceEvent::Notice(
                "after a failed write, log and packs were read from the disk again: this site writes again".to_owned(),
            )),
            // Something is being added, and fails.
            Ok(false) => {}
            Err(error) => self.say_failed(&error, on_event),
        }
    }

    fn say_failed(
        &mut self,
        error: &(dyn Error + 'static),
        on_event: &mut dyn FnMut(ServiceEvent),
    ) {
        if let Some(wait_ms) = self.failing.note(self.now_ms()) {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let said = causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"));
            on_event(ServiceEvent::Notice(format!(
                "{said}; this node answers others, takes nothing in, and tries again in {} s: `uor rm` and `uor gc` make room",
                wait_ms / 1000
            )));
        }
    }
}

/// What the system said, if it was the system.
fn cause(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
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
