//! What verification finds beside damaged bytes: commits that could never have been accepted, an
//! index that says other than the log; and that the index stays what the log says through
//! everything that maintenance meets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;
mod observed;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::{self, Log, LogPosition};
use uor_asl::state::Filter;
use uor_asl::store::{Options, Store, StoreError};
use uor_asl::validator::{CommitValidator, Verdict};
use uor_asl::verify::{Finding, Verified};
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{CommitHash, FederationState, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};

use federation::{Federation, SITES, Step, key, mix};
use observed::{Deed, Observed};

/// The site whose store this is.
const OWN: usize = SITES - 1;

fn small() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 6,
        ..Options::default()
    }
}

fn open(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(disk.clone()), mode, small())
}

fn create(federation: &Federation) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create(&shared, federation.id()).unwrap();
    disk
}

fn federation() -> Federation {
    Federation::build(
        ConflictRule::First,
        &(0..12)
            .map(|seed| Step::from_seed(mix(seed)))
            .collect::<Vec<_>>(),
    )
}

fn artifact(number: u64) -> Record {
    Record::artifact(None, Payload::of(&number.to_le_bytes()))
}

fn artifacts(numbers: Range<u64>) -> Vec<Record> {
    let mut records: Vec<Record> = numbers.map(artifact).collect();
    records.sort_by_key(Record::id);
    records
}

/// Commits these, one by one.
fn write(store: &Store, numbers: Range<u64>) {
    for number in numbers {
        store.commit(&key(OWN), vec![artifact(number)], 0).unwrap();
    }
}

/// The next commit of a site, by what a validator knows, who takes it in.
fn next(validator: &mut CommitValidator, site: usize, records: Vec<Record>) -> Commit {
    let draft = federation::draft(validator, &key(site).site_id(), records);
    let commit = Commit::seal(draft, &key(site)).unwrap();
    assert_eq!(validator.validate(&commit, &()).unwrap(), Verdict::Accepted);
    validator.accept(&commit);
    commit
}

/// A validator who knows everything.
fn validator_of_all(federation: &Federation) -> CommitValidator {
    let mut validator = CommitValidator::new(federation.id());
    for commit in federation.commits() {
        assert_eq!(validator.validate(commit, &()).unwrap(), Verdict::Accepted);
        validator.accept(commit);
    }
    validator
}

/// Another commit in the place of this one.
fn twin(commit: &Commit, key: &SiteKey) -> Commit {
    federation::twin(commit, key, commit.records().to_vec())
}

fn last_of(federation: &Federation, site: usize) -> &Commit {
    let domain = key(site).site_id();
    federation
        .commits()
        .iter()
        .rev()
        .find(|commit| commit.header().domain == domain)
        .unwrap()
}

fn proof(federation: &Federation, site: usize) -> ForkProof {
    let commit = last_of(federation, site);
    ForkProof::new(
        commit.header().clone(),
        twin(commit, &key(site)).header().clone(),
    )
    .unwrap()
}

/// Writes a commit into a store's log as nobody who follows the rules would.
fn smuggle(disk: &MemoryDisk, commit: &Commit) -> LogPosition {
    let (log, _) = Log::open_with(Arc::new(disk.clone()), Mode::Write, small().log).unwrap();
    let appended = log.append_batch(&[(1, commit.as_bytes())]).unwrap();
    log.sync().unwrap();
    appended.positions[0]
}

fn verified(disk: &MemoryDisk) -> Verified {
    open(disk, Mode::ReadOnly)
        .unwrap()
        .verify(&mut |_| {})
        .unwrap()
}

#[track_caller]
fn is_sound(disk: &MemoryDisk) {
    let reader = open(disk, Mode::ReadOnly).unwrap();
    assert_eq!(reader.opened().index, None, "the index serves");
    assert_eq!(reader.verify(&mut |_| {}).unwrap().findings, []);
}

fn stranger() -> SiteKey {
    SiteKey::from_seed(&[200; 32])
}

