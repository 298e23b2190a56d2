//! The rules of `index-format/FORMAT.md` for what is visible, one small test each.
//!
//! [`seen`] hands the same words to the state in several arrival orders and to sequential replay;
//! all must agree before a test looks at what they agreed on. [`ALICE`] comes before [`BOB`], and
//! he before [`CAROL`], in the one order.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod lone;

use std::collections::BTreeMap;

use lone::Lone;
use uor_asl::replay::replay;
use uor_asl::state::{Filter, State};

use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{
    ArtifactKey, CanonicalId, Checksum, CommitHash, FederationState, LogSeq,
};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::ConflictRule::{self, First, Manual, Quorum};
use uor_index_format::order::Place;
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Kind, Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::{Entry, StateHash};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const SITES: [usize; 3] = [ALICE, BOB, CAROL];

/// Who said what, when.
type Word = (usize, u64, Record);

fn key(site: usize) -> SiteKey {
    let mut keys = [1, 2, 3].map(|seed| SiteKey::from_seed(&[seed; 32]));
    keys.sort_by_key(SiteKey::site_id);
    keys[site].clone()
}

fn artifact_key(seed: u8) -> ArtifactKey {
    ArtifactKey::from_bytes([seed; 32])
}

fn derivation() -> Derivation {
    Derivation {
        program: artifact_key(1),
        inputs: vec![],
        params: vec![],
        profile: "test/1".to_owned(),
    }
}

/// That the one derivation of these tests has this outcome.
fn outcome(bytes: &[u8]) -> Record {
    Record::receipt(derivation(), Payload::of(bytes))
}

fn artifact(bytes: &[u8]) -> Record {
    Record::artifact(None, Payload::of(bytes))
}

fn edge(role: Role) -> Record {
    let end = |seed| vec![Endpoint::Artifact(artifact_key(seed))];
    Record::edge(Edge {
        edge_type: "used".to_owned(),
        from: end(1),
        to: end(2),
        role,
        attribute: None,
    })
}

fn name(target: u8) -> Record {
    let (namespace, name) = (NAMESPACE_USER.to_owned(), "name".to_owned());
    Record::reference(RefAssignment {
        namespace,
        name,
        target: artifact_key(target),
    })
}

/// A tombstone for what `record` is about.
fn gone(record: &Record) -> Record {
    Record::tombstone(record.id())
}

/// The word that this outcome is effective.
fn keep(bytes: &[u8]) -> Record {
    Record::resolution(outcome(b"").id(), Checksum::of(bytes))
}

/// The logs these words make: of each site one commit for each logseq at which it speaks.
fn logs(words: &[Word]) -> Vec<Commit> {
    let mut at: BTreeMap<(usize, u64), Vec<Record>> = BTreeMap::new();
    for (site, logseq, record) in words {
        at.entry((*site, *logseq)).or_default().push(record.clone());
    }
    let mut heads: BTreeMap<usize, Head> = BTreeMap::new();
    let mut commits = Vec::new();
    for ((site, logseq), records) in at {
        let head = heads.get(&site).copied().unwrap_or(Head {
            number: 0,
            hash: CommitHash::NONE,
        });
        let draft = Draft {
            number: head.number + 1,
            history: History::Previous(head.hash),
            logseq: LogSeq(logseq),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: vec![],
            records,
        };
        let commit = Commit::seal(draft, &key(site)).unwrap();
        heads.insert(
            site,
            Head {
                number: head.number + 1,
                hash: commit.hash(),
            },
        );
        commits.push(commit);
    }
    commits
}

fn state_of<'a>(rule: ConflictRule, commits: impl IntoIterator<Item = &'a Commit>) -> Lone {
    Lone::of(rule, commits)
}

/// States of these logs in several orders of arrival; each domain's commits keep theirs.
fn arrivals(rule: ConflictRule, commits: &[Commit]) -> Vec<Lone> {
    let domains: Vec<_> = SITES.map(|site| key(site).site_id()).to_vec();
    let of = |domain| {
        commits
            .iter()
            .filter(move |commit| commit.header().domain == domain)
    };
    let forth = state_of(rule, domains.iter().flat_map(|domain| of(*domain)));
    let back = state_of(rule, domains.iter().rev().flat_map(|domain| of(*domain)));
    let mut by_time: Vec<&Commit> = commits.iter().collect();
    by_time.sort_by_key(|commit| commit.header().logseq);
    vec![forth, back, state_of(rule, by_time)]
}

