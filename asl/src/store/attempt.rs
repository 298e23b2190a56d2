//! One of several attempts to open a store.

use super::checkpoint::{self, Stamp};
use super::error::StoreError;
use crate::disk::Disk;

/// One attempt to open a store that may change meanwhile.
pub(super) struct Attempt {
    pub(super) before: Option<Stamp>,
    /// Whether there will be no other: what does not fit is then taken as it is, and the index
    /// found in the log.
    pub(super) is_last: bool,
}

impl Attempt {
    /// The attempt of a writer, beside which nobody writes.
    pub(super) const ALONE: Self = Self {
        before: None,
        is_last: true,
    };

    /// Whether the index was changed since the attempt began, and is worth being read again.
    pub(super) fn is_worth_another(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        Ok(!self.is_last && checkpoint::stamp(disk)? != self.before)
    }
}