/// Commits that no store takes, and a part of the reason.
fn impossible(federation: &Federation) -> Vec<(Commit, &'static str)> {
    let foreign = Genesis {
        founder: stranger().site_id(),
        name: "other".to_owned(),
        nonce: [1; 16],
        conflict_rule: ConflictRule::Manual,
        logseq_jump_max: 9,
    };
    let first = |records| Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        ..federation.draft(0, records)
    };
    let alone = |records| Draft {
        learned: vec![],
        federation: FederationState::of(&BTreeSet::<CommitHash>::new()),
        ..first(records)
    };
    let mut wrong_state = federation.draft(1, vec![artifact(1)]);
    wrong_state.federation = FederationState::of(&BTreeSet::<CommitHash>::new());
    let founded = Commit::seal(alone(vec![Record::genesis(foreign)]), &stranger()).unwrap();
    vec![
        (
            Commit::seal(first(vec![artifact(1)]), &stranger()).unwrap(),
            "federation state",
        ),
        (
            Commit::seal(alone(vec![artifact(1)]), &stranger()).unwrap(),
            "not a member",
        ),
        (
            Commit::seal(wrong_state, &key(1)).unwrap(),
            "federation state",
        ),
        (
            twin(last_of(federation, 2), &key(2)),
            "another commit of its domain has number",
        ),
        (founded, "not a member"),
    ]
}

#[test]
fn a_commit_that_could_never_count_is_a_finding_with_its_reason() {
    let federation = federation();
    for sealed in [false, true] {
        for (commit, reason) in impossible(&federation) {
            let disk = create(&federation);
            let store = open(&disk, Mode::Write).unwrap();
            store.merge(federation.commits().to_vec()).unwrap();
            let counted = store.view().commits_len();
            drop(store);
            let position = smuggle(&disk, &commit);
            if sealed {
                // A checkpoint that covers it says no more than that there is one.
                open(&disk, Mode::Write).unwrap().settle().unwrap();
            }
            let verified = verified(&disk);
            assert_eq!(verified.commits, counted);
            let [Finding::Unaccepted(found)] = verified.findings.as_slice() else {
                panic!("{reason}: {:?}", verified.findings)
            };
            assert_eq!(
                (found.domain, found.number),
                (commit.header().domain, commit.header().number)
            );
            assert_eq!(
                (found.hash, found.position, found.is_of_a_fork),
                (commit.hash(), position, false)
            );
            assert!(found.reason.contains(reason), "{reason}: {}", found.reason);
            assert_eq!(verified.unaccepted.len(), 1);
        }
    }
}

