//! Erasing payloads and collecting garbage, with a crash at every operation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod packs;
mod soak;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use packs::noise;
use proptest::prelude::*;
use uor_asl::blocks::{Blocks, BlocksError, Collected, Erased, Options};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options {
    pack_bytes: 4096,
    threads: 1,
};

fn open(disk: &MemoryDisk) -> Blocks {
    let (blocks, recovery) =
        Blocks::open_with(Arc::new(disk.clone()), Mode::Write, OPTIONS).unwrap();
    assert_eq!(recovery.damages, []);
    blocks
}

fn has_bytes(blocks: &Blocks, bytes: &[u8]) -> bool {
    blocks.has(Checksum::of(bytes))
        && blocks.read_all(Checksum::of(bytes), u64::MAX).unwrap() == bytes
}

/// Whether 32 bytes from anywhere in `bytes` lie anywhere on the disk.
fn leaves_traces(disk: &MemoryDisk, bytes: &[u8]) -> bool {
    let files: Vec<Vec<u8>> = disk
        .paths()
        .iter()
        .map(|path| disk.contents(path).unwrap())
        .collect();
    let needles: BTreeSet<&[u8]> = bytes
        .chunks_exact(32)
        .step_by(1 + bytes.len() / 3200)
        .collect();
    files
        .iter()
        .any(|file| file.windows(32).any(|window| needles.contains(window)))
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.ends_with(".pack"))
        .collect()
}

fn disk_bytes(disk: &MemoryDisk) -> usize {
    packs(disk)
        .iter()
        .map(|path| disk.contents(path).unwrap().len())
        .sum()
}

#[test]
fn what_is_erased_is_gone_and_what_others_need_is_not() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let long = noise(1, 9 << 20);
    let cousin = [&long[..], b"with another end"].concat();
    let (secret, other) = (noise(2, 900), noise(3, 900));
    for bytes in [&long, &cousin, &secret, &other] {
        blocks.put_bytes(bytes).unwrap();
    }
    blocks.sync().unwrap();
    let chunk = blocks.chunks(Checksum::of(&long)).unwrap()[0];
    let part = long[..chunk.len as usize].to_vec();
    blocks.put_bytes(&part).unwrap();

    assert_eq!(
        blocks.erase(Checksum::of(&secret)).unwrap(),
        Erased {
            blocks: 1,
            bytes: 900
        }
    );
    assert!(!leaves_traces(&disk, &secret) && leaves_traces(&disk, &other));
    let erased = blocks.erase(Checksum::of(&cousin)).unwrap();
    assert!(
        erased.bytes < 5 << 20,
        "its last chunk and its manifest: {erased:?}"
    );
    blocks.erase(Checksum::of(b"never seen")).unwrap();
    for blocks in [blocks, open(&disk.crash(1)), open(&disk)] {
        for bytes in [&secret, &cousin, &b"never seen".to_vec()] {
            assert!(blocks.erased(Checksum::of(bytes)) && !blocks.has(Checksum::of(bytes)));
            assert!(!blocks.payloads().contains(&Checksum::of(bytes)));
        }
        for bytes in [&long, &other, &part] {
            assert!(has_bytes(&blocks, bytes) && !blocks.erased(Checksum::of(bytes)));
        }
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
    let blocks = open(&disk);
    blocks.erase(Checksum::of(&long)).unwrap();
    assert!(
        has_bytes(&blocks, &part),
        "which was a part of it, and of its own"
    );
    assert!(!leaves_traces(&disk, &long[part.len()..]));
    for bytes in [&secret, &cousin, &long] {
        assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0);
        assert!(!blocks.erased(Checksum::of(bytes)) && has_bytes(&blocks, bytes));
    }
    blocks.sync().unwrap();
    let blocks = open(&disk);
    assert!(
        [&secret, &cousin, &long, &part]
            .iter()
            .all(|bytes| has_bytes(&blocks, bytes))
    );
    assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
}

