//! Recovery: what is still lost after the others were asked, and going on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::Serialize;
use uor_asl::log::Salvaged;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::StoreError;
use uor_index_format::id::{CanonicalId, Checksum};

use crate::cancel::Cancelled;
use crate::site::directory::files::FileError;
use crate::site::handle::Site;
use crate::site::integrity::loss::{Loss, Witnessed, accept, missing};
use crate::site::integrity::witness::Witness;
use crate::site::json;

/// Why it cannot be said what is lost, or a site cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A small file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not wanted any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Payloads that cannot be read, and the artifacts and receipts that each is of.
pub type Damaged = BTreeMap<Checksum, BTreeSet<CanonicalId>>;

/// What of a site's own is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// How many commits of its own the site had acknowledged.
    pub commits_acknowledged: u64,
    /// How many of its own are in the log now.
    pub commits_here: u64,
    /// Whether the log holds another commit where the last acknowledged one was.
    pub is_other_log: bool,
    /// Artifacts and receipts that the site had put, and whose payloads are not here.
    #[serde(serialize_with = "json::texts")]
    pub payloads: Vec<CanonicalId>,
}

impl Remaining {
    /// Whether everything is here again.
    pub const fn is_nothing(&self) -> bool {
        self.has_all_commits() && self.payloads.is_empty()
    }

    /// Whether every commit that was acknowledged is here.
    pub const fn has_all_commits(&self) -> bool {
        self.commits_here >= self.commits_acknowledged && !self.is_other_log
    }
}

impl Site {
    /// The segments of the log that were rewritten when this site was opened, without bytes that
    /// were damaged.
    pub fn salvaged(&self) -> &[Salvaged] {
        &self.found.salvaged
    }

    /// Validates commits again that were not accepted, for want of others that may have come.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn revalidate(&self) -> Result<(), RecoverError> {
        let does_all_count = self.store.view().unaccepted() == 0;
        if does_all_count {
            Ok(())
        } else {
            Ok(self.store.revalidate()?)
        }
    }

    /// Reads every payload here, and wants those from others that are damaged. Says which, and of
    /// what artifacts and receipts they are. They are taken for absent until they come, or the site
    /// is opened again. `on_progress` is told how many bytes were read, of how many.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn want_damaged(
        &self,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Damaged, RecoverError> {
        let damaged = self.store.want_damaged(&mut |read, total| {
            on_progress(read, total);
            if self.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        self.cancel.check()?;
        Ok(damaged?)
    }

    /// What of the site's own is not here, now.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn remaining(&self) -> Result<Remaining, RecoverError> {
        let witnessed = Witnessed::read(self.disk.as_ref())?;
        let (before, now) = (self.found.loss, witnessed.loss(&self.store)?);
        let own = self
            .store
            .view()
            .head()
            .frontier
            .get(&self.site_id())
            .map_or(0, |head| head.number);
        let here = now.map_or(own, |loss| loss.commits_here);
        let acknowledged = |loss: Option<Loss>| loss.map_or(0, |loss| loss.commits_acknowledged);
        Ok(Remaining {
            commits_acknowledged: acknowledged(before).max(acknowledged(now)),
            commits_here: here,
            is_other_log: now.is_some_and(|loss| loss.is_other_log),
            payloads: witnessed.lost_payloads(&self.store, &missing(&self.store)?)?,
        })
    }

    /// The site goes on from what is here: everything that was lost has come back, or is given up.
    /// What is given up is not called lost any more; it is still fetched if somebody turns out to
    /// have it.
    ///
    /// # Errors
    /// [`FileError`]; the site is what it was then.
    pub fn recovered(&self, given_up: Option<&Remaining>) -> Result<(), FileError> {
        if let Some(given_up) = given_up.filter(|given_up| !given_up.payloads.is_empty()) {
            accept(self.disk.as_ref(), &given_up.payloads)?;
        }
        let accepted = self.store.blocks().accept_damage();
        accepted.map_err(|error| FileError::Blocks(Box::new(error)))?;
        if self.witness.get().is_none() {
            self.store
                .blocks()
                .sync()
                .map_err(|error| FileError::Blocks(Box::new(error)))?;
            let witness = Witness::open(
                &self.dir,
                self.disk.as_ref(),
                &self.store,
                self.site_id(),
                true,
            )?;
            // Nobody else sets it: a site is recovered by one.
            self.witness.set(witness);
        }
        self.release()
    }
}
