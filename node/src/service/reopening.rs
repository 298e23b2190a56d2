//! A node whose disk is full goes on: it answers, says what failed, and opens log and packs again
//! by itself.

use std::error::Error;
use std::io;

use super::config::ServiceEvent;
use super::error::ServiceError;
use super::node::Service;
use crate::net::NetCommand;

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
