//! Erasing and collecting in a store, with a crash and a failure at every operation: what is
//! acknowledged stays so, what is not has happened wholly or not at all, and every kept snapshot
//! can be read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;
mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Options, Store, StoreError};
use uor_asl::validator::Verdict;
use uor_asl::{blocks, log};
use uor_index_format::commit::Commit;
use uor_index_format::id::{Checksum, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};
use uor_index_format::snapshot::Snapshot;

use federation::{Federation, SITES, key, mix};
use observed::Observed;

/// Goes on with what reports its progress.
const fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The site whose store this is.
const OWN: usize = SITES - 1;

type Failure = Box<dyn std::error::Error>;

/// Small files everywhere: a few actions close segments and packs, write runs and merge them, and
/// give packs up.
fn restless() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 6,
        log: log::Options {
            segment_bytes: 3000,
            preallocate_bytes: 256,
        },
        blocks: blocks::Options {
            pack_bytes: 3000,
            threads: 1,
        },
        ..Options::default()
    }
}

/// A disk with the store of a site that was admitted.
fn create(federation: &Federation) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create(&shared, federation.id()).unwrap();
    open(&disk, Mode::Write)
        .unwrap()
        .merge(federation.commits().to_vec())
        .unwrap();
    disk.settle();
    disk
}

fn open(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(disk.clone()), mode, restless())
}

/// Payload `number`: bytes that do not compress, of a length of its own.
fn payload(number: usize) -> Vec<u8> {
    let mut bytes = vec![0; 500 + number * 37];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn checksum(number: usize) -> Checksum {
    Checksum::of(&payload(number))
}

fn artifact(number: usize) -> Record {
    Record::artifact(None, Payload::of(&payload(number)))
}

const PAYLOADS: usize = 12;

// The workload.

#[derive(Debug, Clone, Copy)]
enum Action {
    /// Another site's commit names this payload; it is not here.
    Hear(usize),
    /// It is put, and a record of it committed.
    Write(usize),
    /// It is put, and is no longer wanted.
    Arrive(usize),
    /// Its record is shadowed.
    Shadow(usize),
    Erase(usize, u64),
    /// What neither the head nor, where that is asked for, the kept snapshot shows is freed.
    Collect {
        kept: bool,
    },
    Seal,
    Settle,
}

/// The snapshot after so many actions is kept until it is collected without it.
const KEPT_AFTER: usize = 9;

const ACTIONS: [Action; 28] = {
    use Action::{Arrive, Collect, Erase, Hear, Seal, Settle, Shadow, Write};
    [
        Write(0),
        Write(1),
        Write(2),
        Write(3),
        Write(4),
        Write(5),
        Hear(6),
        Hear(7),
        Arrive(7),
        // Here the snapshot is kept.
        Write(8),
        Shadow(8),
        Shadow(0),
        Shadow(1),
        Erase(2, 1002),
        Collect { kept: true },
        Seal,
        Erase(6, 1006),
        Collect { kept: false },
        Write(9),
        Erase(3, 1003),
        Arrive(3),
        Settle,
        Erase(3, 2003),
        Shadow(4),
        Erase(10, 1010),
        Collect { kept: false },
        Write(10),
        Write(11),
    ]
};

/// Commits of another site, each with a record of a payload.
fn foreign(federation: &Federation, payloads: [usize; 2]) -> BTreeMap<usize, Commit> {
    let mut validator = federation.validator(0).clone();
    let mut commit = |number: usize| {
        let site = key(0).site_id();
        let mut draft = federation.draft(0, vec![artifact(number)]);
        draft.number = validator.head(&site).unwrap().number + 1;
        draft.history = validator.history(&site).unwrap();
        draft.logseq = validator.logseq_max().next().unwrap();
        let commit = Commit::seal(draft, &key(0)).unwrap();
        assert_eq!(validator.validate(&commit, &()).unwrap(), Verdict::Accepted);
        validator.accept(&commit);
        (number, commit)
    };
    payloads.into_iter().map(&mut commit).collect()
}

// The model.

/// What is to be seen of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    is_here: bool,
    is_erased: bool,
    /// When the log says that it was erased, last.
    when: Option<u64>,
}

