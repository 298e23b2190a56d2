//! Members that turned: they are let in, spoken to and asked, and whatever they say has to be
//! validated.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use uor_asl::disk::Mode;
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};
use uor_index_format::wire::{
    Announcement, PART_LEN_MAX, Position, Refusal, Request, Response, WireHead, fork_set,
};
use uor_node::net::{ANNOUNCEMENT_PROTOCOL, peer_id};
use uor_node::replication::Notice;
use uor_node::site::{RedeemError, Redeemed, Site};

use crate::forged::{Writer, admission, key_of, sorted};
use crate::network::{Attacker, Federation, runtime};
use crate::raw::{Raw, framed};
use crate::running::{Running, agree, directory};
use crate::scripted::{Script, World, mallory, refused};
use crate::{cost, does_not_grow, size};

/// Bounded: memory and others' time. A member asks for much and reads nothing; others are served
/// meanwhile.
#[test]
fn a_slow_reader_holds_up_nobody() {
    let federation = Federation::new();
    let long: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let record = federation.a.put(&long);
    let checksum = *uor_index_format::id::Checksum::of(&long).as_bytes();
    federation.a.write(vec![record]);
    let turned = federation.turned("m");
    let runtime = runtime();
    let attacker = runtime.block_on(async {
        let mut attacker = Attacker::new(turned.key().seed(), &federation.a).await;
        attacker.connected().await;
        // It takes no events from here on, so its shell soon stops reading.
        for id in 0..20 {
            let offset = (id % 3) << 20;
            let part = Request::Payload {
                federation: federation.id(),
                checksum,
                offset,
                len_max: 1 << 20,
            };
            attacker.ask(id, part.encode()).await;
        }
        attacker
    });
    let b = federation.join("b");
    federation.replicates(&b);
    drop(attacker);
    b.stop();
    federation.a.stop();
}

/// Bounded: time. Addresses that accept and stay silent, told by the owner or by others, hide no
/// true one.
#[test]
fn silent_addresses_hide_no_peer() {
    let federation = Federation::new();
    let peer = Protocol::P2p(peer_id(federation.a.site.site_id().as_bytes()));
    let b = federation.join("b");
    agree(&[&federation.a, &b], &federation.events);
    b.stop();
    let silent: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let address = |listener: &TcpListener| {
        let port = listener.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        address.with(peer.clone()).to_string()
    };
    let addresses = silent.iter().map(address).collect();
    let b = Running::start_with(
        &directory(federation.root.path(), "b"),
        &federation.sender,
        addresses,
    );
    federation.replicates(&b);
    b.stop();
    federation.a.stop();
}

fn announcement(federation: [u8; 32], snapshot: [u8; 32], state_root: [u8; 32]) -> Vec<u8> {
    let (domain, hash) = ([1; 32], [1; 32]);
    Announcement {
        federation,
        domain,
        number: 1,
        hash,
        logseq: 1,
        snapshot,
        state_root,
    }
    .encode()
}

/// Bounded: lines in the log, and writes of small files. A member that stands where we do claims
/// another state root with every announcement: each was a line in capitals, and another one.
#[test]
fn lies_about_the_state_are_a_few_lines() {
    let federation = Federation::new();
    let turned = federation.turned("m");
    let (id, snapshot) = (federation.id(), *federation.a.site.head().id().as_bytes());
    let _ = federation.told();
    let announcements = size(300, 10_000);
    let root = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
    let lies = (0..announcements).map(|number| framed(&announcement(id, snapshot, root(number))));
    let mut raw = Raw::new(
        turned.key().seed(),
        ANNOUNCEMENT_PROTOCOL,
        &federation.a.address,
    );
    // Whoever hangs up takes its last announcement with it, so it stays.
    let runtime = runtime();
    let tally = runtime.block_on(raw.one_by_one(lies));
    assert_eq!(
        (tally.answered, tally.failed, tally.refused),
        (announcements, 0, 0)
    );
    let table = federation.root.path().join("a/federation-log");
    let last = blake3::Hash::from_bytes(root(announcements - 1)).to_hex();
    let told = federation.until("the last lie was heard", || {
        fs::read_to_string(&table).is_ok_and(|text| text.contains(last.as_str()))
    });
    assert!(
        told.iter().any(|line| line.contains("DIVERGED")),
        "it is told: {told:#?}"
    );
    assert!(
        told.len() <= 12,
        "{} lines for {announcements} lies",
        told.len()
    );
    federation.a.stop();
}

