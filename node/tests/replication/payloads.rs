//! Payloads of peers that give the wrong one, another's part, nothing, or have none.

use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::record::{Payload, Record};
use uor_index_format::wire::{Refusal, Request, Response};
use uor_node::replication::Notice;

use super::world::{Script, World, bytes, key, mallory, refused};
use super::{PART, honest_replication_goes_on, nowhere};

/// Node 1 wants `payload` of node 0, and knows its commit; only scripted peers are there to ask.
fn wanting(payload: &[u8]) -> World {
    let mut world = World::new(2);
    world.nodes[0].add(payload);
    let commit = world.nodes[0]
        .store
        .read_commit(&key(1).site_id(), 3)
        .unwrap()
        .unwrap();
    world.nodes[1].store.merge(vec![commit]).unwrap();
    assert_eq!(world.nodes[1].store.view().wanted().len(), 1);
    world
}

fn serves(mut part: impl FnMut(u64) -> Option<Response> + 'static) -> Script {
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(nowhere()),
        Request::Forks { .. } => Some(Response::Forks {
            forks: vec![],
            has_more: false,
        }),
        Request::Payload { offset, .. } => part(offset),
        _ => refused(Refusal::NotHere),
    })
}

pub(super) fn part(payload: &[u8], offset: u64) -> Option<Response> {
    let rest = &payload[usize::try_from(offset).unwrap()..];
    Some(Response::Payload {
        total_len: payload.len() as u64,
        bytes: rest[..rest.len().min(PART)].to_vec(),
    })
}

fn offsets(world: &World) -> Vec<u64> {
    let offset = |(_, request): &(SiteId, Request)| match request {
        Request::Payload { offset, .. } => Some(*offset),
        _ => None,
    };
    world.asked.iter().filter_map(offset).collect()
}

fn wrong_payloads(world: &World) -> usize {
    world.nodes[1].noticed(|notice| matches!(notice, Notice::WrongPayload { .. }))
}

#[test]
fn parts_of_another_length_are_refused_and_an_honest_peer_serves_instead() {
    let payload = bytes(3 * PART);
    let total_len = payload.len() as u64;
    for (total_len, len) in [
        (total_len, 0),
        (total_len, 1),
        (total_len, PART + 1),
        (total_len + 1, PART),
        (u64::MAX, PART),
        (0, 1),
    ] {
        let mut world = wanting(&payload);
        let bad = move |_| {
            Some(Response::Payload {
                total_len,
                bytes: vec![0; len],
            })
        };
        world.meet(1, mallory().site_id(), serves(bad));
        world.tick(310);
        assert!(
            (1..=4).contains(&wrong_payloads(&world)),
            "{} notices",
            wrong_payloads(&world)
        );
        assert!(offsets(&world).len() <= 4);
        honest_replication_goes_on(&mut world);
        assert!(world.nodes[1].store.view().wanted().is_empty());
    }
}

#[test]
fn a_part_poisoned_by_one_peer_neither_hides_the_payload_nor_blames_the_other() {
    let payload = bytes(3 * PART);
    let mut world = wanting(&payload);
    let script = |offset| {
        if offset == 0 {
            part(&[0; 3 * PART], 0)
        } else {
            refused(Refusal::NotHere)
        }
    };
    world.meet(1, mallory().site_id(), serves(script));
    world.carry();
    world.tick(1);
    world.connect(0, 1);
    world.tick(5);
    assert!(world.nodes[1].store.view().wanted().is_empty());
    let honest = world.nodes[0].site();
    assert_eq!(
        world.nodes[1].noticed(
            |notice| matches!(notice, Notice::WrongPayload { peer, .. } if *peer == honest)
        ),
        0
    );
    assert!(
        !world.nodes[1]
            .disk
            .paths()
            .iter()
            .any(|path| path.starts_with("staging/")),
        "staging is left over"
    );
}

#[test]
fn a_wrong_payload_is_asked_of_others() {
    let payload = bytes(2 * PART + 5);
    let mut world = wanting(&payload);
    world.meet(
        1,
        mallory().site_id(),
        serves(|offset| part(&[0; 2 * PART + 5], offset)),
    );
    world.carry();
    world.tick(1);
    assert_eq!(wrong_payloads(&world), 1);
    honest_replication_goes_on(&mut world);
    assert!(world.nodes[1].store.view().wanted().is_empty());
}

#[test]
fn a_long_payload_goes_on_after_a_restart_and_from_another_peer() {
    let payload = bytes(5 * PART);
    let mut world = wanting(&payload);
    let served = payload.clone();
    let first = move |offset| {
        (offset < 2 * PART as u64)
            .then(|| part(&served, offset))
            .flatten()
    };
    world.meet(1, mallory().site_id(), serves(first));
    world.tick(1);
    world.nodes[1]
        .core
        .handle_disconnected(mallory().site_id(), world.now_ms);
    world.asked.clear();
    world.nodes[1].restart();
    let other = world.nodes[0].site();
    world.meet(1, other, serves(move |offset| part(&payload, offset)));
    world.tick(1);
    assert_eq!(offsets(&world), [2, 3, 4].map(|parts| parts * PART as u64));
    assert!(world.nodes[1].store.view().wanted().is_empty());
}

#[test]
fn silence_costs_one_payload_a_minute_and_late_or_unknown_answers_nothing() {
    let payload = bytes(100);
    let mut world = wanting(&payload);
    world.meet(1, mallory().site_id(), serves(|_| None));
    world.tick(1);
    world.connect(0, 1);
    world.tick(605);
    assert!(world.nodes[1].store.view().wanted().is_empty());
    let node = &mut world.nodes[1];
    let late = part(&payload, 0).unwrap().encode();
    (0..2000).for_each(|id| {
        node.core
            .handle_response(&node.store, id, &late, world.now_ms)
            .unwrap()
    });
    assert_eq!(wrong_payloads(&world), 0);
}

/// Records whose payloads nobody has: the work of a round is bounded, and what is there is fetched
/// all the same.
#[test]
fn wants_that_nobody_has_cost_little_and_hide_nothing() {
    let mut world = World::new(2);
    let dead: Vec<Record> = (0_u32..16_000)
        .map(|number| {
            let checksum = Checksum::of(&number.to_le_bytes());
            Record::artifact(None, Payload { checksum, len: 4 })
        })
        .collect();
    let mut dead = dead;
    dead.sort_by_key(Record::id);
    for records in dead.chunks(4000) {
        world.nodes[0]
            .store
            .commit(&key(1), records.to_vec(), 0)
            .unwrap();
    }
    world.exchanges_max = 40_000;
    world.connect(0, 1);
    world.tick(20);
    assert_eq!(world.nodes[1].store.view().wanted().len(), 16_000);
    assert!(world.exchanges >= 16_000, "each was asked for");
    // Later each is asked for every five minutes at most by each of the two, and few in one round.
    let later = |world: &mut World| {
        let (before, mut most) = (world.exchanges, 0);
        for _ in 0..30 {
            let before = world.exchanges;
            world.now_ms += 10_000;
            world.tick(1);
            most = most.max(world.exchanges - before);
        }
        (world.exchanges - before, most)
    };
    later(&mut world);
    later(&mut world);
    let (questions, most) = later(&mut world);
    assert!(questions <= 36_000, "{questions} questions in five minutes");
    assert!(most <= 2 * 4096 + 100, "{most} questions in one round");
    let alive = world.nodes[0].add(b"alive");
    world.tick(110);
    assert!(
        world.nodes[1].store.blocks().has(alive),
        "what is there is fetched"
    );
}