/// What is to be seen after so many actions.
#[derive(Debug, Clone, Default)]
struct Moment {
    payloads: [Seen; PAYLOADS],
    /// Payloads that a record names which is visible at the head.
    visible: BTreeSet<usize>,
    /// Payloads of the kept snapshot, while there is one.
    kept: Option<BTreeSet<usize>>,
}

impl Moment {
    /// What is to be seen after one more action.
    fn after(&self, action: &Action, is_kept: bool) -> Self {
        let mut next = self.clone();
        let put = |seen: &mut Seen| (seen.is_here, seen.is_erased) = (true, false);
        match action {
            Action::Seal | Action::Settle => {}
            Action::Hear(number) => drop(next.visible.insert(*number)),
            Action::Write(number) => {
                next.visible.insert(*number);
                put(&mut next.payloads[*number]);
            }
            Action::Arrive(number) => put(&mut next.payloads[*number]),
            Action::Shadow(number) => drop(next.visible.remove(number)),
            Action::Erase(number, wall_ms) => {
                next.payloads[*number] = Seen {
                    is_here: false,
                    is_erased: true,
                    when: Some(*wall_ms),
                };
            }
            Action::Collect { kept } => {
                next.kept = next.kept.filter(|_| *kept);
                let live = |number: &usize| {
                    next.visible.contains(number)
                        || next.kept.as_ref().is_some_and(|kept| kept.contains(number))
                };
                for number in (0..PAYLOADS).filter(|number| !live(number)) {
                    next.payloads[number].is_here = false;
                }
            }
        }
        if is_kept {
            next.kept = Some(next.visible.clone());
        }
        next
    }
}

struct Workload {
    federation: Federation,
    heard: BTreeMap<usize, Commit>,
    /// What is to be seen, and what head and root are: at first, then after each action.
    moments: Vec<(Moment, Snapshot, StateRoot)>,
}

impl Workload {
    fn new() -> Self {
        let federation = Federation::build(ConflictRule::First, &[]);
        let heard = foreign(&federation, [6, 7]);
        let disk = create(&federation);
        let store = open(&disk, Mode::Write).unwrap();
        let mut this = Self {
            federation,
            heard,
            moments: Vec::new(),
        };
        let mut moment = Moment::default();
        for done in 0..=ACTIONS.len() {
            let (head, root) = (store.view().head().clone(), store.view().state().root());
            this.moments.push((moment.clone(), head, root));
            this.check(&store, done, "untroubled");
            let Some(action) = ACTIONS.get(done) else {
                break;
            };
            this.run(*action, &store).unwrap();
            moment = moment.after(action, done + 1 == KEPT_AFTER);
        }
        assert!(
            disk.contents("blocks/00000001.pack").is_none(),
            "packs are given up"
        );
        let is_there = |part: &str| disk.paths().iter().any(|path| path.contains(part));
        assert!(
            is_there("index/blocks-") && is_there("log/00000003.log") && is_there("-00001.run")
        );
        this
    }

    fn run(&self, action: Action, store: &Store) -> Result<(), Failure> {
        match action {
            Action::Hear(number) => drop(store.merge(vec![self.heard[&number].clone()])?),
            Action::Write(number) => {
                store.blocks().put_bytes(&payload(number))?;
                store.commit(&key(OWN), vec![artifact(number)], 0)?;
            }
            Action::Arrive(number) => {
                store.blocks().put_bytes(&payload(number))?;
                store.payloads_arrived(&[checksum(number)])?;
                store.blocks().sync()?;
            }
            Action::Shadow(number) => {
                store.commit(&key(OWN), vec![Record::tombstone(artifact(number).id())], 0)?;
            }
            Action::Erase(number, wall_ms) => drop(store.erase(checksum(number), wall_ms)?),
            Action::Collect { kept } => {
                let snapshots = if kept {
                    slice::from_ref(&self.moments[KEPT_AFTER].1)
                } else {
                    &[]
                };
                store.collect(snapshots, &BTreeSet::new(), false, 7, &mut go_on)?;
            }
            Action::Seal => store.seal_index()?,
            Action::Settle => store.settle()?,
        }
        Ok(())
    }