/// Answers where it stands, and nothing else.
fn stands_at(heads: Vec<WireHead>) -> Script {
    let position = Position {
        snapshot: [8; 32],
        forks: fork_set(std::iter::empty()),
        ..Position::NONE
    };
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(Response::Frontier {
            position,
            heads: heads.clone(),
            has_more: false,
            contacts: vec![],
        }),
        _ => refused(Refusal::NotHere),
    })
}

/// Bounded: questions. Announcements without end, each of which says that there is something new,
/// start one conversation at a time.
#[test]
fn announcements_without_end_are_one_conversation_at_a_time() {
    let mut world = World::new(2);
    let federation = *world.federation.as_bytes();
    let announcer = mallory().site_id();
    world.meet(1, announcer, stands_at(vec![]));
    world.carry();
    world.asked.clear();
    for number in 0..size(1000, 100_000) {
        let snapshot = *blake3::hash(&number.to_le_bytes()).as_bytes();
        let (node, frame) = (
            &mut world.nodes[1],
            announcement(federation, snapshot, [0; 32]),
        );
        node.core
            .handle_announcement(&node.store, announcer, &frame, world.now_ms)
            .unwrap();
    }
    world.carry();
    assert_eq!(
        world.asked.len(),
        2,
        "the one that was begun, and one more for all that came meanwhile"
    );
    assert!(
        world.nodes[1]
            .notices
            .iter()
            .all(|notice| notice.provoked().is_some())
    );
}

