//! Background maintenance: when it is done and by whom, that writers wait for it only where they
//! must, and what it leaves on disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;
mod observed;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log;
use uor_asl::store::{MaintenanceThread, Options, Store};
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::Checksum;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};

use federation::{Federation, SITES, Step, key, mix};
use observed::{Deed, Observed};

/// The site whose store this is.
const OWN: usize = SITES - 1;

fn small(memtable_records_max: u64) -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max,
        ..Options::default()
    }
}

/// A store that knows who its members are, on this disk.
fn open(disk: Arc<dyn Disk>, options: Options) -> Store {
    let federation = Federation::build(ConflictRule::First, &[]);
    let is_new = !disk.exists(Store::IDENTITY_FILE).unwrap();
    if is_new {
        Store::create(&disk, federation.id()).unwrap();
    }
    let store = Store::open_with(disk, Mode::Write, options).unwrap();
    if is_new {
        store.merge(federation.commits().to_vec()).unwrap();
    }
    store
}

fn artifact(number: u64) -> Record {
    Record::artifact(None, Payload::of(&number.to_le_bytes()))
}

/// Commits these, one by one.
fn write(store: &Store, numbers: Range<u64>) {
    for number in numbers {
        store.commit(&key(OWN), vec![artifact(number)], 0).unwrap();
    }
}

/// The files of runs of the index, of whatever is in it.
fn runs(disk: &MemoryDisk) -> Vec<String> {
    let is_run = |path: &String| path.ends_with(".run") && !path.starts_with("index/blocks-");
    disk.paths().into_iter().filter(is_run).collect()
}

#[track_caller]
fn is_sound(disk: &MemoryDisk, options: Options) {
    let reader = Store::open_with(Arc::new(disk.clone()), Mode::ReadOnly, options).unwrap();
    assert_eq!(reader.opened().index, None, "the index serves");
    assert_eq!(reader.verify(&mut |_| {}).unwrap().findings, []);
}

#[test]
fn a_reader_maintains_nothing() {
    let disk = MemoryDisk::new();
    let store = open(Arc::new(disk.clone()), small(100));
    store.seal_index().unwrap();
    write(&store, 0..30);
    drop(store);
    let before = disk.operations();
    // What it finds in the log is more than it would keep in memory as a writer.
    let reader = Store::open_with(Arc::new(disk.clone()), Mode::ReadOnly, small(4)).unwrap();
    assert!(!reader.maintain().unwrap());
    reader.seal_index().unwrap();
    reader.settle().unwrap();
    assert!(!reader.maintain().unwrap());
    assert_eq!(reader.verify(&mut |_| {}).unwrap().findings, []);
    assert_eq!(disk.operations(), before, "nothing was written");
}

/// Readers beside go by the name of a file: what has one name is never anything else.
#[test]
fn no_run_is_written_under_a_name_that_was_used_before() {
    let disk = MemoryDisk::new();
    let written = Arc::<Mutex<BTreeSet<String>>>::default();
    for round in 0..12 {
        let noted = written.clone();
        let hook = move |deed: Deed, path: &str| {
            if deed == Deed::Write && path.ends_with(".run") && !path.starts_with("index/blocks-") {
                assert!(
                    noted.lock().unwrap().insert(path.to_owned()),
                    "{path} is written once more"
                );
            }
        };
        let store = open(Arc::new(Observed::writing(&disk, hook)), small(6));
        write(&store, round * 20..round * 20 + 20);
        match round % 3 {
            0 => store.settle().unwrap(),
            1 => store.seal_index().unwrap(),
            _ => {}
        }
        drop(store);
        is_sound(&disk, small(6));
    }
    assert!(written.lock().unwrap().len() > 60);
}

#[test]
fn what_no_checkpoint_names_any_more_is_removed() {
    let disk = MemoryDisk::new();
    let store = open(Arc::new(disk.clone()), small(6));
    write(&store, 0..60);
    store.settle().unwrap();
    assert_eq!(
        runs(&disk).len(),
        2,
        "one run of two shards: {:?}",
        runs(&disk)
    );
    let first = runs(&disk);
    write(&store, 60..100);
    store.settle().unwrap();
    assert_eq!(runs(&disk).len(), 2);
    assert!(first.iter().all(|path| disk.contents(path).is_none()));
    drop(store);
    // Nor does opening leave what nobody names, or touch what is nobody's.
    let (run, others) = (
        runs(&disk),
        [
            "index/notes.txt",
            "index/7-7.run",
            "index/0000000a-00000.run",
        ],
    );
    for left in [
        "index/00000900-00000.run",
        "index/checkpoint.new",
        "index/00000001.commits.new",
    ]
    .iter()
    .chain(&others)
    {
        disk.open(left, Mode::Write)
            .unwrap()
            .write_at(0, b"left behind")
            .unwrap();
    }
    drop(open(Arc::new(disk.clone()), small(6)));
    assert_eq!(
        disk.contents("index/checkpoint.new")
            .or(disk.contents("index/00000001.commits.new")),
        None
    );
    assert!(
        disk.contents("index/00000900-00000.run").is_none()
            && run.iter().all(|path| disk.contents(path).is_some())
    );
    assert!(others.iter().all(|path| disk.contents(path).is_some()));
    is_sound(&disk, small(6));
}