/// Everything visible at a snapshot (or at the head), if state and replay agree on it in every
/// order of arrival.
fn all_seen_at(rule: ConflictRule, words: &[Word], snapshot: Option<&Snapshot>) -> Vec<Entry> {
    let commits = logs(words);
    let head = state_of(rule, &commits).head();
    let snapshot = snapshot.unwrap_or(&head);
    let replayed = replay(&commits, snapshot, rule);
    let backwards: Vec<&Commit> = commits.iter().rev().collect();
    assert_eq!(
        replay(backwards, snapshot, rule),
        replayed,
        "replay depends on arrival"
    );
    for state in arrivals(rule, &commits) {
        let entries: Vec<Entry> = state
            .entries(snapshot, &Filter::ALL)
            .map(Result::unwrap)
            .collect();
        assert_eq!(entries, replayed.entries, "state and replay differ");
        let conflicts: Vec<CanonicalId> = state
            .conflicts(snapshot)
            .unwrap()
            .iter()
            .map(|conflict| conflict.id)
            .collect();
        assert_eq!(conflicts, replayed.conflicts, "conflicts differ");
        assert_eq!(
            state.root_at(snapshot).unwrap(),
            replayed.root,
            "roots differ"
        );
        if *snapshot == head {
            assert_eq!(
                state.root(),
                replayed.root,
                "the root that was kept up differs"
            );
            assert_eq!(state.entries_len(), replayed.entries.len() as u64);
        }
        for entry in &entries {
            assert_eq!(state.entry(&entry.id, snapshot).unwrap(), Some(*entry));
        }
    }
    replayed.entries
}

/// What is visible of the one id these words are about: checksum that is effective, its logseq, its
/// domains, conflict.
type Seen = Option<(Option<Checksum>, u64, u32, bool)>;

fn seen_at(rule: ConflictRule, words: &[Word], snapshot: Option<&Snapshot>) -> Seen {
    let entries = all_seen_at(rule, words, snapshot);
    assert!(entries.len() <= 1, "these tests speak about one id");
    entries.first().map(|entry| {
        (
            entry.checksum,
            entry.logseq.0,
            entry.domains,
            entry.conflict,
        )
    })
}

fn seen(rule: ConflictRule, words: &[Word]) -> Seen {
    seen_at(rule, words, None)
}

/// This claim is effective, as of its logseq, made by so many domains, and nobody contradicts it.
fn effective(record: &Record, logseq: u64, domains: u32) -> Seen {
    Some((Some(record.payload().checksum), logseq, domains, false))
}

/// As [`effective`], with a conflict open.
fn disputed(record: &Record, logseq: u64, domains: u32) -> Seen {
    Some((Some(record.payload().checksum), logseq, domains, true))
}

// Design §4: the order.

#[test]
fn the_order_is_logseq_then_id_then_tombstone_then_domain() {
    let (low, high) = (artifact(b"a"), artifact(b"b"));
    let (low, high) = if low.id() < high.id() {
        (low, high)
    } else {
        (high, low)
    };
    let words = [
        (CAROL, 1, gone(&high)),
        (ALICE, 2, low.clone()),
        (CAROL, 2, low.clone()),
        (BOB, 2, gone(&low)),
        (BOB, 2, high.clone()),
        (ALICE, 2, gone(&high)),
        (ALICE, 3, low.clone()),
    ];
    let place = |(site, logseq, record): &Word| {
        let commits = logs(&[(*site, *logseq, record.clone())]);
        commits[0].place(&commits[0].records()[0])
    };
    let places: Vec<Place> = words.iter().map(place).collect();
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
}

#[test]
fn a_lower_logseq_comes_first() {
    let (early, late) = (outcome(b"early"), outcome(b"late"));
    let words = [(CAROL, 1, early.clone()), (ALICE, 2, late.clone())];
    assert_eq!(seen(First, &words), disputed(&early, 1, 1));
    let words = [(CAROL, 1, name(1)), (ALICE, 2, name(2))];
    assert_eq!(seen(First, &words), effective(&name(2), 2, 1));
}

