//! After something was lost, or a write has failed: what was erased stays so, what is here is kept,
//! and there is a way on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::sync::Arc;

use uor_asl::blocks::{Blocks, BlocksError, Recovery};
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Options, Store};
use uor_asl::validator::Verdict;
use uor_asl::{blocks, log};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};

use federation::{Federation, SITES, Step, key, mix};

const BLOCKS: blocks::Options = blocks::Options {
    pack_bytes: 4000,
    threads: 1,
};
const LIST: &str = "blocks/packs.list";

fn open(disk: &MemoryDisk, mode: Mode) -> (Blocks, Recovery) {
    Blocks::open_with(Arc::new(disk.clone()), mode, BLOCKS).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn put_all(blocks: &Blocks, all: &[Vec<u8>]) {
    all.iter()
        .for_each(|bytes| assert!(blocks.put_bytes(bytes).unwrap().new_bytes > 0));
}

fn put_file(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Mode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
    disk.settle();
}

fn files(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    disk.paths()
        .into_iter()
        .map(|path| (path.clone(), disk.contents(&path).unwrap()))
        .collect()
}

/// Packs of which the first held a payload that was moved out of it and then erased; the files
/// before that, and the payload.
fn erased() -> (MemoryDisk, BTreeMap<String, Vec<u8>>, Checksum) {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write);
    let all: Vec<Vec<u8>> = (0..12).map(|seed| noise(seed, 900)).collect();
    put_all(&blocks, &all);
    blocks.sync().unwrap();
    let before = files(&disk);
    // The second of each pack stays, so that packs are moved.
    let live: BTreeSet<Checksum> = all
        .iter()
        .step_by(4)
        .map(|bytes| Checksum::of(bytes))
        .collect();
    let collected = blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(collected.packs_rewritten > 0);
    let erased = Checksum::of(&all[0]);
    assert_eq!(blocks.erase(erased).unwrap().blocks, 1);
    blocks.sync().unwrap();
    drop(blocks);
    assert!(
        !disk.paths().contains(&"blocks/00000001.pack".to_owned())
            && !open(&disk, Mode::ReadOnly).0.has(erased)
    );
    (disk, before, erased)
}

#[test]
fn an_erased_payload_does_not_come_back_with_an_old_pack_or_list() {
    let (disk, before, erased) = erased();
    for list in ["damaged", "gone", "older", "as it is"] {
        let disk = disk.crash(0);
        for (path, bytes) in before
            .iter()
            .filter(|(path, _)| path.ends_with(".pack") && disk.contents(path).is_none())
        {
            put_file(&disk, path, bytes);
        }
        match list {
            "damaged" => assert!(disk.flip_bit(LIST, 90)),
            "gone" => disk.remove(LIST).unwrap(),
            "older" => put_file(&disk, LIST, &before[LIST]),
            _ => {}
        }
        for mode in [Mode::ReadOnly, Mode::Write, Mode::ReadOnly] {
            let (blocks, _) = open(&disk, mode);
            assert!(
                !blocks.has(erased) && blocks.erased(erased),
                "list {list}, {mode:?}"
            );
        }
    }
}

#[test]
fn what_was_put_again_is_told_from_what_was_there_before_its_erasure() {
    let (disk, before, payload) = erased();
    // The record is lost with all packs, and old ones are there.
    let old = MemoryDisk::new();
    old.create_dir_all("blocks").unwrap();
    before
        .iter()
        .filter(|(path, _)| path.ends_with(".pack"))
        .for_each(|(path, bytes)| put_file(&old, path, bytes));
    let (blocks, _) = open(&old, Mode::Write);
    assert!(blocks.has(payload));
    assert_eq!(blocks.hide_erased([payload]).unwrap(), [payload]);
    assert!(
        !blocks.has(payload) && blocks.erased(payload) && !blocks.payloads().contains(&payload)
    );
    assert!(blocks.put_bytes(&noise(0, 900)).unwrap().new_bytes > 0);
    assert!(blocks.has(payload), "putting it again ends that");
    // The record was given up, since the payload was put again.
    let (blocks, _) = open(&disk, Mode::Write);
    blocks.put_bytes(&noise(0, 900)).unwrap();
    put_all(
        &blocks,
        &(20..40).map(|seed| noise(seed, 900)).collect::<Vec<_>>(),
    );
    for seed in 0..3 {
        blocks.put_bytes(&noise(100 + seed, 2000)).unwrap();
        blocks
            .collect(&mut |checksum| checksum == payload, false)
            .unwrap();
    }
    blocks.sync().unwrap();
    assert_eq!(blocks.hide_erased([payload]).unwrap(), []);
    assert!(blocks.has(payload));
}

