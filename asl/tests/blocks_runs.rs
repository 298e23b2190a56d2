//! The index of blocks while packs are given up: what is gone stays gone, and what lives is found,
//! through runs that are merged, rewritten, damaged or lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dropped;
mod packs;

use std::sync::Arc;

use dropped::{check, checksums, drop_payloads, files, large, open, options, put, tiny};
use packs::same;
use uor_asl::blocks::Blocks;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

fn run(first: u32, last: u32) -> String {
    format!("index/blocks-{first:08}-{last:08}.run")
}

/// A number in the footer of a run: `FORMAT.md`, "Index of blocks".
fn footer(disk: &MemoryDisk, run: &str, at: usize) -> u64 {
    let bytes = disk.contents(run).unwrap();
    let start = bytes.len() - 96 + at;
    u64::from_le_bytes(bytes[start..start + 8].try_into().unwrap())
}

/// How many blocks a run is of.
fn blocks_of(disk: &MemoryDisk, run: &str) -> u64 {
    footer(disk, run, 24)
}

/// How many blocks of other packs it says are no more.
fn dead_of(disk: &MemoryDisk, run: &str) -> u64 {
    footer(disk, run, 40)
}

/// Room for some 1,500 tiny blocks, or six large ones.
const SMALL: u64 = 128 << 10;

/// A pack of tiny payloads, in a run of its own because it holds so many more than those after it,
/// and one more pack.
fn tinies() -> (MemoryDisk, Blocks, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, SMALL);
    let all = tiny(0..1495);
    put(&blocks, &all);
    assert_eq!(files(&disk, ".run"), [run(1, 1)]);
    (disk, blocks, all)
}

#[test]
fn merged_runs_say_all_that_each_said_of_earlier_packs() {
    let (disk, blocks, all) = tinies();
    // Later places first: the runs that are merged do not say it in order.
    drop_payloads(&blocks, &all[1000..1010]);
    let mut there = [&all[10..1000], &all[1010..]].concat();
    for seeds in [0..7, 7..13] {
        let more = large(seeds);
        put(&blocks, &more);
        there.extend(more);
    }
    assert_eq!(
        files(&disk, ".run"),
        [run(1, 1), run(2, 3)],
        "merged, and not with the first"
    );
    assert_eq!(dead_of(&disk, &run(2, 3)), 10);
    let mut gone = all[1000..1010].to_vec();
    check(&blocks, &disk, SMALL, &there, &gone);
    drop_payloads(&blocks, &all[..10]);
    gone.extend_from_slice(&all[..10]);
    let more = large(13..20);
    put(&blocks, &more);
    there.extend(more);
    assert_eq!(files(&disk, ".run"), [run(1, 1), run(2, 4)]);
    assert_eq!(dead_of(&disk, &run(2, 4)), 20);
    check(&blocks, &disk, SMALL, &there, &gone);
}

/// What later runs say of earlier packs holds for these even where their own run is lost.
#[test]
fn a_run_that_is_lost_brings_nothing_back() {
    let (disk, blocks, all) = tinies();
    drop_payloads(&blocks, &all[..10]);
    let large = large(0..7);
    put(&blocks, &large);
    drop(blocks);
    assert_eq!(files(&disk, ".run"), [run(1, 1), run(2, 2)]);
    let (there, gone) = ([&all[10..], &large].concat(), &all[..10]);
    let (lost, flipped) = (disk.crash(0), disk.crash(0));
    lost.remove(&run(1, 1)).unwrap();
    // Where opening does not look.
    assert!(flipped.flip_bit(&run(1, 1), 8 * 100));
    for mode in [Mode::ReadOnly, Mode::Write] {
        for (disk, is_lost) in [(&lost, true), (&flipped, false)] {
            let (blocks, recovery) =
                Blocks::open_with(Arc::new(disk.clone()), mode, options(SMALL)).unwrap();
            assert_eq!(
                recovery.rebuilt,
                if is_lost { vec![run(1, 1)] } else { vec![] }
            );
            assert_eq!(
                gone.iter()
                    .filter(|bytes| blocks.has(Checksum::of(bytes)))
                    .count(),
                0,
                "{mode:?}, {is_lost}"
            );
            assert_eq!(
                blocks.payloads(),
                checksums(&there).into_iter().collect::<Vec<_>>(),
                "{mode:?}, {is_lost}"
            );
            assert!(there.iter().all(|bytes| same(&blocks, bytes)));
        }
    }
    check(&open(&lost, Mode::Write, SMALL), &lost, SMALL, &there, gone);
}

