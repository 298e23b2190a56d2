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

const OPTIONS: Options = Options { pack_bytes: 4096, threads: 1 };

fn open(disk: &MemoryDisk, mode: Mode) -> Result<(Blocks, Recovery), BlocksError> {
    Blocks::open_with(Arc::new(disk.clone()), mode, OPTIONS)
}

fn payloads(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|seed| noise(seed, 900)).collect()
}

fn put(blocks: &Blocks, payloads: &[Vec<u8>]) {
    payloads.iter().for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
    blocks.sync().unwrap();
}

/// The disks that crashes right before each deed of this kind on a file whose path ends so leave while `work` is done, as what
/// was settled by then and as one of the others that are possible.
fn crashes(
    deed: Deed,
    suffix: &'static str,
    settled: impl Fn(&Blocks),
    work: impl Fn(&Blocks),
) -> (MemoryDisk, Vec<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let left = Arc::<Mutex<Option<Vec<MemoryDisk>>>>::default();
    let (crashing, leaving) = (disk.clone(), left.clone());
    let hook = move |done: Deed, path: &str| {
        if let Some(left) = leaving.lock().unwrap().as_mut().filter(|_| done == deed && path.ends_with(suffix)) {
            left.extend((0..4).map(|seed| crashing.crash(seed)));
        }
    };
    let (blocks, _) = Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, OPTIONS).unwrap();
    settled(&blocks);
    disk.settle();
    *left.lock().unwrap() = Some(Vec::new());
    work(&blocks);
    let left = left.lock().unwrap().take().unwrap();
    assert!(!left.is_empty(), "{suffix} was met");
    (disk, left)
}

fn packs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".pack")).collect()
}

fn runs(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("index/")).collect()
}

#[test]
fn packs_that_a_crash_kept_from_being_removed_are_passed_over_and_then_removed() {
    let all = payloads(8);
    let live = |checksum: Checksum| [&all[1], &all[6]].iter().any(|bytes| Checksum::of(bytes) == checksum);
    let collect = |blocks: &Blocks| assert!(blocks.collect(&mut { live }, false).unwrap().packs_rewritten > 1);
    let (after, left) = crashes(Deed::Remove, ".pack", |blocks| put(blocks, &all), collect);
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
    let (_, left) =
        crashes(Deed::Rename, "packs.list", |blocks| put(blocks, &all[..3]), |blocks| put(blocks, &all[3..]));
    for disk in left {
        assert_eq!(packs(&disk).len(), 2);
        let (blocks, _) = open(&disk, Mode::Write).unwrap();
        blocks.put_bytes(&all[5]).unwrap();
        blocks.sync().unwrap();
        assert!(all[..3].iter().all(|bytes| same(&blocks, bytes)));
        drop(blocks);
        disk.remove("blocks/00000002.pack").unwrap();
        for mode in [Mode::ReadOnly, Mode::Write] {
            let error = open(&disk, mode).err().unwrap();
            assert!(matches!(&error, BlocksError::MissingPack { file } if file == "blocks/00000002.pack"), "{error}");
        }
    }
}

/// Which packs should be there is then not known; those that are there are read.
#[test]
fn a_reader_passes_over_a_damaged_list_of_packs() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = payloads(12);
    put(&blocks, &all);
    let live = Checksum::of(&all[11]);
    blocks.collect(&mut |checksum| checksum == live, false).unwrap();
    drop(blocks);
    assert!(!packs(&disk).contains(&"blocks/00000001.pack".to_owned()));
    assert!(disk.flip_bit("blocks/packs.list", 8 * 20));
    let (blocks, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert!(matches!(recovery.damages.as_slice(), [damage] if damage.file == "blocks/packs.list"), "{recovery:?}");
    assert_eq!(blocks.payloads(), [live]);
    assert!(same(&blocks, &all[11]));
    assert!(
        matches!(open(&disk, Mode::Write), Err(BlocksError::Damaged(damage)) if damage.file == "blocks/packs.list")
    );
}

