//! A store whose process is killed without warning, and a store on a full file system, for real:
//! while it commits, seals, merges, erases and collects. What was acknowledged is there afterwards,
//! and every byte verifies.
//!
//! `UOR_CRASH_KILLS` says how often.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::{panic, thread};

use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::state::Filter;
use uor_asl::store::{MaintenanceThread, Options, Store, StoreError};
use uor_asl::{blocks, log};
use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Kind, Payload, Record};

use federation::{Federation, SITES, key, mix};

const SIGKILL: i32 = 9;

/// Goes on with what reports its progress.
const fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The site whose store this is.
const OWN: usize = SITES - 1;

/// Small files, so that there is always something to be sealed, merged or given up.
fn restless() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 6,
        log: log::Options {
            segment_bytes: 20_000,
            preallocate_bytes: 4096,
        },
        blocks: blocks::Options {
            pack_bytes: 20_000,
            threads: 1,
        },
        ..Options::default()
    }
}

fn create(dir: &Path) {
    let federation = Federation::build(ConflictRule::First, &[]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    Store::create(&disk, federation.id()).unwrap();
    open(dir, Mode::Write)
        .unwrap()
        .merge(federation.commits().to_vec())
        .unwrap();
}

fn open(dir: &Path, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(RealDisk::new(dir)), mode, restless())
}

/// Bytes that do not compress.
fn payload(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 500 + usize::try_from(number * 677 % 5000).unwrap()];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn artifact(number: u64) -> Record {
    Record::artifact(None, Payload::of(&payload(number)))
}

// The workload: step after step, each of which may be taken twice.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Write(u64),
    Shadow(u64),
    Erase(u64),
    Collect,
    Seal,
    Settle,
}

impl Step {
    fn of(number: u64) -> Self {
        match number % 10 {
            6 => Self::Shadow(number - 6),
            7 => Self::Erase(number - 6),
            8 => Self::Collect,
            9 if number % 40 == 39 => Self::Settle,
            9 => Self::Seal,
            _ => Self::Write(number),
        }
    }

    fn take(self, store: &Store) -> Result<(), Box<dyn Error>> {
        let is_visible = |record: &Record| -> Result<bool, StoreError> {
            let view = store.view();
            Ok(view.state().entry(&record.id(), view.head())?.is_some())
        };
        match self {
            Self::Write(number) => {
                store.blocks().put_bytes(&payload(number))?;
                if !is_visible(&artifact(number))? {
                    store.commit(&key(OWN), vec![artifact(number)], number)?;
                }
            }
            Self::Shadow(number) => {
                if is_visible(&artifact(number))? {
                    store.commit(
                        &key(OWN),
                        vec![Record::tombstone(artifact(number).id())],
                        number,
                    )?;
                }
            }
            Self::Erase(number) => drop(store.erase(Checksum::of(&payload(number)), number)?),
            Self::Collect => drop(store.collect(&[], &BTreeSet::new(), false, 0, &mut go_on)?),
            Self::Seal => store.seal_index()?,
            Self::Settle => store.settle()?,
        }
        Ok(())
    }
}

/// What there is after so many steps.
#[derive(Debug, Default)]
struct Model {
    visible: BTreeSet<u64>,
    here: BTreeSet<u64>,
    erased: BTreeSet<u64>,
}

impl Model {
    fn after(steps: u64) -> Self {
        let mut this = Self::default();
        for step in (0..steps).map(Step::of) {
            match step {
                Step::Write(number) => {
                    this.visible.insert(number);
                    this.here.insert(number);
                }
                Step::Shadow(number) => drop(this.visible.remove(&number)),
                Step::Erase(number) => {
                    this.here.remove(&number);
                    this.erased.insert(number);
                }
                Step::Collect => this.here.retain(|number| this.visible.contains(number)),
                Step::Seal | Step::Settle => {}
            }
        }
        this
    }
}

/// Holds a store against what should be there when so many steps are acknowledged and the next may
/// have begun.
fn check(store: &Store, acknowledged: u64) {
    let (before, after) = (Model::after(acknowledged), Model::after(acknowledged + 1));
    let context = format!(
        "{acknowledged} steps acknowledged, then {:?}",
        Step::of(acknowledged)
    );
    let view = store.view();
    let entries = view
        .state()
        .entries(view.head(), &Filter::kind(Kind::Artifact));
    let visible: BTreeSet<CanonicalId> = entries.map(|entry| entry.unwrap().id).collect();
    let ids = |numbers: &BTreeSet<u64>| {
        numbers
            .iter()
            .map(|number| artifact(*number).id())
            .collect::<BTreeSet<_>>()
    };
    assert!(
        visible == ids(&before.visible) || visible == ids(&after.visible),
        "{context}"
    );
    for number in 0..=acknowledged {
        let (checksum, blocks) = (Checksum::of(&payload(number)), store.blocks());
        let either = |set: fn(&Model) -> &BTreeSet<u64>| {
            [&before, &after].map(|model| set(model).contains(&number))
        };
        let (is_here, is_erased) = (blocks.has(checksum), blocks.erased(checksum));
        assert!(
            either(|model| &model.here).contains(&is_here),
            "payload {number}: {context}"
        );
        assert!(
            either(|model| &model.erased).contains(&is_erased),
            "payload {number}: {context}"
        );
        if before.erased.contains(&number) {
            assert_eq!(view.erased(&checksum), Some(number), "{context}");
        }
        match blocks.read_all(checksum, 1 << 20) {
            Ok(bytes) => assert!(
                is_here && bytes == payload(number),
                "payload {number}: {context}"
            ),
            Err(error) => assert!(!is_here, "payload {number}: {error}: {context}"),
        }
    }
    assert!(view.wanted().is_empty(), "{context}");
    drop(view);
    let verified = store.verify(&mut |_| {}).unwrap();
    assert_eq!(verified.findings, [], "{context}");
    assert_eq!(verified.missing, [], "{context}");
}