#[test]
fn merged_runs_leave_out_packs_that_are_gone() {
    let (disk, blocks, all) = tinies();
    drop_payloads(&blocks, &all[..10]);
    let more = large(0..19);
    put(&blocks, &more);
    assert_eq!(files(&disk, ".run"), [run(1, 1), run(2, 4)]);
    let before = blocks_of(&disk, &run(2, 4));
    // Pack 3, and the first with all that its run and the records say of it.
    drop_payloads(&blocks, &[&more[6..12], &all[10..1480]].concat());
    let packs = files(&disk, ".pack");
    assert!(
        !packs.contains(&"blocks/00000001.pack".to_owned())
            && !packs.contains(&"blocks/00000003.pack".to_owned())
    );
    let gone = [&more[6..12], &all[..1480]].concat();
    let mut there = [&more[..6], &more[12..], &all[1480..]].concat();
    check(&blocks, &disk, SMALL, &there, &gone);
    // Where no pack is left, no run is missed.
    assert_eq!(blocks_of(&disk, &run(1, 1)), 0);
    let bare = disk.crash(0);
    bare.remove(&run(1, 1)).unwrap();
    check(&blocks, &bare, SMALL, &there, &gone);
    let new = large(100..118);
    put(&blocks, &new);
    there.extend(new);
    let runs = files(&disk, ".run");
    assert!(
        runs.len() == 1 && runs[0].contains("blocks-00000001-"),
        "merged: {runs:?}"
    );
    check(&blocks, &disk, SMALL, &there, &gone);
    let merged = blocks_of(&disk, &runs[0]);
    assert!(
        merged <= there.len() as u64 + 2,
        "{merged} of {before} and what came since, {} live",
        there.len()
    );
}

#[test]
fn a_run_that_is_rewritten_still_says_what_is_gone_of_earlier_packs() {
    const PACK: u64 = 4 << 20;
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, PACK);
    let (all, first) = (tiny(0..3000), large(0..200));
    put(&blocks, &[&all[..], &first].concat());
    assert_eq!(files(&disk, ".run"), [run(1, 1)]);
    drop_payloads(&blocks, &all[..10]);
    let (short, second) = (tiny(5000..6100), large(200..400));
    put(&blocks, &[&short[..], &second].concat());
    assert_eq!(files(&disk, ".run"), [run(1, 1), run(2, 2)]);
    let before = blocks_of(&disk, &run(2, 2));
    assert!(before > 1100 && dead_of(&disk, &run(2, 2)) == 10);
    // Most of its blocks go, and few of its bytes: the pack stays.
    drop_payloads(&blocks, &short);
    assert_eq!(files(&disk, ".pack").len(), 3);
    assert!(blocks_of(&disk, &run(2, 2)) < before / 4, "rewritten");
    assert_eq!(dead_of(&disk, &run(2, 2)), 10);
    let (there, gone) = (
        [&all[10..], &first, &second].concat(),
        [&all[..10], &short].concat(),
    );
    check(&blocks, &disk, PACK, &there, &gone);
}

#[test]
fn a_run_that_is_damaged_while_it_is_in_use_takes_no_record_with_it() {
    const PACK: u64 = 64 << 10;
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, PACK);
    let all = tiny(0..1400);
    put(&blocks, &all[..1000]);
    // In a pack before the record, and in that of the record.
    drop_payloads(&blocks, &[&all[..5], &all[990..1000]].concat());
    put(&blocks, &all[1000..]);
    put(&blocks, &large(0..3));
    drop(blocks);
    let runs = files(&disk, ".run");
    assert!(
        runs.len() == 1 && disk.contents(&runs[0]).unwrap().len() > 3 * 4096,
        "{runs:?}"
    );
    // Opening reads its end, and not this.
    assert!(disk.flip_bit(&runs[0], 8 * 100));
    for mode in [Mode::ReadOnly, Mode::Write] {
        let blocks = open(&disk, mode, PACK);
        let gone = [&all[..5], &all[990..1000]].concat();
        assert!(
            gone.iter().all(|bytes| !blocks.has(Checksum::of(bytes))),
            "{mode:?}"
        );
        assert!(
            [&all[5..990], &all[1000..]]
                .concat()
                .iter()
                .all(|bytes| same(&blocks, bytes)),
            "{mode:?}"
        );
        let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
        assert!(
            matches!(damages.as_slice(), [damage] if damage.at.file == runs[0]),
            "{damages:?}"
        );
    }
}
