//! Every way to damage a log's files, against every way to read it: right bytes or an error that
//! says where, never a panic and never other bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use uor_asl::damage;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log::{Entry, Log, LogError, LogPosition, Options};

/// A page of entries fits, and a bit more.
const OPTIONS: Options = Options {
    segment_bytes: 6000,
    preallocate_bytes: 512,
};

/// A log of some closed segments and a last one, what is in it, and what its files were before.
struct Sample {
    disk: MemoryDisk,
    entries: Vec<Entry>,
    /// Of each segment, what was there in the middle of its life.
    stale: BTreeMap<String, Vec<u8>>,
}

fn open(disk: &MemoryDisk, mode: Mode) -> Result<Log, LogError> {
    Ok(Log::open_with(Arc::new(disk.clone()), mode, OPTIONS)?.0)
}

fn body(number: usize) -> Vec<u8> {
    (0..300 + number * 37 % 500)
        .map(|index| u8::try_from((number * 31 + index) % 251).unwrap())
        .collect()
}

impl Sample {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let log = open(&disk, Mode::Write).unwrap();
        let (mut entries, mut stale) = (Vec::new(), BTreeMap::new());
        for number in 0..30 {
            let body = body(number);
            let position = log.append_batch(&[(7, &body)]).unwrap().positions[0];
            log.sync().unwrap();
            entries.push(Entry {
                position,
                kind: 7,
                body,
            });
            if (2000..4000).contains(&position.offset) {
                let path = path(position.segment);
                stale.insert(path.clone(), disk.contents(&path).unwrap());
            }
        }
        disk.settle();
        assert!(
            disk.paths().len() >= 4
                && stale.len() + 1 >= disk.paths().len()
                && entries.last().unwrap().position.offset > 1000
        );
        Self {
            disk,
            entries,
            stale,
        }
    }

    fn segments(&self) -> u32 {
        u32::try_from(self.disk.paths().len()).unwrap()
    }

    /// The entries of a segment.
    fn of(&self, segment: u32) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.position.segment == segment)
    }
}

fn path(segment: u32) -> String {
    format!("log/{segment:08}.log")
}

fn put(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Mode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
    disk.settle();
}

type Damage = Box<dyn Fn(&MemoryDisk)>;

/// What can happen to the file of `segment`, and whether the log must notice by itself that it
/// happened.
fn damages(sample: &Sample, segment: u32) -> Vec<(String, bool, Damage)> {
    let name = path(segment);
    let bytes = sample.disk.contents(&name).unwrap();
    let closed = segment < sample.segments();
    let mut all: Vec<(String, bool, Damage)> = Vec::new();
    let mut rewrite = |what: String, noticed: bool, bytes: Vec<u8>| {
        let name = name.clone();
        all.push((
            what,
            noticed,
            Box::new(move |disk| put(disk, &name, &bytes)),
        ));
    };
    let entry = sample.of(segment).nth(1).unwrap();
    let start = entry.position.offset as usize;
    let mark = start + 32 + entry.body.len().next_multiple_of(8);
    let mut places = vec![
        ("header", 9),
        ("frame header", start + 1),
        ("check", start + 20),
        ("body", start + 90),
        ("mark", mark + 9),
    ];
    if closed {
        let len = bytes.len();
        places.extend([
            ("seal", len - 3),
            ("checks", len - 36),
            ("checks header", len - 32 - 16 - 20),
        ]);
    }
    for (what, at) in places {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            rewrite(format!("bit {bit} of {what}"), true, flipped);
        }
    }
    // The last segment can end at any time: a crash would look the same.
    for len in [
        0,
        31,
        32,
        start + 10,
        bytes.len() / 2 / 8 * 8,
        bytes.len() - 32,
        bytes.len() - 8,
        bytes.len() - 1,
    ] {
        rewrite(format!("cut to {len}"), closed, bytes[..len].to_vec());
    }
    for more in [
        vec![0; 8],
        vec![0; 5000],
        vec![0xaa; 64],
        bytes[32..200].to_vec(),
    ] {
        rewrite(
            format!("{} bytes longer", more.len()),
            closed,
            [bytes.clone(), more].concat(),
        );
    }
    rewrite("zeros".to_owned(), closed, vec![0; bytes.len()]);
    if let Some(stale) = sample.stale.get(&name) {
        rewrite("as it was before".to_owned(), closed, stale.clone());
    }
    for other in (1..=sample.segments()).filter(|other| *other != segment) {
        let (one, other) = (name.clone(), path(other));
        let what = format!("swapped with {other}");
        let swap = move |disk: &MemoryDisk| {
            let bytes = [disk.contents(&one).unwrap(), disk.contents(&other).unwrap()];
            put(disk, &one, &bytes[1]);
            put(disk, &other, &bytes[0]);
        };
        all.push((what, true, Box::new(swap)));
    }
    let gone = name.clone();
    all.push((
        "missing".to_owned(),
        closed,
        Box::new(move |disk| disk.remove(&gone).unwrap()),
    ));
    all
}

