#![allow(clippy::all, clippy::disallowed_methods, clippy::unwrap_used)]
use std::sync::Arc;
use std::time::Instant;
use uor_asl::disk::{Disk, Mode, real::RealDisk};
use uor_asl::state::Filter;
use uor_asl::store::*;
use uor_index_format::{id::*, key::SiteKey, membership::*, record::*};
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let key = SiteKey::from_seed(&[7; 32]);
    let genesis = Genesis {
        founder: key.site_id(),
        name: "b".into(),
        nonce: [0; 16],
        conflict_rule: ConflictRule::First,
        logseq_jump_max: 1 << 20,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    Store::create(&disk, genesis.federation_id()).unwrap();
    let options = Options { payloads: Payloads::OnDemand, ..Options::default() };
    let store = Arc::new(Store::open_with(disk.clone(), Mode::Write, options).unwrap());
    let keeper = Keeper::start(store.clone()).unwrap();
    store.commit(&key, vec![Record::genesis(genesis)], 1).unwrap();
    let record = |i: usize| {
        let c = blake3::hash(&(i as u64).to_le_bytes());
        Record::artifact(
            Some((i % 64) as u32),
            Payload { checksum: Checksum::from_bytes(*c.as_bytes()), len: i as u64 },
        )
    };
    let batches: Vec<Vec<Record>> =
        (0..n).step_by(65_536).map(|s| (s..n.min(s + 65_536)).map(record).collect()).collect();
    let ids: Vec<CanonicalId> = batches.iter().flatten().map(|r| r.id()).collect();
    let t = Instant::now();
    let queue = std::sync::Mutex::new(batches.into_iter());
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                loop {
                    let b = queue.lock().unwrap().next();
                    let Some(b) = b else { break };
                    store.commit(&key, b, 1).unwrap();
                }
            });
        }
    });
    let load = t.elapsed();
    println!("load {:.0} k/s", n as f64 / load.as_secs_f64() / 1e3);
    let t1 = Instant::now();
    store.settle().unwrap();
    println!("settle {:?}  total {:.0} k/s", t1.elapsed(), n as f64 / (load + t1.elapsed()).as_secs_f64() / 1e3);
    let t1 = Instant::now();
    let root = store.view().state().root();
    println!("root {:?} {root}", t1.elapsed());
    let view = store.view();
    let head = view.head().clone();
    let at = view.state().at(&head).unwrap();
    let mut x = 1u64;
    let mut pick = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 33) as usize % n
    };
    let sample: Vec<CanonicalId> = (0..1_000_000).map(|_| ids[pick()]).collect();
    for round in 0..2 {
        let t = Instant::now();
        let mut hits = 0;
        for id in &sample {
            hits += at.entry(id).unwrap().is_some() as u32;
        }
        println!("hit single {round}: {:.2} M/s {hits}", 1.0 / t.elapsed().as_secs_f64());
        let t = Instant::now();
        let mut hits = 0;
        for part in sample.chunks(1024) {
            at.entries_of(part, |_, e| hits += e.is_some() as u32).unwrap();
        }
        println!("hit batch {round}: {:.2} M/s {hits}", 1.0 / t.elapsed().as_secs_f64());
    }
    let absent: Vec<CanonicalId> = sample
        .iter()
        .map(|id| {
            let mut b = *id.as_bytes();
            b[0] ^= 0x5a;
            b[9] ^= 1;
            CanonicalId::from_bytes(b)
        })
        .collect();
    let t = Instant::now();
    let mut hits = 0;
    for id in &absent {
        hits += at.entry(id).unwrap().is_some() as u32;
    }
    println!("absent single: {:.2} M/s {hits}", 1.0 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut hits = 0;
    for part in absent.chunks(1024) {
        at.entries_of(part, |_, e| hits += e.is_some() as u32).unwrap();
    }
    println!("absent batch: {:.2} M/s {hits}", 1.0 / t.elapsed().as_secs_f64());
    for _ in 0..3 {
        let t = Instant::now();
        let c = view.state().count_records(&Filter::type_tag(5)).unwrap();
        println!("scan {:.0} M rec/s {c}", n as f64 / t.elapsed().as_secs_f64() / 1e6);
    }
    let t = Instant::now();
    let r = view.state().root_at(&head).unwrap();
    println!("root_at {:?} {}", t.elapsed(), r == root);
    drop(view);
    drop(keeper);
    let key2 = &key;
    let t = Instant::now();
    for i in 0..300 {
        store.commit(key2, (0..100).map(|j| record(n + i * 100 + j)).collect(), 1).unwrap();
    }
    println!("durable commits/s {:.0}", 300.0 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    std::thread::scope(|s| {
        for w in 0..16 {
            let (store, record) = (&store, &record);
            s.spawn(move || {
                for i in 0..100 {
                    store.commit(key2, (0..100).map(|j| record(n * 2 + (w * 100 + i) * 100 + j)).collect(), 1).unwrap();
                }
            });
        }
    });
    println!("16 writers commits/s {:.0}", 1600.0 / t.elapsed().as_secs_f64());
    store.settle().unwrap();
    let root = store.view().state().root();
    drop(store);
    let t = Instant::now();
    let store = Store::open_with(disk, Mode::Write, options).unwrap();
    println!("open {:?} {}", t.elapsed(), store.view().state().root() == root);
    let du = |d: &str| {
        std::fs::read_dir(dir.path().join(d)).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    println!("index {:.2} B/rec, log {:.2} B/rec", du("index") as f64 / n as f64, du("log") as f64 / n as f64);
}
