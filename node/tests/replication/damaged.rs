//! A node whose log is damaged where nobody reads it but whoever asks for it.

use uor_asl::log;
use uor_asl::store::Options;
use uor_node::replication::Notice;

use super::honest_replication_goes_on;
use super::world::World;

#[test]
fn who_asks_for_what_is_damaged_gets_it_from_others_and_the_node_goes_on() {
    const COMMITS: u64 = 40;
    let small = || Options {
        log: log::Options {
            segment_bytes: 4096,
            ..log::Options::default()
        },
        ..Options::default()
    };
    let mut world = World::new(3);
    world.nodes[0].reopen(small(), |_| {});
    for number in 0..COMMITS {
        world.nodes[0].add(&number.to_le_bytes());
    }
    world.connect(0, 2);
    world.tick(10);
    assert_eq!(
        *world.nodes[0].store.view().head(),
        *world.nodes[2].store.view().head()
    );
    world.nodes[0].store.settle().unwrap();
    world.nodes[0].reopen(small(), |disk| {
        let segments = disk
            .paths()
            .iter()
            .filter(|path| path.starts_with("log/"))
            .count();
        assert!(segments > 4, "{segments} segments are few");
        assert!(disk.flip_bit("log/00000003.log", 8 * 1000));
    });
    world.nodes[0].restart();
    world.connect(0, 1);
    let before = world.exchanges;
    world.tick(310);
    assert!(
        world.exchanges - before < 60,
        "{} questions in 31 s",
        world.exchanges - before
    );
    let is_it = |notice: &Notice| match notice {
        Notice::Unreadable { problem, .. } => problem.contains("log/00000003.log"),
        _ => false,
    };
    assert!(
        world.nodes[0].noticed(is_it) > 0,
        "{:?}",
        world.nodes[0].notices
    );
    let counted = world.nodes[1].store.view().commits_len();
    assert!(
        (3..COMMITS).contains(&counted),
        "{counted}: what lies before the damage is given"
    );
    world.connect(1, 2);
    world.tick(10);
    assert_eq!(
        *world.nodes[1].store.view().head(),
        *world.nodes[2].store.view().head()
    );
    honest_replication_goes_on(&mut world);
}
