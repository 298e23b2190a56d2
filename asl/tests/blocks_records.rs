//! What is gone stays gone, and what lives is found, while it is erased or moves out of packs that
//! are given up, and somebody looks or puts in between: step by step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dropped;
mod observed;
mod packs;

use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;

use dropped::{MIB, check, checksums, drop_payloads, files, large, open, options, put};
use observed::{Deed, Observed};
use packs::{noise, same};
use uor_asl::blocks::{Blocks, BlocksError, Erased};
use uor_asl::disk::Mode;
use uor_asl::disk::memory::{Fault, MemoryDisk};
use uor_index_format::id::Checksum;

// Between the decision that something goes and its going.

/// The packs on `disk`; before everything that is done to it while it is armed, `look` is shown
/// them.
fn watched(
    disk: &MemoryDisk,
    pack_bytes: u64,
    look: impl Fn(&Arc<Blocks>, Deed) + Send + Sync + 'static,
) -> (Arc<Blocks>, Arc<AtomicBool>) {
    let (slot, armed) = (
        Arc::<OnceLock<Weak<Blocks>>>::default(),
        Arc::<AtomicBool>::default(),
    );
    let (taken, is_armed) = (slot.clone(), armed.clone());
    let hook = move |deed: Deed, _: &str| {
        if is_armed.load(Ordering::SeqCst) {
            look(&taken.get().and_then(Weak::upgrade).unwrap(), deed);
        }
    };
    let observed = Observed::doing(disk, hook);
    let blocks = Arc::new(
        Blocks::open_with(Arc::new(observed), Mode::Write, options(pack_bytes))
            .unwrap()
            .0,
    );
    slot.set(Arc::downgrade(&blocks)).unwrap();
    (blocks, armed)
}

/// Whoever puts a payload asks whether it is here, and if so puts nothing. From the first step of a
/// removal on the answer is no: what was decided to go would go in spite of whoever came to rest on
/// it.
#[test]
fn what_is_about_to_go_is_not_found_by_those_who_put_it() {
    type Removal = fn(&Blocks, Checksum);
    let removals: [(&str, Removal); 2] = [
        ("erased", |blocks, checksum| {
            assert_eq!(blocks.erase(checksum).unwrap().blocks, 1)
        }),
        ("collected", |blocks, checksum| {
            assert_eq!(
                blocks
                    .collect(&mut |other| other != checksum, false)
                    .unwrap()
                    .payloads,
                1
            );
        }),
    ];
    for (name, remove) in removals {
        let disk = MemoryDisk::new();
        let payloads: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, 920)).collect();
        let checksum = Checksum::of(&payloads[0]);
        let seen = Arc::<Mutex<Vec<bool>>>::default();
        let noted = seen.clone();
        // The pack is so full that the record begins another: between decision and record there are
        // steps.
        let look = move |blocks: &Arc<Blocks>, deed: Deed| {
            if deed.writes() {
                noted.lock().unwrap().push(blocks.has(checksum));
            }
        };
        let (blocks, armed) = watched(&disk, 4096, look);
        put(&blocks, &payloads);
        assert_eq!(files(&disk, ".pack").len(), 1);
        armed.store(true, Ordering::SeqCst);
        remove(&blocks, checksum);
        armed.store(false, Ordering::SeqCst);
        assert!(
            files(&disk, ".pack").contains(&"blocks/00000002.pack".to_owned()),
            "{name}: another was begun"
        );
        let seen = seen.lock().unwrap().clone();
        assert!(seen.len() > 8, "{name}: {} steps", seen.len());
        assert!(
            !seen.contains(&true),
            "{name}: found at {:?}",
            seen.iter().position(|found| *found)
        );
        assert!(blocks.put_bytes(&payloads[0]).unwrap().new_bytes > 900);
        blocks.sync().unwrap();
        check(&blocks, &disk, 4096, &payloads, &[]);
    }
}

