//! What a running node knows beyond its store: who is connected, and how far each peer has been
//! applied.

use std::collections::BTreeSet;

use serde::Serialize;
use uor_asl::state::ReadError;
use uor_index_format::id::SiteId;

use crate::replication::{FederationLogTable, Replicator};
use crate::site::Site;

/// The moving part of a node's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Addresses it listens on.
    pub listening: Vec<String>,
    /// Every other member, ascending by site.
    pub peers: Vec<PeerStatus>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// The site.
    pub site_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether there is a connection now.
    pub connected: bool,
    /// The last snapshot of it that is wholly applied here.
    pub applied_snapshot: Option<String>,
    /// The highest logseq of that snapshot.
    pub applied_logseq: Option<u64>,
    /// How far that lies behind this site's own logseq.
    pub lag: Option<u64>,
}

/// What the loop keeps up to date for whoever asks: names and lags are looked up then, and not on
/// every tick, since members may be as many as members say.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    listening: BTreeSet<String>,
    connected: BTreeSet<SiteId>,
    applied: FederationLogTable,
}

impl Live {
    /// Takes over what has changed.
    pub(super) fn take(&mut self, core: &Replicator, listening: &BTreeSet<String>) {
        if self.listening != *listening {
            self.listening.clone_from(listening);
        }
        if !self.connected.iter().eq(core.connected()) {
            self.connected = core.connected().copied().collect();
        }
        if self.applied != *core.federation_log_table() {
            self.applied.clone_from(core.federation_log_table());
        }
    }
}

impl NodeStatus {
    pub(super) fn of(site: &Site, live: &Live) -> Result<Self, ReadError> {
        let logseq = site.store().view().state().logseq_max();
        let names = site.shown_names()?;
        let peers = names
            .into_iter()
            .filter(|(member, _)| *member != site.site_id())
            .map(|(member, name)| {
                let applied = live.applied.get(&member);
                PeerStatus {
                    site_id: member.to_string(),
                    name: Some(name),
                    connected: live.connected.contains(&member),
                    applied_snapshot: applied.map(|applied| applied.snapshot.to_string()),
                    applied_logseq: applied.map(|applied| applied.logseq.0),
                    lag: applied.map(|applied| logseq.0.saturating_sub(applied.logseq.0)),
                }
            });
        Ok(Self {
            listening: live.listening.iter().cloned().collect(),
            peers: peers.collect(),
        })
    }
}
