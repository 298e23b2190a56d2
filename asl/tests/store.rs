//! The promises of a store: what is acknowledged is durable, what is visible is
//! durable, no record outlives a crash without its payload, and whatever goes wrong the store opens
//! again as the log's acknowledged prefix.
//!
//! One workload runs against a disk that is watched, crashed and made to fail at every single
//! operation; [`Workload::states`] is what a store can look like after each of its smallest steps.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod federation;
mod observed;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode, replace};
use uor_asl::store::{CommitError, Committed, Options, Store, StoreError};
use uor_asl::validator::{CommitValidator, Verdict};
use uor_asl::verify::Finding;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{Checksum, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::snapshot::Snapshot;

use federation::{Federation, SITES, key, mix};
use observed::{Deed, Observed};

/// The site whose store this is.
const OWN: usize = SITES - 1;

type Failure = Box<dyn std::error::Error>;

fn artifact(bytes: &[u8]) -> Record {
    Record::artifact(None, Payload::of(bytes))
}

/// Bytes that do not compress.
fn noise(seed: u64, len: u64) -> Vec<u8> {
    (0..len / 8)
        .flat_map(|index| mix(seed << 32 | index).to_le_bytes())
        .collect()
}

fn create(federation: &Federation) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create(&shared, federation.id()).unwrap();
    disk
}

fn open(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(disk.clone()), mode, restless())
}

/// Options of a store that writes its index every few records, so that faults fall into seals and
/// merges too.
fn restless() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 24,
        ..Options::default()
    }
}

