//! Which ids may differ between two snapshots: what is effective about an id is a function of its
//! versions alone, so only ids that commits inside exactly one of the two speak of.

use std::collections::BTreeSet;

use uor_index_format::id::{CanonicalId, SiteId};
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use crate::store::{Store, StoreError};

impl Store {
    /// Ids about which `a` and `b` may show different things; about all others they show the same.
    /// Of each domain only the commits between the two are read, and as many as it takes to find
    /// where a snapshot's logseq cuts the domain short.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn changed_ids(
        &self,
        a: &Snapshot,
        b: &Snapshot,
    ) -> Result<BTreeSet<CanonicalId>, StoreError> {
        let domains: BTreeSet<&SiteId> = a.frontier.keys().chain(b.frontier.keys()).collect();
        let mut ids = BTreeSet::new();
        for domain in domains {
            let (a, b) = (self.last_inside(domain, a)?, self.last_inside(domain, b)?);
            for number in a.min(b) + 1..=a.max(b) {
                if let Some(commit) = self.read_commit(domain, number)? {
                    ids.extend(commit.records().iter().map(Record::id));
                }
            }
        }
        Ok(ids)
    }

    /// Number of the last commit of `domain` that is here and inside `snapshot`, or 0. Logseqs rise
    /// within a domain, so what is inside is a beginning of it.
    fn last_inside(&self, domain: &SiteId, snapshot: &Snapshot) -> Result<u64, StoreError> {
        let last = snapshot.frontier.get(domain).map_or(0, |head| head.number);
        let (mut inside, mut outside) = (0, last.saturating_add(1));
        // Seldom is a domain cut short, so its last commit is tried first.
        let mut number = last;
        while inside + 1 < outside {
            match self.read_commit(domain, number)? {
                Some(commit) if commit.header().logseq <= snapshot.logseq_max => inside = number,
                _ => outside = number,
            }
            number = inside + (outside - inside) / 2;
        }
        Ok(inside)
    }
}
