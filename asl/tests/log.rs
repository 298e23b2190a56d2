//! The log against a model, on a disk that tears, fails and flips.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observed;

use std::sync::Arc;

use observed::Observed;
use proptest::prelude::*;
use uor_asl::damage::Damage;
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::{Log, LogError, LogPosition, Options, Recovery};

/// Small enough that a few entries fill a segment.
const OPTIONS: Options = Options {
    segment_bytes: 640,
    preallocate_bytes: 128,
};

type Entries = Vec<(u8, Vec<u8>)>;

fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Log, Recovery), LogError> {
    Log::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

fn append(log: &Log, entries: &[(u8, Vec<u8>)]) -> Result<Vec<LogPosition>, LogError> {
    let entries: Vec<(u8, &[u8])> = entries
        .iter()
        .map(|(kind, body)| (*kind, body.as_slice()))
        .collect();
    Ok(log.append_batch(&entries)?.positions)
}

/// Opens the log and reads all of it.
fn read(disk: &MemoryDisk, mode: Mode) -> Result<Entries, LogError> {
    entries(&open(disk, mode)?.0)
}

fn entries(log: &Log) -> Result<Entries, LogError> {
    log.entries()
        .map(|entry| entry.map(|entry| (entry.kind, entry.body)))
        .collect()
}

/// A log of several segments with everything in it synced, and what is in it.
fn sample() -> (MemoryDisk, Entries) {
    let disk = MemoryDisk::new();
    let (log, _) = open(&disk, Mode::Write).unwrap();
    let mut all = Vec::new();
    for number in 0..12_u8 {
        let batch: Entries = (0..=number % 3)
            .map(|part| (part, vec![number; usize::from(number) * 23 % 150]))
            .collect();
        append(&log, &batch).unwrap();
        log.sync().unwrap();
        all.extend(batch);
    }
    drop(log);
    disk.settle();
    assert!(disk.paths().len() >= 3, "several segments");
    (disk, all)
}

#[derive(Debug, Clone)]
enum Step {
    Append(Entries),
    Sync,
    Reopen,
    Crash(u64),
    Fail(u64, Fault),
}

fn step() -> impl Strategy<Value = Step> {
    let body = prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..120), 1 => prop::collection::vec(any::<u8>(), 700..900)];
    let fault = prop_oneof![Just(Fault::Io), Just(Fault::NoSpace)];
    prop_oneof![
        8 => prop::collection::vec((any::<u8>(), body), 1..5).prop_map(Step::Append),
        5 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => (0..8_u64, fault).prop_map(|(after, fault)| Step::Fail(after, fault)),
    ]
}

/// What a log must hold: everything synced, then perhaps some of the rest.
#[derive(Default)]
struct Model {
    synced: Entries,
    unsynced: Entries,
}

impl Model {
    fn check(&self, found: &Entries) {
        let all: Entries = self.synced.iter().chain(&self.unsynced).cloned().collect();
        assert!(
            found.len() >= self.synced.len(),
            "{} of {} synced entries",
            found.len(),
            self.synced.len()
        );
        let kinds = |entries: &Entries| {
            entries
                .iter()
                .map(|(kind, body)| (*kind, body.len()))
                .collect::<Vec<_>>()
        };
        assert!(
            all.starts_with(found),
            "found {:?}, appended {:?}",
            kinds(found),
            kinds(&all)
        );
    }