/// While erasing looks at what there is, somebody puts the payload: it is then as if that had come
/// after.
#[test]
fn what_is_put_while_it_is_erased_is_there_and_no_bytes_stay_of_what_is_not() {
    for was_here in [false, true] {
        let mut step = 0;
        loop {
            let disk = MemoryDisk::new();
            let (secret, long) = (noise(1, 900), noise(2, 5 << 20));
            let checksum = Checksum::of(&secret);
            let (steps, bytes) = (AtomicU64::new(0), secret.clone());
            let look = move |blocks: &Arc<Blocks>, deed: Deed| {
                if deed == Deed::Read && steps.fetch_add(1, Ordering::SeqCst) == step {
                    blocks.put_bytes(&bytes).unwrap();
                }
            };
            let (blocks, armed) = watched(&disk, 1 << 26, look);
            put(&blocks, slice::from_ref(&long));
            if was_here {
                put(&blocks, slice::from_ref(&secret));
            }
            armed.store(true, Ordering::SeqCst);
            let erased = blocks.erase(checksum).unwrap();
            armed.store(false, Ordering::SeqCst);
            let is_put = blocks.has(checksum);
            assert_eq!(blocks.erased(checksum), !is_put);
            if is_put {
                assert_eq!(erased, Erased::default(), "step {step}");
                blocks.sync().unwrap();
                check(
                    &blocks,
                    &disk,
                    1 << 26,
                    &[secret.clone(), long.clone()],
                    &[],
                );
                assert_eq!(blocks.erase(checksum).unwrap().blocks, 1);
            }
            check(
                &blocks,
                &disk,
                1 << 26,
                slice::from_ref(&long),
                slice::from_ref(&secret),
            );
            assert!(
                !holds(&disk, &secret[..64]),
                "step {step}: its bytes are still there"
            );
            if !is_put {
                break;
            }
            step += 1;
        }
        assert!(step > 1, "{step} steps");
    }
}

/// Only of the last pack is it known, when packs are opened, that erasing was not finished: it
/// stays the last until it is.
#[test]
fn the_pack_in_which_erasing_is_begun_is_not_closed_before_it_is_done() {
    const PACK: u64 = 4096;
    let disk = MemoryDisk::new();
    let secret = noise(1, 900);
    let checksum = Checksum::of(&secret);
    let [is_begun, is_put] = std::array::from_fn(|_| Arc::<AtomicBool>::default());
    let look = {
        let (disk, secret, is_begun, is_put) = (
            disk.clone(),
            secret.clone(),
            is_begun.clone(),
            is_put.clone(),
        );
        move |blocks: &Arc<Blocks>, deed: Deed| {
            // The record is durable, and its bytes are about to be overwritten.
            if deed != Deed::Open || is_begun.swap(true, Ordering::SeqCst) {
                return;
            }
            let (blocks, done) = (blocks.clone(), is_put.clone());
            // This needs another pack.
            thread::spawn(move || {
                blocks.put_bytes(&noise(2, 4000)).unwrap();
                done.store(true, Ordering::SeqCst);
            });
            (0..20_000)
                .take_while(|_| !is_put.load(Ordering::SeqCst))
                .for_each(|_| thread::yield_now());
            assert!(!is_put.load(Ordering::SeqCst), "the pack was closed");
            let left = disk.crash(1);
            let blocks = open(&left, Mode::Write, PACK);
            assert!(blocks.erased(checksum));
            assert!(!holds(&left, &secret[..64]), "finished when it is opened");
        }
    };
    let (blocks, armed) = watched(&disk, PACK, look);
    put(&blocks, &[secret, noise(3, 900)]);
    armed.store(true, Ordering::SeqCst);
    assert_eq!(blocks.erase(checksum).unwrap().blocks, 1);
    assert!(is_begun.load(Ordering::SeqCst));
    while !is_put.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    assert_eq!(files(&disk, ".pack").len(), 2);
}

/// Once erasing is done, whatever is there instead of zeros is damage.
#[test]
fn what_was_erased_is_held_to_be_zeros() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, MIB);
    let all = large(0..3);
    put(&blocks, &all);
    assert_eq!(blocks.erase(Checksum::of(&all[0])).unwrap().blocks, 1);
    blocks.sync().unwrap();
    check(&blocks, &disk, MIB, &all[1..], &all[..1]);
    let closed = disk.crash(0);
    is_not_zero(&disk, &blocks);
    // The record is in a closed pack, and in its run.
    let blocks = open(&closed, Mode::Write, MIB);
    put(&blocks, &large(10..70));
    assert_eq!(
        files(&closed, ".run"),
        ["index/blocks-00000001-00000001.run"]
    );
    check(&blocks, &closed, MIB, &all[1..], &all[..1]);
    is_not_zero(&closed, &blocks);
}

