//! Payloads that are on their way, whoever sends them.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::{Checksum, SiteId};

/// How many missing payloads are looked at between two ticks, if none of them comes.
const LOOKS_MAX: usize = 4096;

/// Further looks for each payload that comes.
const LOOKS_PER_PAYLOAD: usize = 64;

/// Most payloads that have come and that wait to be made durable together.
pub(super) const ARRIVED_MAX: usize = 256;

/// Payloads that are on their way, and where the search through the missing ones stands.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) coming: BTreeSet<Checksum>,
    /// Payloads that are in the blocks, and not yet known to be durable.
    pub(super) arrived: BTreeSet<Checksum>,
    /// Who sent all that is staged of a payload. What several peers or an earlier process staged
    /// has no one author, and may be torn.
    pub(super) authors: BTreeMap<Checksum, SiteId>,
    /// Payloads that came out wrong from several authors.
    pub(super) doubted: BTreeSet<Checksum>,
    /// The missing payload that was looked at last.
    pub(super) cursor: Option<Checksum>,
    /// How many more may be looked at.
    pub(super) looks: Looks,
    /// Whether what an earlier process staged of payloads that nobody wants any more has been
    /// removed.
    pub(super) is_swept: bool,
}

/// How many more missing payloads may be looked at before time has passed or one of them has come:
/// never more than [`LOOKS_MAX`].
#[derive(Debug)]
pub(super) struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(LOOKS_MAX)
    }
}

impl Looks {
    pub(super) fn renew(&mut self) {
        self.0 = LOOKS_MAX;
    }

    /// A payload has come: so others are worth looking at.
    pub(super) fn earn(&mut self) {
        self.0 = LOOKS_MAX.min(self.0 + LOOKS_PER_PAYLOAD);
    }

    /// Takes one; says whether there was one.
    pub(super) fn take(&mut self) -> bool {
        let is_left = self.0 > 0;
        self.0 -= usize::from(is_left);
        is_left
    }
}
