//! How long it takes to import a generated `zfs send` stream, beside reading, hashing and
//! compressing the same bytes.
//!
//! ```sh
//! cargo bench -p uor-node --bench import -- [GIB] [FILES] [DIR]
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on may stop")]

#[expect(dead_code, reason = "a test uses the rest")]
mod generate;

use std::fs::{self, File};
use std::io::{BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use generate::Shape;
use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_node::site::{AddOptions, ImportOptions, Site, Source};

/// As the blocks of a store do it.
const CHUNK_LEN: usize = 1 << 20;
const LEVEL: i32 = 3;

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let gib = args.next().map_or(2.0, |arg| arg.parse::<f64>().unwrap());
    let files = args.next().map_or(64, |arg| arg.parse().unwrap());
    let dir = args
        .next()
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
        .join("bench-import");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few GiB"
    )]
    let shape = Shape {
        files,
        file_len: (gib * f64::from(1 << 30)) as u64 / files,
    };
    let full = dir.join("full");
    let increment = dir.join("increment");
    let (full_len, increment_len) = (
        generate::full(&shape, &full),
        generate::increment(&shape, &increment),
    );
    println!(
        "a stream of {}, {files} files; an increment of {}",
        mib(full_len),
        mib(increment_len)
    );

    measure("read", full_len, || each_chunk(&full, |_| {}));
    measure("read, BLAKE3", full_len, || {
        let mut hasher = blake3::Hasher::new();
        each_chunk(&full, |chunk| {
            hasher.update(&chunk);
        });
    });
    let hash_and_compress = |threads| {
        let out = dir.join("compressed");
        let what = format!("read, BLAKE3, zstd {LEVEL}, {threads} threads");
        measure(&what, full_len, || compress_on(&full, threads, None));
        measure(&format!("{what}, write"), full_len, || {
            compress_on(&full, threads, Some(&out))
        })
    };
    hash_and_compress(1);
    let best = hash_and_compress(thread::available_parallelism().unwrap().get());

    let site = site(&dir.join("added"));
    let added = measure("uor add", full_len, || {
        site.add(
            vec![Source::Path(full.clone())],
            &AddOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    });
    let site = self::site(&dir.join("imported"));
    let imported = measure("uor import zfs", full_len, || import(&site, &full));
    println!(
        "  import takes {:.2} of hashing, compressing and writing, {:.2} of adding",
        imported / best,
        imported / added
    );
    measure("uor import zfs, the increment", increment_len, || {
        import(&site, &increment)
    });
    println!("  largest resident size: {}", peak());
    fs::remove_dir_all(&dir).unwrap();
}

fn site(dir: &Path) -> Site {
    Site::init(dir, Some("bench"), ConflictRule::First).unwrap();
    Site::open(dir, Mode::Write).unwrap()
}

fn import(site: &Site, stream: &Path) {
    let report = site
        .import_zfs(
            &mut File::open(stream).unwrap(),
            &ImportOptions::default(),
            &mut |_| {},
        )
        .unwrap();
    println!(
        "  {} new",
        mib(report
            .imported
            .iter()
            .map(|imported| imported.new_bytes)
            .sum())
    );
}

/// Seconds that something took.
#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn measure(what: &str, bytes: u64, act: impl FnOnce()) -> f64 {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    act();
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let speed = bytes as f64 / seconds / f64::from(1 << 20);
    println!("{what:<42} {seconds:7.2} s  {speed:8.0} MiB/s  {cpu:7.2} s of processors");
    seconds
}

/// What all threads of this process have used, as the system tells it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2);
    fields
        .map(|ticks| ticks.parse::<f64>().unwrap_or_default())
        .sum::<f64>()
        / 100.0
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn each_chunk(path: &Path, mut act: impl FnMut(Vec<u8>)) {
    let mut file = BufReader::with_capacity(CHUNK_LEN, File::open(path).unwrap());
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        if file
            .by_ref()
            .take(CHUNK_LEN as u64)
            .read_to_end(&mut chunk)
            .unwrap()
            == 0
        {
            return;
        }
        act(chunk);
    }
}

fn compress_on(path: &Path, threads: usize, out: Option<&Path>) {
    let out = out.map(|out| Mutex::new(File::create(out).unwrap()));
    let (sender, receiver) = sync_channel::<Vec<u8>>(2 * threads);
    let receiver = Arc::new(Mutex::new(receiver));
    thread::scope(|scope| {
        for _ in 0..threads {
            let (receiver, out) = (Arc::clone(&receiver), &out);
            scope.spawn(move || {
                let mut compressor = zstd::bulk::Compressor::new(LEVEL).unwrap();
                loop {
                    let Ok(chunk) = receiver.lock().unwrap().recv() else {
                        return;
                    };
                    let (_, compressed) = std::hint::black_box((
                        blake3::hash(&chunk),
                        compressor.compress(&chunk).unwrap(),
                    ));
                    if let Some(out) = out {
                        out.lock().unwrap().write_all(&compressed).unwrap();
                    }
                }
            });
        }
        each_chunk(path, |chunk| sender.send(chunk).unwrap());
        drop(sender);
    });
    if let Some(out) = out {
        out.into_inner().unwrap().sync_all().unwrap();
    }
}

/// The largest resident size of this process, as the system tells it.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