#[test]
fn a_tombstone_comes_after_what_it_shadows_at_the_same_logseq() {
    for (one, other) in [(ALICE, BOB), (BOB, ALICE)] {
        for record in [outcome(b"x"), artifact(b"x"), edge(Role::From), name(1)] {
            assert_eq!(
                seen(
                    First,
                    &[(one, 5, record.clone()), (other, 5, gone(&record))]
                ),
                None
            );
        }
    }
}

#[test]
fn at_the_same_logseq_domains_break_the_tie() {
    let (of_bob, of_carol) = (outcome(b"bob's"), outcome(b"carol's"));
    assert_eq!(
        seen(First, &[(CAROL, 5, of_carol), (BOB, 5, of_bob.clone())]),
        disputed(&of_bob, 5, 1)
    );
    assert_eq!(
        seen(First, &[(CAROL, 5, name(3)), (BOB, 5, name(2))]),
        effective(&name(3), 5, 1)
    );
    assert_eq!(
        seen(First, &[(CAROL, 5, name(2)), (BOB, 5, name(3))]),
        effective(&name(2), 5, 1)
    );
}

// Design §5: what is effective.

#[test]
fn of_artifacts_and_receipts_the_first_stands() {
    assert_eq!(
        seen(
            First,
            &[(BOB, 1, artifact(b"x")), (ALICE, 2, artifact(b"x"))]
        ),
        effective(&artifact(b"x"), 1, 2)
    );
    assert_eq!(
        seen(First, &[(BOB, 1, outcome(b"x")), (ALICE, 2, outcome(b"x"))]),
        effective(&outcome(b"x"), 1, 2)
    );
    let words = [(BOB, 1, outcome(b"x")), (BOB, 2, outcome(b"y"))];
    assert_eq!(
        seen(First, &words),
        disputed(&outcome(b"x"), 1, 1),
        "not even its writer replaces an outcome"
    );
}

#[test]
fn of_edges_and_refs_the_last_stands_and_nothing_is_a_conflict() {
    for rule in [First, Quorum, Manual] {
        let words = [
            (BOB, 1, edge(Role::From)),
            (ALICE, 2, edge(Role::To)),
            (CAROL, 3, edge(Role::Both)),
        ];
        assert_eq!(seen(rule, &words), effective(&edge(Role::Both), 3, 1));
        let words = [(BOB, 1, name(1)), (ALICE, 2, name(2)), (BOB, 3, name(1))];
        assert_eq!(seen(rule, &words), effective(&name(1), 3, 1));
        let words = [(BOB, 1, name(1)), (CAROL, 2, name(2)), (ALICE, 3, name(1))];
        assert_eq!(
            seen(rule, &words),
            effective(&name(1), 3, 2),
            "bob said so too"
        );
    }
}

#[test]
fn a_tombstone_shadows_everything_at_or_before_it_and_nothing_after() {
    for record in [outcome(b"x"), artifact(b"x"), edge(Role::To), name(1)] {
        let dead = (BOB, 2, gone(&record));
        assert_eq!(
            seen(First, &[(BOB, 1, record.clone()), dead.clone()]),
            None,
            "its own writer's"
        );
        assert_eq!(
            seen(
                First,
                &[
                    (ALICE, 1, record.clone()),
                    (CAROL, 2, record.clone()),
                    dead.clone()
                ]
            ),
            None
        );
        assert_eq!(
            seen(First, &[dead.clone(), (ALICE, 3, record.clone())]),
            effective(&record, 3, 1)
        );
        let words = [(ALICE, 1, record.clone()), dead, (CAROL, 3, record.clone())];
        assert_eq!(
            seen(First, &words),
            effective(&record, 3, 1),
            "what is shadowed corroborates nothing"
        );
    }
}

#[test]
fn of_several_tombstones_the_last_decides() {
    let x = outcome(b"x");
    let words = [
        (ALICE, 1, gone(&x)),
        (BOB, 2, x.clone()),
        (CAROL, 3, gone(&x)),
        (ALICE, 4, x.clone()),
    ];
    assert_eq!(seen(First, &words), effective(&x, 4, 1));
    assert_eq!(seen(First, &words[..3]), None);
    assert_eq!(seen(First, &words[..2]), effective(&x, 2, 1));
}