#[test]
fn a_commit_that_lies_in_the_log_twice_counts_once_and_is_no_finding() {
    let federation = federation();
    let disk = create(&federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    let (counted, root) = (store.view().commits_len(), store.view().state().root());
    drop(store);
    smuggle(&disk, last_of(&federation, 2));
    let found = verified(&disk);
    assert_eq!(
        (found.commits, found.state_root, found.unaccepted.len()),
        (counted, root, 0)
    );
    assert_eq!(found.findings, []);
}

#[test]
fn what_a_fork_took_back_is_listed_and_no_finding() {
    let federation = federation();
    for sealed in [false, true] {
        let disk = create(&federation);
        let store = open(&disk, Mode::Write).unwrap();
        store.merge(federation.commits().to_vec()).unwrap();
        store.freeze(proof(&federation, 1)).unwrap();
        if sealed {
            store.settle().unwrap();
        }
        let unaccepted = store.view().unaccepted();
        drop(store);
        let before = verified(&disk);
        assert_eq!(
            (before.findings.as_slice(), before.unaccepted.len() as u64),
            (&[][..], unaccepted)
        );
        assert!(unaccepted > 0 && before.unaccepted.iter().all(|commit| commit.is_of_a_fork));
        assert!(
            before
                .unaccepted
                .iter()
                .any(|commit| commit.reason.contains("frozen")),
            "{:?}",
            before.unaccepted
        );
        // A fork excuses nobody else.
        let (intruder, _) = impossible(&federation).swap_remove(1);
        smuggle(&disk, &intruder);
        let after = verified(&disk);
        assert!(
            matches!(after.findings.as_slice(), [Finding::Unaccepted(found)] if found.hash == intruder.hash())
        );
        assert_eq!(after.unaccepted.len() as u64, unaccepted + 1);
    }
}

#[test]
fn an_index_that_was_lost_is_written_again_whatever_was_due() {
    let federation = federation();
    let disk = create(&federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    write(&store, 0..90);
    let root = store.view().state().root();
    drop(store);
    for path in disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("index/"))
    {
        disk.remove(&path).unwrap();
    }
    // More runs are written while everything is rebuilt from the log than may stay apart, and none
    // is named by a checkpoint.
    let store = open(&disk, Mode::Write).unwrap();
    let pieces = (0..100).take_while(|_| store.maintain().unwrap()).count();
    assert!(
        (2..100).contains(&pieces),
        "maintenance comes to an end: {pieces}"
    );
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    drop(store);
    is_sound(&disk);
    assert_eq!(
        open(&disk, Mode::ReadOnly).unwrap().view().state().root(),
        root
    );
}

/// A commit of a site that is admitted twice, whose second admission comes after it; once a fork
/// has taken back the first, it counts only when everything else has been validated.
#[test]
fn what_counts_only_because_of_what_came_later_stays_in_the_index() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let mut validator = validator_of_all(&federation);
    let again = Admission {
        federation: federation.id(),
        site: key(4).site_id(),
        name: "again".to_owned(),
    };
    let second = next(&mut validator, 0, vec![Record::admission(again)]);
    let mut draft = federation.draft(4, artifacts(1000..1003));
    draft.learned.push(second.hash());
    draft.learned.sort();
    draft.federation = FederationState::of(&draft.learned);
    draft.logseq = LogSeq(second.header().logseq.0 + 1);
    let early = Commit::seal(draft, &key(4)).unwrap();
    validator.accept(&early);
    let large = next(&mut validator, 1, artifacts(0..200));
    let fill: Vec<Commit> = (0..60)
        .map(|number| {
            next(
                &mut validator,
                1,
                artifacts(2000 + 3 * number..2003 + 3 * number),
            )
        })
        .collect();

    let disk = create(&federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    for commits in [
        vec![early.clone()],
        vec![large],
        fill[..30].to_vec(),
        vec![second],
    ] {
        let counts = vec![Verdict::Accepted; commits.len()];
        assert_eq!(store.merge(commits).unwrap(), counts);
    }
    store.freeze(proof(&federation, 3)).unwrap();
    assert_eq!(
        store.view().commit_hash(&key(4).site_id(), 1).unwrap(),
        Some(early.hash()),
        "it still counts"
    );
    while store.maintain().unwrap() {}
    for commit in fill[30..].iter().cloned() {
        store.merge(vec![commit]).unwrap();
        while store.maintain().unwrap() {}
    }
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
    drop(store);
    is_sound(&disk);
}

#[test]
fn a_panic_of_maintenance_loses_nothing_and_locks_nobody_out() {
    let federation = federation();
    let (mut at, mut panics) = (0, 0);
    loop {
        let disk = create(&federation);
        let armed = Arc::new(Mutex::new(false));
        let is_armed = armed.clone();
        let steps = Arc::<AtomicUsize>::default();
        let counted = steps.clone();
        let hook = move |_: Deed, _: &str| {
            if *is_armed.lock().unwrap() && counted.fetch_add(1, Ordering::SeqCst) == at {
                *is_armed.lock().unwrap() = false;
                panic!("on purpose");
            }
        };
        let shared: Arc<dyn Disk> = Arc::new(Observed::writing(&disk, hook));
        let options = Options {
            memtable_records_max: 1000,
            ..small()
        };
        let store = Store::open_with(shared, Mode::Write, options).unwrap();
        store.merge(federation.commits().to_vec()).unwrap();
        store.seal_index().unwrap();
        write(&store, 0..5);
        *armed.lock().unwrap() = true;
        let done = catch_unwind(AssertUnwindSafe(|| store.settle()));
        *armed.lock().unwrap() = false;
        panics += u32::from(done.is_err());
        store.commit(&key(OWN), vec![artifact(99)], 0).unwrap();
        store.settle().unwrap();
        assert_eq!(
            store.verify(&mut |_| {}).unwrap().findings,
            [],
            "after a panic before step {at}"
        );
        drop(store);
        is_sound(&disk);
        if done.is_ok() {
            break;
        }
        at += 1;
    }
    assert!(panics > 8, "{panics} panics are few");
}

#[test]
fn commits_may_be_taken_back_in_the_middle_of_a_seal_or_merge() {
    let proof = proof(&federation(), 1);
    at_every_step_of_maintenance(
        1000,
        move |store| assert!(store.freeze(proof.clone()).unwrap()),
        true,
    );
}

#[test]
fn everything_may_be_rebuilt_in_the_middle_of_a_seal_or_merge() {
    at_every_step_of_maintenance(1000, |store| store.revalidate().unwrap(), false);
}

#[test]
fn runs_that_are_written_while_everything_is_rebuilt_in_the_middle_of_a_merge_are_merged_too() {
    at_every_step_of_maintenance(6, |store| store.revalidate().unwrap(), false);
}

/// A writer that opens a long log writes runs while it reads it; no checkpoint names them yet.
#[test]
fn runs_that_are_written_while_a_store_is_opened_are_named_before_any_is_merged() {
    let federation = federation();
    // Of one run that the checkpoint names up to more than are merged at once.
    for sealed in 1..=9 {
        let disk = create(&federation);
        let store = open(&disk, Mode::Write).unwrap();
        store.merge(federation.commits().to_vec()).unwrap();
        store.settle().unwrap();
        let mut written = 0;
        let mut next = |count: u64| {
            written += count;
            written - count..written
        };
        for _ in 1..sealed {
            write(&store, next(6));
            store.seal_index().unwrap();
        }
        drop(store);
        let options = Options {
            memtable_records_max: 1000,
            ..small()
        };
        let store = Store::open_with(Arc::new(disk.clone()), Mode::Write, options).unwrap();
        write(&store, next(57));
        drop(store);
        let store = open(&disk, Mode::Write).unwrap();
        assert_eq!(store.opened().index, None, "the checkpoint serves");
        while store.maintain().unwrap() {}
        assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
        write(&store, next(7));
        store.settle().unwrap();
        drop(store);
        is_sound(&disk);
        let reader = open(&disk, Mode::ReadOnly).unwrap();
        let view = reader.view();
        for number in 0..written {
            let id = artifact(number).id();
            assert!(view.state().entry(&id, view.head()).unwrap().is_some());
        }
    }
}

/// What a disk does between two steps of maintenance.
enum Between {
    /// Nothing: it is not yet maintenance that is watched.
    Nothing,
    /// The deed, after so many more steps.
    Deed {
        steps_left: usize,
        store: Arc<Store>,
    },
    /// A crash, after which the store is opened and read whole, wherever the checkpoint or what it
    /// no longer names is changed: the deed is done, and the step that stood still goes on.
    Crash { seed: u64 },
}

/// Does something from another thread between any two steps of a seal and a merge; `takes_back`
/// says whether commits are not accepted after it.
fn at_every_step_of_maintenance(
    memtable_records_max: u64,
    deed: impl Fn(&Store) + Clone + Send + Sync + 'static,
    takes_back: bool,
) {
    let federation = federation();
    let mut at = 0;
    loop {
        let disk = create(&federation);
        let between = Arc::new(Mutex::new(Between::Nothing));
        let (taken, deed, left) = (between.clone(), deed.clone(), disk.clone());
        let hook = move |what: Deed, path: &str| {
            let mut between = taken.lock().unwrap();
            match &mut *between {
                Between::Nothing => {}
                Between::Deed {
                    steps_left: 0,
                    store,
                } => {
                    let store = store.clone();
                    *between = Between::Nothing;
                    drop(between);
                    // Another thread: whoever is at maintenance holds no lock that it needs.
                    thread::scope(|scope| scope.spawn(|| deed(&store)).join().unwrap());
                    *taken.lock().unwrap() = Between::Crash { seed: at as u64 };
                }
                Between::Deed { steps_left, .. } => *steps_left -= 1,
                Between::Crash { seed } if what == Deed::Remove || path.contains("checkpoint") => {
                    *seed += 1;
                    assert_eq!(
                        verified(&left.crash(*seed)).findings,
                        [],
                        "after a crash, seed {seed}"
                    );
                }
                Between::Crash { .. } => {}
            }
        };
        let shared: Arc<dyn Disk> = Arc::new(Observed::writing(&disk, hook));
        let options = Options {
            memtable_records_max,
            ..small()
        };
        let store = Arc::new(Store::open_with(shared, Mode::Write, options).unwrap());
        store.merge(federation.commits().to_vec()).unwrap();
        store.seal_index().unwrap();
        write(&store, 0..5);
        *between.lock().unwrap() = Between::Deed {
            steps_left: at,
            store: store.clone(),
        };
        store.settle().unwrap();
        let is_done = matches!(&*between.lock().unwrap(), Between::Crash { .. });
        *between.lock().unwrap() = Between::Nothing;
        // What comes after it is indexed too.
        write(&store, 5..9);
        store.settle().unwrap();
        assert_eq!(
            store.verify(&mut |_| {}).unwrap().findings,
            [],
            "before step {at}"
        );
        assert_eq!(store.view().unaccepted() > 0, is_done && takes_back);
        drop(store);
        is_sound(&disk);
        if !is_done {
            break;
        }
        at += 1;
    }
    assert!(at > 8, "{at} steps are few");
}

#[test]
fn a_log_of_many_segments_is_indexed_whole() {
    // Each commit has a segment of the log for itself: a run can name places in five hundred.
    let options = Options {
        memtable_records_max: 1 << 20,
        log: log::Options {
            segment_bytes: 64,
            preallocate_bytes: 64,
        },
        ..small()
    };
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk = create(&federation);
    let open = |mode| Store::open_with(Arc::new(disk.clone()), mode, options).unwrap();
    let store = open(Mode::Write);
    store.merge(federation.commits().to_vec()).unwrap();
    write(&store, 0..700);
    store.seal_index().unwrap();
    drop(store);
    disk.remove("index/checkpoint").unwrap();
    let store = open(Mode::Write);
    while store.maintain().unwrap() {}
    store.settle().unwrap();
    drop(store);
    let reader = open(Mode::ReadOnly);
    assert_eq!(reader.opened().index, None);
    assert_eq!(reader.verify(&mut |_| {}).unwrap().findings, []);
    assert_eq!(
        reader.view().commits_len(),
        700 + federation.commits().len() as u64
    );
}

/// Everything small, so that faults fall into new segments, seals and merges.
fn tiny() -> Options {
    Options {
        log: log::Options {
            segment_bytes: 1500,
            preallocate_bytes: 256,
        },
        ..small()
    }
}

/// Commits until something fails; says what was acknowledged.
fn work(disk: &MemoryDisk, numbers: Range<u64>) -> Result<u64, u64> {
    let Ok(store) = Store::open_with(Arc::new(disk.clone()), Mode::Write, tiny()) else {
        return Err(numbers.start);
    };
    for number in numbers.clone() {
        if store.commit(&key(OWN), vec![artifact(number)], 0).is_err() {
            return Err(number);
        }
    }
    store.settle().map_err(|_| numbers.end)?;
    Ok(numbers.end)
}

#[test]
fn faults_of_any_kind_one_after_the_other_leave_a_store_that_opens() {
    let federation = Federation::build(ConflictRule::First, &[]);
    let whole = create(&federation);
    let store = Store::open_with(Arc::new(whole.clone()), Mode::Write, tiny()).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    drop(store);
    whole.settle();
    let mut at = 0;
    loop {
        let disk = whole.crash(0);
        let first = disk.operations() + at;
        let second = first + 1 + mix(at) % 12;
        let kinds = if at % 2 == 0 {
            [Fault::Io, Fault::NoSpace]
        } else {
            [Fault::NoSpace, Fault::Io]
        };
        disk.fail_at(first, kinds[0]);
        disk.fail_at(second, kinds[1]);
        let (mut acknowledged, mut failures) = (0, 0);
        for _ in 0..3 {
            match work(&disk, acknowledged..24) {
                Ok(end) => acknowledged = end,
                Err(reached) => (acknowledged, failures) = (reached, failures + 1),
            }
        }
        assert_eq!(acknowledged, 24, "faults at {at}");
        // A loss of power takes nothing back either.
        let crashed = disk.crash(mix(at));
        work(&crashed, 24..25).unwrap_or_else(|_| panic!("faults at {at}: it does not open again"));
        for disk in [&crashed, &disk] {
            let reader = Store::open_with(Arc::new(disk.clone()), Mode::ReadOnly, tiny()).unwrap();
            let view = reader.view();
            for number in 0..acknowledged {
                let found = view
                    .state()
                    .entry(&artifact(number).id(), view.head())
                    .unwrap();
                assert!(found.is_some(), "faults at {at}: {number} was acknowledged");
            }
            drop(view);
            assert_eq!(
                reader.verify(&mut |_| {}).unwrap().findings,
                [],
                "faults at {at}"
            );
        }
        if disk.operations() < first {
            assert!(failures == 0 && at > 60);
            break;
        }
        at += 3;
    }
}

/// Bytes of a file where a flip is looked for: a few of each page.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len)
        .step_by(4096)
        .map(|page| page + 61)
        .chain([0])
        .filter(move |place| *place < len)
}