#[test]
fn every_copy_is_erased() {
    let disk = MemoryDisk::new();
    let blocks = open_with(&disk, ROOMY);
    let bytes = noise(1, 900);
    let checksum = blocks.put_bytes(&bytes).unwrap().checksum;
    blocks.sync().unwrap();
    // The first copy has one wrong bit; the second is dropped as garbage, in a pack that stays.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 200));
    assert!(blocks.read_all(checksum, u64::MAX).is_err());
    assert!(blocks.put_bytes(&bytes).unwrap().new_bytes > 0);
    blocks.collect(&mut |_| false, false).unwrap();
    assert!(!blocks.has(checksum) && leaves_traces(&disk, &bytes));
    assert_eq!(blocks.erase(checksum).unwrap().blocks, 2);
    assert!(!leaves_traces(&disk, &bytes));
}

#[test]
fn garbage_goes_and_missing_packs_are_still_missed() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let all: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 1000)).collect();
    all.iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    let live: BTreeSet<Checksum> = all
        .iter()
        .step_by(7)
        .map(|bytes| Checksum::of(bytes))
        .collect();
    let before = disk_bytes(&disk);
    let mut is_live = |checksum| live.contains(&checksum);
    let planned = blocks.collect(&mut is_live, true).unwrap();
    assert_eq!(disk_bytes(&disk), before, "a dry run");
    assert_eq!(blocks.payloads().len(), 40);
    let collected = blocks.collect(&mut is_live, false).unwrap();
    assert_eq!(collected, planned);
    assert_eq!((collected.payloads, collected.blocks), (40 - 6, 40 - 6));
    assert!(
        disk_bytes(&disk) < before / 2,
        "{} of {before}",
        disk_bytes(&disk)
    );
    assert_eq!(blocks.collect(&mut is_live, false).unwrap().payloads, 0);
    for blocks in [blocks, open(&disk.crash(1))] {
        assert_eq!(blocks.payloads(), live.iter().copied().collect::<Vec<_>>());
        assert!(all.iter().step_by(7).all(|bytes| has_bytes(&blocks, bytes)));
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
    disk.settle();
    for path in packs(&disk) {
        let disk = disk.crash(1);
        disk.remove(&path).unwrap();
        for mode in [Mode::ReadOnly, Mode::Write, Mode::ReadOnly] {
            let (blocks, recovery) =
                Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS).unwrap();
            assert!(
                matches!(&recovery.damages[..], [damage] if damage.at.file == path),
                "{:?}",
                recovery.damages
            );
            assert_eq!(
                blocks.verify(&mut |_, _| {}).unwrap().damages,
                recovery.damages
            );
        }
    }
}

#[test]
fn parts_of_no_payload_are_garbage() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let kept = noise(1, 6 << 20);
    blocks.put_bytes(&kept).unwrap();
    let wrong = blocks
        .put_verified(Checksum::of(b"x"), &mut &*noise(2, 9 << 20))
        .unwrap_err();
    assert!(matches!(wrong, BlocksError::WrongChecksum { .. }));
    let Collected {
        payloads,
        bytes_freed,
        ..
    } = blocks.collect(&mut |_| true, false).unwrap();
    assert!(payloads == 0 && bytes_freed > 8 << 20, "{bytes_freed}");
    assert!(has_bytes(&blocks, &kept) && has_bytes(&open(&disk), &kept));
}

/// Runs what it is given in the middle of a payload.
struct Interrupted<'a>(&'a [u8], Option<Box<dyn FnOnce() + 'a>>);

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.len() < 2 << 20
            && let Some(action) = self.1.take()
        {
            action();
        }
        self.0.read(out)
    }
}

