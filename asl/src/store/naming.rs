//! What names payloads.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::{CanonicalId, Checksum};

use super::view::View;

/// What artifacts and receipts say of a payload.
#[derive(Default)]
pub(crate) struct Naming {
    /// Their ids.
    pub(crate) keys: BTreeSet<CanonicalId>,
    /// How long it is, by the longest claim.
    pub(crate) len: u64,
}

/// What names each of these payloads: every version does, so that older snapshots are covered too,
/// as far as they can be read.
pub(crate) fn naming(view: &View, payloads: &BTreeSet<Checksum>) -> BTreeMap<Checksum, Naming> {
    let mut naming: BTreeMap<Checksum, Naming> = BTreeMap::new();
    if payloads.is_empty() {
        return naming;
    }
    for version in view
        .state()
        .all_versions(view.head())
        .filter_map(Result::ok)
    {
        if let Some(payload) = version
            .record
            .block_payload()
            .filter(|payload| payloads.contains(&payload.checksum))
        {
            let named = naming.entry(payload.checksum).or_default();
            named.keys.insert(version.place.id);
            named.len = named.len.max(payload.len);
        }
    }
    naming
}