/// Runs that are written while everything is rebuilt from the log are named by no checkpoint before
/// maintenance has seen to it, however few records are left in memory.
#[test]
fn an_index_that_was_lost_is_named_by_a_checkpoint_again() {
    for count in 40..46 {
        let disk = MemoryDisk::new();
        let store = open(Arc::new(disk.clone()), small(6));
        write(&store, 0..count);
        drop(store);
        for path in disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("index/"))
        {
            disk.remove(&path).unwrap();
        }
        let store = open(Arc::new(disk.clone()), small(6));
        assert!(disk.contents("index/checkpoint").is_none() && !runs(&disk).is_empty());
        let pieces = (0..100).take_while(|_| store.maintain().unwrap()).count();
        assert!(
            (1..100).contains(&pieces),
            "maintenance comes to an end: {pieces}"
        );
        drop(store);
        assert!(
            disk.contents("index/checkpoint").is_some(),
            "{count} records"
        );
        is_sound(&disk, small(6));
    }
}

/// Opening checks the signature of each commit behind the checkpoint.
#[test]
fn a_thousand_commits_are_due_however_few_records_they_have() {
    let disk = MemoryDisk::new();
    let store = open(Arc::new(disk.clone()), Options::default());
    let mut number = 0;
    while disk.contents("index/checkpoint").is_none() && number < 2000 {
        write(&store, number..number + 1);
        number += 1;
    }
    assert_eq!(store.view().commits_len(), 1024);
    write(&store, number..number + 5);
    drop(store);
    is_sound(&disk, Options::default());
}

/// A proof that a site wrote another commit in the place of this one.
fn proof(federation: &Federation, site: usize, commit: &Commit) -> ForkProof {
    let header = commit.header();
    let mut draft = federation.draft(site, vec![artifact(u64::MAX)]);
    (draft.number, draft.history, draft.logseq) = (header.number, header.history, header.logseq);
    ForkProof::new(
        header.clone(),
        Commit::seal(draft, &key(site)).unwrap().header().clone(),
    )
    .unwrap()
}

/// A run without what a fork took back is rebuilt by the commits that it names; where these
/// cannot be read either, the log gives another, and everything is rebuilt from the log.
#[test]
fn an_index_that_is_beyond_mending_is_rebuilt_from_the_log() {
    let steps: Vec<Step> = (0..12).map(|seed| Step::from_seed(mix(seed))).collect();
    let federation = Federation::build(ConflictRule::First, &steps);
    let (disk, options) = (MemoryDisk::new(), small(1 << 20));
    let store = open(Arc::new(disk.clone()), options);
    store.merge(federation.commits().to_vec()).unwrap();
    write(&store, 0..250);
    store.seal_index().unwrap();
    let last = federation
        .commits()
        .iter()
        .rfind(|commit| commit.header().domain == key(1).site_id())
        .unwrap();
    store.freeze(proof(&federation, 1, last)).unwrap();
    write(&store, 250..500);
    store.settle().unwrap();
    assert!(
        store.view().unaccepted() > 0 && runs(&disk).len() == 2,
        "merged without what was taken back"
    );
    let root = store.view().state().root();
    drop(store);
    for path in runs(&disk) {
        assert!(disk.contents(&path).unwrap().len() > 3 * 4096);
        // Opening reads the first page and the last.
        assert!(disk.flip_bit(&path, 8 * (4096 + 2000)));
    }
    let store = open(Arc::new(disk.clone()), options);
    assert_eq!(store.opened().index, None, "not noticed yet");
    let asked = (0..500).filter(|number| {
        let view = store.view();
        view.state()
            .entry(&artifact(*number).id(), view.head())
            .is_err()
    });
    assert!(asked.count() > 0);
    assert!(
        store
            .index_damage()
            .iter()
            .any(|told| told.contains("could not be found in the log"))
    );
    assert!(store.maintain().unwrap());
    assert_eq!(store.view().state().root(), root);
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    write(&store, 500..510);
    store.settle().unwrap();
    assert_eq!(runs(&disk).len(), 2, "what was given up is gone");
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    drop(store);
    is_sound(&disk, options);
}