/// Bounded: disk, and for how long. A record says that its payload is longer than any disk, and its
/// writer sends it without end: what is staged is what was sent, none of it shows, and it is gone
/// once nothing visible names it.
#[test]
fn a_payload_without_end_is_let_go() {
    const CLAIMED: u64 = 1 << 50;
    let mut world = World::new(2);
    let endless = Record::artifact(
        None,
        Payload {
            checksum: Checksum::of(b"endless"),
            len: CLAIMED,
        },
    );
    let admitted = world.nodes[0]
        .store
        .read_commit(&world.nodes[0].site(), 2)
        .unwrap()
        .unwrap();
    let mut writer = Writer::new(mallory(), &admitted);
    let commit = writer.write(vec![endless.clone()]);
    world.nodes[1].store.merge(vec![commit]).unwrap();
    let parts = size(20, 500);
    let mut sent = 0;
    let script: Script = Box::new(move |request| match request {
        Request::Payload { offset, .. } if sent < parts => {
            sent += 1;
            assert_eq!(
                offset,
                (sent as u64 - 1) * PART_LEN_MAX,
                "it goes on where it was"
            );
            Some(Response::Payload {
                total_len: CLAIMED,
                bytes: vec![0; usize::try_from(PART_LEN_MAX).unwrap()],
            })
        }
        // It stops, as if it had been cut off, and goes on later.
        Request::Payload { .. } => {
            sent = 0;
            None
        }
        _ => refused(Refusal::NotHere),
    });
    let before = world.nodes[1].disk.used();
    world.meet(1, mallory().site_id(), script);
    world.tick(1);
    let most = world.nodes[1].disk.used() - before;
    assert!(most >= parts as u64 * PART_LEN_MAX, "it was taken in");
    assert!(
        most <= parts as u64 * PART_LEN_MAX + (1 << 20),
        "{most} bytes for {parts} parts"
    );
    let key = world.nodes[1].key.clone();
    let node = &mut world.nodes[1];
    node.store
        .commit(&key, vec![Record::tombstone(endless.id())], 0)
        .unwrap();
    node.store
        .collect(&[], &BTreeSet::new(), false, 0, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(node.store.view().wanted().is_empty());
    // What comes late, and what an earlier process left.
    node.core
        .handle_disconnected(mallory().site_id(), world.now_ms);
    node.restart();
    world.tick(2);
    assert!(
        !world.nodes[1]
            .disk
            .paths()
            .iter()
            .any(|path| path.starts_with("staging/")),
        "staging is left over"
    );
}

/// Bounded: memory, and for how long. Records name payloads that nobody has: what they cost goes
/// away with them.
#[test]
fn wants_that_nothing_live_names_are_dropped() {
    let world = World::new(1);
    let store = &world.nodes[0].store;
    let wanted = size(2000, 60_000);
    let dead = (0..wanted).map(|number| Record::artifact(None, Payload::of(&number.to_le_bytes())));
    let dead = sorted(dead.collect());
    for records in dead.chunks(20_000) {
        store.commit(&mallory(), records.to_vec(), 0).unwrap();
    }
    assert_eq!(store.view().wanted().len(), wanted);
    for records in dead.chunks(20_000) {
        let tombstones = records
            .iter()
            .map(|record| Record::tombstone(record.id()))
            .collect();
        store.commit(&world.nodes[0].key, tombstones, 0).unwrap();
    }
    store
        .collect(&[], &BTreeSet::new(), false, 0, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(store.view().wanted().is_empty());
    store.seal_index().unwrap();
    let reopened = uor_asl::store::Store::open(
        std::sync::Arc::new(world.nodes[0].disk.clone()),
        Mode::ReadOnly,
    )
    .unwrap();
    assert!(reopened.view().wanted().is_empty(), "after a restart too");
}

/// Bounded: work of the loop. A member admits a thousand sites that nobody has heard of, and they
/// as many again: a tick of a node costs no more for them.
#[test]
fn sybils_cost_a_tick_nothing() {
    let mut world = World::new(1);
    let federation = world.federation;
    let ticks = |world: &mut World, until: usize, from: usize| {
        let writers: Vec<_> = std::iter::once(mallory())
            .chain((0..until / 1000).map(key_of))
            .collect();
        for (at, writer) in (from / 1000..until / 1000).zip(writers.iter().skip(from / 1000)) {
            let sybils = (at * 1000..(at + 1) * 1000)
                .map(|number| admission(federation, key_of(number).site_id()));
            world.nodes[0]
                .store
                .commit(writer, sorted(sybils.collect()), 0)
                .unwrap();
        }
        world.tick(2);
        let node = &mut world.nodes[0];
        cost(|| {
            (0..10).for_each(|tick| {
                node.core
                    .handle_tick(&node.store, world.now_ms + tick)
                    .unwrap()
            })
        })
    };
    let sybils = size(2000, 16_000);
    let once = ticks(&mut world, sybils, 0);
    let twice = ticks(&mut world, 2 * sybils, sybils);
    assert!(world.nodes[0].store.view().members().len() > 2 * sybils);
    does_not_grow("ten ticks", once, twice);
    assert!(once <= 64 << 10, "{once} bytes for ten ticks");
}

/// Bounded: writes. What a member shows as a ticket, again and again, is answered and changes no
/// file.
#[test]
fn tickets_that_a_member_makes_up_write_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = directory(root.path(), "a");
    Site::init(&dir, Some("a"), ConflictRule::First).unwrap();
    let site = Site::open(&dir, Mode::Write).unwrap();
    let open = site.invite(vec![]).unwrap();
    let turned = SiteId::from_bytes([7; 32]);
    assert!(matches!(
        site.redeem(&open.token, turned, "m").unwrap(),
        Redeemed::Admitted(_)
    ));
    let head = site.head();
    let left = site.invite(vec![]).unwrap();
    // The file is put in its place again whenever it is written.
    let written = || {
        let file = fs::metadata(dir.join("invites")).unwrap();
        (file.ino(), file.ctime(), file.ctime_nsec())
    };
    let before = written();
    for number in 0..size(100, 10_000) as u128 {
        assert_eq!(
            site.redeem(&number.to_le_bytes(), turned, "m").unwrap(),
            Redeemed::AlreadyMember
        );
        let stranger = site.redeem(&number.to_le_bytes(), SiteId::from_bytes([8; 32]), "s");
        assert!(matches!(stranger, Err(RedeemError::TicketUnknown)));
    }
    assert_eq!((written(), site.head()), (before, head));
    site.redeem(&left.token, turned, "m").unwrap();
    assert_ne!(written(), before, "a ticket that is good is used up");
}

/// Bounded: what is believed. A member that announces what it does not have, of everybody, is asked
/// once a round and leaves no trace.
#[test]
fn a_frontier_of_nothing_is_asked_for_once_a_round() {
    let mut world = World::new(2);
    let domains: BTreeSet<[u8; 32]> = world.nodes[1]
        .store
        .view()
        .members()
        .iter()
        .map(|site| *site.as_bytes())
        .collect();
    let heads = domains
        .into_iter()
        .map(|domain| WireHead {
            domain,
            number: u64::MAX,
            hash: [9; 32],
        })
        .collect();
    let (head, members) = (
        world.nodes[1].store.view().head().clone(),
        world.nodes[1].store.view().members().len(),
    );
    world.meet(1, mallory().site_id(), stands_at(heads));
    let rounds = size(3, 60);
    world.tick(rounds as u64 * 100 + 10);
    // Where it stands, and each of its domains.
    assert!(
        world.asked.len() <= (rounds + 1) * (1 + members),
        "{} questions in {rounds} rounds",
        world.asked.len()
    );
    assert!(world.asked.len() >= rounds, "it is asked");
    assert_eq!(*world.nodes[1].store.view().head(), head);
    assert!(world.nodes[1].core.federation_log_table().is_empty());
    assert!(
        !world.nodes[1]
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::CaughtUp { .. }))
    );
}