#[test]
fn what_a_put_under_way_rests_on_stays() {
    for (erasing, known) in [(false, false), (false, true), (true, true)] {
        let disk = MemoryDisk::new();
        let blocks = open(&disk);
        let bytes = noise(1, 40 << 20);
        if known {
            blocks
                .put_bytes(&[&bytes[..], b"another end"].concat())
                .unwrap();
            blocks.put_bytes(b"something").unwrap();
        }
        let action = || match erasing {
            true => drop(
                blocks
                    .erase(Checksum::of(&[&bytes[..], b"another end"].concat()))
                    .unwrap(),
            ),
            false => drop(blocks.collect(&mut |_| false, false).unwrap()),
        };
        let stats = blocks
            .put(
                &mut Interrupted(&bytes, Some(Box::new(action))),
                &mut |_| {},
            )
            .unwrap();
        assert_eq!(blocks.has(Checksum::of(b"something")), erasing);
        blocks.sync().unwrap();
        for blocks in [&blocks, &open(&disk)] {
            assert!(
                blocks.read_all(stats.checksum, u64::MAX).unwrap() == bytes,
                "{erasing} {known}"
            );
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
    }
}

/// All in one pack, in which much may be dead before it is given up.
const ROOMY: Options = Options {
    pack_bytes: 1 << 30,
    threads: 1,
};

fn open_with(disk: &MemoryDisk, options: Options) -> Blocks {
    Blocks::open_with(Arc::new(disk.clone()), Mode::Write, options)
        .unwrap()
        .0
}

#[test]
fn what_was_collected_before_it_is_erased_leaves_no_bytes() {
    for is_damaged in [false, true] {
        let disk = MemoryDisk::new();
        let blocks = open_with(&disk, ROOMY);
        let long = noise(1, 9 << 20);
        let cousin = [&long[..5 << 20], &noise(2, 3 << 20)].concat();
        let whole = noise(3, 900);
        for bytes in [&long, &cousin, &whole] {
            blocks.put_bytes(bytes).unwrap();
        }
        blocks.sync().unwrap();
        let (checksum, other) = (Checksum::of(&long), Checksum::of(&cousin));
        blocks
            .collect(
                &mut |checksum| checksum == other || checksum == Checksum::of(&whole),
                false,
            )
            .unwrap();
        assert!(
            !blocks.has(checksum) && leaves_traces(&disk, &long[8 << 20..]),
            "collected, and still there"
        );
        if is_damaged {
            let path = "blocks/00000001.pack";
            let pack = disk.contents(path).unwrap();
            let header = pack
                .windows(32)
                .position(|window| window == checksum.as_bytes())
                .unwrap()
                - 16;
            assert_eq!(pack[header + 8], 3, "a manifest");
            assert!(disk.flip_bit(path, (header as u64 + 64 + 60) * 8));
        }
        blocks.erase(checksum).unwrap();
        for blocks in [&blocks, &open(&disk)] {
            assert!(
                !leaves_traces(&disk, &long[6 << 20..]),
                "damaged: {is_damaged}"
            );
            assert!(
                blocks.erased(checksum) && has_bytes(blocks, &cousin) && has_bytes(blocks, &whole)
            );
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
    }
}

#[test]
fn collecting_leaves_little_that_is_dead() {
    const LEN: usize = 20_000;
    type Lives = fn(u64) -> bool;
    let lives: [(&str, Lives); 7] = [
        ("all", |_| true),
        ("none", |_| false),
        ("the first", |seed| seed < 100),
        ("the last", |seed| seed >= 200),
        ("every second", |seed| seed % 2 == 0),
        ("most", |seed| seed % 10 != 3),
        ("few", |seed| seed % 29 == 0),
    ];
    for pack_bytes in [1 << 18, 1 << 20, 1 << 28] {
        for (which, lives) in lives {
            let disk = MemoryDisk::new();
            let options = Options {
                pack_bytes,
                threads: 1,
            };
            let blocks = open_with(&disk, options);
            let checksums: Vec<Checksum> = (0..300)
                .map(|seed| {
                    let stats = blocks.put_bytes(&noise(seed, LEN)).unwrap();
                    blocks.sync().unwrap();
                    stats.checksum
                })
                .collect();
            let live: BTreeSet<Checksum> = (0..)
                .zip(&checksums)
                .filter(|(seed, _)| lives(*seed))
                .map(|(_, checksum)| *checksum)
                .collect();
            let before = disk_bytes(&disk) as u64;
            let collected = blocks
                .collect(&mut |checksum| live.contains(&checksum), false)
                .unwrap();
            let (after, live_len) = (disk_bytes(&disk) as u64, (live.len() * (LEN + 64)) as u64);
            let context =
                format!("{which} lives, packs of {pack_bytes}: {after} bytes for {live_len}");
            assert!(
                after <= live_len + live_len / 20 + pack_bytes / 32 + 1024,
                "{context}"
            );
            assert_eq!(collected.bytes_held, 0, "{context}");
            let freed = before.saturating_sub(after);
            assert!(
                collected.bytes_freed.abs_diff(freed) < 8192,
                "{context}: said {}",
                collected.bytes_freed
            );
            for blocks in [blocks, open_with(&disk, options)] {
                assert_eq!(blocks.payloads().len(), live.len(), "{context}");
                assert_eq!(
                    blocks.verify(&mut |_, _| {}).unwrap().damages,
                    [],
                    "{context}"
                );
            }
            // And comes to rest.
            let blocks = open_with(&disk, options);
            blocks.collect(&mut |_| true, false).unwrap();
            let again = blocks.collect(&mut |_| true, false).unwrap();
            assert_eq!(
                (again.payloads, again.blocks, again.packs_rewritten),
                (0, 0, 0),
                "{context}"
            );
        }
    }
}

#[test]
fn collecting_and_erasing_need_hardly_any_room() {
    for pack_bytes in [1 << 20, 1 << 28] {
        let disk = MemoryDisk::new();
        let options = Options {
            pack_bytes,
            threads: 1,
        };
        let blocks = open_with(&disk, options);
        let payloads: Vec<Vec<u8>> = (0..400).map(|seed| noise(seed, 30_000)).collect();
        payloads
            .iter()
            .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
        blocks.sync().unwrap();
        // What a reserve gives back.
        disk.set_capacity(Some(disk.used() + (64 << 10)));
        let live: BTreeSet<Checksum> = payloads
            .iter()
            .step_by(2)
            .map(|bytes| Checksum::of(bytes))
            .collect();
        let collected = blocks
            .collect(&mut |checksum| live.contains(&checksum), false)
            .unwrap();
        assert_eq!(collected.bytes_held, 0, "{collected:?}");
        let live_len = live.len() as u64 * 30_064;
        assert!(
            disk.used() < live_len + live_len / 20 + pack_bytes / 32 + (64 << 10),
            "{} used",
            disk.used()
        );
        disk.set_capacity(Some(disk.used() + (64 << 10)));
        assert!(blocks.erase(Checksum::of(&payloads[0])).unwrap().bytes > 0);
        assert!(!leaves_traces(&disk, &payloads[0]));
        for blocks in [blocks, open_with(&disk, options)] {
            assert!(
                payloads
                    .iter()
                    .step_by(2)
                    .skip(1)
                    .all(|bytes| has_bytes(&blocks, bytes))
            );
            assert_eq!(blocks.payloads().len(), live.len() - 1);
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
    }
}

#[test]
fn what_has_no_room_to_move_is_said_and_not_tried() {
    // Blocks so short that their space cannot be given back inside a pack.
    let disk = MemoryDisk::new();
    let options = Options {
        pack_bytes: 8 << 20,
        threads: 1,
    };
    let blocks = open_with(&disk, options);
    let payloads: Vec<Vec<u8>> = (0..6000).map(|seed| noise(seed, 1000)).collect();
    payloads
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    disk.set_capacity(Some(disk.used() + (256 << 10)));
    let live: BTreeSet<Checksum> = payloads
        .iter()
        .step_by(2)
        .map(|bytes| Checksum::of(bytes))
        .collect();
    let mut is_live = |checksum| live.contains(&checksum);
    let collected = blocks.collect(&mut is_live, false).unwrap();
    assert!(
        collected.bytes_held > 3_000_000 && collected.packs_rewritten == 0,
        "{collected:?}"
    );
    assert!(blocks.put_bytes(b"and goes on").unwrap().new_bytes > 0);
    disk.set_capacity(Some(disk.used() + (5 << 20)));
    let collected = blocks.collect(&mut |_| true, false).unwrap();
    assert!(
        collected.bytes_held == 0 && collected.bytes_freed > 3_000_000,
        "{collected:?}"
    );
    assert!(
        payloads
            .iter()
            .step_by(2)
            .all(|bytes| has_bytes(&blocks, bytes))
    );
    assert_eq!(
        open_with(&disk, options)
            .verify(&mut |_, _| {})
            .unwrap()
            .damages,
        []
    );
}

#[test]
fn a_pack_with_a_damaged_block_stays_and_is_said_to() {
    let disk = MemoryDisk::new();
    let options = Options {
        pack_bytes: 1 << 20,
        threads: 1,
    };
    let blocks = open_with(&disk, options);
    let payloads: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 20_000)).collect();
    payloads
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 200));
    let live: BTreeSet<Checksum> = payloads[..3]
        .iter()
        .map(|bytes| Checksum::of(bytes))
        .collect();
    let collected = blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(
        collected.packs_rewritten == 0 && collected.bytes_held > 0,
        "{collected:?}"
    );
    assert!(packs(&disk).contains(&"blocks/00000001.pack".to_owned()));
    assert!(matches!(
        blocks.read_all(Checksum::of(&payloads[0]), u64::MAX),
        Err(BlocksError::Damaged(_))
    ));
    assert!(has_bytes(&blocks, &payloads[1]) && has_bytes(&blocks, &payloads[2]));
    // Put again it lives elsewhere, and the pack goes.
    assert!(blocks.put_bytes(&payloads[0]).unwrap().new_bytes > 0);
    blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(!packs(&disk).contains(&"blocks/00000001.pack".to_owned()));
    for blocks in [blocks, open_with(&disk, options)] {
        assert!(payloads[..3].iter().all(|bytes| has_bytes(&blocks, bytes)));
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

#[test]
fn the_index_shrinks_with_what_it_is_of() {
    let disk = MemoryDisk::new();
    let options = Options {
        pack_bytes: 64 << 10,
        threads: 1,
    };
    let blocks = open_with(&disk, options);
    let payloads: Vec<Vec<u8>> = (0..5000).map(|seed| noise(seed, 100)).collect();
    payloads
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
    let index_len = |disk: &MemoryDisk| -> usize {
        let runs = disk
            .paths()
            .into_iter()
            .filter(|path| path.ends_with(".run"));
        runs.map(|path| disk.contents(&path).unwrap().len()).sum()
    };
    let before = index_len(&disk);
    let live: BTreeSet<Checksum> = payloads
        .iter()
        .step_by(20)
        .map(|bytes| Checksum::of(bytes))
        .collect();
    blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(
        index_len(&disk) < before / 4,
        "{} of {before}",
        index_len(&disk)
    );
    for disk in [disk.crash(1), disk] {
        let (blocks, recovery) = Blocks::open_with(Arc::new(disk), Mode::Write, options).unwrap();
        assert_eq!(recovery.rebuilt, [""; 0]);
        assert_eq!(blocks.payloads(), live.iter().copied().collect::<Vec<_>>());
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

/// Runs `action` when garbage collection asks for the first payload, after it has decided what it
/// looks at.
fn collect_around(blocks: &Blocks, action: impl FnOnce()) -> Collected {
    let mut action = Some(action);
    let mut is_live = |_| {
        if let Some(action) = action.take() {
            action();
        }
        false
    };
    blocks.collect(&mut is_live, false).unwrap()
}

#[test]
fn what_is_put_while_garbage_is_collected_keeps_what_it_found_here() {
    for options in [OPTIONS, ROOMY] {
        let disk = MemoryDisk::new();
        let blocks = open_with(&disk, options);
        let long = noise(1, 12 << 20);
        let (short, new) = (noise(2, 900), noise(3, 900));
        blocks.put_bytes(&long).unwrap();
        blocks.put_bytes(&short).unwrap();
        blocks.put_bytes(b"nobody's").unwrap();
        blocks.sync().unwrap();
        let other_end = [&long[..], b"another end"].concat();
        // Begun and ended in between: they found here what is garbage, and nothing is pinned any
        // more.
        let put = || {
            assert!(
                blocks.put_bytes(&other_end).unwrap().new_bytes < 5 << 20,
                "most of it is here"
            );
            assert_eq!(blocks.put_bytes(&short).unwrap().new_bytes, 0);
            assert!(blocks.put_bytes(&new).unwrap().new_bytes > 0);
        };
        let collected = collect_around(&blocks, put);
        assert_eq!(collected.payloads, 2, "the long one as such, and nobody's");
        blocks.sync().unwrap();
        for blocks in [&blocks, &open_with(&disk, options)] {
            assert!(!blocks.has(Checksum::of(&long)) && !blocks.has(Checksum::of(b"nobody's")));
            assert!(
                [&other_end, &short, &new]
                    .iter()
                    .all(|bytes| has_bytes(blocks, bytes))
            );
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
        // Only as long as that lasted.
        assert_eq!(blocks.collect(&mut |_| false, false).unwrap().payloads, 3);
        assert_eq!(blocks.payloads(), []);
    }
}

#[test]
fn what_is_put_into_the_last_pack_while_that_is_given_up_moves_along() {
    let disk = MemoryDisk::new();
    let options = Options {
        pack_bytes: 1 << 20,
        threads: 1,
    };
    let blocks = open_with(&disk, options);
    let (garbage, new) = (noise(1, 300_000), noise(2, 900));
    blocks.put_bytes(&garbage).unwrap();
    blocks.sync().unwrap();
    let collected = collect_around(&blocks, || {
        assert!(blocks.put_bytes(&new).unwrap().new_bytes > 0)
    });
    assert_eq!((collected.payloads, collected.packs_rewritten), (1, 1));
    assert_eq!(packs(&disk), ["blocks/00000002.pack"]);
    for blocks in [&blocks, &open_with(&disk, options)] {
        assert!(has_bytes(blocks, &new) && !blocks.has(Checksum::of(&garbage)));
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

#[test]
fn what_two_puts_rest_on_stays_when_one_of_them_ends() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk);
    let bytes = noise(1, 20 << 20);
    let action = || {
        // Another puts the same from beginning to end, and what both rest on is asked for
        // afterwards.
        blocks.put_bytes(&bytes).unwrap();
        blocks.collect(&mut |_| false, false).unwrap();
        assert!(!blocks.has(Checksum::of(&bytes)));
    };
    let stats = blocks
        .put(
            &mut Interrupted(&bytes, Some(Box::new(action))),
            &mut |_| {},
        )
        .unwrap();
    blocks.sync().unwrap();
    for blocks in [&blocks, &open(&disk)] {
        assert!(blocks.read_all(stats.checksum, u64::MAX).unwrap() == bytes);
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
}

/// What is known of each payload: put and synced, erased, or either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Here,
    Erased,
    Absent,
    Unsure,
}

/// Puts, erases and collects; `fates` says what was acknowledged when it stopped.
fn workload(
    disk: &MemoryDisk,
    payloads: &[Vec<u8>],
    fates: &mut BTreeMap<usize, Fate>,
) -> Result<(), BlocksError> {
    let (blocks, _) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, OPTIONS)?;
    for (number, bytes) in payloads.iter().enumerate() {
        fates.insert(number, Fate::Unsure);
        blocks.put_bytes(bytes)?;
        blocks.sync()?;
        fates.insert(number, Fate::Here);
    }
    for number in [1, 6] {
        fates.insert(number, Fate::Unsure);
        blocks.erase(Checksum::of(&payloads[number]))?;
        fates.insert(number, Fate::Erased);
    }
    let dropped = [0, 2, 3, 5];
    fates.extend(dropped.map(|number| (number, Fate::Unsure)));
    let gone: BTreeSet<Checksum> = dropped
        .iter()
        .map(|number| Checksum::of(&payloads[*number]))
        .collect();
    blocks.collect(&mut |checksum| !gone.contains(&checksum), false)?;
    fates.extend(dropped.map(|number| (number, Fate::Absent)));
    for number in [1, 2] {
        fates.insert(number, Fate::Unsure);
        blocks.put_bytes(&payloads[number])?;
        blocks.sync()?;
        fates.insert(number, Fate::Here);
    }
    fates.insert(2, Fate::Unsure);
    blocks.erase(Checksum::of(&payloads[2]))?;
    fates.insert(2, Fate::Erased);
    blocks.collect(&mut |checksum| !gone.contains(&checksum), false)?;
    Ok(())
}

fn check(disk: &MemoryDisk, payloads: &[Vec<u8>], fates: &BTreeMap<usize, Fate>, context: &str) {
    let blocks = open(disk);
    assert_eq!(
        blocks.verify(&mut |_, _| {}).unwrap().damages,
        [],
        "{context}"
    );
    for (number, fate) in fates {
        let bytes = &payloads[*number];
        let checksum = Checksum::of(bytes);
        let here = blocks.has(checksum) && has_bytes(&blocks, bytes);
        match fate {
            Fate::Here => assert!(
                here && !blocks.erased(checksum),
                "{number} is lost: {context}"
            ),
            Fate::Erased => assert!(
                !here && blocks.erased(checksum),
                "{number} is not erased: {context}"
            ),
            Fate::Absent => assert!(
                !here && !blocks.erased(checksum),
                "{number} is back: {context}"
            ),
            Fate::Unsure => assert!(
                here == blocks.has(checksum),
                "{number} is half there: {context}"
            ),
        }
        if blocks.erased(checksum) {
            assert!(
                !leaves_traces(disk, bytes),
                "{number} left traces: {context}"
            );
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_and_brings_nothing_back() {
    let payloads: Vec<Vec<u8>> = (0..12)
        .zip([700, 850, 1000, 1150].into_iter().cycle())
        .map(|(seed, len)| noise(seed, len))
        .collect();
    let untroubled = MemoryDisk::new();
    let mut fates = BTreeMap::new();
    workload(&untroubled, &payloads, &mut fates).unwrap();
    let operations = untroubled.operations();
    check(&untroubled, &payloads, &fates, "untroubled");
    assert!(packs(&untroubled).len() < 6, "packs were given up");
    for operation in 0..operations {
        let fault = if operation % 2 == 0 {
            Fault::Io
        } else {
            Fault::NoSpace
        };
        let disk = MemoryDisk::new();
        disk.fail_at(operation, fault);
        let mut fates = BTreeMap::new();
        let failed = workload(&disk, &payloads, &mut fates);
        assert!(
            matches!(
                failed,
                Err(BlocksError::Disk(_) | BlocksError::Poisoned) | Ok(())
            ),
            "{failed:?}"
        );
        // Seed 0: the process dies, the machine does not.
        for seed in 0..6 {
            let disk = if seed == 0 {
                disk.clone()
            } else {
                disk.crash(seed * 1000 + operation)
            };
            check(
                &disk,
                &payloads,
                &fates,
                &format!("operation {operation}, seed {seed}"),
            );
            // And again, from where that left it.
            check(
                &disk.crash(seed),
                &payloads,
                &fates,
                &format!("operation {operation}, seed {seed}, again"),
            );
            open(&disk).collect(&mut |_| true, false).unwrap();
            check(
                &disk,
                &payloads,
                &fates,
                &format!("operation {operation}, seed {seed}, collected"),
            );
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64),
    Sync,
    Erase(u64),
    Collect(u64),
    Reopen,
    /// The index loses a file, or has a wrong bit, before the packs are opened again.
    Spoil(prop::sample::Index, Option<prop::sample::Index>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..24_u64).prop_map(Step::Put),
        2 => Just(Step::Sync),
        2 => (0..24_u64).prop_map(Step::Erase),
        2 => (2..5_u64).prop_map(Step::Collect),
        1 => Just(Step::Reopen),
        1 => (any::<prop::sample::Index>(), any::<Option<prop::sample::Index>>())
            .prop_map(|(file, bit)| Step::Spoil(file, bit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: soak::cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_as_a_map_says(steps in prop::collection::vec(step(), 1..60)) {
        let disk = MemoryDisk::new();
        let mut blocks = open(&disk);
        let mut model: BTreeMap<u64, Fate> = BTreeMap::new();
        let mut spoiled = false;
        let bytes = |seed: u64| noise(seed, (300..).step_by(97).nth(usize::from(seed.to_le_bytes()[0]) % 10).unwrap());
        for step in steps {
            match step {
                Step::Put(seed) => {
                    let stats = blocks.put_bytes(&bytes(seed)).unwrap();
                    prop_assert_eq!(stats.new_bytes == 0, model.get(&seed) == Some(&Fate::Here));
                    model.insert(seed, Fate::Here);
                }
                Step::Sync => blocks.sync().unwrap(),
                Step::Erase(seed) => {
                    blocks.erase(Checksum::of(&bytes(seed))).unwrap();
                    model.insert(seed, Fate::Erased);
                    prop_assert!(!leaves_traces(&disk, &bytes(seed)));
                }
                Step::Collect(every) => {
                    let gone: BTreeSet<Checksum> =
                        model.keys().filter(|seed| **seed % every == 0).map(|seed| Checksum::of(&bytes(*seed))).collect();
                    let dead = model.iter().filter(|(seed, fate)| **seed % every == 0 && **fate == Fate::Here).count();
                    let collected = blocks.collect(&mut |checksum| !gone.contains(&checksum), false).unwrap();
                    prop_assert_eq!(collected.payloads, dead as u64);
                    model.retain(|seed, fate| *seed % every != 0 || *fate == Fate::Erased);
                }
                Step::Reopen => {
                    blocks.sync().unwrap();
                    drop(blocks);
                    blocks = open(&disk);
                }
                Step::Spoil(file, bit) => {
                    blocks.sync().unwrap();
                    drop(blocks);
                    let runs: Vec<String> = disk.paths().into_iter().filter(|path| path.ends_with(".run")).collect();
                    if let Some(path) = (!runs.is_empty()).then(|| file.get(&runs)) {
                        let bits = disk.contents(path).unwrap().len() as u64 * 8;
                        match bit {
                            Some(bit) => assert!(disk.flip_bit(path, bit.index(usize::try_from(bits).unwrap()) as u64)),
                            None => disk.remove(path).unwrap(),
                        }
                    }
                    blocks = open(&disk);
                    spoiled = true;
                }
            }
            for (seed, fate) in &model {
                prop_assert_eq!(blocks.erased(Checksum::of(&bytes(*seed))), *fate == Fate::Erased);
                prop_assert_eq!(blocks.has(Checksum::of(&bytes(*seed))), *fate == Fate::Here);
            }
            prop_assert_eq!(blocks.payloads().len(), model.values().filter(|fate| **fate == Fate::Here).count());
            let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
            prop_assert!(damages.iter().all(|damage| spoiled && damage.at.file.ends_with(".run")), "{:?}", damages);
        }
    }
}
