//! Five hundred worlds, each from its own seed, must settle on one state. `UOR_SEED=n` runs one
//! world, `UOR_SEEDS=n` more.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use uor_index_format::membership::ConflictRule;
use uor_node::replication::Notice;
use uor_replay_tests::checker::check;
use uor_replay_tests::world::{Faults, World};

const TICKS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn world(seed: u64) -> World {
    let rule = [
        ConflictRule::First,
        ConflictRule::Quorum,
        ConflictRule::Manual,
    ][usize::try_from(seed % 3).unwrap()];
    let sites = 2 + usize::try_from(seed % 4).unwrap();
    let mut world = World::new(sites, Faults::of_seed(seed), rule, seed);
    world.run(TICKS);
    world
}

fn verdict(world: &mut World) -> Result<(), String> {
    if !world.settle() {
        return Err(format!("the world does not settle:\n{}", world.describe()));
    }
    check(world)
}

/// How often each fault happened.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    worlds: u64,
    messages_lost: u64,
    links_cut: u64,
    crashes: u64,
    forks: u64,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            worlds: self.worlds + other.worlds,
            messages_lost: self.messages_lost + other.messages_lost,
            links_cut: self.links_cut + other.links_cut,
            crashes: self.crashes + other.crashes,
            forks: self.forks + other.forks,
        }
    }
}

fn check_world(seed: u64) -> Tally {
    let mut world = world(seed);
    verdict(&mut world).unwrap_or_else(|what| panic!("UOR_SEED={seed}: {what}"));
    let forked = |(_, notice): &(usize, Notice)| matches!(notice, Notice::Forked { .. });
    Tally {
        worlds: 1,
        messages_lost: world.network.lost,
        links_cut: world.network.cut_connections,
        crashes: world.crashes,
        forks: u64::from(world.notices.iter().any(forked)),
    }
}

#[test]
fn every_world_settles_on_one_state() {
    let seeds =
        number("UOR_SEED").map_or(0..number("UOR_SEEDS").unwrap_or(500), |seed| seed..seed + 1);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tally = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone().skip(worker).step_by(threads);
                scope.spawn(|| seeds.map(check_world).fold(Tally::default(), Tally::add))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .fold(Tally::default(), Tally::add)
    });
    println!("{tally:?}");
    let faults = [
        tally.messages_lost,
        tally.links_cut,
        tally.crashes,
        tally.forks,
    ];
    assert!(
        tally.worlds < 100 || faults.iter().all(|count| *count > 0),
        "a fault never happened: {tally:?}"
    );
}

/// The simulator itself is deterministic: one seed twice gives the same notices, commits and roots.
#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        let trace = || {
            let mut world = world(seed);
            let settled = world.settle();
            let heads: Vec<_> = world
                .nodes
                .iter()
                .map(|node| node.store().view().head().id())
                .collect();
            format!(
                "{settled} {:?} {heads:?} {} {}",
                world.notices, world.network.lost, world.crashes
            )
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
