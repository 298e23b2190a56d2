//! What the machine can do: nothing that is built on it can do better.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use uor_replay_tests::random::Random;

use crate::clock::{median, percentiles_us, timed};
use crate::files;
use crate::report::{MACHINE, Report};
use crate::system::Result;

/// Every work of this module.
pub(crate) const WORKS: &[&str] = &[
    "memory-read",
    "memory-dependent",
    "memory-independent",
    "blake3-large",
    "blake3-record",
    "disk-write",
    "disk-read",
    "disk-random",
    "sync-growing",
    "sync-preallocated",
    "sync-zeroed",
];

const REPEATS: usize = 5;
/// Far beyond the caches.
const MEMORY_LINES: usize = 1 << 24;
const LINE_READS: usize = 1 << 22;
const FILE_BYTES: usize = 1 << 30;
const BUFFER_BYTES: usize = 1 << 20;
const PAGE: usize = 4096;
const RANDOM_READS: usize = 2000;
const SYNCS: usize = 400;

type Line = [u64; 8];

/// Measures memory, hashing and the disk under `dir`.
pub(crate) fn measure(dir: &Path, report: &mut Report) -> Result<()> {
    memory(report)?;
    hashing(report)?;
    disk(dir, report)?;
    syncs(dir, report)
}

fn repeated(mut work: impl FnMut() -> f64) -> f64 {
    median((0..REPEATS).map(|_| work()).collect())
}

fn memory(report: &mut Report) -> Result<()> {
    let mut lines: Vec<Line> = (0..MEMORY_LINES as u64).map(|index| [index; 8]).collect();
    let bytes = size_of_val(lines.as_slice()) as f64;
    let read = || {
        let sum = lines
            .iter()
            .flatten()
            .fold(0_u64, |sum, word| sum.wrapping_add(*word));
        black_box(sum)
    };
    report.add(
        "memory-read",
        MACHINE,
        repeated(|| bytes / timed(read).1.as_secs_f64()),
        "",
    )?;

    let mut random = Random::new(1);
    let jumps: Vec<usize> = (0..LINE_READS)
        .map(|_| random.index(MEMORY_LINES))
        .collect();
    let jump = || {
        black_box(
            jumps
                .iter()
                .fold(0_u64, |sum, line| sum.wrapping_add(lines[*line][0])),
        )
    };
    let independent = repeated(|| timed(jump).1.as_secs_f64() / LINE_READS as f64);
    report.add("memory-independent", MACHINE, independent, "1 GiB")?;

    // One cycle through all lines (Sattolo): each names the next.
    for last in (1..MEMORY_LINES).rev() {
        let other = random.index(last);
        let (here, there) = (lines[last][0], lines[other][0]);
        (lines[last][0], lines[other][0]) = (there, here);
    }
    let chase = || {
        let next = |line: u64, _| lines[usize::try_from(line).unwrap_or_default()][0];
        black_box((0..LINE_READS).fold(0, next))
    };
    let dependent = repeated(|| timed(chase).1.as_secs_f64() / LINE_READS as f64);
    report.add("memory-dependent", MACHINE, dependent, "1 GiB")
}

fn hashing(report: &mut Report) -> Result<()> {
    let input = vec![7_u8; 64 << 20];
    let large =
        repeated(|| input.len() as f64 / timed(|| black_box(blake3::hash(&input))).1.as_secs_f64());
    report.add("blake3-large", MACHINE, large, "")?;
    let records = input.as_chunks::<128>().0;
    let all = || {
        for record in records {
            black_box(blake3::hash(record));
        }
    };
    report.add(
        "blake3-record",
        MACHINE,
        repeated(|| timed(all).1.as_secs_f64() / records.len() as f64),
        "one by one",
    )
}

fn disk(dir: &Path, report: &mut Report) -> Result<()> {
    let path = dir.join("limits");
    let buffer = noise(BUFFER_BYTES);
    let (written, duration) = timed(|| {
        let mut file = File::create(&path)?;
        (0..FILE_BYTES / BUFFER_BYTES).try_for_each(|_| file.write_all(&buffer))?;
        file.sync_all()
    });
    written?;
    report.add(
        "disk-write",
        MACHINE,
        FILE_BYTES as f64 / duration.as_secs_f64(),
        "",
    )?;

    let how = files::forget(&path)?;
    let mut file = File::open(&path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (read, duration) =
        timed(|| (0..FILE_BYTES / BUFFER_BYTES).try_for_each(|_| file.read_exact(&mut buffer)));
    read?;
    report.add(
        "disk-read",
        MACHINE,
        FILE_BYTES as f64 / duration.as_secs_f64(),
        how,
    )?;

    let how = files::forget(&path)?;
    let mut random = Random::new(2);
    let mut latencies = Vec::new();
    for _ in 0..RANDOM_READS {
        let page = random.below((FILE_BYTES / PAGE) as u64);
        let (read, latency) = timed(|| file.read_exact_at(&mut buffer[..PAGE], page * PAGE as u64));
        read?;
        latencies.push(latency);
    }
    let (p50, p99) = percentiles_us(latencies);
    report.add(
        "disk-random",
        MACHINE,
        p50 / 1e6,
        format!("p99 {p99:.0} µs; {how}"),
    )?;
    Ok(std::fs::remove_file(&path)?)
}

/// How the place of an append is prepared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Growing,
    Preallocated,
    Zeroed,
}

fn syncs(dir: &Path, report: &mut Report) -> Result<()> {
    let rooms = [
        ("sync-growing", Room::Growing),
        ("sync-preallocated", Room::Preallocated),
        ("sync-zeroed", Room::Zeroed),
    ];
    for (work, room) in rooms {
        let (p50, p99) = percentiles_us(sync_latencies(&dir.join("syncs"), room)?);
        report.add(work, MACHINE, p50 / 1e6, format!("p99 {p99:.0} µs"))?;
    }
    Ok(())
}

fn sync_latencies(path: &Path, room: Room) -> Result<Vec<std::time::Duration>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)?;
    let len = SYNCS * PAGE;
    match room {
        Room::Growing => {}
        Room::Preallocated => fallocate(&file, FallocateFlags::empty(), 0, len as u64)?,
        Room::Zeroed => file.write_all_at(&vec![0; len], 0)?,
    }
    file.sync_all()?;
    let page = noise(PAGE);
    let mut latencies = Vec::new();
    for at in 0..SYNCS {
        let (synced, latency) = timed(|| {
            file.write_all_at(&page, (at * PAGE) as u64)?;
            file.sync_data()
        });
        synced?;
        latencies.push(latency);
    }
    std::fs::remove_file(path)?;
    Ok(latencies)
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new(3);
    (0..len / 8)
        .flat_map(|_| random.next().to_le_bytes())
        .collect()
}