/// Errors say which file, or which position.
fn assert_named(error: &LogError, what: &str) {
    match error {
        LogError::Damaged(damage::Damage { file, .. }) | LogError::Missing { file } => {
            assert!(file.starts_with("log/"), "{what}: {error}")
        }
        LogError::NoEntry { .. } | LogError::NoFrame { .. } => {}
        LogError::Disk(error) => assert!(error.path.starts_with("log/"), "{what}: {error}"),
        error => panic!("{what}: {error}"),
    }
}

/// Reads the log in every way. What is read is right; what cannot be read is named. Says whether
/// anything was wrong.
fn read_every_way(log: &Log, entries: &[Entry], what: &str) -> bool {
    let mut noticed = false;
    let mut check = |result: Result<bool, LogError>| match result {
        Ok(right) => assert!(right, "{what}: wrong bytes"),
        Err(error) => {
            assert_named(&error, what);
            noticed = true;
        }
    };
    let view = log.view();
    // Twice, as what is seen first is remembered.
    for _ in 0..2 {
        for entry in entries {
            check(log.read(entry.position).map(|found| found == *entry));
            check(
                view.bytes(entry.position.body(), entry.body.len())
                    .map(|bytes| bytes == entry.body),
            );
            check(
                view.bytes(entry.position.body().plus(17), 40)
                    .map(|bytes| bytes == &entry.body[17..57]),
            );
            view.prefetch(entry.position);
        }
        for (index, from) in entries.iter().enumerate().step_by(5) {
            match view.entries_from(from.position) {
                Ok(found) => {
                    let mut expected = entries[index..].iter();
                    for found in found {
                        check(found.map(|found| Some(&found) == expected.next()));
                    }
                }
                Err(error) => check(Err(error)),
            }
        }
    }
    let mut expected = entries.iter();
    for found in log.entries() {
        check(found.map(|found| Some(&found) == expected.next()));
    }
    noticed
}

#[test]
fn every_damage_is_named_or_harmless_however_the_log_is_read() {
    let sample = Sample::new();
    let untouched = open(&sample.disk, Mode::ReadOnly).unwrap();
    assert!(!read_every_way(&untouched, &sample.entries, "no damage"));
    assert!(untouched.verify(&|_| {}).damages.is_empty());
    let mut cells = 0;
    for segment in 1..=sample.segments() {
        for (what, must_notice, damage) in damages(&sample, segment) {
            let what = format!("{}: {what}", path(segment));
            for mode in [Mode::ReadOnly, Mode::Write] {
                let disk = sample.disk.crash(0);
                // Before the log is opened.
                damage(&disk);
                match open(&disk, mode) {
                    Ok(log) => {
                        let noticed = read_every_way(&log, &sample.entries, &what);
                        let verified = log.verify(&|_| {}).damages;
                        verified
                            .iter()
                            .for_each(|damage| assert_named(damage, &what));
                        assert!(
                            !must_notice || !verified.is_empty(),
                            "{what}: not found by verifying"
                        );
                        // Marks and seals are nobody's bytes: reading by position need not notice.
                        let read_matters = !what.contains("mark") && !what.contains("check");
                        assert!(
                            !must_notice || !read_matters || noticed,
                            "{what}: not noticed by reading"
                        );
                    }
                    Err(error) => assert_named(&error, &what),
                }
                cells += 1;
            }
            // While it is open, before and after segments have been touched.
            for touched in [false, true] {
                let disk = sample.disk.crash(0);
                let log = open(&disk, Mode::Write).unwrap();
                if touched {
                    read_every_way(&log, &sample.entries, "no damage");
                }
                damage(&disk);
                let noticed = read_every_way(&log, &sample.entries, &what);
                assert!(!touched || !noticed, "{what}: a copy in memory changed");
                let verified = log.verify(&|_| {}).damages;
                assert!(
                    !must_notice || !verified.is_empty(),
                    "{what}: not found by verifying"
                );
                cells += 1;
            }
        }
    }
    assert!(cells > 500, "{cells}");
}

