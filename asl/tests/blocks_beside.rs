//! A reader that opens the packs while their writer does something between any two of its steps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod observed;
mod packs;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use observed::{Deed, Observed};
use packs::noise;
use uor_asl::blocks::{Blocks, BlocksError, Options, Recovery};
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_index_format::id::Checksum;

const OPTIONS: Options = Options {
    pack_bytes: 4096,
    threads: 1,
};

fn payload(seed: u64) -> Vec<u8> {
    noise(seed, 900)
}

fn checksum(seed: u64) -> Checksum {
    Checksum::of(&payload(seed))
}

/// A writer that has put payloads 0 to 21, not all of them synced, in six packs.
fn writer() -> (MemoryDisk, Blocks) {
    let disk = MemoryDisk::new();
    let (blocks, _) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, OPTIONS).unwrap();
    for seed in 0..22 {
        blocks.put_bytes(&payload(seed)).unwrap();
    }
    (disk, blocks)
}

/// Opens to read, with `action` before step number `at`; says whether it was reached.
fn open_with(
    disk: &MemoryDisk,
    at: u64,
    action: impl FnOnce() + Send + 'static,
) -> (Blocks, Recovery, bool) {
    let (step, action) = (AtomicU64::new(0), Mutex::new(Some(action)));
    let action = Arc::new(action);
    let waiting = Arc::clone(&action);
    let hook = move |_: Deed, _: &str| {
        if step.fetch_add(1, Ordering::SeqCst) == at {
            let action = waiting.lock().unwrap().take();
            action.unwrap()();
        }
    };
    let hooked = Observed::reading(disk, hook);
    let (blocks, recovery) = Blocks::open_with(Arc::new(hooked), Mode::ReadOnly, OPTIONS).unwrap();
    let done = action.lock().unwrap().is_none();
    (blocks, recovery, done)
}

/// Has `action` done before each step of opening, and has every payload that lives before and after
/// looked for.
fn between_any_two_steps(action: fn(&Blocks), lives: fn(u64) -> bool) {
    let mut step = 0;
    loop {
        let (disk, writer) = writer();
        writer.sync().unwrap();
        let (reader, recovery, done) = open_with(&disk, step, move || action(&writer));
        assert_eq!(recovery.damages, [], "step {step}");
        for seed in (0..22).filter(|seed| lives(*seed)) {
            assert_eq!(
                reader.read_all(checksum(seed), 900).unwrap(),
                payload(seed),
                "payload {seed}, step {step}"
            );
        }
        if !done {
            break;
        }
        step += 1;
    }
    assert!(step > 20, "{step} steps");
}

#[test]
fn runs_may_be_merged_between_any_two_steps() {
    let grow = |writer: &Blocks| {
        for seed in 100..120 {
            writer.put_bytes(&payload(seed)).unwrap();
        }
        writer.sync().unwrap();
    };
    between_any_two_steps(grow, |_| true);
}

#[test]
fn packs_may_be_given_up_between_any_two_steps() {
    let collect = |writer: &Blocks| {
        let live: BTreeSet<Checksum> = (0..22).step_by(5).map(checksum).collect();
        assert!(
            writer
                .collect(&mut |checksum| live.contains(&checksum), false)
                .unwrap()
                .packs_rewritten
                > 0
        );
    };
    between_any_two_steps(collect, |seed| seed % 5 == 0);
}

#[test]
fn payloads_may_be_erased_between_any_two_steps() {
    let erase = |writer: &Blocks| {
        for seed in [0, 20] {
            writer.erase(checksum(seed)).unwrap();
        }
    };
    between_any_two_steps(erase, |seed| ![0, 20].contains(&seed));
}

#[test]
fn what_is_erased_before_it_is_known_to_be_durable_cuts_nothing_off() {
    for step in 0.. {
        let disk = MemoryDisk::new();
        // All in one pack.
        let options = Options {
            pack_bytes: 1 << 20,
            threads: 1,
        };
        let (writer, _) = Blocks::open_with(Arc::new(disk.clone()), Mode::Write, options).unwrap();
        writer.put_bytes(&payload(0)).unwrap();
        writer.sync().unwrap();
        // Written, because it is long, and not synced.
        let long = noise(1, 200_000);
        writer.put_bytes(&long).unwrap();
        writer.put_bytes(&noise(2, 200_000)).unwrap();
        let secret = Checksum::of(&long);
        let erase = move || assert_eq!(writer.erase(secret).unwrap().blocks, 1);
        let (reader, recovery, done) = open_with(&disk, step, erase);
        assert_eq!(recovery.damages, [], "step {step}");
        if !done {
            break;
        }
        assert!(reader.read_all(checksum(0), 900).is_ok());
        // What comes behind it was made durable by erasing.
        let seen = reader.has(Checksum::of(&noise(2, 200_000)));
        assert!(
            seen || recovery.cut.is_none(),
            "step {step}: {:?}",
            recovery.cut
        );
    }
}

#[test]
fn a_reader_gives_up_on_packs_that_never_come_to_rest() {
    let (disk, writer) = writer();
    writer.sync().unwrap();
    let path = disk
        .paths()
        .into_iter()
        .find(|path| path.ends_with(".run"))
        .unwrap();
    let bytes = disk.contents(&path).unwrap();
    let restless = {
        let (disk, path) = (disk.clone(), path.clone());
        move |deed: Deed, asked: &str| match deed {
            // It is there whenever the directory is listed, and gone whenever it is opened.
            Deed::List => {
                disk.open(&path, Mode::Write)
                    .unwrap()
                    .write_at(0, &bytes)
                    .unwrap();
            }
            Deed::Open if asked == path => disk.remove(&path).unwrap(),
            _ => {}
        }
    };
    let hooked = Observed::reading(&disk, restless);
    let error = Blocks::open_with(Arc::new(hooked), Mode::ReadOnly, OPTIONS)
        .err()
        .unwrap();
    assert!(
        matches!(&error, BlocksError::Unsettled { file, .. } if *file == path),
        "{error}"
    );
    assert!(
        error.to_string().contains("a writer keeps changing them"),
        "{error}"
    );
}
