//! Opening packs where a crash, or an earlier opening, has left them: step by step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observed;
mod packs;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use observed::{Deed, Observed};
use packs::{noise, same};
use uor_asl::blocks::{Blocks, BlocksError, Options, Recovery};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options {
    pack_bytes: 4096,
    threads: 1,
};
/// All in one pack.
const ROOMY: Options = Options {
    pack_bytes: 2 << 20,
    threads: 1,
};

fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Blocks, Recovery), BlocksError> {
    Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

fn payloads(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|seed| noise(seed, 900)).collect()
}

fn put(blocks: &Blocks, payloads: &[Vec<u8>]) {
    payloads
        .iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
}

/// So many of the states that a crash may leave are looked at.
const SEEDS: u64 = 12;

/// The disks that crashes right before each deed of this kind on a file whose path ends so leave
/// while `work` is done, as what was settled by then and as one of the others that are possible.
fn crashes(
    options: Options,
    (deed, suffix): (Deed, &'static str),
    settled: impl Fn(&Blocks),
    work: impl Fn(&Blocks),
) -> (MemoryDisk, Vec<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let left = Arc::<Mutex<Option<Vec<MemoryDisk>>>>::default();
    let (crashing, leaving) = (disk.clone(), left.clone());
    let hook = move |done: Deed, path: &str| {
        if let Some(left) = leaving
            .lock()
            .unwrap()
            .as_mut()
            .filter(|_| done == deed && path.ends_with(suffix))
        {
            left.extend((0..SEEDS).map(|seed| crashing.crash(seed)));
        }
    };
    let (blocks, _) =
        Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, options).unwrap();
    settled(&blocks);
    disk.settle();
    *left.lock().unwrap() = Some(Vec::new());
    work(&blocks);
    let left = left.lock().unwrap().take().unwrap();
    assert!(!left.is_empty(), "{suffix} was met");
    (disk, left)
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.ends_with(".pack"))
        .collect()
}

fn runs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.starts_with("index/"))
        .collect()
}

#[test]
fn packs_that_a_crash_kept_from_being_removed_are_passed_over_and_then_removed() {
    let all = payloads(8);
    let live = |checksum: Checksum| {
        [&all[1], &all[6]]
            .iter()
            .any(|bytes| Checksum::of(bytes) == checksum)
    };
    let collect = |blocks: &Blocks| {
        assert!(
            blocks
                .collect(&mut { live }, false)
                .unwrap()
                .packs_rewritten
                > 1
        )
    };
    let (after, left) = crashes(
        OPTIONS,
        (Deed::Remove, ".pack"),
        |blocks| put(blocks, &all),
        collect,
    );
    for disk in left {
        let leftover = packs(&disk).len();
        assert!(leftover > packs(&after).len());
        for mode in [Mode::ReadOnly, Mode::Write] {
            let (blocks, recovery) = open(&disk, mode).unwrap();
            assert_eq!(recovery.damages, []);
            assert!(same(&blocks, &all[1]) && same(&blocks, &all[6]));
            assert_eq!(blocks.payloads().len(), 2, "{mode:?}");
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
        assert!(packs(&disk).len() < leftover);
        // For good: a loss of power right after that brings none of them back.
        assert!((0..8).all(|seed| packs(&disk.crash(seed)) == packs(&disk)));
    }
}

#[test]
fn a_pack_that_a_crash_kept_from_being_listed_is_missed_once_it_was_opened() {
    let all = payloads(6);
    let (_, left) = crashes(
        OPTIONS,
        (Deed::Rename, "packs.list"),
        |blocks| put(blocks, &all[..3]),
        |blocks| put(blocks, &all[3..]),
    );
    for disk in left {
        assert_eq!(packs(&disk).len(), 2);
        let (blocks, _) = open(&disk, Mode::Write).unwrap();
        blocks.put_bytes(&all[5]).unwrap();
        blocks.sync().unwrap();
        assert!(all[..3].iter().all(|bytes| same(&blocks, bytes)));
        drop(blocks);
        disk.remove("blocks/00000002.pack").unwrap();
        for mode in [Mode::ReadOnly, Mode::Write] {
            assert_missed(&open(&disk, mode).unwrap().1);
        }
    }
}

fn assert_missed(recovery: &Recovery) {
    assert!(
        recovery
            .damages
            .iter()
            .any(|damage| damage.at.file == "blocks/00000002.pack"),
        "{recovery:?}"
    );
    assert!(recovery.has_lost());
}

/// Which packs should be there is then not known; those that are there are read, and a writer
/// rewrites the list.
#[test]
fn a_damaged_list_of_packs_is_passed_over_and_rebuilt() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = payloads(12);
    put(&blocks, &all);
    let live = Checksum::of(&all[11]);
    blocks
        .collect(&mut |checksum| checksum == live, false)
        .unwrap();
    drop(blocks);
    assert!(!packs(&disk).contains(&"blocks/00000001.pack".to_owned()));
    assert!(disk.flip_bit("blocks/packs.list", 8 * 20));
    let (blocks, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert!(
        matches!(recovery.damages.as_slice(), [damage] if damage.at.file == "blocks/packs.list"),
        "{recovery:?}"
    );
    assert_eq!(blocks.payloads(), [live]);
    assert!(same(&blocks, &all[11]));
    let (blocks, recovery) = open(&disk, Mode::Write).unwrap();
    assert!(
        matches!(recovery.mended.as_slice(), [damage] if damage.at.file == "blocks/packs.list"),
        "{recovery:?}"
    );
    assert_eq!(blocks.payloads(), [live], "what was given up stays away");
    drop(blocks);
    assert_eq!(open(&disk, Mode::Write).unwrap().1.mended, []);
}

/// It is not known then whether a pack that is not there was given up.
#[test]
fn a_list_of_packs_that_is_gone_is_said() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    put(&blocks, &payloads(12));
    drop(blocks);
    ["blocks/packs.list", "blocks/00000002.pack"]
        .iter()
        .for_each(|path| disk.remove(path).unwrap());
    for mode in [Mode::ReadOnly, Mode::Write] {
        let (blocks, recovery) = open(&disk, mode).unwrap();
        let said = if mode == Mode::Write {
            &recovery.mended
        } else {
            &recovery.damages
        };
        assert!(
            matches!(said.as_slice(), [damage] if damage.at.file == "blocks/packs.list"),
            "{recovery:?}"
        );
        assert!(recovery.has_lost());
        assert!(!blocks.payloads().is_empty(), "the others are read");
    }
}