/// Puts a wrong bit where the first payload was, and has it found.
fn is_not_zero(disk: &MemoryDisk, writer: &Blocks) {
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 200));
    let (reader, again) = (
        open(disk, Mode::ReadOnly, MIB),
        open(disk, Mode::Write, MIB),
    );
    for blocks in [writer, &reader, &again] {
        let damages = blocks.verify(&mut |_, _| {}).unwrap().damages;
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert_eq!(
            (damages[0].at.what, damages[0].at.file.as_str()),
            ("erased contents", "blocks/00000001.pack")
        );
    }
}

/// What an erasure has half done is known when the packs are opened, and not before.
#[test]
fn after_an_erasure_that_failed_nothing_is_put_before_it_is_finished() {
    let disk = MemoryDisk::new();
    let failing = disk.clone();
    // Its bytes are about to be overwritten.
    let look = move |_: &Arc<Blocks>, deed: Deed| {
        if deed == Deed::Open {
            failing.fail_at(failing.operations() + 1, Fault::Io);
        }
    };
    let (blocks, armed) = watched(&disk, MIB, look);
    let all = large(0..3);
    put(&blocks, &all);
    armed.store(true, Ordering::SeqCst);
    let error = blocks.erase(Checksum::of(&all[0])).unwrap_err();
    assert!(matches!(error, BlocksError::Disk(_)), "{error}");
    armed.store(false, Ordering::SeqCst);
    assert!(matches!(
        blocks.put_bytes(b"another"),
        Err(BlocksError::Poisoned)
    ));
    let blocks = open(&disk, Mode::Write, MIB);
    check(&blocks, &disk, MIB, &all[1..], &all[..1]);
    assert!(blocks.erased(Checksum::of(&all[0])) && !holds(&disk, &all[0][..64]));
    // And is finished for good, whatever comes behind it.
    put(&blocks, &large(3..5));
    drop(blocks);
    let left = disk.contents("blocks/00000001.pack");
    check(
        &open(&disk, Mode::Write, MIB),
        &disk,
        MIB,
        &[&all[1..], &large(3..5)].concat(),
        &all[..1],
    );
    assert_eq!(disk.contents("blocks/00000001.pack"), left);
}

#[test]
fn where_headers_are_damaged_nothing_is_erased() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, MIB);
    let all = large(0..3);
    put(&blocks, &all);
    // The header of the second.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * (32 + 20_064 + 5)));
    for bytes in [&all[0], &all[2]] {
        let error = blocks.erase(Checksum::of(bytes)).unwrap_err();
        assert!(
            matches!(&error, BlocksError::Damaged(damage) if damage.at.what == "block header"),
            "{error}"
        );
        assert!(same(&blocks, bytes) && !blocks.erased(Checksum::of(bytes)));
    }
}

/// Its manifest is zeros then, which is no damage and says nothing of anybody's chunks.
#[test]
fn what_is_erased_once_more_takes_nobody_elses_garbage_along() {
    const PACK: u64 = 1 << 30;
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, PACK);
    let [first, other] = [1, 2].map(|seed| noise(seed, 5 << 20));
    put(&blocks, &[first.clone(), other.clone()]);
    drop_payloads(&blocks, slice::from_ref(&other));
    assert!(blocks.erase(Checksum::of(&first)).unwrap().blocks > 2);
    let again = blocks.erase(Checksum::of(&first)).unwrap();
    assert!(again.blocks <= 1, "{again:?}");
    assert!(holds(&disk, &other[..64]), "dead, and in nobody's way");
}

/// A block of which garbage collection has given the space back takes space when it is overwritten:
/// on a full disk, only the ends that share a page with others are.
#[test]
fn what_was_given_back_is_erased_on_a_full_disk_up_to_its_ends() {
    const PACK: u64 = 1 << 26;
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, PACK);
    let all: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 400_001)).collect();
    put(&blocks, &all);
    // What lives cannot all be moved, and is too much for the room there is: the pack stays, with
    // holes.
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * 200));
    disk.set_capacity(Some(disk.used() + (64 << 10)));
    let live = checksums(&all.iter().step_by(2).cloned().collect::<Vec<_>>());
    let collected = blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(collected.bytes_held > 0, "{collected:?}");
    let (secret, end) = (Checksum::of(&all[1]), &all[1][400_001 - 64..]);
    assert!(holds(&disk, end) && !holds(&disk, &all[1][200_000..200_064]));
    disk.set_capacity(Some(disk.used() + (160 << 10)));
    assert_eq!(blocks.erase(secret).unwrap().blocks, 1);
    assert!(!holds(&disk, end) && !holds(&disk, &all[1][..64]));
    disk.set_capacity(None);
    let blocks = open(&disk, Mode::Write, PACK);
    assert!(
        blocks.erased(secret)
            && all
                .iter()
                .skip(2)
                .step_by(2)
                .all(|bytes| same(&blocks, bytes))
    );
}