#[test]
fn damaged_and_missing_packs_are_gone_on_without_when_that_is_accepted() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write);
    let all: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 900)).collect();
    put_all(&blocks, &all);
    blocks.sync().unwrap();
    drop(blocks);
    disk.remove("blocks/00000002.pack").unwrap();
    assert!(disk.flip_bit("blocks/00000004.pack", 8 * 4), "its header");
    assert!(
        disk.flip_bit("blocks/00000005.pack", 8 * 40),
        "the header of its first block"
    );
    for path in disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("index/"))
    {
        disk.remove(&path).unwrap();
    }
    disk.settle();
    let (blocks, recovery) = open(&disk, Mode::Write);
    let named: BTreeSet<&str> = recovery
        .damages
        .iter()
        .map(|damage| damage.at.file.as_str())
        .collect();
    assert_eq!(
        named,
        [
            "blocks/00000002.pack",
            "blocks/00000004.pack",
            "blocks/00000005.pack"
        ]
        .into()
    );
    let here = blocks.payloads();
    assert!(
        here.len() < all.len() - 4 && here.len() > 25,
        "{}",
        here.len()
    );
    assert_eq!(blocks.accept_damage().unwrap(), 3);
    for blocks in [
        blocks,
        open(&disk, Mode::Write).0,
        open(&disk.crash(1), Mode::ReadOnly).0,
    ] {
        assert_eq!(blocks.payloads(), here);
        assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
    }
    assert_eq!(open(&disk, Mode::ReadOnly).1.damages, []);
}

/// Runs what it is given in the middle of a payload.
struct Interrupted<'a>(&'a [u8], Option<Box<dyn FnOnce() + 'a>>);

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(out)?;
        if len == 0 {
            self.1.take().into_iter().for_each(|action| action());
        }
        Ok(len)
    }
}

#[test]
fn packs_are_opened_again_after_a_failed_write_and_nothing_that_was_synced_is_lost() {
    for fault in [Fault::Io, Fault::NoSpace] {
        for after in 0..12 {
            let disk = MemoryDisk::new();
            let (blocks, _) = open(&disk, Mode::Write);
            let synced: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 900)).collect();
            put_all(&blocks, &synced);
            blocks.sync().unwrap();
            assert!(blocks.reopen().unwrap().is_none(), "nothing has failed");
            disk.fail_at(disk.operations() + after, fault);
            let failed = (10..30).any(|seed| {
                blocks
                    .put_bytes(&noise(seed, 900))
                    .and_then(|_| blocks.sync())
                    .is_err()
            });
            assert!(
                failed && blocks.is_poisoned(),
                "{fault:?} after {after}: it did not fail"
            );
            assert!(matches!(
                blocks.put_bytes(b"new"),
                Err(BlocksError::Poisoned)
            ));
            assert!(blocks.reopen().unwrap().is_some() && !blocks.is_poisoned());
            blocks.put_bytes(&noise(50, 3000)).unwrap();
            blocks.sync().unwrap();
            for blocks in [blocks, open(&disk.crash(1), Mode::ReadOnly).0] {
                let is_here = |bytes: &Vec<u8>| {
                    blocks.read_all(Checksum::of(bytes), 1 << 20).unwrap() == *bytes
                };
                assert!(
                    synced.iter().all(is_here) && is_here(&noise(50, 3000)),
                    "{fault:?} after {after}"
                );
                assert_eq!(blocks.verify(&mut |_, _| {}).unwrap().damages, []);
            }
        }
    }
}

#[test]
fn a_put_that_began_before_a_failed_write_does_not_end_after_it() {
    let disk = MemoryDisk::new();
    let (blocks, _) = open(&disk, Mode::Write);
    let long = noise(1, 9 << 20);
    let fail_and_reopen = || {
        disk.fail_at(disk.operations(), Fault::Io);
        assert!(
            blocks
                .put_bytes(&noise(2, 900))
                .and_then(|_| blocks.sync())
                .is_err()
        );
        blocks.reopen().unwrap();
    };
    let put = blocks.put(
        &mut Interrupted(&long, Some(Box::new(fail_and_reopen))),
        &mut |_| {},
    );
    assert!(matches!(put, Err(BlocksError::Poisoned)), "{put:?}");
    assert!(!blocks.has(Checksum::of(&long)));
    blocks.put_bytes(&long).unwrap();
    blocks.sync().unwrap();
    let (blocks, _) = open(&disk.crash(1), Mode::ReadOnly);
    assert!(blocks.read_all(Checksum::of(&long), u64::MAX).unwrap() == long);
}