/// A store that has everything the federation wrote, on a disk of its own.
fn joined(federation: &Federation) -> (MemoryDisk, Store) {
    let disk = create(federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    (disk, store)
}

fn young() -> Federation {
    Federation::build(ConflictRule::First, &[])
}

/// Puts a payload and commits a record of it.
fn write(store: &Store, bytes: &[u8]) -> Result<Committed, Failure> {
    store.blocks().put_bytes(bytes)?;
    Ok(store.commit(&key(OWN), vec![artifact(bytes)], 0)?)
}

// The workload.

#[derive(Clone)]
enum Action {
    Merge(Vec<Commit>),
    Freeze(Box<ForkProof>),
    Write(Vec<u8>),
}

impl Action {
    fn run(&self, store: &Store) -> Result<(), Failure> {
        match self {
            Self::Merge(commits) => store.merge(commits.clone()).map(drop)?,
            Self::Freeze(proof) => store.freeze(*proof.clone()).map(drop)?,
            Self::Write(bytes) => write(store, bytes).map(drop)?,
        }
        Ok(())
    }

    /// The same, in steps between which a crash can fall.
    fn steps(&self) -> Vec<Self> {
        match self {
            Self::Merge(commits) => commits
                .iter()
                .map(|commit| Self::Merge(vec![commit.clone()]))
                .collect(),
            other => vec![other.clone()],
        }
    }
}

/// All that a store shows of itself.
type Shown = (Snapshot, StateRoot, Vec<ForkProof>);

/// What a store shows, once state and replay agree and every payload of its own site is there,
/// whole.
fn shown(store: &Store) -> Shown {
    let view = store.view();
    let own = key(OWN).site_id();
    for committed in view
        .commits()
        .map(Result::unwrap)
        .filter(|committed| committed.domain == own)
    {
        let commit = store.read_commit(&own, committed.number).unwrap().unwrap();
        for payload in commit.records().iter().filter_map(Record::block_payload) {
            assert_eq!(
                Checksum::of(&store.blocks().read_all(payload.checksum, 1 << 20).unwrap()),
                payload.checksum
            );
        }
    }
    let root = store.replay(view.head()).unwrap().root;
    assert_eq!(root, view.state().root());
    (
        view.head().clone(),
        root,
        view.forks().values().cloned().collect(),
    )
}

struct Workload {
    federation: Federation,
    actions: Vec<Action>,
    /// What a store can show: first when empty, then after each step of each action.
    states: Vec<Shown>,
}

impl Workload {
    fn new() -> Self {
        let federation = young();
        let mut validator = federation.validator(0).clone();
        let (one, one_proof) = forked_log(&mut validator, 1);
        let (two, two_proof) = forked_log(&mut validator, 2);
        let twin = two_proof.1;
        let actions = vec![
            Action::Merge(federation.commits().to_vec()),
            Action::Write(noise(1, 3000)),
            Action::Merge(one),
            Action::Write(b"small".to_vec()),
            Action::Freeze(Box::new(one_proof.0)),
            Action::Write(noise(2, 900)),
            Action::Merge([two, vec![twin]].concat()),
            Action::Write(b"last".to_vec()),
        ];
        let store = open(&create(&federation), Mode::Write).unwrap();
        let mut states = vec![shown(&store)];
        for step in actions.iter().flat_map(Action::steps) {
            step.run(&store).unwrap();
            states.push(shown(&store));
        }
        assert!(
            states
                .iter()
                .enumerate()
                .all(|(at, state)| !states[..at].contains(state)),
            "states are told apart"
        );
        Self {
            federation,
            actions,
            states,
        }
    }

    /// How many steps have been taken when so many actions have.
    fn step_after(&self, actions: usize) -> usize {
        self.actions
            .iter()
            .take(actions)
            .map(|action| action.steps().len())
            .sum()
    }

    /// Which step a store has got to: none may be missing that was acknowledged, none be there that
    /// had not begun.
    fn step_of(&self, store: &Store, acknowledged: usize) -> usize {
        let step = self
            .states
            .iter()
            .position(|state| *state == shown(store))
            .expect("a state the model has");
        let range = self.step_after(acknowledged)..=self.step_after(acknowledged + 1);
        assert!(
            range.contains(&step),
            "step {step} with {acknowledged} actions acknowledged: {range:?}"
        );
        step
    }
}

/// Three commits of a site, the proof that its second was one of two, and the other.
fn forked_log(validator: &mut CommitValidator, site: usize) -> (Vec<Commit>, (ForkProof, Commit)) {
    let mut commits = Vec::new();
    let mut other = None;
    for number in 0..3 {
        let head = validator.head(&key(site).site_id());
        let (learned, federation) = validator.membership_for(&key(site).site_id(), usize::MAX);
        let draft = |text: String| Draft {
            number: head.unwrap().number + 1,
            history: History::Previous(head.unwrap().hash),
            logseq: validator.logseq_max().next().unwrap(),
            federation,
            wall_ms: 0,
            learned: learned.clone(),
            records: vec![artifact(text.as_bytes())],
        };
        let commit = Commit::seal(draft(format!("{site} {number}")), &key(site)).unwrap();
        if number == 1 {
            other = Some(Commit::seal(draft("another story".to_owned()), &key(site)).unwrap());
        }
        assert_eq!(validator.validate(&commit, &()).unwrap(), Verdict::Accepted);
        validator.accept(&commit);
        commits.push(commit);
    }
    let other = other.unwrap();
    (
        commits.clone(),
        (
            ForkProof::new(commits[1].header().clone(), other.header().clone()).unwrap(),
            other,
        ),
    )
}

// A store on a disk that is watched.

/// Runs the workload, calling `check` before every modifying operation with the store (once it is
/// open) and the number of actions acknowledged.
fn watch(
    workload: &Arc<Workload>,
    disk: &MemoryDisk,
    check: impl Fn(Option<&Store>, usize) + Send + Sync + 'static,
) {
    let live: Arc<OnceLock<Arc<Store>>> = Arc::new(OnceLock::new());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let look = {
        let (live, acknowledged) = (live.clone(), acknowledged.clone());
        Arc::new(move || {
            check(
                live.get().map(|store| &**store),
                acknowledged.load(Ordering::SeqCst),
            )
        })
    };
    let before = look.clone();
    let watched = Observed::writing(disk, move |_, _| before());
    let store = Arc::new(Store::open_with(Arc::new(watched), Mode::Write, restless()).unwrap());
    assert!(live.set(store.clone()).is_ok());
    for action in &workload.actions {
        action.run(&store).unwrap();
        acknowledged.fetch_add(1, Ordering::SeqCst);
        look();
    }
    assert_eq!(shown(&store), *workload.states.last().unwrap());
}

// Crashes.

#[test]
fn a_crash_at_any_operation_keeps_what_was_acknowledged_or_visible() {
    let workload = Arc::new(Workload::new());
    let disk = create(&workload.federation);
    let (crashing, model, crashes) = (
        disk.clone(),
        workload.clone(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counter = crashes.clone();
    watch(&workload, &disk, move |live, acknowledged| {
        let visible = live.map_or(0, |store| model.step_of(store, acknowledged));
        for seed in 0..6 {
            let seed = mix(counter.fetch_add(1, Ordering::SeqCst) as u64 ^ seed);
            let reopened = open(&crashing.crash(seed), Mode::Write).unwrap();
            let step = model.step_of(&reopened, acknowledged);
            assert!(
                step >= visible,
                "step {visible} was visible; after a crash, {step} is left"
            );
        }
    });
    assert!(
        crashes.load(Ordering::SeqCst) > 200,
        "operations were watched"
    );
}

#[test]
fn a_crash_of_a_reopened_store_loses_nothing_either() {
    let workload = Workload::new();
    let disk = create(&workload.federation);
    let store = open(&disk, Mode::Write).unwrap();
    workload
        .actions
        .iter()
        .for_each(|action| action.run(&store).unwrap());
    let last = workload.states.last().unwrap();
    for seed in 0..20 {
        let once = disk.crash(seed);
        assert_eq!(shown(&open(&once, Mode::Write).unwrap()), *last);
        assert_eq!(shown(&open(&once.crash(seed), Mode::Write).unwrap()), *last);
        assert_eq!(
            shown(&open(&once.crash(seed), Mode::ReadOnly).unwrap()),
            *last
        );
    }
}

// Failures.

/// How many operations the workload takes, counted from an empty store.
fn operations(workload: &Workload) -> std::ops::Range<u64> {
    let disk = create(&workload.federation);
    let start = disk.operations();
    let store = open(&disk, Mode::Write).unwrap();
    workload
        .actions
        .iter()
        .for_each(|action| action.run(&store).unwrap());
    start..disk.operations()
}

/// Runs until the first failure; says how many actions were acknowledged, and whether all were.
fn run_until_failure(workload: &Workload, disk: &MemoryDisk, fault: Fault) -> (usize, bool) {
    let store = match open(disk, Mode::Write) {
        Ok(store) => store,
        Err(error) => {
            assert!(is(fault, &error), "{error:?}");
            return (0, false);
        }
    };
    for (acknowledged, action) in workload.actions.iter().enumerate() {
        let Err(error) = action.run(&store) else {
            continue;
        };
        let step = workload.step_of(&store, acknowledged);
        // Failing to write a mark is known only by what comes next.
        assert!(is(fault, &*error) || is_poisoned(&*error), "{error:?}");
        for later in workload.actions.iter().skip(acknowledged) {
            let error = later
                .run(&store)
                .expect_err("a store that failed takes nothing in");
            assert!(is_poisoned(&*error), "{error:?}");
        }
        assert_eq!(
            workload.step_of(&store, acknowledged),
            step,
            "and shows what it showed"
        );
        return (acknowledged, false);
    }
    (workload.actions.len(), true)
}

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string)
}

fn is(fault: Fault, error: &(dyn std::error::Error + 'static)) -> bool {
    let said = match fault {
        Fault::Io => "injected input/output error",
        Fault::NoSpace => "no space left on device",
    };
    causes(error).any(|cause| cause.contains(said))
}

fn is_poisoned(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.contains("again"))
}

fn every_operation_fails(fault: Fault) {
    let workload = Workload::new();
    let operations = operations(&workload);
    assert!(operations.clone().count() > 30);
    let mut failures = 0;
    for operation in operations {
        let disk = create(&workload.federation);
        disk.fail_at(operation, fault);
        let (acknowledged, whole) = run_until_failure(&workload, &disk, fault);
        failures += u32::from(!whole);
        for seed in 0..2 {
            workload.step_of(
                &open(&disk.crash(mix(operation ^ seed)), Mode::Write).unwrap(),
                acknowledged,
            );
        }
        let store = open(&disk, Mode::Write).unwrap();
        let step = workload.step_of(&store, acknowledged);
        if step == workload.step_after(acknowledged) {
            workload
                .actions
                .iter()
                .skip(acknowledged)
                .for_each(|action| action.run(&store).unwrap());
            assert_eq!(
                shown(&store),
                *workload.states.last().unwrap(),
                "and goes on as if nothing had been"
            );
        }
    }
    assert!(failures > 20, "{failures}");
}

#[test]
fn a_device_error_at_any_operation_leaves_a_store_that_opens() {
    every_operation_fails(Fault::Io);
}

#[test]
fn a_full_disk_at_any_operation_leaves_a_store_that_opens() {
    every_operation_fails(Fault::NoSpace);
}

#[test]
fn a_failed_merge_is_not_taken_for_done() {
    let federation = young();
    let (genesis, rest) = federation.commits().split_first().unwrap();
    let disk = create(&federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(vec![genesis.clone()]).unwrap();
    disk.fail_at(disk.operations(), Fault::Io);
    assert!(store.merge(rest.to_vec()).is_err());
    let error = store
        .merge(rest.to_vec())
        .expect_err("what failed is not known for that");
    assert!(is_poisoned(&error), "{error:?}");
    assert_eq!(store.view().commits_len(), 1);
    drop(store);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(rest.to_vec()).unwrap();
    assert_eq!(
        store.view().commits_len(),
        federation.commits().len() as u64
    );
}

#[test]
fn a_record_that_no_commit_holds_harms_nothing() {
    let (_, store) = joined(&young());
    let before = shown(&store);
    let twice = vec![artifact(b"x"), artifact(b"x")];
    assert!(matches!(
        store.commit(&key(OWN), twice, 0),
        Err(CommitError::Seal(_))
    ));
    assert!(matches!(
        store.commit(&key(OWN), vec![], 0),
        Err(CommitError::Seal(_))
    ));
    assert_eq!(shown(&store), before);
    write(&store, b"x").unwrap();
}

// Many writers and readers.

#[test]
fn threads_share_syncs_and_get_numbers_without_gaps() {
    const THREADS: u8 = 8;
    const EACH: u8 = 20;
    let all = usize::from(THREADS) * usize::from(EACH);
    let federation = young();
    let disk = create(&federation);
    let [syncs, working, writing] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    let hook = {
        let (syncs, working, writing) = (syncs.clone(), working.clone(), writing.clone());
        move |deed: Deed, _: &str| {
            if deed == Deed::Sync {
                syncs.fetch_add(1, Ordering::SeqCst);
                // A sync takes its time: until everyone who is going to write is at it, and a
                // little longer.
                let waiting = || writing.load(Ordering::SeqCst) < working.load(Ordering::SeqCst);
                (0..1_000_000)
                    .take_while(|_| waiting())
                    .for_each(|_| thread::yield_now());
                (0..100).for_each(|_| thread::yield_now());
            }
        }
    };
    let store = Store::open(Arc::new(Observed::writing(&disk, hook)), Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    let start = syncs.load(Ordering::SeqCst);
    working.store(usize::from(THREADS), Ordering::SeqCst);
    let write = |thread: u8, index: u8| {
        writing.fetch_add(1, Ordering::SeqCst);
        let committed = store
            .commit(&key(OWN), vec![artifact(&[thread, index])], 0)
            .unwrap();
        writing.fetch_sub(1, Ordering::SeqCst);
        assert_eq!(
            store
                .view()
                .commit_hash(&committed.domain, committed.number)
                .unwrap(),
            Some(committed.hash)
        );
        committed
    };
    let (write, working) = (&write, &working);
    let mut done: Vec<Committed> = thread::scope(|scope| {
        let write_all = move |thread| {
            let committed: Vec<Committed> = (0..EACH).map(|index| write(thread, index)).collect();
            working.fetch_sub(1, Ordering::SeqCst);
            committed
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || write_all(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let syncs = syncs.load(Ordering::SeqCst) - start;
    assert!(syncs < all / 2, "{syncs} syncs for {all} commits");
    done.sort_by_key(|committed| committed.number);
    assert!(
        done.iter()
            .map(|committed| committed.number)
            .eq(1..=all as u64)
    );
    assert!(done.is_sorted_by(|one, next| one.logseq < next.logseq));
    let before = shown_without_payloads(&store);
    assert_eq!(
        before,
        shown_without_payloads(&open(&disk.crash(1), Mode::Write).unwrap())
    );
}

fn shown_without_payloads(store: &Store) -> (Snapshot, StateRoot) {
    let view = store.view();
    (view.head().clone(), view.state().root())
}

#[test]
fn a_reader_beside_a_writer_sees_a_valid_prefix() {
    let workload = Arc::new(Workload::new());
    let disk = create(&workload.federation);
    let (beside, model) = (disk.clone(), workload.clone());
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    watch(&workload, &disk, move |_, acknowledged| {
        let before = beside.operations();
        let reader = open(&beside, Mode::ReadOnly).unwrap();
        model.step_of(&reader, acknowledged);
        assert!(reader.commit(&key(OWN), vec![artifact(b"no")], 0).is_err());
        assert!(reader.blocks().put_bytes(b"no").is_err());
        assert_eq!(beside.operations(), before, "a reader changes nothing");
        counter.fetch_add(1, Ordering::SeqCst);
    });
    assert!(reads.load(Ordering::SeqCst) > 30);
}

#[test]
fn a_store_has_one_writer_and_any_number_of_readers() {
    let disk = create(&young());
    let writer = open(&disk, Mode::Write).unwrap();
    assert!(matches!(open(&disk, Mode::Write), Err(StoreError::InUse)));
    let readers = [
        open(&disk, Mode::ReadOnly).unwrap(),
        open(&disk, Mode::ReadOnly).unwrap(),
    ];
    drop(writer);
    open(&disk, Mode::Write).unwrap();
    drop(readers);
}

// Identity.

#[test]
fn a_store_knows_its_federation() {
    let federation = young();
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    assert!(matches!(Store::identity(&disk), Err(StoreError::Absent)));
    assert!(matches!(
        Store::open(disk.clone(), Mode::Write),
        Err(StoreError::Absent)
    ));
    Store::create(&disk, federation.id()).unwrap();
    assert!(matches!(
        Store::create(&disk, federation.id()),
        Err(StoreError::Exists)
    ));
    assert_eq!(Store::identity(&disk).unwrap(), federation.id());
    assert_eq!(
        Store::open(disk, Mode::ReadOnly).unwrap().federation(),
        federation.id()
    );
}

#[test]
fn an_identity_that_is_newer_or_damaged_is_refused() {
    let id = young().id();
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let identity = |text: &[u8]| {
        replace(disk.as_ref(), "store", text).unwrap();
        assert_eq!(
            Store::identity(&disk).is_ok(),
            Store::open(disk.clone(), Mode::ReadOnly).is_ok()
        );
        Store::identity(&disk)
    };
    let fine = format!("uor store format 1\nfederation {id}\n");
    assert_eq!(identity(fine.as_bytes()).unwrap(), id);
    let newer = fine.replace("format 1", "format 2");
    assert!(matches!(
        identity(newer.as_bytes()),
        Err(StoreError::NewerVersion { found: 2 })
    ));
    let damaged = [
        String::new(),
        fine.replace("format 1", "format 0"),
        fine.replace("format 1", "format x"),
        fine.replace("uor", "other"),
        fine.replace("federation", "federatoin"),
        fine[..fine.len() / 2].to_owned(),
        fine[..fine.len() - 4].to_owned(),
    ];
    for text in damaged {
        assert!(
            matches!(identity(text.as_bytes()), Err(StoreError::Identity)),
            "{text}"
        );
    }
    assert!(matches!(
        identity(b"uor store format 1\n\xff"),
        Err(StoreError::Identity)
    ));
}

// Payloads and what is found of them.

#[test]
fn payloads_that_others_have_are_wanted_until_they_arrive() {
    let federation = young();
    let (disk, store) = joined(&federation);
    let bytes = noise(7, 800);
    let mut foreign = federation.draft(0, vec![artifact(&bytes)]);
    foreign.logseq = store.view().state().logseq_max().next().unwrap();
    store
        .merge(vec![Commit::seal(foreign, &key(0)).unwrap()])
        .unwrap();
    let wanted = Payload::of(&bytes);
    let is_wanted =
        |store: &Store| store.view().wanted().get(&wanted.checksum) == Some(&wanted.len);
    assert!(is_wanted(&store));
    assert_eq!(
        store.verify(&mut |_| {}).unwrap().missing,
        [artifact(&bytes).id()]
    );
    store.payloads_arrived(&[wanted.checksum]).unwrap();
    assert!(is_wanted(&store), "it has not");
    drop(store);
    let store = open(&disk, Mode::Write).unwrap();
    assert!(is_wanted(&store));
    store.blocks().put_bytes(&bytes).unwrap();
    store.payloads_arrived(&[wanted.checksum]).unwrap();
    assert!(store.view().wanted().is_empty());
    // What is no longer wanted is durable: after any crash, and for whoever reads the files beside
    // the writer.
    let crashed = (0..20).map(|seed| disk.crash(seed));
    for found in crashed.chain([disk.clone()]) {
        let other = open(&found, Mode::ReadOnly).unwrap();
        let head = other.view().head().clone();
        assert_eq!(
            other
                .payload(&artifact_key(None, &wanted), &head, 1 << 20)
                .unwrap()
                .as_ref(),
            Some(&bytes)
        );
        assert!(other.view().wanted().is_empty());
    }
}

#[test]
fn a_payload_is_read_through_a_snapshot() {
    let (_, store) = joined(&young());
    let head = |store: &Store| store.view().head().clone();
    let (payload, before) = (artifact_key(None, &Payload::of(b"x")), head(&store));
    write(&store, b"x").unwrap();
    let with = head(&store);
    store
        .commit(&key(OWN), vec![Record::tombstone(payload.into())], 0)
        .unwrap();
    let read = |snapshot: &Snapshot| store.payload(&payload, snapshot, 9).unwrap();
    assert_eq!(
        (read(&before), read(&with), read(&head(&store))),
        (None, Some(b"x".to_vec()), None)
    );
    assert!(
        store.payload(&payload, &with, 0).is_err(),
        "longer than there is room for"
    );
    assert!(store.view().has(&before).unwrap() && store.view().has(&with).unwrap());
    let mut elsewhere = with.clone();
    elsewhere
        .frontier
        .values_mut()
        .for_each(|head| head.hash = uor_index_format::id::CommitHash::NONE);
    assert!(!store.view().has(&elsewhere).unwrap(), "of other chains");
}

#[test]
fn a_flipped_payload_bit_is_found_and_traced_to_its_artifact() {
    let (disk, store) = joined(&young());
    let payloads = [noise(1, 4000), noise(2, 200), vec![b'a'; 4000]];
    for bytes in &payloads {
        write(&store, bytes).unwrap();
    }
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    drop(store);
    let pack = "blocks/00000001.pack";
    let stored = disk.contents(pack).unwrap();
    for bytes in &payloads[..2] {
        let at = stored
            .windows(bytes.len())
            .position(|window| window == bytes)
            .unwrap();
        for byte in [0, bytes.len() / 2, bytes.len() - 1] {
            let bit = (at + byte) as u64 * 8 + 3;
            assert!(disk.flip_bit(pack, bit));
            let store = open(&disk, Mode::ReadOnly).unwrap();
            let findings = store.verify(&mut |_| {}).unwrap().findings;
            let [Finding::Block { damage, keys }] = &findings[..] else {
                panic!("{findings:?}")
            };
            assert_eq!(
                (damage.at.file.as_str(), damage.block),
                (pack, Some(Checksum::of(bytes)))
            );
            assert_eq!(keys[..], [artifact(bytes).id()]);
            let (payload, head) = (
                artifact_key(None, &Payload::of(bytes)),
                store.view().head().clone(),
            );
            assert!(
                store.payload(&payload, &head, 1 << 20).is_err(),
                "wrong bytes are never given"
            );
            assert!(disk.flip_bit(pack, bit));
        }
    }
    assert_eq!(
        open(&disk, Mode::ReadOnly)
            .unwrap()
            .verify(&mut |_| {})
            .unwrap()
            .findings,
        []
    );
}

#[test]
fn a_payload_of_another_length_than_recorded_is_found() {
    let (_, store) = joined(&young());
    store.blocks().put_bytes(b"four").unwrap();
    let lie = Record::artifact(
        None,
        Payload {
            checksum: Checksum::of(b"four"),
            len: 5,
        },
    );
    store.commit(&key(OWN), vec![lie.clone()], 0).unwrap();
    let expected = Finding::Length {
        key: lie.id(),
        recorded: 5,
        stored: 4,
    };
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, [expected]);
}

#[test]
fn a_sound_store_is_found_sound() {
    let workload = Workload::new();
    let disk = create(&workload.federation);
    let store = open(&disk, Mode::Write).unwrap();
    for action in &workload.actions {
        action.run(&store).unwrap();
        let verified = store.verify(&mut |_| {}).unwrap();
        assert_eq!(verified.findings, []);
        let view = store.view();
        assert_eq!(
            (verified.commits, verified.unaccepted.len() as u64),
            (view.commits().count() as u64, view.unaccepted())
        );
        assert_eq!(
            (verified.state_root, verified.entries),
            (view.state().root(), view.state().entries_len())
        );
    }
    assert!(store.view().unaccepted() > 0);
    assert_eq!(
        open(&disk, Mode::ReadOnly)
            .unwrap()
            .verify(&mut |_| {})
            .unwrap()
            .findings,
        []
    );
}

/// The log of another store, as long as this one's, is slipped under it: what it shows is then not
/// what its log says.
#[test]
fn a_state_that_is_not_what_the_log_says_is_found() {
    let (federation, log) = (young(), "log/00000001.log");
    let (disk, store) = joined(&federation);
    let (other_disk, other) = joined(&federation);
    write(&store, b"x").unwrap();
    write(&other, b"y").unwrap();
    disk.open(log, Mode::Write)
        .unwrap()
        .write_at(0, &other_disk.contents(log).unwrap())
        .unwrap();
    let findings = store.verify(&mut |_| {}).unwrap().findings;
    assert!(
        matches!(&findings[..], [Finding::Log { file: Some(file), .. }] if file == log),
        "{findings:?}"
    );
}