#[test]
fn a_damaged_record_is_passed_over() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = payloads(3);
    put(&blocks, &all);
    let before = disk.contents("blocks/00000001.pack").unwrap().len() as u64;
    blocks.erase(Checksum::of(&all[0])).unwrap();
    blocks.sync().unwrap();
    drop(blocks);
    // Behind its header.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * (before + 64 + 3)));
    let (blocks, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert!(
        matches!(recovery.damages.as_slice(), [damage] if damage.at.offset == before),
        "{recovery:?}"
    );
    assert!(!blocks.has(Checksum::of(&all[0])) && same(&blocks, &all[1]) && same(&blocks, &all[2]));
    let (blocks, recovery) = open(&disk, Mode::Write).unwrap();
    assert!(
        matches!(recovery.damages.as_slice(), [damage] if damage.at.offset == before),
        "{recovery:?}"
    );
    assert!(same(&blocks, &all[1]) && same(&blocks, &all[2]));
}

#[test]
fn of_a_merge_and_what_it_was_made_of_the_merge_is_taken() {
    let all = payloads(40);
    let (_, left) = crashes(
        OPTIONS,
        (Deed::Remove, ".run"),
        |blocks| put(blocks, &all[..3]),
        |blocks| put(blocks, &all[3..]),
    );
    let mut doubled = 0;
    for disk in left {
        disk.open("index/blocks-00000001-00000002.run.new", Mode::Write)
            .unwrap();
        for mode in [Mode::ReadOnly, Mode::Write] {
            let before = runs(&disk);
            let (blocks, recovery) = open(&disk, mode).unwrap();
            assert_eq!(recovery.rebuilt, [""; 0], "{before:?}");
            let there = blocks.payloads();
            assert_eq!(
                recovery.payloads,
                there.len() as u64,
                "none is counted twice: {before:?}"
            );
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
            assert_eq!(runs(&disk) == before, mode == Mode::ReadOnly);
            doubled += u32::from(before.len() > 2);
        }
        assert!(runs(&disk).iter().all(|path| path.ends_with(".run")));
        let first = runs(&disk)
            .iter()
            .filter(|path| path.contains("blocks-00000001-"))
            .count();
        assert_eq!(first, 1, "{:?}", runs(&disk));
    }
    assert!(doubled > 4);
}

/// Blocks that are written before they are synced may be torn behind a sound header.
#[test]
fn what_was_not_synced_is_there_whole_or_not_at_all() {
    let disk = MemoryDisk::new();
    let (blocks, _) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, ROOMY).unwrap();
    let (first, new) = (noise(0, 900), noise(9, 900));
    put(&blocks, std::slice::from_ref(&first));
    // So long that they are written at once.
    let long: Vec<Vec<u8>> = [200_000, 150_000, 300_000]
        .into_iter()
        .zip(1..)
        .map(|(len, seed)| noise(seed, len))
        .collect();
    long.iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    drop(blocks);
    let (mut cuts, mut kept) = (0, 0);
    for seed in 0..60 {
        let disk = disk.crash(seed);
        for mode in [Mode::ReadOnly, Mode::Write] {
            let (blocks, recovery) =
                Blocks::open_with(Arc::new(disk.clone()), mode, ROOMY).unwrap();
            assert!(
                same(&blocks, &first) && recovery.damages.is_empty(),
                "seed {seed}"
            );
            for bytes in long.iter().filter(|bytes| blocks.has(Checksum::of(bytes))) {
                assert!(same(&blocks, bytes), "seed {seed}: torn");
                kept += 1;
            }
            assert_eq!(
                blocks.verify(&mut |_, _| {}).unwrap().damages,
                [],
                "seed {seed}"
            );
            cuts += u32::from(recovery.cut.is_some());
            if mode == Mode::Write {
                put(&blocks, std::slice::from_ref(&new));
            }
        }
        // And nothing of the torn end is back behind the next mark, or after the next loss of
        // power.
        let (blocks, _) =
            Blocks::open_with(Arc::new(disk.crash(seed)), Mode::Write, ROOMY).unwrap();
        assert!(
            [&first, &new].into_iter().all(|bytes| same(&blocks, bytes)),
            "seed {seed}"
        );
        assert!(
            long.iter()
                .all(|bytes| !blocks.has(Checksum::of(bytes)) || same(&blocks, bytes)),
            "seed {seed}: torn"
        );
        assert_eq!(
            blocks.verify(&mut |_, _| {}).unwrap().damages,
            [],
            "seed {seed}"
        );
    }
    assert!(cuts > 10 && kept > 0, "{cuts} cuts, {kept} kept");
}

