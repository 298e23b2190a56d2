//! Which version of an id stands: the rules, and nothing but the rules.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::{Checksum, LogSeq, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::{Kind, RecordHeader};
use uor_index_format::state::Entry;

use crate::log::LogPosition;

/// A version without its record's body: all that deciding needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) number: u64,
    pub(super) at: LogPosition,
    pub(super) header: RecordHeader,
}

impl Seen {
    pub(super) fn is_claim(&self) -> bool {
        !matches!(self.header.kind, Kind::Tombstone | Kind::Resolution)
    }

    fn checksum(&self) -> Checksum {
        self.header.payload.checksum
    }
}

/// Those of the versions of one id, given in the one order, that no tombstone shadows: a tombstone
/// shadows all that come before it (specification, "Tombstones").
pub(super) fn unshadowed(versions: &[Seen]) -> &[Seen] {
    let is_tombstone = |version: &Seen| version.header.kind == Kind::Tombstone;
    let last = versions.iter().rposition(is_tombstone);
    last.map_or(versions, |last| &versions[last + 1..])
}

/// Decides what stands among the versions of one id, given in the one order (design: "State"): the
/// entry, and which of the versions it is.
pub(super) fn stand(versions: &[Seen], rule: ConflictRule) -> Option<(Entry, Option<Seen>)> {
    let versions = unshadowed(versions);
    let claims = || versions.iter().filter(|version| version.is_claim());
    let first = claims().next()?;
    let kind = first.header.kind;
    let (standing, conflict) = if !kind.first_stands() {
        (claims().next_back(), false)
    } else if claims().all(|claim| claim.checksum() == first.checksum()) {
        (Some(first), false)
    } else {
        let claimed: BTreeSet<Checksum> = claims().map(Seen::checksum).collect();
        let resolutions = versions
            .iter()
            .filter(|version| version.header.kind == Kind::Resolution);
        match resolutions
            .rev()
            .find(|by| claimed.contains(&by.checksum()))
        {
            Some(by) => {
                let dissents =
                    |claim: &Seen| claim.place > by.place && claim.checksum() != by.checksum();
                (
                    claims().find(|claim| claim.checksum() == by.checksum()),
                    claims().any(dissents),
                )
            }
            None => match rule {
                ConflictRule::First => (Some(first), true),
                ConflictRule::Quorum => (claim_of_most(versions), true),
                ConflictRule::Manual => (None, true),
            },
        }
    };
    let entry = Entry {
        id: first.place.id,
        kind,
        type_tag: standing.and_then(|version| version.header.type_tag),
        checksum: standing.map(Seen::checksum),
        payload_len: standing.map_or(0, |version| version.header.payload.len),
        logseq: standing.unwrap_or(first).place.logseq,
        conflict,
        domains: standing.map_or(0, |version| domains_claiming(versions, version.checksum())),
    };
    Some((entry, standing.copied()))
}

/// Puts versions into the one order. A commit that was accepted late may be indexed twice, its
/// records are still one each.
pub(super) fn in_order(versions: &mut Vec<Seen>) {
    versions.sort_unstable_by_key(|version| version.place);
    versions.dedup_by_key(|version| version.place);
}

/// What stands where there is one version: what [`stand`] says, sooner.
#[inline]
pub(super) fn alone(header: &RecordHeader, logseq: LogSeq) -> Option<Entry> {
    let RecordHeader {
        id,
        kind,
        type_tag,
        payload,
        ..
    } = *header;
    let (checksum, payload_len) = (Some(payload.checksum), payload.len);
    let entry = Entry {
        id,
        kind,
        type_tag,
        checksum,
        payload_len,
        logseq,
        conflict: false,
        domains: 1,
    };
    (!matches!(kind, Kind::Tombstone | Kind::Resolution)).then_some(entry)
}

fn domains_claiming(versions: &[Seen], checksum: Checksum) -> u32 {
    let claim = |version: &&Seen| version.is_claim() && version.checksum() == checksum;
    if versions.len() == 1 {
        return 1;
    }
    let domains: BTreeSet<SiteId> = versions
        .iter()
        .filter(claim)
        .map(|version| version.place.domain)
        .collect();
    u32::try_from(domains.len()).unwrap_or(u32::MAX)
}

/// The earliest claim among those whose checksum most domains claim.
fn claim_of_most(versions: &[Seen]) -> Option<&Seen> {
    let claims = || versions.iter().filter(|version| version.is_claim());
    let mut domains: BTreeMap<Checksum, BTreeSet<SiteId>> = BTreeMap::new();
    for claim in claims() {
        domains
            .entry(claim.checksum())
            .or_default()
            .insert(claim.place.domain);
    }
    let most = domains.values().map(BTreeSet::len).max()?;
    claims().find(|claim| {
        domains
            .get(&claim.checksum())
            .is_some_and(|domains| domains.len() == most)
    })
}
