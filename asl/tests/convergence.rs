//! The project's first invariant: state is a pure function of the set of commits. Any arrival
//! order, any batching and any snapshot bound give the same entries, root and conflicts, and
//! sequential replay agrees.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;
mod lone;

use std::num::NonZeroU32;

use lone::Lone;
use proptest::prelude::*;
use uor_asl::disk::Mode;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::replay::replay;
use uor_asl::state::{Filter, State};
use uor_asl::store::{Options, Store};
use uor_asl::validator::Verdict;
use uor_index_format::commit::Commit;
use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::membership::ConflictRule;
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::Entry;

use federation::{Federation, Step, steps};

fn rules() -> impl Strategy<Value = ConflictRule> {
    prop_oneof![
        Just(ConflictRule::First),
        Just(ConflictRule::Quorum),
        Just(ConflictRule::Manual)
    ]
}

/// Commits in an order that `seed` decides.
fn shuffled(commits: &[Commit], seed: u64) -> Vec<Commit> {
    let mut order: Vec<(u64, Commit)> = commits
        .iter()
        .enumerate()
        .map(|(index, commit)| (federation::mix(seed ^ index as u64), commit.clone()))
        .collect();
    order.sort_by_key(|(key, _)| *key);
    order.into_iter().map(|(_, commit)| commit).collect()
}

/// A store that receives `commits` in batches until nothing more counts. Its index is cut into
/// shards, and written and merged, as the size of the batches decides: none of it may show.
fn store_of(federation: &Federation, commits: &[Commit], batch: usize) -> Store {
    let disk: std::sync::Arc<dyn uor_asl::disk::Disk> = std::sync::Arc::new(MemoryDisk::new());
    Store::create(&disk, federation.id()).unwrap();
    let store = Store::open_with(disk, Mode::Write, options(batch)).unwrap();
    let mut waiting = commits.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut still = Vec::new();
        for group in waiting.chunks(batch) {
            let verdicts = store.merge(group.to_vec()).unwrap();
            for (commit, verdict) in group.iter().zip(verdicts) {
                match verdict {
                    Verdict::Accepted | Verdict::Known => {}
                    Verdict::Parked(_) => still.push(commit.clone()),
                    other => panic!("an honest commit was validated {other:?}"),
                }
            }
        }
        waiting = still;
        assert!(waiting.len() < before, "commits wait for ever: {waiting:?}");
    }
    store
}

fn options(batch: usize) -> Options {
    let shards = NonZeroU32::new(1 << (batch % 4)).unwrap();
    Options {
        shards,
        memtable_records_max: batch as u64 * 2,
        seed: batch as u64,
        ..Options::default()
    }
}

fn entries(state: &State, snapshot: &Snapshot) -> Vec<Entry> {
    state
        .entries(snapshot, &Filter::ALL)
        .map(Result::unwrap)
        .collect()
}

fn conflicts(state: &State, snapshot: &Snapshot) -> Vec<CanonicalId> {
    state
        .conflicts(snapshot)
        .unwrap()
        .into_iter()
        .map(|conflict| conflict.id)
        .collect()
}

