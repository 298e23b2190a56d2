//! The index against models: sorted lists, and filters that look at one record after the other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;

use super::lines::{self, LINE_LEN, Line, OVERFLOW_LEN, SLOTS};
use super::*;
use crate::disk::Sealed;

/// A log that knows ids only.
#[derive(Default)]
struct Log(BTreeMap<LogPosition, CanonicalId>);

impl Ids for Log {
    type Error = IndexError;

    fn id(&self, at: LogPosition) -> Result<CanonicalId, IndexError> {
        Ok(self.0[&at])
    }
}

fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn id(seed: u64) -> CanonicalId {
    CanonicalId::from_bytes(*blake3::hash(&seed.to_le_bytes()).as_bytes())
}

/// Row `number` of a log that begins in segment `segment`: most ids are written once, some often;
/// every hundredth row is of an id chosen to share its first eight bytes with others.
fn row(number: u64, segment: u32) -> Row {
    let random = mix(number);
    let id = match random % 100 {
        0 => {
            let mut bytes = *id(number).as_bytes();
            bytes[..8].copy_from_slice(&[0x77; 8]);
            CanonicalId::from_bytes(bytes)
        }
        1..10 => id(random % 7),
        _ => id(number),
    };
    let kinds = [
        Kind::Artifact,
        Kind::Artifact,
        Kind::Receipt,
        Kind::Edge,
        Kind::Tombstone,
    ];
    let kind = kinds[usize::try_from(mix(random) % 5).unwrap()];
    let type_tag = (kind == Kind::Artifact && !random.is_multiple_of(3))
        .then(|| u32::try_from(mix(random ^ 9) % 4).unwrap());
    let offset = u32::try_from(number * 85 + 32).unwrap();
    let at = LogPosition {
        segment: segment + offset / (40 << 20),
        offset: offset % (40 << 20),
    };
    Row {
        id,
        at,
        class: Class { kind, type_tag },
        commit: 0,
    }
}

/// An index of this many rows, in commits of `per_commit`; where `seals` says so, what is in memory
/// becomes a run.
fn build(
    rows: u64,
    per_commit: u64,
    shards: u32,
    seals: &BTreeSet<u64>,
) -> (Index, Log, Vec<(CanonicalId, Class, Found)>) {
    let (mut index, mut log, mut model) = (Index::new(shards, 5), Log::default(), Vec::new());
    let mut code = 0;
    let mut commit = CommitRef {
        domain: 0,
        number: 0,
        logseq: LogSeq(0),
    };
    for number in 0..rows {
        if number % per_commit == 0 {
            // Logs of several domains arrive in turns: time jumps back and forth.
            let (domain, turn) = (
                u32::try_from(mix(number) % 3).unwrap(),
                number / per_commit + 1,
            );
            commit = CommitRef {
                domain,
                number: turn,
                logseq: LogSeq(turn * 3 / 2 + mix(number) % 40),
            };
            code = index.begin_commit(commit);
        }
        let row = Row {
            commit: code,
            ..row(number, 1)
        };
        log.0.insert(row.at, row.id);
        model.push((row.id, row.class, Found { at: row.at, commit }));
        index.insert(row);
        if seals.contains(&number) {
            let memtable = index.rotate();
            let files = RunBuilder::of(&memtable, shards)
                .encode(u32::try_from(number).unwrap(), &log)
                .unwrap();
            index.install(Arc::new(
                open(u32::try_from(number).unwrap(), files).unwrap(),
            ));
            code = index.begin_commit(commit);
        }
    }
    model.sort_by_key(|(id, _, found)| (*id, found.at));
    (index, log, model)
}

fn open(number: u32, files: Vec<Vec<u8>>) -> Result<Run, IndexError> {
    let named = (0..)
        .zip(files)
        .map(|(shard, bytes): (u32, _)| (format!("{number}-{shard}"), Sealed::from(bytes)));
    Run::open(number, named.collect(), None)
}