/// Whether the packs have these bytes anywhere.
fn holds(disk: &MemoryDisk, bytes: &[u8]) -> bool {
    let mut packs = files(disk, ".pack")
        .into_iter()
        .map(|path| disk.contents(&path).unwrap());
    packs.any(|pack| pack.windows(bytes.len()).any(|window| window == bytes))
}

/// Where there is no room for all that moves out of a pack at once, it moves in slices. What is
/// left behind of a slice is said to be gone, and what has moved is durable, before its space is
/// given back.
#[test]
fn what_moves_in_slices_is_recorded_and_durable_before_its_space_goes() {
    const PACK: u64 = 1 << 28;
    let disk = MemoryDisk::new();
    let payloads: Vec<Vec<u8>> = (0..300).map(|seed| noise(seed, 30_000)).collect();
    let live: Arc<Vec<Vec<u8>>> = Arc::new(payloads.iter().step_by(2).cloned().collect());
    let (punches, looks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let look = {
        let (disk, live, punches, looks) =
            (disk.clone(), live.clone(), punches.clone(), looks.clone());
        move |_: &Arc<Blocks>, deed: Deed| {
            if deed != Deed::Punch || !punches.fetch_add(1, Ordering::SeqCst).is_multiple_of(29) {
                return;
            }
            let left = disk.crash(looks.fetch_add(1, Ordering::SeqCst));
            left.set_capacity(None);
            let (blocks, _) =
                Blocks::open_with(Arc::new(left), Mode::Write, options(PACK)).unwrap();
            assert!(live.iter().all(|bytes| same(&blocks, bytes)), "durable");
            assert_eq!(
                blocks.collect(&mut |_| true, true).unwrap().blocks,
                0,
                "recorded"
            );
        }
    };
    let (blocks, armed) = watched(&disk, PACK, look);
    put(&blocks, &payloads);
    disk.set_capacity(Some(disk.used() + (64 << 10)));
    armed.store(true, Ordering::SeqCst);
    let alive = checksums(&live);
    let collected = blocks
        .collect(&mut |checksum| alive.contains(&checksum), false)
        .unwrap();
    armed.store(false, Ordering::SeqCst);
    assert_eq!(collected.bytes_held, 0, "{collected:?}");
    assert!(
        punches.load(Ordering::SeqCst) > 200 && looks.load(Ordering::SeqCst) > 6,
        "more than what was dead: {punches:?}"
    );
    let gone: Vec<Vec<u8>> = payloads.iter().skip(1).step_by(2).cloned().collect();
    check(&blocks, &disk, PACK, &live, &gone);
}

// Packs that are given up, with records in them.

#[test]
fn an_erased_payload_does_not_come_back_when_a_longer_one_moves_that_it_is_a_part_of() {
    const PACK: u64 = 1 << 26;
    let long = noise(1, 9 << 20);
    let part = {
        let scratch = open(&MemoryDisk::new(), Mode::Write, PACK);
        scratch.put_bytes(&long).unwrap();
        long[..scratch.chunks(Checksum::of(&long)).unwrap()[0].len as usize].to_vec()
    };
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, PACK);
    let garbage = noise(2, 20 << 20);
    put(&blocks, &[part.clone(), long.clone(), garbage.clone()]);
    assert_eq!(
        blocks.erase(Checksum::of(&part)).unwrap().blocks,
        0,
        "its bytes are another's"
    );
    let (there, gone) = ([long], [part.clone(), garbage.clone()]);
    check(&blocks, &disk, PACK, &there, slice::from_ref(&part));
    drop_payloads(&blocks, &[garbage]);
    assert_eq!(files(&disk, ".pack"), ["blocks/00000002.pack"]);
    check(&blocks, &disk, PACK, &there, &gone);
    for blocks in [&blocks, &open(&disk, Mode::ReadOnly, PACK)] {
        assert!(blocks.erased(Checksum::of(&part)));
    }
    assert!(
        blocks.put_bytes(&part).unwrap().new_bytes < 1000,
        "a manifest"
    );
    blocks.sync().unwrap();
    check(&blocks, &disk, PACK, &[there[0].clone(), part], &gone[1..]);
}

