//! Asking the others for this site's own log, before its first own commit after a start.
//!
//! What decides whether enough was asked is `site::standing`'s rule; here is only who was asked and who has answered.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::Multiaddr;
use uor_index_format::id::SiteId;

use crate::replication::Replicator;

/// How long a node waits for those it knows, in milliseconds; whoever does not answer by then is gone on without.
pub(super) const ASK_MS_MAX: u64 = 5_000;

/// Whom to ask, and until when.
#[derive(Debug)]
pub(super) struct Asking {
    /// Known sites, and their addresses at which nobody has failed to answer yet.
    known: BTreeMap<SiteId, BTreeSet<String>>,
    deadline_ms: u64,
}

impl Asking {
    /// Asks these, until `deadline_ms`.
    pub(super) fn new(addresses: impl IntoIterator<Item = (SiteId, String)>, me: SiteId, deadline_ms: u64) -> Self {
        let mut known: BTreeMap<SiteId, BTreeSet<String>> = BTreeMap::new();
        for (site, address) in addresses.into_iter().filter(|(site, _)| *site != me) {
            known.entry(site).or_default().insert(address);
        }
        Self { known, deadline_ms }
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Nobody answers there.
    pub(super) fn failed(&mut self, address: Option<&Multiaddr>, peer: Option<SiteId>) {
        let address = address.map(ToString::to_string);
        for (site, addresses) in &mut self.known {
            match &address {
                Some(address) => drop(addresses.remove(address)),
                None if peer == Some(*site) => addresses.clear(),
                None => {}
            }
        }
    }

    /// Whether everyone has answered who can, or the time is over.
    pub(super) fn is_over(&self, core: &Replicator, now_ms: u64) -> bool {
        let connected: BTreeSet<&SiteId> = core.connected().collect();
        let is_settled = |site: &SiteId, addresses: &BTreeSet<String>| {
            core.heard().contains_key(site) || (addresses.is_empty() && !connected.contains(site))
        };
        now_ms >= self.deadline_ms || self.known.iter().all(|(site, addresses)| is_settled(site, addresses))
    }

    /// Those who have not answered.
    pub(super) fn silent(&self, core: &Replicator) -> Vec<SiteId> {
        self.known.keys().filter(|site| !core.heard().contains_key(site)).copied().collect()
    }
}