/// What the index finds about an id, confirmed by the log as every asker does.
fn found(index: &Index, log: &Log, id: &CanonicalId) -> Result<Vec<Found>, IndexError> {
    let mut found = Vec::new();
    index.candidates(id, usize::MAX, log, |candidate| found.push(candidate))?;
    found.retain(|candidate| log.0.get(&candidate.at) == Some(id));
    found.sort_by_key(|found| found.at);
    Ok(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_found_and_in_order(
        rows in 0..3000_u64,
        per_commit in prop_oneof![Just(1_u64), Just(7), Just(500)],
        shard_bits in 0..7_u32,
        seals in prop::collection::btree_set(0..3000_u64, 0..5),
    ) {
        let (index, log, model) = build(rows, per_commit, 1 << shard_bits, &seals);
        let ids: BTreeSet<CanonicalId> = model.iter().map(|(id, _, _)| *id).collect();
        let absent: Vec<CanonicalId> = (0..200).map(|seed| id(1 << 40 | seed)).collect();
        let asked: Vec<CanonicalId> = ids.iter().copied().chain(absent).collect();
        let mut together: Vec<Vec<Found>> = vec![Vec::new(); asked.len()];
        index.candidates_batch(&asked, usize::MAX, &log, |_| (), |at, found| together[at].push(found)).unwrap();
        for (id, mut candidates) in asked.iter().zip(together) {
            let expected: Vec<Found> = model.iter().filter(|(of, _, _)| of == id).map(|(_, _, found)| *found).collect();
            prop_assert_eq!(&found(&index, &log, id).unwrap(), &expected);
            candidates.retain(|candidate| log.0.get(&candidate.at) == Some(id));
            candidates.sort_by_key(|found| found.at);
            prop_assert_eq!(candidates, expected);
        }
        let mut all: Vec<(CanonicalId, Found)> =
            index.ascending(&Filter::ALL, &log).collect::<Result<_, IndexError>>().unwrap();
        prop_assert!(all.is_sorted_by_key(|(id, _)| *id));
        all.sort_by_key(|(id, found)| (*id, found.at));
        prop_assert_eq!(all, model.iter().map(|(id, _, found)| (*id, *found)).collect::<Vec<_>>());
    }

    #[test]
    fn filters_take_what_they_say(
        rows in 0..3000_u64,
        per_commit in prop_oneof![Just(1_u64), Just(300)],
        seals in prop::collection::btree_set(0..3000_u64, 0..4),
        kinds in prop::option::of(prop::sample::subsequence(vec![Kind::Artifact, Kind::Edge, Kind::Tombstone], 0..3)),
        type_tag in prop::option::of(prop::option::of(0..5_u32)),
        (from, to) in (0..400_u64, 0..400_u64),
        (low, high) in any::<(u64, u64)>(),
    ) {
        let (index, log, model) = build(rows, per_commit, 4, &seals);
        let bound = |prefix: u64, fill| {
            let mut bytes = [fill; 32];
            bytes[..8].copy_from_slice(&bytes_of(prefix));
            CanonicalId::from_bytes(bytes)
        };
        let logseq = LogSeq(from.min(to))..=LogSeq(from.max(to));
        let ids = bound(low.min(high), 0)..=bound(low.max(high), 0xff);
        let filter = Filter { kinds, type_tag, logseq, ids };
        let takes = |(_, class, found): &&(CanonicalId, Class, Found)| {
            filter.takes_class(*class) && filter.logseq.contains(&found.commit.logseq)
        };
        let of_any_id = model.iter().filter(takes).count() as u64;
        prop_assert_eq!(index.count(&filter).unwrap(), of_any_id);
        let expected: Vec<_> =
            model.iter().filter(takes).filter(|(id, _, _)| filter.ids.contains(id)).map(|(id, _, found)| (*id, *found)).collect();
        let mut taken: Vec<(CanonicalId, Found)> =
            index.ascending(&filter, &log).collect::<Result<_, IndexError>>().unwrap();
        taken.sort_by_key(|(id, found)| (*id, found.at));
        prop_assert_eq!(taken, expected);
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_changes_nothing(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (index, log, model) = build(900, 50, 1, &BTreeSet::new());
        let mut file = RunBuilder::of(&index.memtable, 1).encode(3, &log).unwrap().remove(0);
        let at = place.index(file.len());
        file[at] ^= 1 << bit;
        let mut damaged = Index::new(1, 5);
        match open(3, vec![file]) {
            Err(_) => return Ok(()),
            Ok(run) => damaged.push_run(Arc::new(run)),
        }
        let mut errors = 0;
        for (id, _, _) in &model {
            match found(&damaged, &log, id) {
                Err(_) => errors += 1,
                Ok(seen) => prop_assert_eq!(seen, found(&index, &log, id).unwrap()),
            }
        }
        let mut named = Vec::new();
        damaged.runs()[0].verify(&mut |damage| named.push(damage));
        prop_assert!(errors == 0 || !named.is_empty());
        prop_assert!(!named.is_empty(), "byte {at} is covered by a check");
    }
}

#[test]
fn ids_chosen_to_collide_make_nothing_slow_or_wrong() {
    const SAME: u64 = 100_000;
    let prefixes: Vec<u64> = (0..SAME)
        .map(|_| 1 << 63)
        .chain((0..1000).map(|n| (1 << 63) + 1 + n))
        .collect();
    let built = lines::build(
        prefixes
            .iter()
            .enumerate()
            .map(|(address, prefix)| (*prefix, address as u64)),
    );
    let count = built.lines.len() / LINE_LEN;
    let slots: BTreeSet<u32> = built.slots.iter().copied().collect();
    assert_eq!(slots.len(), prefixes.len(), "no slot is taken twice");
    let (home, fingerprint) = lines::home(1 << 63, count);
    let line = |at: usize| Line::new(&built.lines[at * LINE_LEN..][..LINE_LEN]).unwrap();
    let in_lines: usize = (home..=home + line(home).reach())
        .map(|at| line(at).matches(fingerprint).count_ones() as usize)
        .sum();
    assert!(line(home).overflows() && in_lines <= 16 * SLOTS);
    let read = |at: usize| -> Result<(u64, u64), ()> {
        let bytes = &built.overflow[at * OVERFLOW_LEN..][..OVERFLOW_LEN];
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Ok((number(0), number(8)))
    };
    let range = lines::overflow_of(1 << 63, built.overflow.len() / OVERFLOW_LEN, read).unwrap();
    assert!(range.len() + in_lines >= prefixes[..usize::try_from(SAME).unwrap()].len());
}

/// A log that counts how often an id is read.
struct Counted(Log, std::cell::Cell<usize>);

impl Ids for Counted {
    type Error = IndexError;

    fn id(&self, at: LogPosition) -> Result<CanonicalId, IndexError> {
        self.1.set(self.1.get() + 1);
        self.0.id(at)
    }
}

/// Members write tombstones about any ids: those here share their first eight bytes, or a line and
/// a fingerprint.
#[test]
fn a_lookup_among_ids_that_look_alike_reads_few_of_them() {
    const IDS: u64 = 6000;
    let alike = |number: u64| {
        let mut bytes = *id(number).as_bytes();
        let low = if number.is_multiple_of(3) {
            number / 40
        } else {
            0
        };
        bytes[..8].copy_from_slice(&bytes_of(0x77 << 56 | low));
        CanonicalId::from_bytes(bytes)
    };
    let (mut index, mut log) = (Index::new(2, 5), Log::default());
    for run in 0..3 {
        let commit = index.begin_commit(CommitRef {
            domain: 0,
            number: u64::from(run) + 1,
            logseq: LogSeq(1),
        });
        for number in 0..IDS {
            let at = LogPosition {
                segment: run + 1,
                offset: u32::try_from(number * 84 + 32).unwrap(),
            };
            let row = Row {
                id: alike(number),
                at,
                class: Class {
                    kind: Kind::Tombstone,
                    type_tag: None,
                },
                commit,
            };
            log.0.insert(at, row.id);
            index.insert(row);
        }
        let files = RunBuilder::of(&index.rotate(), 2)
            .encode(run, &log)
            .unwrap();
        index.install(Arc::new(open(run, files).unwrap()));
    }
    let log = Counted(log, std::cell::Cell::new(0));
    // Those that are there, and strangers who look like them.
    let asked: Vec<CanonicalId> = (0..IDS + 1000).map(alike).collect();
    let mut told = vec![(0, 0); asked.len()];
    let on_found = |at: usize, found: Found| {
        told[at].0 += 1;
        told[at].1 += usize::from(log.0.0[&found.at] == asked[at]);
    };
    index
        .candidates_batch(&asked, usize::MAX, &log, |_| (), on_found)
        .unwrap();
    for (number, (told, own)) in (0..).zip(told) {
        assert_eq!(
            own,
            if number < IDS { 3 } else { 0 },
            "those about the id are all told of"
        );
        assert!(told <= own + 3 * 12, "{told} told of");
    }
    let reads = log.1.get() / asked.len();
    // Two bounds in lines and two in the overflow, in each of three runs.
    assert!(
        reads <= 3 * 2 * (8 + 16),
        "{reads} ids read for each lookup"
    );
    assert!(log.1.get() > 0, "they do look alike");
}

#[test]
fn no_more_is_told_of_than_was_asked_for() {
    let (mut index, mut log) = (Index::new(1, 5), Log::default());
    let commit = index.begin_commit(CommitRef {
        domain: 0,
        number: 1,
        logseq: LogSeq(1),
    });
    for number in 0..600 {
        let at = LogPosition {
            segment: 1,
            offset: number * 84 + 32,
        };
        log.0.insert(at, id(number.min(500).into()));
        let class = Class {
            kind: Kind::Ref,
            type_tag: None,
        };
        index.insert(Row {
            id: id(number.min(500).into()),
            at,
            class,
            commit,
        });
    }
    let count = |index: &Index, most: usize| {
        let (mut one, mut many) = (0, 0);
        index
            .candidates(&id(500), most, &log, |_| one += 1)
            .unwrap();
        index
            .candidates_batch(&[id(500)], most, &log, |_| (), |_, _| many += 1)
            .unwrap();
        assert_eq!(one, many);
        one
    };
    let in_head = [1, 3, 17, 1000].map(|most| count(&index, most));
    assert_eq!(in_head, [1, 3, 17, 100]);
    let files = RunBuilder::of(&index.rotate(), 1).encode(1, &log).unwrap();
    index.install(Arc::new(open(1, files).unwrap()));
    assert_eq!([1, 3, 17, 1000].map(|most| count(&index, most)), in_head);
}

#[test]
fn runs_stay_few_and_merges_few() {
    let mut runs: Vec<RunSize> = Vec::new();
    let (mut written, mut most) = (0, 0);
    for number in 0..2000_u32 {
        let at = |segment| LogPosition { segment, offset: 0 };
        runs.push(RunSize {
            records: 1000 + u64::from(number % 7),
            range: (at(number / 40 + 1), at((number + 1) / 40 + 1)),
        });
        while let Some(due) = merge_due(&runs) {
            assert!(due.len() > 1);
            let merged = RunSize {
                records: runs[due.clone()].iter().map(|run| run.records).sum(),
                range: (runs[due.start].range.0, runs[due.end - 1].range.1),
            };
            written += merged.records;
            runs.splice(due, [merged]);
        }
        most = most.max(runs.len());
    }
    let total: u64 = runs.iter().map(|run| run.records).sum();
    assert!(most <= 8 * 4, "{most} runs");
    assert!(
        written <= total * 4,
        "each record is written {} times",
        written / total
    );
    let all = merge_all(&runs).unwrap();
    assert_eq!(all, 0..runs.len(), "they fit one run");
}

/// The bytes of a small segment, as they are for good in version 1.
#[test]
fn the_layout_of_version_1_stays() {
    let (index, log, _) = build(40, 10, 2, &BTreeSet::new());
    let files = RunBuilder::of(&index.memtable, 2).encode(7, &log).unwrap();
    let digests: Vec<String> = files
        .iter()
        .map(|file| blake3::hash(file).to_hex()[..16].to_owned())
        .collect();
    assert_eq!(digests, ["bc6a0c4a6a0600ec", "3b8c61a9405ef382"]);
}