    /// Holds a store against the model, when so many actions are acknowledged and the next may have
    /// begun;
    fn check(&self, store: &Store, acknowledged: usize, context: &str) {
        let context = &format!(
            "{context}, {acknowledged} acknowledged, then {:?}",
            ACTIONS.get(acknowledged)
        );
        let before = &self.moments[acknowledged];
        let after = self.moments.get(acknowledged + 1).unwrap_or(before);
        let view = store.view();
        let (head, root) = (view.head().clone(), view.state().root());
        let moment = [before, after]
            .into_iter()
            .find(|moment| (&moment.1, moment.2) == (&head, root));
        let (moment, ..) =
            moment.unwrap_or_else(|| panic!("a state that the model has not: {context}"));
        let mut seen = BTreeMap::new();
        for number in 0..PAYLOADS {
            let found = self.see(store, number, context);
            let (before, after) = (before.0.payloads[number], after.0.payloads[number]);
            // An erasure that was not acknowledged: the bytes are gone, the log does not say when.
            let is_erasing = matches!(ACTIONS.get(acknowledged), Some(Action::Erase(erasing, _)) if *erasing == number);
            let undated = Seen {
                when: before.when,
                ..after
            };
            let is_right = found == before || found == after || (is_erasing && found == undated);
            assert!(
                is_right,
                "payload {number}: {found:?}, not {before:?} or {after:?}: {context}"
            );
            seen.insert(number, found);
        }
        let absent = |is_erased: bool| -> BTreeSet<usize> {
            let absent =
                |number: &&usize| !seen[*number].is_here && seen[*number].is_erased == is_erased;
            moment.visible.iter().filter(absent).copied().collect()
        };
        let wanted: BTreeSet<Checksum> = view.wanted().keys().copied().collect();
        assert_eq!(
            wanted,
            absent(false).into_iter().map(checksum).collect(),
            "{context}"
        );
        if let (Some(_), Some(kept)) = (&before.0.kept, &after.0.kept) {
            let (_, snapshot, root) = &self.moments[KEPT_AFTER];
            assert!(view.has(snapshot).unwrap(), "{context}");
            drop(view);
            assert_eq!(store.replay(snapshot).unwrap().root, *root, "{context}");
            let lost = |number: &&usize| {
                !seen[*number].is_here && !seen[*number].is_erased && **number != 6
            };
            assert_eq!(
                kept.iter().find(lost),
                None,
                "a kept snapshot names it: {context}"
            );
        } else {
            drop(view);
        }
        let ids = |numbers: BTreeSet<usize>| {
            numbers
                .into_iter()
                .map(|number| artifact(number).id())
                .collect::<BTreeSet<_>>()
        };
        let verified = store.verify(&mut |_| {}).unwrap();
        assert_eq!(verified.findings, [], "{context}");
        assert_eq!(verified.state_root, root, "{context}");
        assert_eq!(
            verified.erased.into_iter().collect::<BTreeSet<_>>(),
            ids(absent(true)),
            "{context}"
        );
        assert_eq!(
            verified.missing.into_iter().collect::<BTreeSet<_>>(),
            ids(absent(false)),
            "{context}"
        );
    }

