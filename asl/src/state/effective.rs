//! Which version of an id is effective: the rules, and nothing but the rules.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::{Checksum, LogSeq, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Kind, RecordHeader};
use uor_index_format::state::Entry;

use super::tombstone::unshadowed;
use super::version::VersionHeader;

/// The effective version of those of one id, given in the one order, and its entry
/// (`index-format/FORMAT.md`, "What is visible").
pub(super) fn effective(
    versions: &[VersionHeader],
    rule: ConflictRule,
) -> Option<(Entry, Option<VersionHeader>)> {
    let versions = unshadowed(versions);
    let claims = || versions.iter().filter(|version| version.is_claim());
    let first = claims().next()?;
    let kind = first.header.kind;
    let (effective, conflict) = if !kind.keeps_first() {
        (claims().next_back(), false)
    } else if claims().all(|claim| claim.checksum() == first.checksum()) {
        (Some(first), false)
    } else {
        let claimed: BTreeSet<Checksum> = claims().map(VersionHeader::checksum).collect();
        let resolutions = versions
            .iter()
            .filter(|version| version.header.kind == Kind::Resolution);
        match resolutions
            .rev()
            .find(|by| claimed.contains(&by.checksum()))
        {
            Some(by) => {
                let dissents = |claim: &VersionHeader| {
                    claim.place > by.place && claim.checksum() != by.checksum()
                };
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
        type_tag: effective.and_then(|version| version.header.type_tag),
        checksum: effective.map(VersionHeader::checksum),
        payload_len: effective.map_or(0, |version| version.header.payload.len),
        logseq: effective.unwrap_or(first).place.logseq,
        conflict,
        domains: effective.map_or(0, |version| domains_claiming(versions, version.checksum())),
    };
    Some((entry, effective.copied()))
}

/// What is effective where there is one version: what [`effective`] says, sooner.
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

fn domains_claiming(versions: &[VersionHeader], checksum: Checksum) -> u32 {
    let claim = |version: &&VersionHeader| version.is_claim() && version.checksum() == checksum;
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
fn claim_of_most(versions: &[VersionHeader]) -> Option<&VersionHeader> {
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
