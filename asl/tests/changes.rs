//! What may differ between two snapshots, held against walking everything at both.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::state::Filter;
use uor_asl::store::Store;
use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::Record;
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::Entry;

use federation::{Federation, mix, steps};

/// A snapshot that takes a beginning of each domain, which `seed` decides, and now and then cuts it
/// shorter by its logseq.
fn cut(federation: &Federation, seed: u64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for commit in federation.commits() {
        let header = commit.header();
        if header.number <= mix(seed ^ u64::from(header.domain.as_bytes()[0])) % 12 {
            snapshot.frontier.insert(
                header.domain,
                Head {
                    number: header.number,
                    hash: commit.hash(),
                },
            );
            snapshot.logseq_max = snapshot.logseq_max.max(header.logseq);
        }
    }
    if mix(seed).is_multiple_of(2) {
        snapshot.logseq_max = LogSeq(mix(seed + 1) % (snapshot.logseq_max.0 + 1));
    }
    snapshot
}

fn entries(store: &Store, at: &Snapshot) -> BTreeMap<CanonicalId, Entry> {
    let view = store.view();
    view.state()
        .entries(at, &Filter::ALL)
        .map(|entry| entry.map(|entry| (entry.id, entry)).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_ids_are_those_of_commits_inside_one_alone(steps in steps(40), seeds in any::<[u32; 2]>()) {
        let federation = Federation::build(ConflictRule::First, &steps);
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&disk, federation.id()).unwrap();
        let store = Store::open(disk, Mode::Write).unwrap();
        store.merge(federation.commits().to_vec()).unwrap();
        let [a, b] = seeds.map(|seed| cut(&federation, seed.into()));

        let inside_one = federation.commits().iter().filter(|commit| {
            let header = commit.header();
            let [in_a, in_b] = [&a, &b].map(|at| at.includes(&header.domain, header.number, header.logseq));
            in_a != in_b
        });
        let expected: BTreeSet<CanonicalId> = inside_one.flat_map(|commit| commit.records()).map(Record::id).collect();
        let changed = store.changed_ids(&a, &b).unwrap();
        prop_assert_eq!(&changed, &expected);

        let (at_a, at_b) = (entries(&store, &a), entries(&store, &b));
        for id in at_a.keys().chain(at_b.keys()) {
            prop_assert!(changed.contains(id) || at_a.get(id) == at_b.get(id), "{} differs", id);
        }
    }
}