    /// What there is to be seen of a payload, of which there is all or nothing.
    fn see(&self, store: &Store, number: usize, context: &str) -> Seen {
        let (bytes, checksum) = (payload(number), checksum(number));
        let (blocks, when) = (store.blocks(), store.view().erased(&checksum));
        let seen = Seen {
            is_here: blocks.has(checksum),
            is_erased: blocks.erased(checksum),
            when,
        };
        match blocks.read_all(checksum, 1 << 20) {
            Ok(read) => assert!(seen.is_here && read == bytes, "{number}: {context}"),
            Err(_) => assert!(!seen.is_here, "{number}: {context}"),
        }
        assert_eq!(
            blocks.payloads().contains(&checksum),
            seen.is_here,
            "{number}: {context}"
        );
        seen
    }

    /// Takes a store from where it is to the end.
    fn finish(&self, store: &Store, acknowledged: usize, context: &str) {
        if let Some(Action::Erase(3, 2003)) = ACTIONS.get(acknowledged) {
            // If it was cut off before the log had the word, the date of the first time stands.
            return;
        }
        let is_done = |done: usize| *store.view().head() == self.moments[done].1;
        for (number, action) in ACTIONS.iter().enumerate().skip(acknowledged) {
            // Commits are not made twice; all else may be.
            let commits = matches!(action, Action::Write(_) | Action::Shadow(_));
            if number > acknowledged || !commits || !is_done(acknowledged + 1) {
                self.run(*action, store).unwrap();
            }
        }
        self.check(store, ACTIONS.len(), &format!("{context}, finished"));
    }
}

/// Whether 32 bytes from anywhere in a payload lie anywhere on the disk.
fn leaves_traces(disk: &MemoryDisk, number: usize) -> bool {
    let bytes = payload(number);
    let needles: BTreeSet<&[u8]> = bytes.chunks_exact(32).collect();
    let files = disk
        .paths()
        .into_iter()
        .map(|path| disk.contents(&path).unwrap());
    files
        .into_iter()
        .any(|file| file.windows(32).any(|window| needles.contains(window)))
}

/// Opens what a crash or a failure has left, to write, and holds it against the model.
fn reopen(workload: &Workload, disk: &MemoryDisk, acknowledged: usize, context: &str) -> Store {
    let store = open(disk, Mode::Write).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    workload.check(&store, acknowledged, context);
    for number in (0..PAYLOADS).filter(|number| store.blocks().erased(checksum(*number))) {
        assert!(
            !leaves_traces(disk, number),
            "payload {number} left traces: {context}"
        );
    }
    store
}

// Crashes.

#[test]
fn a_crash_at_any_operation_leaves_an_erasure_whole_and_every_kept_snapshot() {
    let workload = Arc::new(Workload::new());
    let disk = create(&workload.federation);
    let (acknowledged, crashes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let crash = {
        let (workload, disk, done, crashes) = (
            workload.clone(),
            disk.clone(),
            acknowledged.clone(),
            crashes.clone(),
        );
        Arc::new(move || {
            let (done, crash) = (
                done.load(Ordering::SeqCst),
                crashes.fetch_add(1, Ordering::SeqCst) as u64,
            );
            for seed in 0..3 {
                let context = &format!("crash {crash}, seed {seed}");
                let left = disk.crash(mix(crash << 8 | seed));
                let again = left.crash(0);
                drop(reopen(&workload, &left, done, context));
                if seed == 0 {
                    reopen(
                        &workload,
                        &left.crash(mix(crash)),
                        done,
                        &format!("{context}, and again"),
                    );
                }
                if crash % 8 == seed {
                    let context = &format!("{context}, read only");
                    workload.check(&open(&again, Mode::ReadOnly).unwrap(), done, context);
                }
                if crash % 16 == seed {
                    workload.finish(&open(&again, Mode::Write).unwrap(), done, context);
                }
            }
        })
    };
    let before = crash.clone();
    let watched = Observed::writing(&disk, move |_, _| before());
    let store = Store::open_with(Arc::new(watched), Mode::Write, restless()).unwrap();
    for action in ACTIONS {
        workload.run(action, &store).unwrap();
        acknowledged.fetch_add(1, Ordering::SeqCst);
        crash();
    }
    assert!(
        crashes.load(Ordering::SeqCst) > 400,
        "{crashes:?} operations were watched"
    );
}

// Failures.

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string)
}

