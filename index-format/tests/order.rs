//! The one order, and the digest of a state, which must not depend on any order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::id::{CanonicalId, Checksum, CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::order::Place;
use uor_index_format::record::{Kind, Payload, Record};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::{Entry, StateHash};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Few distinct values, so that ties are common in every part.
fn place() -> impl Strategy<Value = Place> {
    (0..3u64, 0..3u8, any::<bool>(), 0..3u8).prop_map(|(logseq, id, tombstone, domain)| Place {
        logseq: LogSeq(logseq),
        id: CanonicalId::from_bytes([id; 32]),
        tombstone,
        domain: SiteId::from_bytes([domain; 32]),
    })
}

/// The order as the specification and the design word it, part by part.
fn compare(one: &Place, other: &Place) -> Ordering {
    let by_logseq = one.logseq.0.cmp(&other.logseq.0);
    let by_id = one.id.as_bytes().cmp(other.id.as_bytes());
    let tombstone_last = match (one.tombstone, other.tombstone) {
        (false, true) => Ordering::Less,
        (true, false) => Ordering::Greater,
        _ => Ordering::Equal,
    };
    by_logseq
        .then(by_id)
        .then(tombstone_last)
        .then(one.domain.as_bytes().cmp(other.domain.as_bytes()))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn places_compare_part_by_part(one in place(), other in place()) {
        prop_assert_eq!(one.cmp(&other), compare(&one, &other));
        prop_assert_eq!(one.partial_cmp(&other), Some(one.cmp(&other)));
    }

    #[test]
    fn the_order_is_total(a in place(), b in place(), c in place()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        prop_assert!(a > b || b > c || a <= c);
    }
}

/// Each part decides where those before it tie, against all parts after it.
#[test]
fn each_part_in_turn_breaks_ties() {
    let place = |logseq, id, tombstone, domain| Place {
        logseq: LogSeq(logseq),
        id: CanonicalId::from_bytes([id; 32]),
        tombstone,
        domain: SiteId::from_bytes([domain; 32]),
    };
    let ascending = [
        place(1, 9, true, 9),
        place(2, 1, true, 9),
        place(2, 2, false, 9),
        place(2, 2, true, 1),
        place(2, 2, true, 2),
        place(256, 0, false, 0),
    ];
    assert!(ascending.is_sorted_by(|one, next| one < next));
}

/// Ids compare from their first byte, as their hexadecimal does.
#[test]
fn ids_compare_as_they_are_printed() {
    let id = |first, last| {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (first, last);
        CanonicalId::from_bytes(bytes)
    };
    let (low, high) = (id(1, 255), id(2, 0));
    assert!(low < high && low.to_string() < high.to_string());
}

#[test]
fn a_tombstone_stands_after_what_it_shadows() {
    let seal = |record: Record, seed: u8| {
        let draft = Draft {
            number: 1,
            history: History::Previous(CommitHash::NONE),
            logseq: LogSeq(5),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: Vec::new(),
            records: vec![record],
        };
        Commit::seal(draft, &SiteKey::from_seed(&[seed; 32])).unwrap()
    };
    let artifact = Record::artifact(None, Payload::of(b"here"));
    for (artifact_seed, tombstone_seed) in [(1, 2), (2, 1)] {
        let made = seal(artifact.clone(), artifact_seed);
        let gone = seal(Record::tombstone(artifact.id()), tombstone_seed);
        assert!(made.place(&made.records()[0]) < gone.place(&gone.records()[0]));
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(Kind::Artifact),
        Just(Kind::Receipt),
        Just(Kind::Edge),
        Just(Kind::Ref)
    ];
    let checksum = proptest::option::of(any::<[u8; 32]>().prop_map(Checksum::from_bytes));
    let tag = proptest::option::of(any::<u32>());
    (
        any::<[u8; 32]>(),
        kind,
        tag,
        checksum,
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|(id, kind, type_tag, checksum, logseq, conflict)| Entry {
            id: CanonicalId::from_bytes(id),
            kind,
            type_tag,
            checksum,
            payload_len: 1,
            logseq: LogSeq(logseq),
            conflict,
            domains: 1,
        })
}

fn sum<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> StateHash {
    entries
        .into_iter()
        .fold(StateHash::default(), |mut sum, entry| {
            sum.add(entry);
            sum
        })
}

fn snapshot() -> Snapshot {
    let head = Head {
        number: 3,
        hash: CommitHash::from_bytes([4; 32]),
    };
    Snapshot {
        frontier: BTreeMap::from([(SiteId::from_bytes([5; 32]), head)]),
        logseq_max: LogSeq(9),
        origin: None,
    }
}