#[test]
fn verifying_finds_every_damage_and_goes_on() {
    let sample = Sample::new();
    let spoilt: Vec<&Entry> = sample.entries.iter().step_by(6).collect();
    for entry in &spoilt {
        let bit = (u64::from(entry.position.offset) + 100) * 8;
        assert!(sample.disk.flip_bit(&path(entry.position.segment), bit));
    }
    let last = sample.segments();
    let sound = Sample::new();
    let log = open(&sound.disk, Mode::ReadOnly).unwrap();
    for segment in 1..last {
        put(
            &sound.disk,
            &path(segment),
            &sample.disk.contents(&path(segment)).unwrap(),
        );
    }
    let seen = std::sync::atomic::AtomicU64::new(0);
    let verified = log.verify(&|bytes| {
        seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(seen.into_inner(), verified.bytes);
    for entry in spoilt.iter().filter(|entry| entry.position.segment < last) {
        let named = verified.damages.iter().any(|damage| {
            matches!(damage, LogError::Damaged(damage::Damage { file, offset, what: "body", .. })
                if *file == path(entry.position.segment) && *offset == u64::from(entry.position.offset))
        });
        assert!(named, "{:?}", entry.position);
    }
    let lost = spoilt
        .iter()
        .filter(|entry| entry.position.segment < last)
        .count() as u64;
    assert_eq!(verified.entries, sample.entries.len() as u64 - lost);
}

#[test]
fn another_log_slipped_under_an_open_one_is_found() {
    let (disk, other) = (MemoryDisk::new(), MemoryDisk::new());
    let log = open(&disk, Mode::Write).unwrap();
    log.append_batch(&[(7, b"one")]).unwrap();
    open(&other, Mode::Write)
        .unwrap()
        .append_batch(&[(7, b"two")])
        .unwrap();
    put(&disk, &path(1), &other.contents(&path(1)).unwrap());
    let damages = log.verify(&|_| {}).damages;
    assert!(
        matches!(
            &damages[..],
            [LogError::Damaged(damage::Damage {
                what: "contents since it was opened",
                ..
            })]
        ),
        "{damages:?}"
    );
    assert_eq!(log.entries().next().unwrap().unwrap().body, b"one");
}

#[test]
fn positions_are_found_again_and_only_those() {
    let sample = Sample::new();
    let log = open(&sample.disk, Mode::ReadOnly).unwrap();
    let view = log.view();
    for (index, entry) in sample.entries.iter().enumerate() {
        let found: Vec<Entry> = view
            .entries_from(entry.position)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found, sample.entries[index..]);
    }
    assert_eq!(view.entries_from(view.end()).unwrap().count(), 0);
    let end = view.end();
    for position in [
        LogPosition {
            offset: end.offset + 8,
            ..end
        },
        LogPosition {
            segment: end.segment + 1,
            offset: 32,
        },
    ] {
        assert!(
            matches!(view.entries_from(position), Err(LogError::NoEntry { .. })),
            "{position:?}"
        );
    }
    for offset in [0, 31, 33, 40, 100] {
        for segment in [1, end.segment] {
            let position = LogPosition { segment, offset };
            assert!(
                matches!(view.entries_from(position), Err(LogError::NoFrame { .. })),
                "{position:?}"
            );
        }
    }
    assert!(
        view.entries_from(LogPosition {
            segment: 0,
            offset: 32
        })
        .is_err()
    );
    assert!(matches!(view.bytes(end, 1), Err(LogError::NoEntry { .. })));
    assert!(matches!(
        view.bytes(LogPosition::START, usize::MAX),
        Err(LogError::NoEntry { .. })
    ));
    assert_eq!(view.bytes(end, 0).unwrap(), b"");
}

#[test]
fn a_view_shows_what_it_took_and_nothing_later() {
    let disk = MemoryDisk::new();
    let log = open(&disk, Mode::Write).unwrap();
    let mut taking = log.view();
    let mut views = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for number in 0..60 {
        let body = body(number);
        let appended = log.append_batch(&[(7, &body)]).unwrap();
        entries.push(Entry {
            position: appended.positions[0],
            kind: 7,
            body,
        });
        if number % 3 == 0 {
            log.sync().unwrap();
        }
        taking.take(appended);
        views.push(taking.clone());
    }
    let newest = entries.last().unwrap().position;
    assert!(newest.segment > 5);
    for (index, view) in views.iter().enumerate() {
        let shown: Vec<Entry> = view.entries().map(Result::unwrap).collect();
        assert_eq!(shown, entries[..=index]);
        assert_eq!(view.read(entries[index].position).unwrap(), entries[index]);
        if let Some(next) = entries.get(index + 1) {
            assert!(matches!(
                view.read(next.position),
                Err(LogError::NoEntry { .. })
            ));
        }
    }
    let mut stale = views[59].clone();
    let position = log.append_batch(&[(1, b"new")]).unwrap();
    stale.take(position.clone());
    let end = stale.end();
    stale.take(position);
    assert_eq!(stale.end(), end);
}

#[test]
#[cfg(target_os = "linux")]
fn a_segment_cut_under_its_map_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    let (log, _) = Log::open_with(Arc::clone(&disk), Mode::Write, OPTIONS).unwrap();
    let mut entries = Vec::new();
    for number in 0..40 {
        let body = body(number);
        let position = log.append_batch(&[(7, &body)]).unwrap().positions[0];
        entries.push(Entry {
            position,
            kind: 7,
            body,
        });
    }
    log.sync().unwrap();
    assert!(!read_every_way(&log, &entries, "whole"));
    disk.open(&path(1), Mode::Write)
        .unwrap()
        .set_len(4096)
        .unwrap();
    assert!(read_every_way(&log, &entries, "cut while open"));
    let lost = entries
        .iter()
        .rfind(|entry| entry.position.segment == 1)
        .unwrap();
    assert!(
        matches!(log.read(lost.position), Err(LogError::Damaged(damage::Damage { file, .. })) if file == path(1))
    );
    assert!(log.read(entries.last().unwrap().position).is_ok());
    assert!(!log.verify(&|_| {}).damages.is_empty());
}
