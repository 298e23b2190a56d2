//! How fast payloads are put, beside what bounds it: `cargo run --release -p uor-asl --example blocks -- DIR [MIB]`.

#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement prints")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use uor_asl::blocks::Blocks;
use uor_asl::disk::Mode;
use uor_asl::disk::real::RealDisk;

const SMALL_FILES: usize = 50_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap();
    let mib: usize = args.next().map_or(1024, |mib| mib.parse().unwrap());
    let dir = Path::new(&dir);
    fs::create_dir_all(dir).unwrap();
    let large = [("random", dir.join("random")), ("text", dir.join("text"))];
    write_large(&large[0].1, mib, random);
    write_large(&large[1].1, mib, text);
    for (name, path) in &large {
        let limit = timed(|| read_and_hash(path));
        println!("{name:>7} read + BLAKE3     {}", rate(mib, limit));
        let store = dir.join("store");
        let _ = fs::remove_dir_all(&store);
        let (blocks, _) = Blocks::open(Arc::new(RealDisk::new(&store)), Mode::Write).unwrap();
        let mut put = Duration::ZERO;
        let all = timed(|| {
            put = timed(|| {
                blocks.put(&mut File::open(path).unwrap(), &mut |_| {}).unwrap();
            });
            blocks.sync().unwrap();
        });
        println!("{name:>7} put               {} ({:.2} of the limit)", rate(mib, put), ratio(limit, put));
        println!("{name:>7} put and sync      {} ({:.2} of the limit)", rate(mib, all), ratio(limit, all));
        let again = timed(|| {
            blocks.put(&mut File::open(path).unwrap(), &mut |_| {}).unwrap();
        });
        println!("{name:>7} put again         {}", rate(mib, again));
        let verify = timed(|| {
            blocks.verify(&mut |_, _| {}).unwrap();
        });
        println!("{name:>7} verify            {}", rate(mib, verify));
    }
    small(dir);
}

fn small(dir: &Path) {
    let files = dir.join("small");
    if !files.exists() {
        fs::create_dir_all(&files).unwrap();
        for number in 0..SMALL_FILES {
            let len = 2048 + number * 4099 % 4096;
            fs::write(files.join(number.to_string()), text(number as u64, len)).unwrap();
        }
    }
    let read = |number: usize| fs::read(files.join(number.to_string())).unwrap();
    let limit = timed(|| {
        (0..SMALL_FILES).for_each(|number| {
            assert_ne!(blake3::hash(&read(number)).as_bytes(), &[0; 32]);
        })
    });
    println!("  small read + BLAKE3     {:.0} files/s", SMALL_FILES as f64 / limit.as_secs_f64());
    for threads in [1, 2, 4] {
        let store = dir.join("store");
        let _ = fs::remove_dir_all(&store);
        let (blocks, _) = Blocks::open(Arc::new(RealDisk::new(&store)), Mode::Write).unwrap();
        let next = AtomicUsize::new(0);
        let all = timed(|| {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let number = next.fetch_add(1, Ordering::Relaxed)
                            && number < SMALL_FILES
                        {
                            let mut file = File::open(files.join(number.to_string())).unwrap();
                            blocks.put(&mut file, &mut |_| {}).unwrap();
                        }
                    });
                }
            });
            blocks.sync().unwrap();
        });
        println!("  small {threads} threads, sync   {:.0} files/s", SMALL_FILES as f64 / all.as_secs_f64());
        drop(blocks);
        let open = timed(|| drop(Blocks::open(Arc::new(RealDisk::new(&store)), Mode::Write).unwrap()));
        println!("  small open              {:.1} ms", open.as_secs_f64() * 1e3);
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn rate(mib: usize, time: Duration) -> String {
    format!("{:.0} MiB/s", mib as f64 / time.as_secs_f64())
}

fn ratio(limit: Duration, time: Duration) -> f64 {
    limit.as_secs_f64() / time.as_secs_f64()
}

fn read_and_hash(path: &Path) {
    let mut file = File::open(path).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut bytes = vec![0; 1 << 20];
    while let count = file.read(&mut bytes).unwrap()
        && count > 0
    {
        hasher.update(&bytes[..count]);
    }
    assert_ne!(hasher.finalize().as_bytes(), &[0; 32]);
}

fn write_large(path: &Path, mib: usize, of: fn(u64, usize) -> Vec<u8>) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == (mib as u64) << 20) {
        return;
    }
    let mut file = File::create(path).unwrap();
    for seed in 0..mib {
        file.write_all(&of(seed as u64, 1 << 20)).unwrap();
    }
    file.sync_all().unwrap();
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Words in no order: compresses to less than half, like prose.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let noise = random(seed, len);
    let mut bytes = Vec::with_capacity(len + 16);
    for pair in noise.chunks(2) {
        let word = (usize::from(pair[0]) * 256 + usize::from(*pair.last().unwrap())) % 3000;
        bytes.extend_from_slice(&b"etaoinshrdlucmfwypvbgkjqxz"[word % 7..word % 7 + 2 + word % 5]);
        bytes.extend_from_slice(word.to_string().as_bytes());
        bytes.push(b' ');
        if bytes.len() >= len {
            break;
        }
    }
    bytes.truncate(len);
    bytes
}