fn says(error: &(dyn std::error::Error + 'static), words: &str) -> bool {
    causes(error).any(|cause| cause.contains(words))
}

/// Runs the actions until one fails with `named`; says how many were acknowledged. Maintenance
/// that fails takes nothing back.
fn run_until_failure(workload: &Workload, disk: &MemoryDisk, named: &str, context: &str) -> usize {
    let store = match open(disk, Mode::Write) {
        Ok(store) => store,
        Err(error) => {
            assert!(says(&error, named), "{error:?}: {context}");
            return 0;
        }
    };
    for (done, action) in ACTIONS.into_iter().enumerate() {
        let Err(error) = workload.run(action, &store) else {
            continue;
        };
        // What failed behind an acknowledgement is known only by what comes next.
        assert!(
            says(&*error, named) || says(&*error, "again"),
            "{error:?}: {context}"
        );
        if matches!(action, Action::Seal | Action::Settle) {
            continue;
        }
        // Payloads may be put as long as the packs are well; the model would have to know of them.
        let puts = |later: &Action| matches!(later, Action::Arrive(_) | Action::Write(_));
        for later in ACTIONS[done..].iter().filter(|later| !puts(later)) {
            match workload.run(*later, &store) {
                Err(error) => assert!(says(&*error, "again"), "{error:?}: {context}"),
                Ok(()) => {
                    assert!(
                        matches!(later, Action::Seal | Action::Settle),
                        "{later:?} after a failure: {context}"
                    )
                }
            }
        }
        return done;
    }
    ACTIONS.len()
}

fn every_operation_fails(fault: Fault, named: &str) {
    let workload = Workload::new();
    let operations = {
        let disk = create(&workload.federation);
        let first = disk.operations();
        let store = open(&disk, Mode::Write).unwrap();
        ACTIONS
            .into_iter()
            .for_each(|action| workload.run(action, &store).unwrap());
        first..disk.operations()
    };
    let mut failures = 0;
    for operation in operations {
        let context = &format!("{fault:?} at operation {operation}");
        let disk = create(&workload.federation);
        disk.fail_at(operation, fault);
        let done = run_until_failure(&workload, &disk, named, context);
        failures += usize::from(done < ACTIONS.len());
        drop(reopen(
            &workload,
            &disk.crash(mix(operation)),
            done,
            &format!("{context}, and a crash"),
        ));
        let store = reopen(&workload, &disk, done, context);
        if operation % 8 == 0 {
            workload.finish(&store, done, context);
        }
    }
    assert!(failures > 200, "{failures}");
}

#[test]
fn a_device_error_at_any_operation_leaves_an_erasure_whole_and_every_kept_snapshot() {
    every_operation_fails(Fault::Io, "injected input/output error");
}

#[test]
fn a_full_disk_at_any_operation_leaves_an_erasure_whole_and_every_kept_snapshot() {
    every_operation_fails(Fault::NoSpace, "no space left on device");
}

/// As [`restless`], with packs and a reserve that matter beside what a log takes.
fn reserving() -> Options {
    Options {
        reserve_bytes: 4 << 20,
        blocks: blocks::Options {
            pack_bytes: 4 << 20,
            threads: 1,
        },
        ..restless()
    }
}

fn open_reserving(disk: &MemoryDisk) -> Store {
    Store::open_with(Arc::new(disk.clone()), Mode::Write, reserving()).unwrap()
}

fn noise(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 200_000];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn write(store: &Store, bytes: &[u8]) -> Result<(), Failure> {
    store.blocks().put_bytes(bytes)?;
    store.commit(
        &key(OWN),
        vec![Record::artifact(None, Payload::of(bytes))],
        0,
    )?;
    Ok(())
}

#[test]
fn on_a_full_disk_there_is_a_way_out() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk = create(&federation);
    disk.set_capacity(Some(32 << 20));
    let mut written = Vec::new();
    let store = open_reserving(&disk);
    let failed = loop {
        let next = noise(written.len() as u64);
        match write(&store, &next) {
            Ok(()) => written.push(next),
            Err(error) => break error,
        }
    };
    // What failed is known when it is opened again.
    drop(store);
    assert!(says(&*failed, "no space"), "{failed}");
    assert!(written.len() > 100, "{}", written.len());
    // Not a byte is left for anybody else.
    let filler = disk.open("filler", Mode::Write).unwrap();
    let mut len = 0;
    while disk.free_space().unwrap().unwrap() > 0 {
        let piece = disk.free_space().unwrap().unwrap().min(4096);
        filler
            .write_at(len, &vec![1; usize::try_from(piece).unwrap()])
            .unwrap();
        len += piece;
    }
    let payloads: Vec<Payload> = written.iter().map(|bytes| Payload::of(bytes)).collect();
    let (goes, stays) = payloads.split_at(80);
    {
        let store = open_reserving(&disk);
        for payload in goes {
            store
                .commit(
                    &key(OWN),
                    vec![Record::tombstone(Record::artifact(None, *payload).id())],
                    1,
                )
                .unwrap();
        }
        assert!(store.erase(stays[0].checksum, 2).unwrap().bytes > 0);
        let collected = store
            .collect(&[], &BTreeSet::new(), false, 3, &mut go_on)
            .unwrap();
        // And perhaps the one whose record found no room.
        assert!(
            [80, 81].contains(&collected.payloads) && collected.bytes_held == 0,
            "{collected:?}"
        );
        let free = disk.free_space().unwrap().unwrap();
        assert!(free > 75 * 200_000 - (6 << 20), "{free} bytes free");
    }
    // And it goes on.
    let store = open_reserving(&disk);
    for number in 1000..1020 {
        write(&store, &noise(number)).unwrap();
    }
    assert!(
        stays[1..]
            .iter()
            .all(|payload| store.blocks().has(payload.checksum))
    );
    assert_eq!(store.blocks().verify(&mut |_, _| {}).unwrap().damages, []);
    assert_eq!(
        disk.contents("reserve").unwrap().len(),
        4 << 20,
        "made again"
    );
}