#[test]
fn a_writer_puts_back_what_was_damaged() {
    let federation = federation();
    let disk = create(&federation);
    let store = open(&disk, Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    write(&store, 0..30);
    store
        .commit(&key(OWN), artifacts(10_000..12_000), 0)
        .unwrap();
    write(&store, 30..60);
    store.seal_index().unwrap();
    let root = store.view().state().root();
    let entries: Vec<_> = store
        .view()
        .state()
        .entries(store.view().head(), &Filter::ALL)
        .map(Result::unwrap)
        .collect();
    drop(store);
    disk.settle();
    let files: Vec<String> = disk
        .paths()
        .into_iter()
        .filter(|path| path.ends_with(".run") || path.ends_with(".commits"))
        .collect();
    let (mut mended, mut rebuilt) = (0, 0);
    for path in files.iter().filter(|path| !path.contains("blocks-")) {
        let whole = disk.contents(path).unwrap();
        for place in places(whole.len()) {
            let damaged = disk.crash(0);
            assert!(damaged.flip_bit(path, place as u64 * 8));
            let store = open(&damaged, Mode::Write).unwrap();
            let head = store.view().head().clone();
            assert_eq!(
                store.view().state().root_at(&head).unwrap(),
                root,
                "{path} {place}"
            );
            assert_eq!(store.replay(&head).unwrap().root, root, "{path} {place}");
            // Everything is read, so that whatever is damaged is met.
            let shown: Vec<_> = store
                .view()
                .state()
                .entries(&head, &Filter::ALL)
                .map(Result::unwrap)
                .collect();
            assert_eq!(shown, entries, "{path} {place}");
            let is_rebuilt = store.opened().index.is_some();
            let damage = store.index_damage();
            while store.maintain().unwrap() {}
            assert_eq!(store.take_index_damage(), damage);
            assert!(store.index_damage().is_empty(), "said once");
            drop(store);
            if is_rebuilt {
                rebuilt += 1;
            } else if damage.is_empty() {
                continue;
            } else {
                assert!(
                    damage.len() == 1 && damage[0].contains(path.as_str()),
                    "{path} {place}: {damage:?}"
                );
                assert_eq!(damaged.contents(path).unwrap(), whole, "{path} {place}");
                mended += 1;
            }
            is_sound(&damaged);
        }
    }
    assert!(
        mended > 8 && rebuilt > 2,
        "{mended} mended, {rebuilt} rebuilt"
    );
}