/// The site whose store it is.
const OWN: usize = SITES - 1;

fn options() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        memtable_records_max: 12,
        log: log::Options {
            segment_bytes: 6000,
            preallocate_bytes: 512,
        },
        blocks: BLOCKS,
        ..Options::default()
    }
}

fn open_store(disk: &MemoryDisk, mode: Mode) -> Store {
    Store::open_with(Arc::new(disk.clone()), mode, options()).unwrap()
}

/// A store with commits of several sites and own ones, and what others wrote of it.
fn store() -> (MemoryDisk, Store, Federation) {
    let steps: Vec<Step> = (0..40).map(|seed| Step::from_seed(mix(seed))).collect();
    let federation = Federation::build(ConflictRule::First, &steps);
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create(&shared, federation.id()).unwrap();
    let store = open_store(&disk, Mode::Write);
    store.merge(federation.commits().to_vec()).unwrap();
    (0..20).for_each(|number| write(&store, number).unwrap());
    (disk, store, federation)
}

fn write(store: &Store, number: u64) -> Result<(), Box<dyn std::error::Error>> {
    store.blocks().put_bytes(&noise(number, 700))?;
    store.commit(
        &key(OWN),
        vec![Record::artifact(None, Payload::of(&noise(number, 700)))],
        0,
    )?;
    Ok(())
}

fn own() -> SiteId {
    key(OWN).site_id()
}

#[test]
fn a_store_is_opened_again_after_a_failed_write() {
    for fault in [Fault::Io, Fault::NoSpace] {
        for after in 0..8 {
            let (disk, store, _) = store();
            let before = store.view().head().clone();
            disk.fail_at(disk.operations() + after, fault);
            let failed = (100..120).any(|number| write(&store, number).is_err());
            assert!(failed, "{fault:?} after {after}: it did not fail");
            assert!(
                store.is_poisoned() && write(&store, 200).is_err(),
                "{fault:?} after {after}"
            );
            assert!(store.reopen().unwrap() && !store.is_poisoned() && !store.reopen().unwrap());
            let numbers =
                |head: &uor_index_format::snapshot::Snapshot| head.frontier[&own()].number;
            assert!(
                numbers(store.view().head()) >= numbers(&before),
                "nothing acknowledged is lost"
            );
            write(&store, 300).unwrap();
            while store.maintain().unwrap() {}
            let (head, root) = (store.view().head().clone(), store.view().state().root());
            assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
            drop(store);
            let again = open_store(&disk.crash(1), Mode::ReadOnly);
            assert_eq!(
                (again.view().head(), again.view().state().root()),
                (&head, root)
            );
        }
    }
}

#[test]
fn payloads_of_a_lost_pack_are_wanted_once_more_and_the_log_is_read_for_that_once() {
    let (disk, store, _) = store();
    store.erase(Checksum::of(&noise(7, 700)), 1).unwrap();
    store.seal_index().unwrap();
    drop(store);
    disk.settle();
    disk.remove("blocks/00000002.pack").unwrap();
    let reader = open_store(&disk, Mode::ReadOnly);
    let lost: BTreeSet<Checksum> = (0..20)
        .filter(|number| *number != 7)
        .map(|number| Checksum::of(&noise(number, 700)))
        .collect();
    let lost: BTreeSet<Checksum> = lost
        .into_iter()
        .filter(|checksum| !reader.blocks().has(*checksum))
        .collect();
    assert!(
        lost.len() > 2
            && lost
                .iter()
                .all(|checksum| reader.view().wanted().contains_key(checksum))
    );
    drop(reader);
    let writer = open_store(&disk, Mode::Write);
    assert!(writer.opened().index.is_some(), "the log is read");
    while writer.maintain().unwrap() {}
    writer.seal_index().unwrap();
    drop(writer);
    let again = open_store(&disk, Mode::Write);
    assert!(again.opened().index.is_none(), "{:?}", again.opened().index);
    assert!(again.opened().blocks.has_lost(), "it is still said");
    assert!(
        lost.iter()
            .all(|checksum| again.view().wanted().contains_key(checksum))
    );
    assert!(
        !again
            .view()
            .wanted()
            .contains_key(&Checksum::of(&noise(7, 700))),
        "what was erased is not wanted"
    );
}