#[test]
fn a_store_opens_on_a_disk_that_something_else_has_filled() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk = create(&federation);
    {
        let store = open_reserving(&disk);
        (0..9).for_each(|number| write(&store, &noise(number)).unwrap());
        assert_eq!(disk.contents("reserve").unwrap().len(), 4 << 20);
        // Not synced, so that opening has something to write.
        store.blocks().put_bytes(&noise(10)).unwrap();
        store.blocks().put_bytes(&noise(11)).unwrap();
    }
    disk.settle();
    let poor = disk.crash(0);
    poor.remove("reserve").unwrap();
    for disk in [&disk, &poor] {
        disk.set_capacity(Some(disk.used()));
    }
    let failed = Store::open_with(Arc::new(poor), Mode::Write, reserving())
        .err()
        .unwrap();
    assert!(says(&failed, "no space"), "{failed}");
    let store = open_reserving(&disk);
    assert!((0..9).all(|number| store.blocks().has(Checksum::of(&noise(number)))));
    store
        .commit(&key(OWN), vec![Record::tombstone(artifact(0).id())], 1)
        .unwrap();
    assert!(
        disk.contents("reserve").unwrap().len() > 3 << 20,
        "nearly all of it is back"
    );
}

#[test]
fn a_store_without_a_reserve_keeps_none_and_readers_touch_none() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk = create(&federation);
    drop(open(&disk, Mode::Write).unwrap());
    assert_eq!(disk.contents("reserve"), None);
    drop(Store::open_with(Arc::new(disk.clone()), Mode::ReadOnly, reserving()).unwrap());
    assert_eq!(disk.contents("reserve"), None);
    drop(open_reserving(&disk));
    assert!(disk.contents("reserve").is_some());
}