#[test]
fn a_tombstone_leaves_other_ids_alone() {
    let entries = all_seen_at(
        First,
        &[(ALICE, 1, outcome(b"x")), (BOB, 2, gone(&artifact(b"x")))],
        None,
    );
    assert_eq!(entries.len(), 1);
}

#[test]
fn equal_claims_corroborate_and_domains_are_counted_once() {
    let x = outcome(b"x");
    let words = [
        (ALICE, 1, x.clone()),
        (ALICE, 2, x.clone()),
        (BOB, 3, x.clone()),
        (CAROL, 3, x.clone()),
    ];
    for rule in [First, Quorum, Manual] {
        assert_eq!(seen(rule, &words), effective(&x, 1, 3));
        assert_eq!(seen(rule, &words[..2]), effective(&x, 1, 1));
    }
}

#[test]
fn under_first_the_first_of_unequal_claims_stands_disputed() {
    let words = [
        (CAROL, 1, outcome(b"x")),
        (ALICE, 2, outcome(b"y")),
        (BOB, 2, outcome(b"y")),
    ];
    assert_eq!(seen(First, &words), disputed(&outcome(b"x"), 1, 1));
}

#[test]
fn under_quorum_the_claim_of_most_domains_stands_disputed() {
    let words = [
        (CAROL, 1, outcome(b"x")),
        (ALICE, 2, outcome(b"y")),
        (BOB, 3, outcome(b"y")),
    ];
    assert_eq!(seen(Quorum, &words), disputed(&outcome(b"y"), 2, 2));
    assert_eq!(
        seen(Quorum, &words[..2]),
        disputed(&outcome(b"x"), 1, 1),
        "a tie goes by the order"
    );
    let words = [
        (CAROL, 1, outcome(b"x")),
        (ALICE, 2, outcome(b"y")),
        (ALICE, 3, outcome(b"y")),
        (ALICE, 4, outcome(b"y")),
    ];
    assert_eq!(
        seen(Quorum, &words),
        disputed(&outcome(b"x"), 1, 1),
        "one domain has one voice"
    );
}

#[test]
fn under_manual_no_unequal_claim_stands() {
    let words = [
        (CAROL, 1, outcome(b"x")),
        (ALICE, 2, outcome(b"y")),
        (BOB, 3, outcome(b"y")),
    ];
    assert_eq!(seen(Manual, &words), Some((None, 1, 0, true)));
    let state = state_of(Manual, &logs(&words));
    assert!(
        state
            .get(&outcome(b"").id(), &state.head())
            .unwrap()
            .unwrap()
            .version
            .is_none()
    );
}

#[test]
fn a_conflict_is_listed_with_all_its_claims() {
    let x = outcome(b"x");
    let words = [
        (BOB, 1, x.clone()),
        (ALICE, 2, gone(&x)),
        (CAROL, 3, outcome(b"y")),
        (ALICE, 4, keep(b"?")),
        (BOB, 5, x),
    ];
    let state = state_of(First, &logs(&words));
    let conflicts = state.conflicts(&state.head()).unwrap();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(
        (conflicts[0].id, conflicts[0].kind),
        (outcome(b"").id(), Kind::Receipt)
    );
    assert_eq!(conflicts[0].effective, Some(Checksum::of(b"y")));
    let claims: Vec<u64> = conflicts[0]
        .claims
        .iter()
        .map(|claim| claim.place.logseq.0)
        .collect();
    assert_eq!(claims, [3, 5], "neither what is shadowed nor resolutions");
    assert_eq!(
        state
            .versions(&conflicts[0].id, &state.head())
            .unwrap()
            .len(),
        5
    );
}

#[test]
fn a_resolution_ends_a_conflict_under_every_rule() {
    let words = [
        (ALICE, 1, outcome(b"x")),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, outcome(b"y")),
        (ALICE, 4, keep(b"x")),
    ];
    for rule in [First, Quorum, Manual] {
        assert_eq!(seen(rule, &words), effective(&outcome(b"x"), 1, 1));
        let other = [
            words[0].clone(),
            words[1].clone(),
            words[2].clone(),
            (ALICE, 4, keep(b"y")),
        ];
        assert_eq!(seen(rule, &other), effective(&outcome(b"y"), 2, 2));
        let twice = [&words[..], &[(BOB, 5, keep(b"y"))]].concat();
        assert_eq!(
            seen(rule, &twice),
            effective(&outcome(b"y"), 2, 2),
            "the last resolution decides"
        );
    }
}