#[test]
fn a_damaged_log_is_salvaged_and_what_comes_again_counts_with_what_follows_it() {
    let (disk, store, federation) = store();
    let (head, root) = (store.view().head().clone(), store.view().state().root());
    let all: Vec<_> = store
        .view()
        .commits()
        .map(Result::unwrap)
        .map(|commit| (commit.domain, commit.number))
        .collect();
    let all: Vec<_> = all
        .into_iter()
        .map(|(domain, number)| store.read_commit(&domain, number).unwrap().unwrap())
        .collect();
    drop(store);
    disk.settle();
    let segments = disk
        .paths()
        .iter()
        .filter(|path| path.ends_with(".log"))
        .count();
    assert!(segments > 3 && all.len() > federation.commits().len());
    for (number, harm) in
        (1..=segments).flat_map(|number| ["flip", "noise", "gone"].map(|harm| (number, harm)))
    {
        let disk = disk.crash(0);
        let path = format!("log/{number:08}.log");
        let bytes = disk.contents(&path).unwrap();
        let is_last = number == segments;
        match harm {
            "flip" => assert!(disk.flip_bit(&path, 8 * 200)),
            "noise" => {
                let len = (bytes.len() / 2).min(2000);
                disk.open(&path, Mode::Write)
                    .unwrap()
                    .write_at(100, &noise(1, len))
                    .unwrap();
            }
            // That the last is gone looks like a log that was cut.
            _ if is_last => continue,
            _ => disk.remove(&path).unwrap(),
        }
        disk.settle();
        let context = format!("{path} {harm}");
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let salvaged = Store::salvage(&shared).unwrap();
        assert_eq!(salvaged.len(), 1, "{context}: {salvaged:?}");
        assert_eq!(salvaged[0].file, path, "{context}");
        let kept = salvaged[0]
            .kept
            .as_ref()
            .map(|kept| disk.contents(kept).unwrap().len());
        assert_eq!(kept, (harm != "gone").then_some(bytes.len()), "{context}");
        assert_eq!(
            Store::salvage(&shared).unwrap(),
            [],
            "{context}: it is whole now"
        );
        let store = open_store(&disk, Mode::Write);
        assert!(
            store.view().commits_len() < all.len() as u64,
            "{context}: something is lost"
        );
        // They are offered by domain: some wait for others.
        while store
            .merge(all.clone())
            .unwrap()
            .contains(&Verdict::Accepted)
        {}
        store.revalidate().unwrap();
        assert_eq!(
            (store.view().head(), store.view().state().root()),
            (&head, root),
            "{context}"
        );
        assert_eq!(store.verify(&mut |_| {}).unwrap().findings, [], "{context}");
        write(&store, 500).unwrap();
        let after = (store.view().head().clone(), store.view().state().root());
        while store.maintain().unwrap() {}
        drop(store);
        let store = open_store(&disk, Mode::ReadOnly);
        assert_eq!(
            (store.view().head().clone(), store.view().state().root()),
            after,
            "{context}"
        );
    }
}

#[test]
fn what_follows_own_commits_that_are_given_up_is_taken_out_and_its_numbers_are_free() {
    let (disk, store, _) = store();
    let last = store.view().head().frontier[&own()].number;
    drop(store);
    disk.settle();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let segments = disk
        .paths()
        .iter()
        .filter(|path| path.ends_with(".log"))
        .count();
    let middle = format!("log/{:08}.log", segments - 1);
    assert!(disk.flip_bit(&middle, 8 * 200));
    disk.settle();
    assert_eq!(Store::salvage(&shared).unwrap().len(), 1);
    let store = open_store(&disk, Mode::Write);
    let counted = store.view().head().frontier[&own()].number;
    assert!(
        counted < last && store.view().unaccepted_head(&own()) == Some(last),
        "{counted} of {last}"
    );
    assert!(
        write(&store, 500).is_err(),
        "not while numbers that were given lie in the log"
    );
    drop(store);
    assert!(!Store::drop_unaccepted(&shared, &own()).unwrap().is_empty());
    assert_eq!(Store::drop_unaccepted(&shared, &own()).unwrap(), []);
    let store = open_store(&disk, Mode::Write);
    assert_eq!(
        (
            store.view().head().frontier[&own()].number,
            store.view().unaccepted_head(&own())
        ),
        (counted, None)
    );
    write(&store, 500).unwrap();
    assert_eq!(store.view().head().frontier[&own()].number, counted + 1);
    assert_eq!(store.verify(&mut |_| {}).unwrap().findings, []);
}
