//! What a running node knows beyond its store: who is connected, and how far each peer has been applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uor_asl::state::ReadError;
use uor_index_format::id::SiteId;

use crate::replication::{Applied, Replicator};
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

impl NodeStatus {
    pub(super) fn of(site: &Site, core: &Replicator, listening: &BTreeSet<String>) -> Result<Self, ReadError> {
        let logseq = site.store().view().state().logseq_max();
        let connected: BTreeSet<SiteId> = core.connected().copied().collect();
        let applied: BTreeMap<SiteId, Applied> = core.federation_log_table().clone();
        let names = site.shown_names()?;
        let others = site.members()?.into_iter().filter(|member| member.site_id != site.site_id());
        let peers = others.map(|member| {
            let applied = applied.get(&member.site_id);
            PeerStatus {
                site_id: member.site_id.to_string(),
                name: names.get(&member.site_id).cloned(),
                connected: connected.contains(&member.site_id),
                applied_snapshot: applied.map(|applied| applied.snapshot.to_string()),
                applied_logseq: applied.map(|applied| applied.logseq.0),
                lag: applied.map(|applied| logseq.0.saturating_sub(applied.logseq.0)),
            }
        });
        Ok(Self { listening: listening.iter().cloned().collect(), peers: peers.collect() })
    }
}