/// Bounded: connections that others are sent. A member tells of addresses that are somebody else's,
/// and of more than there are.
#[test]
fn addresses_that_a_member_makes_up_are_few() {
    let mut world = World::new(2);
    let victim = world.nodes[0].site();
    for round in 0..size(20, 1000) {
        let told = |number: usize| uor_index_format::wire::Contact {
            site: *victim.as_bytes(),
            address: format!("/ip4/192.0.2.{}/tcp/{}", round % 256, number + 1),
        };
        let contacts: Vec<_> = (0..64).map(told).collect();
        let script: Script = Box::new(move |request| match request {
            Request::Frontier { .. } => Some(Response::Frontier {
                position: Position {
                    snapshot: [8; 32],
                    ..Position::NONE
                },
                heads: vec![],
                has_more: false,
                contacts: contacts.clone(),
            }),
            _ => refused(Refusal::NotHere),
        });
        world.meet(1, mallory().site_id(), script);
        world.carry();
        world.nodes[1]
            .core
            .handle_disconnected(mallory().site_id(), world.now_ms);
    }
    world.tick(1);
    let dials = world.nodes[1].dials.len();
    assert!(
        (1..=2).contains(&dials),
        "{dials} connections to somebody who has nothing to do with it"
    );
    let kept = world.nodes[1].core.book().contacts(&victim).count();
    assert!(kept <= 8, "{kept} addresses are kept");
}

/// Bounded: silence. A member says of somebody else's payload that it is one byte long, or longer
/// than any, before and after its owner says what it is: it arrives.
#[test]
fn a_length_that_lies_hides_no_payload() {
    for (len, is_first) in [
        (0, true),
        (1, true),
        (1, false),
        (u64::MAX, true),
        (u64::MAX, false),
    ] {
        let mut world = World::new(2);
        let admitted = world.nodes[0]
            .store
            .read_commit(&world.nodes[0].site(), 2)
            .unwrap()
            .unwrap();
        let payload = crate::scripted::bytes(size(3, 64) << 20);
        let lie = Record::artifact(
            None,
            Payload {
                checksum: Checksum::of(&payload),
                len,
            },
        );
        let lie = Writer::new(mallory(), &admitted).write(vec![lie]);
        if is_first {
            world
                .nodes
                .iter()
                .for_each(|node| drop(node.store.merge(vec![lie.clone()]).unwrap()));
        }
        let checksum = world.nodes[0].add(&payload);
        world
            .nodes
            .iter()
            .for_each(|node| drop(node.store.merge(vec![lie.clone()]).unwrap()));
        world.connect(0, 1);
        world.tick(20);
        assert!(
            world.nodes[1].store.blocks().has(checksum),
            "said to have {len} bytes, first: {is_first}"
        );
        assert!(world.nodes[1].store.view().wanted().is_empty());
    }
}
