//! Damaged packs: what is wrong is named, or a torn tail, and never anybody's bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observed;
mod packs;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use observed::Observed;
use packs::{OPTIONS, everything, noise, open, open_large, payload, same};
use proptest::prelude::*;
use uor_asl::blocks::{Blocks, BlocksError, Recovery};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

/// Several packs with everything in them synced, and what is in them.
fn sample() -> (MemoryDisk, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all: Vec<Vec<u8>> = (0..14)
        .zip((100..).step_by(90))
        .map(|(seed, len)| payload(seed, len))
        .collect();
    for bytes in &all {
        blocks.put_bytes(bytes).unwrap();
        blocks.sync().unwrap();
    }
    drop(blocks);
    disk.settle();
    assert!(disk.paths().len() >= 3, "several packs");
    (disk, all)
}

#[test]
fn every_flipped_bit_is_named() {
    let (disk, all) = sample();
    let (mut passed_over, mut named, mut rebuilt, mut cut) = (0, 0, 0, 0);
    for path in disk.paths() {
        let bits = disk.contents(&path).unwrap().len() as u64 * 8;
        for bit in (0..bits).step_by(if bits > 8 * 4096 { 61 } else { 11 }) {
            let disk = disk.crash(0);
            assert!(disk.flip_bit(&path, bit));
            for mode in [Mode::ReadOnly, Mode::Write] {
                let opened = open(&disk, mode);
                let (blocks, recovery) =
                    opened.unwrap_or_else(|error| panic!("bit {bit} of {path}: {error}"));
                passed_over += usize::from(mode == Mode::Write && !recovery.damages.is_empty());
                let lost: Vec<Checksum> = all
                    .iter()
                    .filter(|bytes| !same(&blocks, bytes))
                    .map(|bytes| Checksum::of(bytes))
                    .collect();
                let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
                let spoiled: Vec<Checksum> = damages
                    .iter()
                    .flat_map(|damage| damage.payloads.clone())
                    .collect();
                assert!(
                    damages
                        .iter()
                        .all(|damage| damage.at.file == path && damage.at.offset <= bit / 8)
                );
                let header = damages
                    .iter()
                    .any(|damage| damage.at.what == "block header");
                assert!(
                    header || lost.iter().all(|checksum| spoiled.contains(checksum)),
                    "bit {bit} of {path}"
                );
                match (damages.is_empty(), recovery.cut) {
                    (false, _) => named += 1,
                    (true, Some(tail)) => {
                        assert!(tail.file == path && lost.is_empty());
                        cut += 1;
                    }
                    (true, None) => {
                        let is_mended = recovery.mended.iter().any(|damage| damage.at.file == path);
                        let is_told = is_mended || recovery.rebuilt == [path.clone()];
                        assert!(is_told && lost.is_empty(), "bit {bit} of {path} unnoticed");
                        rebuilt += 1;
                    }
                }
            }
        }
    }
    assert!(
        passed_over > 0 && named > 0 && rebuilt > 0 && cut > 0,
        "{passed_over}, {named}, {rebuilt}, {cut}"
    );
}

#[test]
fn a_damaged_chunk_names_every_payload_it_spoils() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open_large(&disk, Mode::Write);
    let mut bytes = noise(1, 6 << 20);
    let first = blocks.put_bytes(&bytes).unwrap().checksum;
    bytes.extend_from_slice(b"one more chunk at the end");
    let second = blocks.put_bytes(&bytes).unwrap().checksum;
    let other = blocks.put_bytes(b"not concerned").unwrap().checksum;
    blocks.sync().unwrap();
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 1000));

    let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
    let mut spoiled = vec![first, second];
    spoiled.sort();
    assert_eq!(damages.len(), 1);
    assert_eq!(
        (damages[0].at.file.as_str(), damages[0].at.offset),
        ("blocks/00000001.pack", 32)
    );
    assert_eq!(damages[0].payloads, spoiled);
    assert_eq!(
        damages[0].block,
        Some(blocks.chunks(first).unwrap()[0].digest)
    );
    assert!(matches!(
        blocks.read_all(first, u64::MAX),
        Err(BlocksError::Damaged(_))
    ));
    assert_eq!(blocks.read_all(other, u64::MAX).unwrap(), b"not concerned");
    assert!(
        matches!(blocks.read_range(first, 0..0), Err(BlocksError::Damaged(_))),
        "not proven"
    );
    let tail = blocks.read_part(first, (6 << 20) - 10..6 << 20).unwrap();
    assert_eq!(
        everything(tail),
        &bytes[(6 << 20) - 10..6 << 20],
        "its other chunks can be read"
    );
}