/// `entry` with one hashed field changed, for each field.
fn variants(entry: &Entry) -> Vec<Entry> {
    let mut id = *entry.id.as_bytes();
    id[31] ^= 1;
    let tag = |type_tag| Entry { type_tag, ..*entry };
    let checksum = |checksum| Entry { checksum, ..*entry };
    let mut variants = vec![
        Entry {
            id: CanonicalId::from_bytes(id),
            ..*entry
        },
        Entry {
            kind: if entry.kind == Kind::Edge {
                Kind::Ref
            } else {
                Kind::Edge
            },
            ..*entry
        },
        Entry {
            logseq: LogSeq(entry.logseq.0 ^ 1),
            ..*entry
        },
        Entry {
            conflict: !entry.conflict,
            ..*entry
        },
        tag(None),
        tag(Some(0)),
        tag(Some(1)),
        checksum(None),
        checksum(Some(Checksum::from_bytes([0; 32]))),
        checksum(Some(Checksum::of(b"other"))),
    ];
    variants.retain(|variant| variant != entry);
    variants
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_sum_does_not_depend_on_order(
        (entries, shuffled) in vec(entry(), 0..12).prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
    ) {
        prop_assert_eq!(sum(&entries).digest(), sum(&shuffled).digest());
        prop_assert_eq!(sum(&entries).root(&snapshot()), sum(&shuffled).root(&snapshot()));
    }

    #[test]
    fn removing_undoes_adding(entries in vec(entry(), 0..8), other in vec(entry(), 1..8)) {
        let mut changed = sum(&entries);
        other.iter().for_each(|entry| changed.add(entry));
        prop_assert_ne!(changed.digest(), sum(&entries).digest());
        other.iter().for_each(|entry| changed.remove(entry));
        prop_assert_eq!(changed, sum(&entries));
    }

    /// However a node cuts its index into shards.
    #[test]
    fn merging_equals_the_union(entries in vec(entry(), 0..12), shards in vec(0..3usize, 12)) {
        let mut merged = StateHash::default();
        for shard in 0..3 {
            merged.merge(&sum(entries.iter().zip(&shards).filter(|(_, at)| **at == shard).map(|(entry, _)| entry)));
        }
        prop_assert_eq!(merged.entries(), entries.len() as u64);
        prop_assert_eq!(merged, sum(&entries));
    }

    #[test]
    fn every_hashed_field_changes_the_root(others in vec(entry(), 0..3), entry in entry()) {
        let root = |entry: &Entry| sum(others.iter().chain([entry])).root(&snapshot());
        for variant in variants(&entry) {
            prop_assert_ne!(root(&variant), root(&entry), "{:?}", variant);
        }
        let unaccepted = Entry { payload_len: entry.payload_len + 1, domains: entry.domains + 1, ..entry };
        prop_assert_eq!(root(&unaccepted), root(&entry));
    }
}

#[test]
fn the_snapshot_is_part_of_the_root() {
    let state = StateHash::default();
    let (domain, head) = snapshot().frontier.pop_first().unwrap();
    let with = |domain, head| Snapshot {
        frontier: BTreeMap::from([(domain, head)]),
        ..snapshot()
    };
    let other = CommitHash::from_bytes([6; 32]);
    let mut roots = vec![
        state.root(&snapshot()),
        state.root(&Snapshot {
            logseq_max: LogSeq(10),
            ..snapshot()
        }),
        state.root(&Snapshot {
            frontier: BTreeMap::new(),
            ..snapshot()
        }),
        state.root(&with(SiteId::from_bytes([6; 32]), head)),
        state.root(&with(domain, Head { number: 4, ..head })),
        state.root(&with(
            domain,
            Head {
                hash: other,
                ..head
            },
        )),
    ];
    roots.push(uor_index_format::id::StateRoot::from_bytes(state.digest()));
    roots.sort();
    roots.dedup();
    assert_eq!(roots.len(), 7);
}

#[test]
fn a_snapshot_includes_up_to_both_bounds() {
    let (snapshot, domain) = (snapshot(), SiteId::from_bytes([5; 32]));
    assert!(snapshot.includes(&domain, 3, LogSeq(9)));
    assert!(
        !snapshot.includes(&domain, 4, LogSeq(9)),
        "beyond the frontier"
    );
    assert!(
        !snapshot.includes(&domain, 3, LogSeq(10)),
        "beyond logseq_max"
    );
    assert!(
        !snapshot.includes(&SiteId::from_bytes([6; 32]), 1, LogSeq(1)),
        "a domain that is not in the frontier"
    );
}

/// What a writer says it knows depends on the set it knows, and on nothing else.
#[test]
fn the_federation_state_names_the_membership_commits() {
    let [one, two] = [1, 2].map(|byte| CommitHash::from_bytes([byte; 32]));
    let states = [vec![], vec![one], vec![two], vec![one, two], vec![two, one]]
        .map(|known| FederationState::of(&known));
    let mut distinct = states.to_vec();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), states.len());
}
