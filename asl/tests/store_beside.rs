//! A reader beside a writer: whatever the writer does between any two steps of the reader, the
//! reader sees a store as it was at some moment, with an index that serves; and if the writer never
//! rests, the reader says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;
mod observed;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log;
use uor_asl::store::{Options, Store, StoreError};
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::StateRoot;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};

use federation::{Federation, SITES, Step, key, mix};
use observed::Observed;

/// The site whose store this is.
const OWN: usize = SITES - 1;

fn small() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 6,
        log: log::Options {
            segment_bytes: 3000,
            preallocate_bytes: 512,
        },
        ..Options::default()
    }
}

/// A federation, and a store of it that is being written.
struct Busy {
    federation: Federation,
    disk: MemoryDisk,
    store: Arc<Store>,
    written: Arc<AtomicU64>,
}

impl Busy {
    fn new() -> Self {
        let steps: Vec<Step> = (0..12).map(|seed| Step::from_seed(mix(seed))).collect();
        let federation = Federation::build(ConflictRule::First, &steps);
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::create(&shared, federation.id()).unwrap();
        let store = Store::open_with(shared, Mode::Write, small()).unwrap();
        store.merge(federation.commits().to_vec()).unwrap();
        store.seal_index().unwrap();
        Self {
            federation,
            disk,
            store: Arc::new(store),
            written: Arc::default(),
        }
    }

    fn root(&self) -> StateRoot {
        self.store.view().state().root()
    }

    /// A proof that site 1 forked its log at its last commit.
    fn proof(&self) -> ForkProof {
        let mut commits = self.federation.commits().iter().rev();
        let last = commits
            .find(|commit| commit.header().domain == key(1).site_id())
            .unwrap();
        let mut draft = self.federation.draft(1, vec![artifact(u64::MAX)]);
        let header = last.header();
        (draft.number, draft.history, draft.logseq) =
            (header.number, header.history, header.logseq);
        ForkProof::new(
            header.clone(),
            Commit::seal(draft, &key(1)).unwrap().header().clone(),
        )
        .unwrap()
    }
}

fn artifact(number: u64) -> Record {
    Record::artifact(None, Payload::of(&number.to_le_bytes()))
}

/// Commits something.
fn write(store: &Store, written: &AtomicU64) {
    let number = written.fetch_add(1, Ordering::SeqCst);
    store.commit(&key(OWN), vec![artifact(number)], 0).unwrap();
}

/// Opens to read, with `writer` told the number of each step before it; says how many steps there
/// were.
fn read(
    disk: &MemoryDisk,
    writer: impl Fn(usize) + Send + Sync + 'static,
) -> (Result<Store, StoreError>, usize) {
    let steps = Arc::<AtomicUsize>::default();
    let counted = steps.clone();
    let beside = Observed::reading(disk, move |_, _| {
        writer(counted.fetch_add(1, Ordering::SeqCst))
    });
    let opened = Store::open_with(Arc::new(beside), Mode::ReadOnly, small());
    (opened, steps.load(Ordering::SeqCst))
}

/// What a reader sees, once state and replay agree.
fn seen(store: &Store) -> StateRoot {
    let view = store.view();
    let replayed = store.replay(view.head()).unwrap().root;
    assert_eq!(view.state().root(), replayed);
    assert_eq!(view.state().root_at(view.head()).unwrap(), replayed);
    replayed
}

/// Something that a writer does all at once.
type Deed = fn(&Store, &AtomicU64, &ForkProof);

const DEEDS: [(&str, Deed); 3] = [
    ("merges runs", |store, written, _| {
        (0..3).for_each(|_| write(store, written));
        store.settle().unwrap();
    }),
    ("closes a segment of the log", |store, written, _| {
        (0..12).for_each(|_| write(store, written));
    }),
    ("rebuilds everything", |store, written, proof| {
        store.freeze(proof.clone()).unwrap();
        write(store, written);
        store.settle().unwrap();
    }),
];

#[test]
fn a_reader_sees_a_whole_store_whatever_is_done_between_two_of_its_steps() {
    for (name, deed) in DEEDS {
        let mut step = 0;
        loop {
            let busy = Busy::new();
            let before = busy.root();
            let (store, written, proof) = (busy.store.clone(), busy.written.clone(), busy.proof());
            let writer = move |at| {
                if at == step {
                    deed(&store, &written, &proof);
                }
            };
            let (reader, steps) = read(&busy.disk, writer);
            let reader =
                reader.unwrap_or_else(|error| panic!("{name} before step {step}: {error:?}"));
            if steps <= step {
                assert!(step > 20, "{name}: {step} steps are few");
                break;
            }
            assert!(written_and_kept(&busy), "{name}: it was done");
            let stale = reader.opened().index.clone();
            assert_eq!(stale, None, "{name} before step {step}: the index serves");
            let root = seen(&reader);
            assert!(
                [before, busy.root()].contains(&root) || name.starts_with("closes"),
                "{name} before step {step}"
            );
            let verified = reader.verify(&mut |_| {}).unwrap();
            assert_eq!(verified.findings, [], "{name} before step {step}");
            step += 1;
        }
    }
}

fn written_and_kept(busy: &Busy) -> bool {
    busy.written.load(Ordering::SeqCst) > 0
}

#[test]
fn a_reader_that_is_never_left_in_peace_ends_and_is_not_wrong() {
    let mut restless = 0;
    for every in [1, 2, 3, 7, 23] {
        let busy = Busy::new();
        let (store, written) = (busy.store.clone(), busy.written.clone());
        let writer = move |at: usize| {
            if at.is_multiple_of(every) {
                write(&store, &written);
                store.settle().unwrap();
            }
        };
        match read(&busy.disk, writer).0 {
            Ok(reader) => {
                restless += u32::from(reader.opened().index.is_some());
                seen(&reader);
            }
            Err(StoreError::Restless { attempts, .. }) => restless += u32::from(attempts > 1),
            Err(error) => panic!("every {every} steps: {error:?}"),
        }
    }
    assert!(restless > 0, "some found no rest");
}
