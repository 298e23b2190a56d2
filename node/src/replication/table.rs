//! The federation log table: per peer, how far it has been applied here (specification §3.3 and
//! §7).

use std::collections::BTreeMap;

use uor_index_format::id::{LogSeq, SiteId, SnapshotId, StateRoot};

/// The last position of a peer that is wholly included here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The snapshot the peer stood at.
    pub snapshot: SnapshotId,
    /// The highest logseq it included.
    pub logseq: LogSeq,
    /// The state root it claimed.
    pub state_root: StateRoot,
}

/// The table.
pub type FederationLogTable = BTreeMap<SiteId, Applied>;

/// The table as text: one line per peer, `site snapshot logseq state_root`.
pub fn to_text(table: &FederationLogTable) -> String {
    let line = |(site, applied): (&SiteId, &Applied)| {
        format!(
            "{site} {} {} {}\n",
            applied.snapshot, applied.logseq, applied.state_root
        )
    };
    table.iter().map(line).collect()
}

/// Reads the text back. Lines that cannot be read are left out: the table can be rebuilt by talking
/// to the peers.
pub fn from_text(text: &str) -> FederationLogTable {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let site = words.next()?.parse().ok()?;
        let snapshot = words.next()?.parse().ok()?;
        let logseq = LogSeq(words.next()?.parse().ok()?);
        let state_root = words.next()?.parse().ok()?;
        Some((
            site,
            Applied {
                snapshot,
                logseq,
                state_root,
            },
        ))
    };
    text.lines().filter_map(line).collect()
}