/// All that a store knows beside what its index finds.
fn known(store: &Store) -> Vec<(&'static str, String)> {
    let view = store.view();
    let sites: Vec<_> = (0..SITES).map(|site| key(site).site_id()).collect();
    let unaccepted: Vec<_> = sites
        .iter()
        .map(|site| view.unaccepted_head(site))
        .collect();
    let testimony = store.testimony_for(&sites, u64::MAX).unwrap();
    vec![
        ("root", format!("{:?}", view.state().root())),
        ("head", format!("{:?}", view.head())),
        ("rule", format!("{:?}", view.state().rule())),
        ("genesis", format!("{:?}", view.genesis())),
        ("members", format!("{:?}", view.members())),
        (
            "conflicts",
            format!("{:?}", view.state().conflicts(view.head()).unwrap()),
        ),
        ("wanted", format!("{:?}", view.wanted())),
        (
            "erased",
            format!("{:?}", view.erased(&Checksum::of(b"gone"))),
        ),
        (
            "unaccepted",
            format!("{:?} {unaccepted:?}", view.unaccepted()),
        ),
        ("testimony", format!("{testimony:?}")),
    ]
}

#[test]
fn a_checkpoint_says_all_that_the_log_says() {
    let steps: Vec<Step> = (0..200).map(|seed| Step::from_seed(mix(seed))).collect();
    let federation = Federation::build(ConflictRule::Manual, &steps);
    let (disk, options) = (MemoryDisk::new(), small(50));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create(&shared, federation.id()).unwrap();
    let store = Store::open_with(shared.clone(), Mode::Write, options).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    store.erase(Checksum::of(b"gone"), 77).unwrap();
    // Of the commit that admitted the last site.
    let first = federation
        .commits()
        .iter()
        .find(|commit| commit.header().domain == key(3).site_id())
        .unwrap();
    store.freeze(proof(&federation, 3, first)).unwrap();
    store.settle().unwrap();
    let expected = known(&store);
    let empty = ["[]", "{}", "None", "0 [None, None, None, None, None]"];
    assert_eq!(
        expected
            .iter()
            .find(|(_, what)| empty.contains(&what.as_str())),
        None
    );
    drop((store, shared));
    for (rebuild_index, mode) in [
        (false, Mode::ReadOnly),
        (true, Mode::ReadOnly),
        (false, Mode::Write),
    ] {
        let store = Store::open_with(
            Arc::new(disk.clone()),
            mode,
            Options {
                rebuild_index,
                ..options
            },
        )
        .unwrap();
        assert_eq!(store.opened().index.is_some(), rebuild_index);
        assert_eq!(known(&store), expected, "rebuilt: {rebuild_index}");
    }
}

/// A run can name places in so much of the log: few records may take more than that.
#[test]
fn a_memtable_is_due_before_its_records_lie_further_apart_than_a_run_can_name() {
    // Each commit has a segment of the log for itself: there are places in 512.
    let log = log::Options {
        segment_bytes: 64,
        preallocate_bytes: 64,
    };
    let options = Options {
        log,
        ..small(1 << 20)
    };
    let disk = MemoryDisk::new();
    let store = open(Arc::new(disk.clone()), options);
    write(&store, 0..700);
    store.seal_index().unwrap();
    assert!(runs(&disk).len() > 2, "more than one run");
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    drop(store);
    is_sound(&disk, options);
}

/// Where the maintenance thread is held up, and how far it has come.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// The maintenance thread is here, and stays until it is let go.
    fn arrive(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(
            self.changed
                .wait_while(state, |(_, is_open)| !*is_open)
                .unwrap(),
        );
    }

    fn wait_for_arrival(&self) {
        drop(
            self.changed
                .wait_while(self.state.lock().unwrap(), |(has_arrived, _)| !*has_arrived)
                .unwrap(),
        );
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

#[test]
fn writers_wait_for_maintenance_that_is_a_whole_memtable_behind_and_for_no_other() {
    const MEMTABLE: u64 = 10;
    let (disk, gate) = (MemoryDisk::new(), Arc::<Gate>::default());
    let held = gate.clone();
    let hook = move |deed: Deed, path: &str| {
        let is_maintenance = thread::current().name() == Some("uor-maintenance");
        if is_maintenance && deed == Deed::Write && path.ends_with(".run") {
            held.arrive();
        }
    };
    let store = Arc::new(open(
        Arc::new(Observed::writing(&disk, hook)),
        small(MEMTABLE),
    ));
    store.settle().unwrap();
    let before = store.view().commits_len();
    let maintenance = MaintenanceThread::start(store.clone()).unwrap();
    write(&store, 0..MEMTABLE);
    gate.wait_for_arrival();
    // The full memtable has been set aside: the next fills while that is written, and as much
    // again.
    write(&store, MEMTABLE..3 * MEMTABLE - 1);
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 3 * MEMTABLE - 1..5 * MEMTABLE {
                write(&store, number..number + 1);
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        while store.view().commits_len() < before + 3 * MEMTABLE {
            thread::yield_now();
        }
        // It is durable and visible, and its writer is held up; nobody goes on for however long.
        (0..10_000).for_each(|_| thread::yield_now());
        assert_eq!(done.load(Ordering::SeqCst), 0, "a writer went on");
        gate.open();
    });
    assert_eq!(done.load(Ordering::SeqCst), 2 * MEMTABLE + 1);
    drop(maintenance);
    store.settle().unwrap();
    drop(store);
    is_sound(&disk, small(MEMTABLE));
}