#[test]
fn a_resolution_of_an_unknown_claim_is_ignored() {
    let words = [
        (ALICE, 1, outcome(b"x")),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, keep(b"z")),
    ];
    assert_eq!(seen(First, &words), disputed(&outcome(b"x"), 1, 1));
    assert_eq!(seen(Manual, &words), Some((None, 1, 0, true)));
    let settled = [
        &words[..2],
        &[(ALICE, 3, keep(b"y")), (CAROL, 4, keep(b"z"))],
    ]
    .concat();
    assert_eq!(
        seen(First, &settled),
        effective(&outcome(b"y"), 2, 1),
        "nor does it undo one that is known"
    );
    assert_eq!(seen(First, &words[2..]), None, "it is no claim itself");
}

#[test]
fn a_resolution_settles_nothing_about_edges_and_refs() {
    let keep_first = Record::resolution(name(1).id(), name(1).payload().checksum);
    assert_eq!(
        seen(
            First,
            &[
                (ALICE, 1, name(1)),
                (BOB, 2, name(2)),
                (ALICE, 3, keep_first)
            ]
        ),
        effective(&name(2), 2, 1)
    );
}

#[test]
fn a_dissent_after_the_resolution_opens_the_conflict_again() {
    let words = [
        (ALICE, 1, outcome(b"x")),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, keep(b"y")),
    ];
    for rule in [First, Quorum, Manual] {
        let after = |record| seen(rule, &[&words[..], &[(ALICE, 4, record)]].concat());
        assert_eq!(
            after(outcome(b"y")),
            effective(&outcome(b"y"), 2, 2),
            "assent"
        );
        assert_eq!(
            after(outcome(b"z")),
            disputed(&outcome(b"y"), 2, 1),
            "what was resolved is effective meanwhile"
        );
        assert_eq!(
            after(outcome(b"x")),
            disputed(&outcome(b"y"), 2, 1),
            "the old claim, said again"
        );
    }
    let at_once = [
        (ALICE, 1, outcome(b"x")),
        (BOB, 3, keep(b"x")),
        (CAROL, 3, outcome(b"y")),
    ];
    assert_eq!(
        seen(First, &at_once),
        disputed(&outcome(b"x"), 1, 1),
        "after it in the order, at the same logseq"
    );
    let at_once = [
        (ALICE, 1, outcome(b"x")),
        (CAROL, 3, keep(b"x")),
        (BOB, 3, outcome(b"y")),
    ];
    assert_eq!(
        seen(First, &at_once),
        effective(&outcome(b"x"), 1, 1),
        "before it"
    );
}

#[test]
fn a_tombstone_ends_a_conflict_and_its_resolution() {
    let x = outcome(b"x");
    let words = [
        (ALICE, 1, x.clone()),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, keep(b"x")),
        (ALICE, 4, gone(&x)),
    ];
    assert_eq!(seen(First, &words), None);
    assert_eq!(seen(First, &[&words[..2], &words[3..]].concat()), None);
    let again = [&words[..], &[(BOB, 5, outcome(b"y"))]].concat();
    assert_eq!(seen(First, &again), effective(&outcome(b"y"), 5, 1));
    let again = [&words[..], &[(BOB, 5, outcome(b"y")), (CAROL, 6, x)]].concat();
    assert_eq!(
        seen(Manual, &again),
        Some((None, 5, 0, true)),
        "the old resolution is shadowed too"
    );
}

// Design §5: snapshots.

fn snapshot(words: &[Word], numbers: &[(usize, u64)], logseq_max: u64) -> Snapshot {
    let commits = logs(words);
    let head = |site: usize, number: u64| {
        let header = |commit: &&Commit| {
            commit.header().domain == key(site).site_id() && commit.header().number == number
        };
        Head {
            number,
            hash: commits.iter().find(header).unwrap().hash(),
        }
    };
    let frontier = numbers
        .iter()
        .map(|(site, number)| (key(*site).site_id(), head(*site, *number)))
        .collect();
    Snapshot {
        frontier,
        logseq_max: LogSeq(logseq_max),
        origin: None,
    }
}