/// What is being erased may be half overwritten while no mark calls it durable, as a mark is not
/// synced itself: that is no torn tail.
#[test]
fn what_is_half_erased_cuts_nothing_off() {
    let [first, secret, other] =
        [(0, 900), (1, 200_000), (2, 900)].map(|(seed, len)| noise(seed, len));
    let erase = |blocks: &Blocks| {
        blocks.put_bytes(&secret).unwrap();
        blocks.put_bytes(&other).unwrap();
        assert_eq!(blocks.erase(Checksum::of(&secret)).unwrap().blocks, 1);
    };
    let (_, mut left) = crashes(
        ROOMY,
        (Deed::Sync, ".pack"),
        |blocks| put(blocks, std::slice::from_ref(&first)),
        erase,
    );
    // Before the last sync: the record is durable, the zeros are not.
    let half = left.split_off(left.len() - usize::try_from(SEEDS).unwrap());
    let mut seen = 0;
    for disk in half {
        for mode in [Mode::ReadOnly, Mode::Write] {
            let (blocks, recovery) =
                Blocks::open_with(Arc::new(disk.clone()), mode, ROOMY).unwrap();
            assert_eq!(recovery.damages, []);
            assert!(
                blocks.erased(Checksum::of(&secret)),
                "{mode:?}: {:?}",
                recovery.cut
            );
            assert!(
                same(&blocks, &first) && same(&blocks, &other),
                "{mode:?}: {:?}",
                recovery.cut
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 2 * SEEDS);
}

#[test]
fn opening_again_writes_nothing_again() {
    let disk = MemoryDisk::new();
    let all = payloads(6);
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    put(&blocks, &all[..5]);
    // Written because it is long, and not synced.
    let long = noise(100, 200_000);
    blocks.put_bytes(&long).unwrap();
    drop(blocks);
    let open_counting = || {
        let writes = Arc::<AtomicU64>::default();
        let counted = writes.clone();
        let hook = move |deed: Deed, path: &str| {
            if path.ends_with(".pack") && [Deed::Write, Deed::SetLen, Deed::Sync].contains(&deed) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        };
        let (blocks, _) =
            Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, OPTIONS)
                .unwrap();
        assert!(
            all[..5]
                .iter()
                .chain([&long])
                .all(|bytes| same(&blocks, bytes))
        );
        writes.load(Ordering::SeqCst)
    };
    assert!(
        open_counting() > 1,
        "what nobody knows to be durable is made so"
    );
    let after = packs(&disk)
        .iter()
        .map(|path| disk.contents(path).unwrap())
        .collect::<Vec<_>>();
    for _ in 0..3 {
        // The mark itself, which nothing vouches for.
        assert!(open_counting() <= 1);
    }
    assert!(
        packs(&disk)
            .iter()
            .map(|path| disk.contents(path).unwrap())
            .eq(after)
    );
}

#[test]
fn packs_whose_index_could_not_be_written_are_indexed_with_the_next() {
    let disk = MemoryDisk::new();
    let (failing, attempts) = (disk.clone(), AtomicU64::new(0));
    let hook = move |deed: Deed, path: &str| {
        if deed == Deed::Open
            && path.ends_with(".run.new")
            && attempts.fetch_add(1, Ordering::SeqCst) == 1
        {
            failing.fail_at(failing.operations(), Fault::Io);
        }
    };
    let (blocks, _) =
        Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, OPTIONS).unwrap();
    let all = payloads(14);
    put(&blocks, &all[..9]);
    assert_eq!(packs(&disk).len(), 3);
    assert_eq!(
        runs(&disk),
        ["index/blocks-00000001-00000001.run"],
        "nothing depends on the second"
    );
    put(&blocks, &all[9..]);
    assert_eq!(runs(&disk), ["index/blocks-00000001-00000003.run"]);
    drop(blocks);
    let (blocks, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert_eq!(recovery.rebuilt, [""; 0]);
    assert!(all.iter().all(|bytes| same(&blocks, bytes)));
}