#[test]
fn a_damaged_payload_can_be_put_again_and_the_damaged_bytes_are_garbage() {
    for len in [900, 5 << 20] {
        let disk = MemoryDisk::new();
        let (blocks, _) = open_large(&disk, Mode::Write);
        let bytes = noise(1, len);
        let longer = [bytes.as_slice(), b"and more"].concat();
        let shorter = blocks.put_bytes(b"not concerned").unwrap().checksum;
        let all = [&bytes, &longer].map(|bytes| blocks.put_bytes(bytes).unwrap().checksum);
        let garbage = blocks.put_bytes(&noise(2, 12 << 20)).unwrap().checksum;
        blocks.sync().unwrap();
        assert!(disk.flip_bit("blocks/00000001.pack", 8 * 600));
        assert_eq!(
            blocks.put_bytes(&bytes).unwrap().new_bytes,
            0,
            "nobody has noticed yet"
        );
        for at in 1..4 {
            let mut told = 0;
            let broken_off = blocks.forget_damaged(&mut |_, _| {
                told += 1;
                if told == at {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            assert!(
                matches!(broken_off, Err(BlocksError::Cancelled)),
                "{broken_off:?}"
            );
            assert!(
                all.iter().all(|checksum| blocks.has(*checksum)),
                "nothing is forgotten"
            );
        }
        let lost = blocks
            .forget_damaged(&mut |_, _| ControlFlow::Continue(()))
            .unwrap();
        // Long ones have the damaged chunk in common.
        assert!(lost.contains(&all[0]) && !lost.contains(&shorter));
        assert_eq!(lost.contains(&all[1]), len > 1 << 20, "{len}");
        assert!(lost.iter().all(|checksum| !blocks.has(*checksum)));
        // What was not put again is back when the packs are opened, and what is sound of it still
        // there.
        assert_eq!(
            blocks
                .collect(&mut |payload| payload != garbage, false)
                .unwrap()
                .payloads,
            1
        );
        let (reader, _) = open_large(&disk, Mode::ReadOnly);
        assert!(lost.iter().all(|checksum| reader.has(*checksum)));
        if len > 1 << 20 {
            let part = reader
                .read_part(all[0], len as u64 - 10..len as u64)
                .unwrap();
            assert_eq!(everything(part), bytes[len - 10..]);
        }
        for bytes in [&bytes, &longer] {
            let is_lost = lost.contains(&Checksum::of(bytes));
            assert_eq!(blocks.put_bytes(bytes).unwrap().new_bytes > 0, is_lost);
        }
        blocks.sync().unwrap();
        assert_eq!(
            blocks
                .forget_damaged(&mut |_, _| ControlFlow::Continue(()))
                .unwrap(),
            BTreeSet::new(),
            "there are sound copies"
        );
        drop((blocks, reader));
        let (blocks, _) = open_large(&disk, Mode::Write);
        let collected = blocks.collect(&mut |_| true, false).unwrap();
        assert_eq!(collected.payloads, 0);
        assert!(
            collected.blocks > 0 && collected.blocks <= 3,
            "{collected:?}"
        );
        for (blocks, _) in [
            (blocks, Recovery::default()),
            open_large(&disk, Mode::Write),
        ] {
            assert!(
                same(&blocks, &bytes) && same(&blocks, &longer) && same(&blocks, b"not concerned")
            );
            assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
        }
    }
}

#[test]
fn chunks_of_a_manifest_that_cannot_be_read_stay() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open_large(&disk, Mode::Write);
    let [bytes, other] = [noise(1, 8 << 20), noise(2, 8 << 20)];
    let path = "blocks/00000001.pack";
    let payload = blocks.put_bytes(&bytes).unwrap().checksum;
    blocks.sync().unwrap();
    let end = disk
        .contents(path)
        .unwrap()
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap() as u64;
    let dead = blocks.put_bytes(&other).unwrap().checksum;
    blocks.sync().unwrap();
    let is_manifest = |at: &u64| {
        let copy = disk.crash(0);
        let _ = copy.flip_bit(path, 8 * at);
        matches!(
            open_large(&copy, Mode::ReadOnly).0.chunks(payload),
            Err(BlocksError::Damaged(_))
        )
    };
    let at = (end - 600..end).step_by(24).find(is_manifest).unwrap();
    assert!(disk.flip_bit(path, 8 * at));
    let forget = || {
        blocks
            .forget_damaged(&mut |_, _| ControlFlow::Continue(()))
            .unwrap()
    };
    assert_eq!(forget(), BTreeSet::from([payload]));
    assert!(!blocks.has(payload));
    assert!(matches!(
        blocks.collect(&mut |_| true, false),
        Err(BlocksError::Damaged(_))
    ));
    assert!(
        matches!(blocks.erase(dead), Err(BlocksError::Damaged(_))),
        "it may have the same chunks"
    );
    // The manifest is put back.
    assert!(disk.flip_bit(path, 8 * at));
    assert!(same(&open_large(&disk, Mode::ReadOnly).0, &bytes));
    // Or nobody wants it any more.
    assert_eq!(
        blocks
            .collect(&mut |name| name == dead, false)
            .unwrap()
            .payloads,
        0
    );
}

#[test]
fn every_truncation_is_named_or_a_torn_tail() {
    let (disk, all) = sample();
    let paths = disk.paths();
    for path in &paths {
        let len = disk.contents(path).unwrap().len() as u64;
        for cut in (0..len).step_by(if len > 4096 { 37 } else { 5 }) {
            let disk = disk.crash(0);
            disk.open(path, Mode::Write).unwrap().set_len(cut).unwrap();
            let (reader, recovery) = open(&disk, Mode::ReadOnly).unwrap();
            let lost = all.iter().any(|bytes| !same(&reader, bytes));
            let named = recovery
                .damages
                .iter()
                .any(|damage| &damage.at.file == path);
            if path.starts_with("index/") {
                assert!(!lost && recovery.rebuilt == [path.clone()] && named);
                assert!(open(&disk, Mode::Write).is_ok());
                continue;
            }
            let is_last = Some(path) == paths.iter().rfind(|path| path.ends_with(".pack"));
            assert!(
                !lost || named || (is_last && cut >= 32),
                "{path} cut at {cut} went unnoticed"
            );
            let before: Vec<bool> = all.iter().map(|bytes| same(&reader, bytes)).collect();
            let (writer, recovery) = open(&disk, Mode::Write).unwrap();
            let mut said = recovery.damages.iter().chain(&recovery.mended);
            assert!(
                (is_last && cut >= 32) || said.any(|damage| &damage.at.file == path),
                "{path} cut at {cut}"
            );
            assert!(
                all.iter().map(|bytes| same(&writer, bytes)).eq(before),
                "{path} cut at {cut}: more is lost"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wrecked_pack_never_gives_wrong_bytes(
        file in any::<prop::sample::Index>(),
        wrecks in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..90)), 1..4),
    ) {
        let (disk, all) = sample();
        let path = file.get(&disk.paths()).clone();
        let opened = disk.open(&path, Mode::Write).unwrap();
        for (at, bytes) in wrecks {
            opened.write_at(at.index(disk.contents(&path).unwrap().len()) as u64, &bytes).unwrap();
        }
        let (reader, recovery) = open(&disk, Mode::ReadOnly).unwrap();
        let damages = reader.verify(&mut |_, _| {}).unwrap().damages;
        let lost = all.iter().filter(|bytes| !same(&reader, bytes)).count();
        prop_assert!(lost == 0 || !damages.is_empty() || recovery.cut.is_some());
        prop_assert!(damages.iter().all(|damage| damage.at.file == path));
    }
}

#[test]
fn a_block_completed_while_it_was_read_is_no_damage() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    let all = [noise(1, 100), noise(2, 100)];
    for bytes in &all {
        blocks.put_bytes(bytes).unwrap();
        blocks.sync().unwrap();
    }
    // It would miss the list of packs, too.
    disk.remove("blocks/packs.list").unwrap();
    let stale = Observed::stale(&disk, 32..96);
    let (reader, recovery) = Blocks::open_with(Arc::new(stale), Mode::ReadOnly, OPTIONS).unwrap();
    assert!(
        recovery.damages.iter().all(|damage| damage.is_of_list()) && recovery.cut.is_none(),
        "{recovery:?}"
    );
    assert!(all.iter().all(|bytes| same(&reader, bytes)));
}

#[test]
fn a_damaged_file_header_is_no_unfinished_pack() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write).unwrap();
    // Not yet synced, so no mark vouches for it; but written, because it is long.
    blocks.put_bytes(&noise(1, 200_000)).unwrap();
    disk.settle();
    assert!(disk.flip_bit("blocks/00000001.pack", 3));
    for _ in 0..2 {
        let (blocks, recovery) = open(&disk, Mode::Write).unwrap();
        assert_eq!(
            (
                recovery.damages[0].at.offset,
                recovery.damages[0].at.file.as_str()
            ),
            (0, "blocks/00000001.pack")
        );
        assert!(same(&blocks, &noise(1, 200_000)), "nothing of it is cut");
        blocks.put_bytes(b"behind it").unwrap();
        blocks.sync().unwrap();
    }
    assert_eq!(
        disk.paths()
            .iter()
            .filter(|path| path.ends_with(".pack"))
            .count(),
        2,
        "the next pack was begun once"
    );
}

#[test]
fn a_newer_version_is_refused_and_a_missing_pack_said_by_name() {
    let (disk, _) = sample();
    let path = "blocks/00000001.pack";
    let mut header = disk.contents(path).unwrap()[..16].to_vec();
    header[8] = 9;
    header.extend_from_slice(&blake3::hash(&header).as_bytes()[..16]);
    disk.open(path, Mode::Write)
        .unwrap()
        .write_at(0, &header)
        .unwrap();
    let error = open(&disk, Mode::ReadOnly).err().unwrap();
    assert_eq!(
        error.to_string(),
        "blocks/00000001.pack has format version 9, this program reads up to 2"
    );
    disk.remove(path).unwrap();
    let missing = open(&disk, Mode::ReadOnly).unwrap().1.damages;
    assert_eq!(
        missing[0].to_string(),
        "blocks/00000001.pack is missing: it was begun, and never given up"
    );
}