    /// Opens the log to write, more than once where a fault is still pending. It makes durable
    /// whatever it finds.
    fn open(&mut self, disk: &MemoryDisk) -> Log {
        loop {
            match open(disk, Mode::Write) {
                Ok((log, _)) => {
                    let found = entries(&log).unwrap();
                    self.check(&found);
                    let verified = log.verify(&|_| {});
                    assert!(
                        verified.damages.is_empty() && verified.entries == found.len() as u64,
                        "{verified:?}"
                    );
                    *self = Self {
                        synced: found,
                        unsynced: Vec::new(),
                    };
                    return log;
                }
                Err(LogError::Disk(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn synced_entries_survive_everything(steps in prop::collection::vec(step(), 1..40)) {
        let mut disk = MemoryDisk::new();
        let mut model = Model::default();
        let mut log = model.open(&disk);
        for step in steps {
            match step {
                Step::Append(batch) => match append(&log, &batch) {
                    Ok(positions) => {
                        for (position, (kind, body)) in positions.iter().zip(&batch) {
                            let entry = log.read(*position).unwrap();
                            prop_assert_eq!((entry.kind, &entry.body), (*kind, body));
                        }
                        model.unsynced.extend(batch);
                    }
                    Err(LogError::Disk(_)) => {
                        // A batch that fails may be there in part.
                        model.unsynced.extend(batch);
                        prop_assert!(matches!(append(&log, &[(0, vec![])]), Err(LogError::Poisoned)));
                        prop_assert!(matches!(log.sync(), Err(LogError::Poisoned)));
                    }
                    Err(LogError::Poisoned) => {}
                    Err(error) => panic!("{error}"),
                },
                Step::Sync => {
                    if log.sync().is_ok() {
                        let unsynced = std::mem::take(&mut model.unsynced);
                        model.synced.extend(unsynced);
                    }
                }
                Step::Reopen => log = model.open(&disk),
                Step::Crash(seed) => {
                    disk = disk.crash(seed);
                    let (reader, _) = open(&disk, Mode::ReadOnly).unwrap();
                    model.check(&entries(&reader).unwrap());
                    log = model.open(&disk);
                }
                Step::Fail(after, fault) => disk.fail_at(disk.operations() + after, fault),
            }
            let (reader, _) = open(&disk, Mode::ReadOnly).unwrap();
            model.check(&entries(&reader).unwrap());
        }
    }
}

/// Some bytes of a file replaced by others, or by bytes from elsewhere in the file.
#[derive(Debug, Clone)]
enum Wreck {
    Write(prop::sample::Index, Vec<u8>),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn wreck() -> impl Strategy<Value = Wreck> {
    use prop::sample::Index;
    prop_oneof![
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..90))
            .prop_map(|(at, bytes)| Wreck::Write(at, bytes)),
        (any::<Index>(), any::<Index>(), 1..200_usize)
            .prop_map(|(from, to, len)| Wreck::Copy(from, to, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wrecked_log_is_an_error_or_a_prefix(file in any::<prop::sample::Index>(), wrecks in prop::collection::vec(wreck(), 1..4)) {
        let (disk, all) = sample();
        let path = file.get(&disk.paths()).clone();
        let mut bytes = disk.contents(&path).unwrap();
        for wreck in wrecks {
            let (at, written) = match wreck {
                Wreck::Write(at, written) => (at.index(bytes.len()), written),
                Wreck::Copy(from, to, len) => {
                    let from = from.index(bytes.len());
                    (to.index(bytes.len()), bytes[from..bytes.len().min(from + len)].to_vec())
                }
            };
            let end = bytes.len().min(at + written.len());
            bytes[at..end].copy_from_slice(&written[..end - at]);
        }
        disk.open(&path, Mode::Write).unwrap().write_at(0, &bytes).unwrap();
        for mode in [Mode::ReadOnly, Mode::Write] {
            match read(&disk, mode) {
                Ok(found) => prop_assert!(all.starts_with(&found)),
                Err(LogError::Damaged(Damage { file, .. })) => prop_assert_eq!(&file, &path),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn every_failing_operation_leaves_a_log_that_opens() {
    let workload = |disk: &MemoryDisk| -> (Entries, Entries) {
        let (mut acknowledged, mut attempted) = (Vec::new(), Vec::new());
        let mut run = || -> Result<(), LogError> {
            let (log, _) = open(disk, Mode::Write)?;
            for number in 0..10_u8 {
                let batch = vec![(number, vec![number; 90]), (number, vec![])];
                attempted.extend(batch);
                append(&log, &attempted[attempted.len() - 2..])?;
                log.sync()?;
                acknowledged.clone_from(&attempted);
            }
            Ok(())
        };
        if let Err(error) = run() {
            // Where only a mark could not be written, the next append says so.
            assert!(
                matches!(error, LogError::Disk(_) | LogError::Poisoned),
                "{error}"
            );
        }
        (acknowledged, attempted)
    };
    let untroubled = MemoryDisk::new();
    assert_eq!(workload(&untroubled).0.len(), 20);
    for operation in 0..untroubled.operations() {
        for fault in [Fault::Io, Fault::NoSpace] {
            let disk = MemoryDisk::new();
            disk.fail_at(operation, fault);
            let (acknowledged, attempted) = workload(&disk);
            for seed in (0..8).rev() {
                // Seed 0: the process dies, the machine does not.
                let disk = if seed == 0 {
                    disk.clone()
                } else {
                    disk.crash(seed)
                };
                let mut model = Model {
                    synced: acknowledged.clone(),
                    unsynced: attempted[acknowledged.len()..].to_vec(),
                };
                let log = model.open(&disk);
                append(&log, &[(7, b"after".to_vec())]).unwrap();
                log.sync().unwrap();
                model.synced.push((7, b"after".to_vec()));
                model.open(&disk.crash(seed));
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_harmless() {
    let (disk, all) = sample();
    let (mut refused, mut harmless) = (0, 0);
    for path in disk.paths() {
        let bits = disk.contents(&path).unwrap().len() as u64 * 8;
        for bit in (0..bits).step_by(3) {
            let disk = disk.crash(0);
            assert!(disk.flip_bit(&path, bit));
            for mode in [Mode::ReadOnly, Mode::Write] {
                match read(&disk, mode) {
                    Ok(found) => {
                        assert_eq!(found, all, "bit {bit} of {path}");
                        harmless += 1;
                    }
                    Err(LogError::Damaged(Damage { file, offset, .. })) => {
                        assert_eq!(file, path);
                        assert!(offset <= bit / 8, "damage at {offset}, bit {bit}");
                        refused += 1;
                    }
                    Err(error) => panic!("bit {bit} of {path}: {error}"),
                }
            }
        }
    }
    assert!(refused > harmless, "{refused} refused, {harmless} harmless");
}

#[test]
fn every_truncation_is_an_error_or_a_prefix() {
    let (disk, all) = sample();
    let paths = disk.paths();
    for path in &paths {
        let len = disk.contents(path).unwrap().len() as u64;
        for cut in 0..len {
            let disk = disk.crash(0);
            disk.open(path, Mode::Write).unwrap().set_len(cut).unwrap();
            match read(&disk, Mode::ReadOnly) {
                Ok(found) => {
                    assert!(all.starts_with(&found), "{path} cut at {cut}");
                    assert!(
                        Some(path) == paths.last() || found == all,
                        "{path} cut at {cut} went unnoticed"
                    );
                }
                Err(LogError::Damaged(Damage { file, .. })) => assert_eq!(&file, path),
                Err(error) => panic!("{path} cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _) = sample();
    disk.remove("log/00000002.log").unwrap();
    let error = open(&disk, Mode::Write).err().unwrap();
    assert_eq!(
        error.to_string(),
        "log/00000002.log is missing, though a later segment exists"
    );
}

#[test]
fn a_segment_that_was_sealed_is_not_appended_to() {
    let (disk, all) = sample();
    let (sealed, next) = ("log/00000002.log", "log/00000003.log");
    // A crash after the seal and before the next segment: what was to be cut off may be there
    // still.
    let before = disk.contents(sealed).unwrap();
    disk.paths()
        .iter()
        .filter(|path| path.as_str() >= next)
        .for_each(|path| disk.remove(path).unwrap());
    disk.open(sealed, Mode::Write)
        .unwrap()
        .set_len(before.len() as u64 + 400)
        .unwrap();
    let kept = read(&disk, Mode::ReadOnly).unwrap();
    assert!(all.starts_with(&kept) && !kept.is_empty());
    let (log, recovery) = open(&disk, Mode::Write).unwrap();
    assert_eq!(recovery.cut, None);
    let position = append(&log, &[(9, b"next".to_vec())]).unwrap()[0];
    log.sync().unwrap();
    assert_eq!(
        position,
        LogPosition {
            segment: 3,
            ..LogPosition::START
        }
    );
    assert_eq!(disk.contents(sealed).unwrap(), before);
    let expected: Entries = kept.into_iter().chain([(9, b"next".to_vec())]).collect();
    assert_eq!(read(&disk, Mode::ReadOnly).unwrap(), expected);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (disk, _) = sample();
    let file = disk.open("log/00000001.log", Mode::Write).unwrap();
    let mut header = disk.contents("log/00000001.log").unwrap()[..16].to_vec();
    header[8] = 3;
    header.extend_from_slice(&blake3::hash(&header).as_bytes()[..16]);
    file.write_at(0, &header).unwrap();
    for mode in [Mode::ReadOnly, Mode::Write] {
        let error = read(&disk, mode).err().unwrap();
        assert_eq!(
            error.to_string(),
            "log/00000001.log has format version 3, this program reads up to 2"
        );
    }
}

#[test]
fn a_torn_tail_is_saved_then_cut() {
    let (disk, all) = sample();
    let (log, _) = open(&disk, Mode::Write).unwrap();
    let position = append(&log, &[(1, vec![9; 60])]).unwrap()[0];
    drop(log);
    let path = format!("log/{:08}.log", position.segment);
    let torn = disk.contents(&path).unwrap()[position.offset as usize..][..40].to_vec();
    disk.open(&path, Mode::Write)
        .unwrap()
        .set_len(u64::from(position.offset) + 40)
        .unwrap();

    let before = disk.contents(&path);
    let (reader, seen) = open(&disk, Mode::ReadOnly).unwrap();
    assert_eq!(entries(&reader).unwrap(), all);
    assert_eq!(disk.contents(&path), before, "a reader changes nothing");
    let (writer, cut) = open(&disk, Mode::Write).unwrap();
    assert_eq!(entries(&writer).unwrap(), all);

    let (seen, cut) = (seen.cut.unwrap(), cut.cut.unwrap());
    assert_eq!(
        (seen.file.as_str(), seen.offset, seen.bytes),
        (path.as_str(), u64::from(position.offset), 40)
    );
    assert_eq!((seen.saved, cut.bytes), (None, 40));
    assert_eq!(disk.contents(&cut.saved.unwrap()).unwrap(), torn);
    assert_eq!(open(&disk, Mode::Write).unwrap().1.cut, None);
}

#[test]
fn a_frame_copied_elsewhere_does_not_verify() {
    let disk = MemoryDisk::new();
    let (log, _) = open(&disk, Mode::Write).unwrap();
    let positions = append(&log, &[(1, vec![1; 8]), (2, vec![2; 8])]).unwrap();
    log.sync().unwrap();
    let path = "log/00000001.log";
    let at = |index: usize| positions[index].offset as usize..positions[index].offset as usize + 40;
    let first = disk.contents(path).unwrap()[at(0)].to_vec();
    disk.open(path, Mode::Write)
        .unwrap()
        .write_at(u64::from(positions[1].offset), &first)
        .unwrap();
    assert!(matches!(
        open(&disk, Mode::ReadOnly),
        Err(LogError::Damaged(Damage { offset: 72, .. }))
    ));
}

#[test]
fn a_reader_sees_a_prefix_while_a_writer_writes() {
    let (disk, all) = sample();
    let (writer, _) = open(&disk, Mode::Write).unwrap();
    let more: Entries = (0..200_u8)
        .map(|number| (number, vec![number; usize::from(number) % 90]))
        .collect();
    let all: Entries = all.into_iter().chain(more.iter().cloned()).collect();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = 0;
            while seen < all.len() {
                let (reader, _) = open(&disk, Mode::ReadOnly).unwrap();
                let found = entries(&reader).unwrap();
                assert!(all.starts_with(&found) && found.len() >= seen);
                seen = found.len();
            }
        });
        for entry in more {
            append(&writer, &[entry]).unwrap();
            writer.sync().unwrap();
        }
        reading.join().unwrap();
    });
}

#[test]
fn a_frame_completed_while_it_was_read_is_no_damage() {
    let disk = MemoryDisk::new();
    let (log, _) = open(&disk, Mode::Write).unwrap();
    let all: Entries = vec![(1, vec![1; 20]), (2, vec![2; 20])];
    append(&log, &all).unwrap();
    log.sync().unwrap();
    let stale = Observed::stale(&disk, 32..60);
    let (reader, recovery) = Log::open_with(Arc::new(stale), Mode::ReadOnly, OPTIONS).unwrap();
    assert_eq!((entries(&reader).unwrap(), recovery.cut), (all, None));
}

#[test]
fn real_files_hold_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    assert_eq!(
        Log::open(Arc::clone(&disk), Mode::ReadOnly).unwrap().1,
        Recovery::default()
    );
    let all: Entries = (0..100_u8)
        .map(|number| (number, vec![number; usize::from(number)]))
        .collect();
    let (log, _) = Log::open_with(Arc::clone(&disk), Mode::Write, OPTIONS).unwrap();
    append(&log, &all).unwrap();
    log.sync().unwrap();
    assert_eq!(entries(&log).unwrap(), all);
    drop(log);
    let (log, recovery) = Log::open_with(disk, Mode::ReadOnly, OPTIONS).unwrap();
    assert_eq!(entries(&log).unwrap(), all);
    assert_eq!(recovery.cut, None);
    assert!(recovery.segments > 5);
    assert!(matches!(append(&log, &all), Err(LogError::ReadOnly)));
}

#[test]
fn positions_outside_the_log_are_refused() {
    let (disk, _) = sample();
    let (log, _) = open(&disk, Mode::ReadOnly).unwrap();
    for (segment, offset) in [(0, 32), (99, 32), (1, u32::MAX), (1, 639)] {
        let result = log.read(LogPosition { segment, offset });
        assert!(
            matches!(result, Err(LogError::NoEntry { .. })),
            "{segment} {offset}"
        );
    }
    assert!(matches!(
        log.read(LogPosition {
            segment: 1,
            offset: 33
        }),
        Err(LogError::Damaged(_))
    ));
}

#[test]
fn an_oversized_entry_is_refused_and_harms_nothing() {
    let disk = MemoryDisk::new();
    let (log, _) = open(&disk, Mode::Write).unwrap();
    let body = vec![0; uor_asl::log::BODY_LEN_MAX + 1];
    assert!(matches!(
        log.append_batch(&[(0, b"first"), (0, &body)]),
        Err(LogError::TooLarge { .. })
    ));
    append(&log, &[(1, b"small".to_vec())]).unwrap();
    assert_eq!(entries(&log).unwrap(), vec![(1, b"small".to_vec())]);
}

/// The rows of 32 bytes that `path` has, in hex.
fn rows(disk: &MemoryDisk, path: &str) -> Vec<String> {
    let hex = |row: &[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect();
    disk.contents(path).unwrap().chunks(32).map(hex).collect()
}

fn two_segments() -> Entries {
    vec![
        (5, b"uor".to_vec()),
        (6, b"an entry that makes it two segments".to_vec()),
    ]
}

const TWO_SEGMENTS: Options = Options {
    segment_bytes: 128,
    preallocate_bytes: 64,
};

#[test]
fn the_bytes_of_a_small_log_are_golden() {
    let disk = MemoryDisk::new();
    let (log, _) = Log::open_with(Arc::new(disk.clone()), Mode::Write, TWO_SEGMENTS).unwrap();
    for entry in two_segments() {
        append(&log, &[entry]).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(rows(&disk, "log/00000001.log"), GOLDEN_CLOSED);
    assert_eq!(rows(&disk, "log/00000002.log"), GOLDEN_LAST);
}

const GOLDEN_CLOSED: &[&str] = &[
    "554f524c4f470000020000000100000090981cf4c475bedaa065aa8fa35157ee",
    "030000000500000058148b359c9aea43e6e98b1308738804b464f085cf07bb98",
    "756f7200000000000000000000010000819480207b5bd17cd9970675cb3a801e",
    "917c3fd5a9d5fb910800000000030000b29856f336fcc0410476c3c7ca9d3d66",
    "ca3942b7ec1196e0dcb867daa4349f8000000000000200005899dd12a48d2971",
    "68e7027d7a492ed02c9e7eea20199a81",
];
const GOLDEN_LAST: &[&str] = &[
    "554f524c4f47000002000000020000004cc994cd69285b8ef33a25599b648b2a",
    "2300000006000000ff0c6e9aff5279a801af0ec20acff55d05f01d6f25359d7b",
    "616e20656e7472792074686174206d616b65732069742074776f207365676d65",
    "6e7473000000000000000000000100004f5574bb790751379a51cac255723604",
    "88c4fae422a4b84d",
];

/// The same two entries as version 1 wrote them.
const VERSION_1_CLOSED: &[&str] = &[
    "554f524c4f4700000100000001000000be535ca57f13777c57845d98d3027984",
    "030000000500000058148b359c9aea43e6e98b1308738804b464f085cf07bb98",
    "756f7200000000000000000000010000819480207b5bd17cd9970675cb3a801e",
    "917c3fd5a9d5fb9100000000000200004bba4a3916fcfa5d1ff9f3d759e0d040",
    "a086ba28114eda60",
];
const VERSION_1_LAST: &[&str] = &[
    "554f524c4f4700000100000002000000fcf9776212f093a2ea83971166d832a5",
    "2300000006000000ff0c6e9aff5279a801af0ec20acff55d05f01d6f25359d7b",
    "616e20656e7472792074686174206d616b65732069742074776f207365676d65",
    "6e7473000000000000000000000100004f5574bb790751379a51cac255723604",
    "88c4fae422a4b84d000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

/// A log that a program wrote which knew only version 1.
fn version_1() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all("log").unwrap();
    for (path, rows) in [
        ("log/00000001.log", VERSION_1_CLOSED),
        ("log/00000002.log", VERSION_1_LAST),
    ] {
        let digits = rows.concat();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        disk.open(path, Mode::Write)
            .unwrap()
            .write_at(0, &bytes)
            .unwrap();
    }
    disk.settle();
    disk
}

#[test]
fn version_1_is_read_and_continued() {
    let disk = version_1();
    assert_eq!(read(&disk, Mode::ReadOnly).unwrap(), two_segments());
    let (log, _) = Log::open_with(Arc::new(disk.clone()), Mode::Write, TWO_SEGMENTS).unwrap();
    let mut all = two_segments();
    for number in 0..4 {
        all.push((number, vec![number; 20]));
        append(&log, &all[all.len() - 1..]).unwrap();
        log.sync().unwrap();
    }
    for log in [log, open(&disk, Mode::ReadOnly).unwrap().0] {
        assert_eq!(entries(&log).unwrap(), all);
        let verified = log.verify(&|_| {});
        assert!(
            verified.damages.is_empty() && verified.entries == 6,
            "{verified:?}"
        );
    }
    let versions: Vec<u8> = disk
        .paths()
        .iter()
        .map(|path| disk.contents(path).unwrap()[8])
        .collect();
    assert_eq!(
        versions[..3],
        [1, 1, 2],
        "a segment is finished in the version it was begun in"
    );
    for path in ["log/00000001.log", "log/00000002.log"] {
        for bit in 0..disk.contents(path).unwrap().len() as u64 * 8 {
            let disk = disk.crash(0);
            assert!(disk.flip_bit(path, bit));
            assert!(
                matches!(read(&disk, Mode::ReadOnly), Err(LogError::Damaged(Damage { file, .. })) if file == path)
            );
            assert!(
                !open(&disk, Mode::ReadOnly)
                    .unwrap()
                    .0
                    .verify(&|_| {})
                    .damages
                    .is_empty(),
                "bit {bit} of {path}"
            );
        }
    }
}