#[test]
fn a_frontier_bounds_each_domain_by_number() {
    let words = [
        (ALICE, 1, name(1)),
        (ALICE, 3, name(3)),
        (BOB, 2, name(2)),
        (BOB, 4, name(4)),
    ];
    let at = |numbers: &[(usize, u64)]| seen_at(First, &words, Some(&snapshot(&words, numbers, 9)));
    assert_eq!(at(&[]), None);
    assert_eq!(
        at(&[(ALICE, 1)]),
        effective(&name(1), 1, 1),
        "a domain that is not named is outside"
    );
    assert_eq!(at(&[(ALICE, 1), (BOB, 1)]), effective(&name(2), 2, 1));
    assert_eq!(at(&[(ALICE, 2), (BOB, 1)]), effective(&name(3), 3, 1));
    assert_eq!(at(&[(ALICE, 2), (BOB, 2)]), effective(&name(4), 4, 1));
}

#[test]
fn logseq_max_bounds_all_domains() {
    let words = [
        (ALICE, 1, name(1)),
        (BOB, 2, name(2)),
        (ALICE, 3, gone(&name(3))),
        (BOB, 4, name(4)),
    ];
    let at = |logseq_max| {
        seen_at(
            First,
            &words,
            Some(&snapshot(&words, &[(ALICE, 2), (BOB, 2)], logseq_max)),
        )
    };
    assert_eq!(at(0), None);
    assert_eq!(at(1), effective(&name(1), 1, 1));
    assert_eq!(at(2), effective(&name(2), 2, 1));
    assert_eq!(at(3), None);
    assert_eq!(at(4), effective(&name(4), 4, 1));
}

#[test]
fn a_tombstone_or_resolution_outside_the_snapshot_does_nothing_in_it() {
    let x = outcome(b"x");
    let words = [
        (ALICE, 1, x.clone()),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, keep(b"y")),
        (CAROL, 4, gone(&x)),
        (BOB, 5, x),
    ];
    let at = |carol, logseq_max| {
        let numbers = [(ALICE, 1), (BOB, 2), (CAROL, carol)];
        seen_at(First, &words, Some(&snapshot(&words, &numbers, logseq_max)))
    };
    assert_eq!(at(2, 2), disputed(&outcome(b"x"), 1, 1));
    assert_eq!(at(1, 4), effective(&outcome(b"y"), 2, 1));
    assert_eq!(at(2, 4), None);
    assert_eq!(at(2, 5), effective(&outcome(b"x"), 5, 1));
}

#[test]
fn a_snapshot_shows_its_state_for_ever() {
    let x = outcome(b"x");
    let words = [
        (ALICE, 1, x.clone()),
        (BOB, 2, outcome(b"y")),
        (CAROL, 3, name(1)),
        (ALICE, 4, keep(b"y")),
        (BOB, 5, gone(&x)),
        (CAROL, 6, name(2)),
        (ALICE, 7, x.clone()),
        (BOB, 8, gone(&name(1))),
    ];
    for rule in [First, Quorum, Manual] {
        let mut commits = logs(&words);
        commits.sort_by_key(|commit| commit.header().logseq);
        let mut state = Lone::new(rule);
        let mut kept = Vec::new();
        let entries = |state: &State, at: &Snapshot| -> Vec<Entry> {
            state
                .entries(at, &Filter::ALL)
                .map(Result::unwrap)
                .collect()
        };
        for commit in &commits {
            state.apply(commit);
            kept.push((state.head(), state.root(), entries(&state, &state.head())));
        }
        for (snapshot, root, seen_then) in kept {
            assert_eq!(state.root_at(&snapshot).unwrap(), root);
            assert_eq!(entries(&state, &snapshot), seen_then);
            assert_eq!(replay(&commits, &snapshot, rule).root, root);
        }
    }
}

// Design §5: the state root.