/// A store of the first version had no list: its packs follow each other.
#[test]
fn without_a_list_a_pack_between_others_is_missed() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    put(&blocks, &payloads(12));
    drop(blocks);
    ["blocks/packs.list", "blocks/00000002.pack"].iter().for_each(|path| disk.remove(path).unwrap());
    for mode in [Mode::ReadOnly, Mode::Write] {
        let error = open(&disk, mode).err().unwrap();
        assert!(matches!(&error, BlocksError::MissingPack { file } if file == "blocks/00000002.pack"), "{error}");
    }
}

#[test]
fn a_reader_passes_over_a_damaged_record() {
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
    assert!(matches!(recovery.damages.as_slice(), [damage] if damage.offset == before), "{recovery:?}");
    assert!(!blocks.has(Checksum::of(&all[0])) && same(&blocks, &all[1]) && same(&blocks, &all[2]));
    assert!(matches!(open(&disk, Mode::Write), Err(BlocksError::Damaged(damage)) if damage.offset == before));
}

#[test]
fn of_a_merge_and_what_it_was_made_of_the_merge_is_taken() {
    let all = payloads(40);
    let (_, left) = crashes(Deed::Remove, ".run", |blocks| put(blocks, &all[..3]), |blocks| put(blocks, &all[3..]));
    let mut doubled = 0;
    for disk in left {
        disk.open("index/blocks-00000001-00000002.run.new", Mode::Write).unwrap();
        for mode in [Mode::ReadOnly, Mode::Write] {
            let before = runs(&disk);
            let (blocks, recovery) = open(&disk, mode).unwrap();
            assert_eq!(recovery.rebuilt, [""; 0], "{before:?}");
            let there = blocks.payloads();
            assert_eq!(recovery.payloads, there.len() as u64, "none is counted twice: {before:?}");
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
            assert_eq!(runs(&disk) == before, mode == Mode::ReadOnly);
            doubled += u32::from(before.len() > 2);
        }
        assert!(runs(&disk).iter().all(|path| path.ends_with(".run")));
        let first = runs(&disk).iter().filter(|path| path.contains("blocks-00000001-")).count();
        assert_eq!(first, 1, "{:?}", runs(&disk));
    }
    assert!(doubled > 4);
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
        let (blocks, _) = Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, OPTIONS).unwrap();
        assert!(all[..5].iter().chain([&long]).all(|bytes| same(&blocks, bytes)));
        writes.load(Ordering::SeqCst)
    };
    assert!(open_counting() > 1, "what nobody knows to be durable is made so");
    let after = packs(&disk).iter().map(|path| disk.contents(path).unwrap()).collect::<Vec<_>>();
    for _ in 0..3 {
        // The mark itself, which nothing vouches for.
        assert!(open_counting() <= 1);
    }
    assert!(packs(&disk).iter().map(|path| disk.contents(path).unwrap()).eq(after));
}

#[test]
fn packs_whose_index_could_not_be_written_are_indexed_with_the_next() {
    let disk = MemoryDisk::new();
    let (failing, has_failed) = (disk.clone(), AtomicU64::new(0));
    let hook = move |deed: Deed, path: &str| {
        if deed == Deed::Open && path.ends_with(".run.new") && has_failed.fetch_add(1, Ordering::SeqCst) == 0 {
            failing.fail_at(failing.operations(), Fault::Io);
        }
    };
    let (blocks, _) = Blocks::open_with(Arc::new(Observed::doing(&disk, hook)), Mode::Write, OPTIONS).unwrap();
    let all = payloads(10);
    put(&blocks, &all[..5]);
    assert_eq!((packs(&disk).len(), runs(&disk)), (2, vec![]), "nothing depends on it");
    put(&blocks, &all[5..]);
    assert_eq!(runs(&disk), ["index/blocks-00000001-00000002.run"]);
    drop(blocks);
    let (blocks, recovery) = open(&disk, Mode::ReadOnly).unwrap();
    assert_eq!(recovery.rebuilt, [""; 0]);
    assert!(all.iter().all(|bytes| same(&blocks, bytes)));
}
