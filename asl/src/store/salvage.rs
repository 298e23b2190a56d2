//! A log that lost bytes, made whole again as far as it goes: what is still valid is taken over,
//! and what was in between comes from other sites, or is given up.

use std::sync::Arc;

use uor_index_format::id::SiteId;

use super::error::StoreError;
use super::files::LOCK_FILE;
use super::handle::Store;
use super::maintenance::runs::give_up;
use super::options::Options;
use crate::disk::{Context as _, Disk, Mode};
use crate::entry;
use crate::log::{self, Salvaged};

impl Store {
    /// Rewrites the damaged segments of the log on `disk`, if there are any, out of what of them is
    /// still valid; the bytes as they were found stay beside them. The index is removed. Commits
    /// behind a gap are not accepted until what is missing has come: [`Store::revalidate`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn salvage(disk: &Arc<dyn Disk>) -> Result<Vec<Salvaged>, StoreError> {
        rewrite(disk, &|_, _| false)
    }

    /// Removes those commits of a domain from the log on `disk` that are not accepted because what
    /// they follow is lost, so that their numbers are free again. The caller knows that nobody else
    /// has them. Their bytes stay beside the log.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn drop_unaccepted(
        disk: &Arc<dyn Disk>,
        domain: &SiteId,
    ) -> Result<Vec<Salvaged>, StoreError> {
        let accepted = {
            let store = Self::open_with(
                Arc::clone(disk),
                Mode::ReadOnly,
                Options {
                    rebuild_index: true,
                    ..Options::default()
                },
            )?;
            let view = store.view();
            // What a fork took back was seen by others, and stays.
            if view.forks().contains_key(domain) || view.unaccepted_head(domain).is_none() {
                return Ok(Vec::new());
            }
            view.head()
                .frontier
                .get(domain)
                .map_or(0, |head| head.number)
        };
        let is_dropped = |kind: u8, body: &[u8]| {
            let named = entry::header_in(kind, body);
            named.is_some_and(|named| named.domain == *domain && named.number > accepted)
        };
        rewrite(disk, &is_dropped)
    }

    /// Rebuilds everything from the log: what could not be accepted for want of something may do
    /// now that it has come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revalidate(&self) -> Result<(), StoreError> {
        let mut validator = self.validator();
        self.rebuild_from_log(validator.as_mut().ok_or(StoreError::Poisoned)?)
    }
}

fn rewrite(
    disk: &Arc<dyn Disk>,
    is_dropped: &dyn Fn(u8, &[u8]) -> bool,
) -> Result<Vec<Salvaged>, StoreError> {
    Store::identity(disk)?;
    let lock = disk
        .try_lock(LOCK_FILE)
        .during("take the lock that is file", LOCK_FILE)?;
    let _alone = lock.ok_or(StoreError::InUse)?;
    let damaged = log::damaged_segments(disk.as_ref(), is_dropped)?;
    if !damaged.is_empty() {
        // It names places in the log, which move.
        give_up(disk.as_ref())?;
    }
    let rewritten = damaged
        .into_iter()
        .map(|number| log::rewrite_segment(disk.as_ref(), number, is_dropped));
    Ok(rewritten.collect::<Result<_, _>>()?)
}
