//! Whether a site may write: not after it has lost something, nor as a copy that has not asked the
//! others how far its own log has come, since two commits with one number freeze its domain for
//! good.

use uor_index_format::id::SiteId;

use crate::site::directory::files::FileError;
use crate::site::handle::Site;
use crate::site::integrity::hold::{Hold, HoldError, unmark_restored};
use crate::site::integrity::loss::Loss;

impl Site {
    /// What the site had acknowledged and has no longer. A site that was opened to be written has
    /// lost nothing.
    pub fn loss(&self) -> Option<&Loss> {
        self.found.loss.as_ref()
    }

    /// Whether the log was shorter than the index knew it when this site was opened. Of its own the
    /// site has lost nothing then.
    pub fn log_was_cut(&self) -> bool {
        self.found.cut.is_some()
    }

    /// How many commits of other sites the log had lost when this site was opened. They are fetched
    /// again. None are known of if the index was of an older version.
    pub fn commits_to_fetch_again(&self) -> u64 {
        let Some(cut) = &self.found.cut else { return 0 };
        let view = self.store.view();
        let here = |domain: &SiteId| {
            view.head()
                .frontier
                .get(domain)
                .map_or(0, |head| head.number)
        };
        cut.heads
            .iter()
            .map(|(domain, known)| known.saturating_sub(here(domain)))
            .sum()
    }

    /// Whether this is a copy of a site's data directory, of a site that has no others to ask.
    pub fn is_lone_copy(&self) -> bool {
        self.permission.is_lone_copy()
    }

    /// Why the site may not write before it has asked the others for its own log.
    pub fn hold(&self) -> Option<Hold> {
        self.permission.hold()
    }

    /// From now on the site does not write, until [`Site::release`].
    pub(crate) fn hold_as(&self, hold: Hold) {
        self.permission.hold_as(hold);
    }

    /// A node begins to ask the others for this site's own log: writers wait until it is done.
    pub(crate) fn begin_asking(&self) {
        self.permission.begin_asking();
    }

    /// The asking is over: writers go on, unless the site is held.
    pub(crate) fn end_asking(&self) {
        self.permission.end_asking();
    }

    /// The site is where it is and what it is, for good: it has asked the others, or somebody
    /// answers for it. From now on it writes.
    ///
    /// # Errors
    /// [`FileError`]; the site is held as before then.
    pub fn release(&self) -> Result<(), FileError> {
        let Some(witness) = self.witness.get() else {
            return Err(FileError::ReadOnly);
        };
        self.store
            .blocks()
            .sync()
            .map_err(|error| FileError::Blocks(Box::new(error)))?;
        witness.settle(self.disk.as_ref(), &self.store, Some(&self.dir))?;
        unmark_restored(self.disk.as_ref())?;
        self.permission.release();
        Ok(())
    }

    /// Waits until the site may write; a node that is asking the others needs some seconds at most.
    /// If it takes longer than a moment, `on_wait` is told.
    ///
    /// # Errors
    /// [`HoldError`].
    pub fn wait_to_write(&self, on_wait: &mut dyn FnMut()) -> Result<(), HoldError> {
        self.permission.wait(on_wait)
    }
}