/// What cannot be walked may hold what nobody else does.
#[test]
fn a_pack_with_a_damaged_header_is_not_given_up() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, MIB);
    let all = large(0..110);
    put(&blocks, &all);
    assert!(disk.flip_bit("blocks/00000001.pack", 8 * (32 + 20_064 + 5)));
    let live = checksums(&[&all[..3], &all[60..62]].concat());
    let collected = blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(collected.packs_rewritten > 0);
    assert!(files(&disk, ".pack").contains(&"blocks/00000001.pack".to_owned()));
    assert!(!files(&disk, ".pack").contains(&"blocks/00000002.pack".to_owned()));
    assert!(
        [&all[..1], &all[2..3], &all[60..62]]
            .concat()
            .iter()
            .all(|bytes| same(&blocks, bytes))
    );
}

/// Where space is short, dead blocks are punched out of packs that stay, and of no others.
#[test]
fn no_file_is_made_again_of_a_pack_that_was_given_up_before() {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, MIB);
    let all = large(0..300);
    put(&blocks, &all);
    disk.set_capacity(Some(disk.used() + (64 << 10)));
    // Of the first pack nothing lives, of the others each second payload.
    let live = checksums(&all[52..].iter().step_by(2).cloned().collect::<Vec<_>>());
    let collected = blocks
        .collect(&mut |checksum| live.contains(&checksum), false)
        .unwrap();
    assert!(collected.packs_rewritten > 3, "{collected:?}");
    assert!(
        files(&disk, ".pack")
            .iter()
            .all(|path| !disk.contents(path).unwrap().is_empty())
    );
    assert!(!files(&disk, ".pack").contains(&"blocks/00000001.pack".to_owned()));
    assert_eq!(blocks.payloads(), live.into_iter().collect::<Vec<_>>());
}

/// Two packs that are full and a third: the first holds `old`, and lives; the second is garbage,
/// but for what `remove` has recorded in it, and is given up.
fn given_up(remove: impl Fn(&Blocks, &[Vec<u8>])) -> (MemoryDisk, Blocks, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let blocks = open(&disk, Mode::Write, MIB);
    let (old, garbage, new) = (large(0..52), large(100..152), large(200..203));
    put(&blocks, &old);
    put(&blocks, &garbage[..1]);
    remove(&blocks, &old);
    put(&blocks, &garbage[1..]);
    put(&blocks, &new);
    assert_eq!(files(&disk, ".pack").len(), 3);
    let collected = drop_payloads(&blocks, &garbage);
    assert_eq!(collected.packs_rewritten, 1);
    assert_eq!(
        files(&disk, ".pack"),
        ["blocks/00000001.pack", "blocks/00000003.pack"]
    );
    (disk, blocks, [old, new].concat())
}

#[test]
fn what_was_dropped_stays_so_when_the_pack_with_the_record_goes() {
    let (disk, blocks, all) = given_up(|blocks, old| {
        drop_payloads(blocks, &old[..1]);
    });
    check(&blocks, &disk, MIB, &all[1..], &all[..1]);
    // And once more, from where that left the record.
    let more = large(300..400);
    put(&blocks, &more);
    drop_payloads(&blocks, &more);
    assert!(!files(&disk, ".pack").contains(&"blocks/00000003.pack".to_owned()));
    check(&blocks, &disk, MIB, &all[1..], &all[..1]);
}

#[test]
fn what_was_erased_is_still_held_to_be_zeros_when_the_pack_with_the_record_goes() {
    let erase = |blocks: &Blocks, old: &[Vec<u8>]| {
        assert_eq!(blocks.erase(Checksum::of(&old[0])).unwrap().blocks, 1)
    };
    let (disk, blocks, all) = given_up(erase);
    check(&blocks, &disk, MIB, &all[1..], &all[..1]);
    for blocks in [&blocks, &open(&disk, Mode::ReadOnly, MIB)] {
        assert!(blocks.erased(Checksum::of(&all[0])));
    }
    is_not_zero(&disk, &blocks);
}