/// A snapshot that cuts every domain and the clock somewhere; `seed` decides where.
fn cut(commits: &[Commit], seed: u64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let last = commits
        .iter()
        .map(|commit| commit.header().logseq.0)
        .max()
        .unwrap_or(0);
    for commit in commits {
        let header = commit.header();
        let limit = federation::mix(seed ^ u64::from(header.domain.as_bytes()[0])) % 12;
        let head = Head {
            number: header.number,
            hash: commit.hash(),
        };
        if header.number <= limit
            && snapshot
                .frontier
                .get(&header.domain)
                .is_none_or(|known| *known < head)
        {
            snapshot.frontier.insert(header.domain, head);
        }
    }
    snapshot.logseq_max = LogSeq(federation::mix(seed) % (last + 2));
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn arrival_order_and_batching_do_not_matter(
        steps in steps(40), rule in rules(), seeds in any::<[u64; 2]>(), batch in 1_usize..9,
    ) {
        let federation = Federation::build(rule, &steps);
        let commits = federation.commits();
        let one = store_of(&federation, &shuffled(commits, seeds[0]), 1);
        let two = store_of(&federation, &shuffled(commits, seeds[1]), batch);
        let (one, two) = (one.view(), two.view());
        prop_assert_eq!(one.head(), two.head());
        prop_assert_eq!(one.state().root(), two.state().root());
        prop_assert_eq!(entries(one.state(), one.head()), entries(two.state(), two.head()));
        prop_assert_eq!(conflicts(one.state(), one.head()), conflicts(two.state(), two.head()));
        prop_assert_eq!(one.state().root(), one.state().root_at(one.head()).unwrap());
    }

    #[test]
    fn sequential_replay_agrees_at_any_snapshot(
        steps in steps(40), rule in rules(), seed in any::<u64>(), cuts in any::<[u64; 4]>(),
    ) {
        let federation = Federation::build(rule, &steps);
        let store = store_of(&federation, &shuffled(federation.commits(), seed), 5);
        let view = store.view();
        let cuts = cuts.iter().map(|seed| cut(federation.commits(), *seed));
        for snapshot in cuts.chain([view.head().clone()]) {
            let replayed = replay(federation.commits(), &snapshot, rule);
            prop_assert_eq!(&replayed.entries, &entries(view.state(), &snapshot));
            prop_assert_eq!(&replayed.conflicts, &conflicts(view.state(), &snapshot));
            prop_assert_eq!(replayed.root, view.state().root_at(&snapshot).unwrap());
        }
        prop_assert_eq!(store.replay(view.head()).unwrap().root, view.state().root());
    }

    #[test]
    fn a_snapshot_is_the_state_of_the_commits_inside_it(steps in steps(30), rule in rules(), seed in any::<u64>()) {
        let federation = Federation::build(rule, &steps);
        let store = store_of(&federation, federation.commits(), 7);
        let snapshot = cut(federation.commits(), seed);
        let mut alone = Lone::new(rule);
        for commit in federation.commits() {
            let header = commit.header();
            if snapshot.includes(&header.domain, header.number, header.logseq) {
                alone.apply(commit);
            }
        }
        prop_assert_eq!(entries(store.view().state(), &snapshot), entries(&alone, &alone.head()));
    }

    #[test]
    fn reopening_gives_the_same_state(steps in steps(30), rule in rules()) {
        let federation = Federation::build(rule, &steps);
        let store = store_of(&federation, federation.commits(), 7);
        let (disk, root) = (store.disk().clone(), store.view().state().root());
        drop(store);
        let reader = Store::open_with(disk.clone(), Mode::ReadOnly, options(7)).unwrap();
        prop_assert_eq!(&reader.opened().index, &None, "the checkpoint serves");
        prop_assert_eq!(reader.view().state().root(), root);
        let elsewhere = Store::open_with(disk.clone(), Mode::ReadOnly, options(5)).unwrap();
        let was_sealed = disk.exists("index/checkpoint").unwrap();
        prop_assert_eq!(elsewhere.opened().index.is_some(), was_sealed, "other shards are rewritten");
        prop_assert_eq!(elsewhere.view().state().root_at(elsewhere.view().head()).unwrap(), root);
        let reopened = Store::open_with(disk, Mode::Write, options(7)).unwrap();
        prop_assert_eq!(reopened.view().state().root(), root);
        reopened.settle().unwrap();
        prop_assert_eq!(reopened.view().state().root_at(reopened.view().head()).unwrap(), root);
        let verified = reopened.verify(&mut |_| {}).unwrap();
        prop_assert_eq!(verified.findings, vec![]);
        prop_assert_eq!(verified.state_root, root);
    }
}

/// The generator must reach the interesting cases, or the properties above say nothing.
#[test]
fn the_generator_reaches_conflicts_tombstones_and_ties() {
    let mut seen = [0_u32; 4];
    for seed in 0..60_u64 {
        let steps: Vec<Step> = (0..40)
            .map(|index| Step::from_seed(federation::mix(seed << 8 | index)))
            .collect();
        let federation = Federation::build(ConflictRule::First, &steps);
        let store = store_of(&federation, federation.commits(), 16);
        let view = store.view();
        let records = || federation.commits().iter().flat_map(Commit::records);
        let mut logseqs: Vec<_> = federation
            .commits()
            .iter()
            .map(|commit| commit.header().logseq)
            .collect();
        let all = logseqs.len();
        logseqs.sort();
        logseqs.dedup();
        seen[0] += u32::from(!conflicts(view.state(), view.head()).is_empty());
        seen[1] += u32::from(records().any(uor_index_format::record::Record::is_tombstone));
        seen[2] += u32::from(logseqs.len() < all);
        seen[3] += u32::from(
            entries(view.state(), view.head())
                .iter()
                .any(|entry| entry.domains > 1),
        );
    }
    assert!(
        seen.iter().all(|count| *count > 10),
        "conflicts, tombstones, equal logseqs, corroborations: {seen:?}"
    );
}