// Killed.

/// In the process that is to be killed: where the store is, and which step comes first.
const STORE: &str = "UOR_TEST_STORE";
const FIRST: &str = "UOR_TEST_FIRST_STEP";

/// Works until it is killed, and says what is done. This is no test unless it is asked to be.
/// A panic of a store's own thread ends the process, and so the test.
fn no_thread_may_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        process::abort();
    }));
}

#[test]
fn works_until_it_is_killed() {
    let Some(dir) = env::var_os(STORE) else {
        return;
    };
    no_thread_may_panic();
    let store = Arc::new(open(Path::new(&dir), Mode::Write).unwrap());
    let _maintenance = MaintenanceThread::start(store.clone()).unwrap();
    for number in env::var(FIRST).unwrap().parse().unwrap().. {
        Step::of(number).take(&store).unwrap();
        println!("done {number}");
    }
}

#[test]
fn a_store_survives_every_kill() {
    let kills = env::var("UOR_CRASH_KILLS").map_or(24, |kills| kills.parse().unwrap());
    let bench = tempfile::tempdir().unwrap();
    let dir = bench.path().join("store");
    create(&dir);
    let (mut acknowledged, mut rebuilt) = (0_u64, Vec::new());
    for kill in 0..kills {
        // Killed before the first one is there, a store has nothing to lose.
        let had_checkpoint = dir.join("index/checkpoint").exists();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "works_until_it_is_killed", "--nocapture"])
            .envs([
                (STORE, dir.as_os_str()),
                (FIRST, acknowledged.to_string().as_ref()),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let until = acknowledged + 2 + mix(kill) % 12;
        for line in BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
        {
            let Some((_, number)) = line.split_once("done ") else {
                continue;
            };
            assert_eq!(number, acknowledged.to_string());
            acknowledged += 1;
            if acknowledged == until {
                // At whatever it does then.
                (0..mix(kill) % 5000).for_each(|_| thread::yield_now());
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(SIGKILL),
            "it works until it is killed"
        );
        check(&open(&dir, Mode::ReadOnly).unwrap(), acknowledged);
        let store = open(&dir, Mode::Write).unwrap();
        rebuilt.extend(store.opened().index.clone().filter(|_| had_checkpoint));
        check(&store, acknowledged);
    }
    eprintln!("{kills} kills in {acknowledged} steps");
    assert_eq!(rebuilt, [], "no kill costs the index");
    assert!(acknowledged > kills * 2, "{acknowledged}");
}

// A full disk.

/// Set in the process that has a mount namespace of its own.
const INSIDE: &str = "UOR_TEST_IN_MOUNT_NAMESPACE";

#[test]
fn a_store_survives_a_full_disk() {
    if env::var_os(INSIDE).is_some() {
        return on_a_disk_that_fills();
    }
    let is_permitted = |flags: &&str| {
        let mount = ["sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"];
        let tried = Command::new("unshare")
            .arg(flags)
            .args(mount)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    let Some(flags) = ["-m", "-rm"].iter().find(|flags| is_permitted(flags)) else {
        eprintln!("SKIPPED: this system lets no one mount here, so no disk can be filled");
        return;
    };
    let mut command = Command::new("unshare");
    command.arg(flags).arg(env::current_exe().unwrap()).args([
        "--exact",
        "a_store_survives_a_full_disk",
        "--nocapture",
    ]);
    let output = command.env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn says(error: &(dyn Error + 'static), words: &str) -> bool {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .into_iter()
        .any(|cause| cause.to_string().contains(words))
}

/// Leaves so many bytes free, give or take a page.
fn fill(filler: &Path, free: usize) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(filler)
        .unwrap();
    for len in [1 << 16, 1 << 12] {
        while file.write_all(&vec![1; len]).is_ok() {}
    }
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(free as u64)).unwrap();
}

fn on_a_disk_that_fills() {
    no_thread_may_panic();
    let bench = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(bench.path())
        .status();
    assert!(mounted.unwrap().success());
    let (dir, filler) = (bench.path().join("store"), bench.path().join("filler"));
    create(&dir);
    let mut acknowledged = 0;
    let mut failed = BTreeSet::new();
    for round in 0..40_u64 {
        let store = open(&dir, Mode::Write).unwrap();
        fill(&filler, usize::try_from(mix(round) % 20).unwrap() * 4096);
        loop {
            match Step::of(acknowledged).take(&store) {
                Ok(()) => acknowledged += 1,
                Err(error) => {
                    assert!(
                        says(&*error, "No space left on device") || says(&*error, "again"),
                        "{error:?}"
                    );
                    failed.insert(acknowledged % 10);
                    break;
                }
            }
        }
        drop(store);
        check(&open(&dir, Mode::ReadOnly).unwrap(), acknowledged);
        // Opening to write may need space; where there is none it changes nothing.
        if let Err(error) = open(&dir, Mode::Write) {
            assert!(says(&error, "No space left on device"), "{error:?}");
            check(&open(&dir, Mode::ReadOnly).unwrap(), acknowledged);
        }
        fs::remove_file(&filler).unwrap();
        let store = open(&dir, Mode::Write).unwrap();
        check(&store, acknowledged);
        // With space again, what failed succeeds.
        Step::of(acknowledged).take(&store).unwrap();
        acknowledged += 1;
        check(&store, acknowledged);
    }
    eprintln!("{acknowledged} steps, of which failed those of kinds {failed:?}");
    assert!(
        failed.len() > 4,
        "steps of several kinds failed: {failed:?}"
    );
}