#[test]
fn a_state_root_depends_on_every_part_of_an_entry() {
    let base = Entry {
        id: CanonicalId::from_bytes([7; 32]),
        kind: Kind::Artifact,
        type_tag: None,
        checksum: Some(Checksum::from_bytes([0; 32])),
        payload_len: 3,
        logseq: LogSeq(5),
        conflict: false,
        domains: 1,
    };
    let entries = [
        base,
        Entry {
            id: CanonicalId::from_bytes([8; 32]),
            ..base
        },
        Entry {
            kind: Kind::Receipt,
            ..base
        },
        Entry {
            type_tag: Some(0),
            ..base
        },
        Entry {
            type_tag: Some(1),
            ..base
        },
        Entry {
            checksum: Some(Checksum::from_bytes([1; 32])),
            ..base
        },
        Entry {
            checksum: None,
            ..base
        },
        Entry {
            logseq: LogSeq(6),
            ..base
        },
        Entry {
            conflict: true,
            ..base
        },
    ];
    let root = |entries: &[Entry]| {
        let mut sum = StateHash::default();
        entries.iter().for_each(|entry| sum.add(entry));
        sum.root(&Snapshot::default())
    };
    let mut roots: Vec<_> = entries
        .iter()
        .map(|entry| root(&[*entry]))
        .chain([root(&[])])
        .collect();
    roots.sort();
    roots.dedup();
    assert_eq!(roots.len(), entries.len() + 1);
    assert_eq!(
        root(&entries[..3]),
        root(&[entries[2], entries[0], entries[1]]),
        "arrival does not matter"
    );
    let mut sum = StateHash::default();
    [entries[0], entries[1]]
        .iter()
        .for_each(|entry| sum.add(entry));
    sum.remove(&entries[0]);
    assert_eq!(
        sum.root(&Snapshot::default()),
        root(&[entries[1]]),
        "what is taken away leaves nothing"
    );
}

#[test]
fn a_state_root_depends_on_the_snapshot() {
    let words = [(ALICE, 1, artifact(b"x")), (BOB, 2, gone(&artifact(b"y")))];
    let state = state_of(First, &logs(&words));
    let at = |numbers: &[(usize, u64)], logseq_max| {
        state
            .root_at(&snapshot(&words, numbers, logseq_max))
            .unwrap()
    };
    let roots = [
        at(&[(ALICE, 1)], 1),
        at(&[(ALICE, 1)], 2),
        at(&[(ALICE, 1), (BOB, 1)], 2),
    ];
    assert!(
        roots[0] != roots[1] && roots[1] != roots[2] && roots[0] != roots[2],
        "though the entries are the same"
    );
}

// What questions find.

#[test]
fn ids_are_found_by_prefix() {
    let words: Vec<Word> = (0..200_u64)
        .map(|n| (ALICE, n + 1, artifact(&n.to_le_bytes())))
        .collect();
    let hidden = artifact(&7_u64.to_le_bytes());
    let state = state_of(
        First,
        logs(&words)
            .iter()
            .chain(&logs(&[(BOB, 900, gone(&hidden))])),
    );
    let all: Vec<CanonicalId> = state
        .all_versions(&state.head())
        .map(|version| version.unwrap().place.id)
        .collect();
    for record in words.iter().map(|(_, _, record)| record) {
        let text = record.id().to_string();
        for len in [1, 2, 3, 64] {
            let mut expected: Vec<CanonicalId> = all
                .iter()
                .filter(|id| id.to_string().starts_with(&text[..len]))
                .copied()
                .collect();
            expected.dedup();
            assert_eq!(state.ids_with_prefix(&text[..len], 1000).unwrap(), expected);
            assert_eq!(
                state
                    .ids_with_prefix(&text[..len].to_uppercase(), 1000)
                    .unwrap(),
                expected
            );
            assert_eq!(
                state.ids_with_prefix(&text[..len], 1).unwrap(),
                expected[..1]
            );
        }
    }
    assert_eq!(
        state.ids_with_prefix("", 1000).unwrap().len(),
        200,
        "what is shadowed included"
    );
    let none = ["x", "0x", " ", "zz", &"f".repeat(64), &"0".repeat(65)];
    assert!(
        none.iter()
            .all(|prefix| state.ids_with_prefix(prefix, 9).unwrap().is_empty())
    );
}
