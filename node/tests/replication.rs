//! The replication core against hostile and unlucky peers: no network, no clock, one attack per test, each with its bound.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "replication/world.rs"]
mod world;

use std::collections::BTreeMap;

use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::ArtifactKey;
use uor_index_format::id::{CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::wire::{Contact, Doorbell, Position, Refusal, Request, Response, WireHead};
use uor_node::replication::book::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, BACKOFF_MS_STRANGER, Book};
use uor_node::replication::{Notice, table};

use self::world::{Script, World, bytes, key, mallory, refused, stranger};

const PART: usize = 1 << 20;

fn nowhere() -> Position {
    Position { heads: vec![], logseq_max: 0, state_root: [0; 32], fork_proofs: vec![], contacts: vec![] }
}

fn ahead(domain: SiteId, number: u64) -> Position {
    Position { heads: vec![WireHead { domain: *domain.as_bytes(), number, hash: [9; 32] }], ..nowhere() }
}

/// Answers every frontier question with `position` and every delta question with `delta`.
fn claims(position: Position, delta: Response) -> Script {
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(Response::Frontier { position: position.clone() }),
        Request::Delta { .. } => Some(delta.clone()),
        _ => refused(Refusal::NotHere),
    })
}

fn nothing(commits_left: u64) -> Response {
    Response::Delta { commits: vec![], commits_left }
}

fn draft(key: &SiteKey, number: u64, previous: CommitHash, name: &str) -> Commit {
    let target = ArtifactKey::from_bytes([1; 32]);
    let record =
        Record::reference(RefAssignment { namespace: NAMESPACE_USER.to_owned(), name: name.to_owned(), target });
    let federation = FederationState::of(&[]);
    let draft = Draft {
        number,
        previous,
        logseq: LogSeq(100 + number),
        federation,
        wall_ms: 0,
        learned: vec![],
        records: vec![record],
    };
    Commit::seal(draft, key).unwrap()
}

fn fork_proof(key: &SiteKey, number: u64) -> Vec<u8> {
    let previous = if number == 1 { CommitHash::NONE } else { CommitHash::from_bytes([3; 32]) };
    let [one, other] = ["a", "b"].map(|name| draft(key, number, previous, name).header().clone());
    ForkProof::new(one, other).unwrap().encode()
}

/// Replication between nodes 0 and 1 still works.
fn honest_replication_goes_on(world: &mut World) {
    world.connect(0, 1);
    let checksum = world.nodes[0].add(b"news");
    world.tick(110);
    assert!(world.nodes[1].store.blocks().has(checksum), "honest replication stopped");
    assert_eq!(*world.nodes[0].store.view().head(), *world.nodes[1].store.view().head());
}

#[test]
fn a_peer_that_claims_to_be_ahead_and_sends_nothing_is_asked_once_a_round() {
    let mut world = World::new(2);
    let lie = ahead(mallory().site_id(), u64::MAX);
    world.meet(1, mallory().site_id(), claims(lie, nothing(u64::MAX)));
    world.tick(310);
    assert!((3..=10).contains(&world.asked.len()), "{} questions in 31 s", world.asked.len());
    honest_replication_goes_on(&mut world);
}

#[test]
fn who_claims_more_of_a_site_s_own_log_than_it_gives_does_not_keep_the_site_waiting() {
    let mut world = World::new(2);
    let me = world.nodes[1].site();
    world.meet(1, mallory().site_id(), claims(ahead(me, u64::MAX), nothing(u64::MAX)));
    world.meet(1, stranger().site_id(), claims(nowhere(), nothing(0)));
    world.tick(20);
    assert_eq!(
        *world.nodes[1].core.heard(),
        BTreeMap::from([(mallory().site_id(), u64::MAX)]),
        "and it is known for it"
    );
    honest_replication_goes_on(&mut world);
    assert_eq!(world.nodes[1].core.heard().get(&world.nodes[0].site()), Some(&0));
}

#[test]
fn known_commits_sent_again_and_again_do_not_keep_a_conversation_alive() {
    let mut world = World::new(2);
    let founder = key(1).site_id();
    let known = world.nodes[0].store.commit_bytes(&founder, 1).unwrap().unwrap();
    let delta = Response::Delta { commits: vec![known], commits_left: 1000 };
    world.meet(1, mallory().site_id(), claims(ahead(founder, 9), delta));
    assert!(world.carry() <= 4);
    honest_replication_goes_on(&mut world);
}

#[test]
fn a_peer_that_alternates_known_commits_and_refusals_ends_its_conversation() {
    let mut world = World::new(2);
    let founder = key(1).site_id();
    let known = world.nodes[0].store.commit_bytes(&founder, 1).unwrap().unwrap();
    let script: Script = Box::new(move |request| match request {
        Request::Frontier { .. } => Some(Response::Frontier { position: ahead(founder, 9) }),
        Request::Delta { after: 0, .. } => Some(Response::Delta { commits: vec![known.clone()], commits_left: 9 }),
        _ => refused(Refusal::Forked),
    });
    world.meet(1, mallory().site_id(), script);
    assert!(world.carry() <= 6);
    honest_replication_goes_on(&mut world);
}

#[test]
fn bogus_domains_are_not_asked_for() {
    let mut world = World::new(2);
    let head = |number: u64| {
        let mut domain = [0xee; 32];
        domain[..8].copy_from_slice(&number.to_le_bytes());
        WireHead { domain, number: 1, hash: [1; 32] }
    };
    let position = Position { heads: (0..65_536).map(head).collect(), ..nowhere() };
    world.meet(1, mallory().site_id(), claims(position, nothing(1)));
    assert_eq!(world.carry(), 1);
    honest_replication_goes_on(&mut world);
}

#[test]
fn fork_proofs_count_once_and_only_against_members_and_near_what_is_here() {
    let mut world = World::new(2);
    let far: Vec<Vec<u8>> = (2..40).rev().map(|number| fork_proof(&mallory(), number)).collect();
    let foreign = vec![fork_proof(&stranger(), 1)];
    for fork_proofs in [far, foreign] {
        let position = Position { fork_proofs, ..nowhere() };
        world.meet(1, mallory().site_id(), claims(position, nothing(0)));
        world.carry();
        assert!(world.nodes[1].store.view().forks().is_empty());
    }
    let position = Position { fork_proofs: vec![fork_proof(&mallory(), 1); 200], ..nowhere() };
    world.meet(1, mallory().site_id(), claims(position, nothing(0)));
    world.tick(310);
    assert_eq!(world.nodes[1].noticed(|notice| matches!(notice, Notice::Forked { .. })), 1);
    honest_replication_goes_on(&mut world);
}

#[test]
fn one_malformed_thing_is_one_notice() {
    let mut world = World::new(2);
    let position = Position { fork_proofs: vec![vec![]; 10_000], ..ahead(mallory().site_id(), 9) };
    let delta = Response::Delta { commits: vec![vec![]; 10_000], commits_left: 9 };
    world.meet(1, mallory().site_id(), claims(position, delta));
    world.carry();
    assert_eq!(world.nodes[1].noticed(|notice| matches!(notice, Notice::Malformed { .. })), 2);
    honest_replication_goes_on(&mut world);
}

#[test]
fn commits_that_wait_are_fetched_again_once_a_round_with_one_notice() {
    let mut world = World::new(2);
    let site = mallory().site_id();
    let parked = (5..50).map(|number| draft(&mallory(), number, CommitHash::from_bytes([3; 32]), "x").encode());
    let delta = Response::Delta { commits: parked.collect(), commits_left: 100 };
    world.meet(1, site, claims(ahead(site, 50), delta));
    world.tick(310);
    let parked = world.nodes[1].noticed(|notice| matches!(notice, Notice::Parked { .. }));
    assert!((3..=5).contains(&parked), "{parked} notices in 31 s");
    assert!(world.asked.len() <= 10);
    honest_replication_goes_on(&mut world);
}

#[test]
fn contacts_neither_fill_the_book_nor_come_from_strangers() {
    let mut world = World::new(2);
    let victim = world.nodes[0].site();
    let flood = |round: u64, site: SiteId| {
        let contact =
            |number| Contact { site: *site.as_bytes(), address: format!("/ip4/10.0.0.1/tcp/{round}{number:04}") };
        Position { contacts: (0..64).map(contact).collect(), ..nowhere() }
    };
    for round in 0..40 {
        for (teller, site) in [(mallory(), victim), (mallory(), mallory().site_id()), (stranger(), victim)] {
            world.meet(1, teller.site_id(), claims(flood(round, site), nothing(0)));
            world.carry();
            world.nodes[1].core.handle_disconnected(teller.site_id(), world.now_ms);
        }
    }
    let told = Position {
        contacts: vec![Contact { site: *victim.as_bytes(), address: "/ip4/1.2.3.4/tcp/1".to_owned() }],
        ..nowhere()
    };
    world.meet(1, victim, claims(told, nothing(0)));
    world.carry();
    let me = world.nodes[1].site();
    let book: Vec<(SiteId, String)> =
        world.nodes[1].core.book().contacts(&me).map(|(site, address)| (*site, address.to_owned())).collect();
    assert!(book.len() <= 16, "{} addresses", book.len());
    assert!(book.contains(&(victim, "/ip4/1.2.3.4/tcp/1".to_owned())), "a site's own word was crowded out");
}

#[test]
fn strangers_get_nothing_and_leave_nothing() {
    let mut world = World::new(2);
    let checksum = world.nodes[1].add(b"secret");
    let (federation, site) = (*world.federation.as_bytes(), stranger().site_id());
    let domain = *world.nodes[1].site().as_bytes();
    let questions = [
        Request::Frontier { federation, position: ahead(key(1).site_id(), 99) },
        Request::Delta { federation, domain, after: 0, after_hash: [0; 32] },
        Request::Payload { federation, checksum: *checksum.as_bytes(), offset: 0, len_max: 100 },
    ];
    for question in questions {
        assert_eq!(world.ask(1, site, &question.encode()), refused(Refusal::NotAMember));
    }
    world.meet(1, site, claims(nowhere(), nothing(0)));
    world.tick(110);
    assert!(
        world
            .asked
            .iter()
            .all(|(_, asked)| matches!(asked, Request::Frontier { position, .. } if *position == nowhere()))
    );
    assert!(world.nodes[1].core.federation_log_table().is_empty());
    let join = Request::Join { federation, token: [0; 16], name: "x".to_owned() }.encode();
    (0..100).for_each(|_| assert_eq!(world.ask(1, site, &join), None));
    assert_eq!(world.nodes[1].redeems, 100);
    assert_eq!(world.nodes[1].store.view().members().len(), 3);
}

#[test]
fn garbage_and_odd_questions_are_refused() {
    let mut world = World::new(2);
    let checksum = *world.nodes[1].add(b"12345").as_bytes();
    let (federation, site) = (*world.federation.as_bytes(), mallory().site_id());
    for garbage in [vec![], vec![1], vec![9; 50], vec![1; 5000]] {
        assert_eq!(world.ask(1, site, &garbage), refused(Refusal::Malformed));
    }
    let other = Request::Frontier { federation: [9; 32], position: nowhere() };
    assert_eq!(world.ask(1, site, &other.encode()), refused(Refusal::OtherFederation));
    let payload = |offset| Request::Payload { federation, checksum, offset, len_max: u64::MAX }.encode();
    assert_eq!(world.ask(1, site, &payload(6)), refused(Refusal::Malformed));
    assert_eq!(world.ask(1, site, &payload(u64::MAX)), refused(Refusal::Malformed));
    assert_eq!(world.ask(1, site, &payload(5)), Some(Response::Payload { total_len: 5, bytes: vec![] }));
    let delta = |after| Request::Delta { federation, domain: [4; 32], after, after_hash: [0; 32] }.encode();
    assert_eq!(world.ask(1, site, &delta(0)), Some(nothing(0)));
    assert_eq!(world.ask(1, site, &delta(7)), refused(Refusal::NotHere));
    honest_replication_goes_on(&mut world);
}

#[test]
fn only_a_members_doorbell_of_this_federation_is_heeded() {
    let mut world = World::new(2);
    for (peer, federation, asked) in [
        (stranger(), *world.federation.as_bytes(), 0),
        (mallory(), [9; 32], 0),
        (mallory(), *world.federation.as_bytes(), 1),
    ] {
        world.meet(1, peer.site_id(), claims(nowhere(), nothing(0)));
        world.carry();
        world.asked.clear();
        let bell = Doorbell {
            federation,
            domain: [1; 32],
            number: 1,
            hash: [1; 32],
            logseq: 1,
            snapshot: [1; 32],
            state_root: [1; 32],
        };
        let node = &mut world.nodes[1];
        node.core.handle_gossip(&node.store, peer.site_id(), &bell.encode(), world.now_ms).unwrap();
        node.core.handle_gossip(&node.store, peer.site_id(), b"garbage", world.now_ms).unwrap();
        world.carry();
        assert_eq!(world.asked.len(), asked);
    }
}

/// Node 1 wants `payload` of node 0, and knows its commit; only scripted peers are there to ask.
fn wanting(payload: &[u8]) -> World {
    let mut world = World::new(2);
    world.nodes[0].add(payload);
    let commit = world.nodes[0].store.read_commit(&key(1).site_id(), 3).unwrap().unwrap();
    world.nodes[1].store.merge(vec![commit]).unwrap();
    assert_eq!(world.nodes[1].store.view().wanted().len(), 1);
    world
}

fn serves(mut part: impl FnMut(u64) -> Option<Response> + 'static) -> Script {
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(Response::Frontier { position: nowhere() }),
        Request::Payload { offset, .. } => part(offset),
        _ => refused(Refusal::NotHere),
    })
}

fn part(payload: &[u8], offset: u64) -> Option<Response> {
    let rest = &payload[usize::try_from(offset).unwrap()..];
    Some(Response::Payload { total_len: payload.len() as u64, bytes: rest[..rest.len().min(PART)].to_vec() })
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
    for (total_len, len) in
        [(total_len, 0), (total_len, 1), (total_len, PART + 1), (total_len + 1, PART), (u64::MAX, PART), (0, 1)]
    {
        let mut world = wanting(&payload);
        let bad = move |_| Some(Response::Payload { total_len, bytes: vec![0; len] });
        world.meet(1, mallory().site_id(), serves(bad));
        world.tick(310);
        assert!((1..=4).contains(&wrong_payloads(&world)), "{} notices", wrong_payloads(&world));
        assert!(offsets(&world).len() <= 4);
        honest_replication_goes_on(&mut world);
        assert!(world.nodes[1].store.view().wanted().is_empty());
    }
}

#[test]
fn a_part_poisoned_by_one_peer_neither_hides_the_payload_nor_blames_the_other() {
    let payload = bytes(3 * PART);
    let mut world = wanting(&payload);
    let script = |offset| if offset == 0 { part(&[0; 3 * PART], 0) } else { refused(Refusal::NotHere) };
    world.meet(1, mallory().site_id(), serves(script));
    world.carry();
    world.tick(1);
    world.connect(0, 1);
    world.tick(5);
    assert!(world.nodes[1].store.view().wanted().is_empty());
    let honest = world.nodes[0].site();
    assert_eq!(
        world.nodes[1].noticed(|notice| matches!(notice, Notice::WrongPayload { peer, .. } if *peer == honest)),
        0
    );
    assert!(!world.nodes[1].disk.paths().iter().any(|path| path.starts_with("staging/")), "staging is left over");
}

#[test]
fn a_wrong_payload_is_asked_of_others() {
    let payload = bytes(2 * PART + 5);
    let mut world = wanting(&payload);
    world.meet(1, mallory().site_id(), serves(|offset| part(&[0; 2 * PART + 5], offset)));
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
    let first = move |offset| (offset < 2 * PART as u64).then(|| part(&served, offset)).flatten();
    world.meet(1, mallory().site_id(), serves(first));
    world.tick(1);
    world.nodes[1].core.handle_disconnected(mallory().site_id(), world.now_ms);
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
    (0..2000).for_each(|id| node.core.handle_response(&node.store, id, &late, world.now_ms).unwrap());
    assert_eq!(wrong_payloads(&world), 0);
}

#[test]
fn an_answer_of_the_wrong_kind_ends_the_conversation() {
    let mut world = World::new(2);
    let wrong: Script = Box::new(|request| match request {
        Request::Frontier { .. } => part(b"x", 0),
        _ => Some(Response::Frontier { position: nowhere() }),
    });
    world.meet(1, mallory().site_id(), wrong);
    world.tick(310);
    assert!(world.asked.len() <= 4);
    honest_replication_goes_on(&mut world);
}

#[test]
fn a_level_peer_has_a_line_in_the_table_that_survives_as_text() {
    let mut world = World::new(2);
    honest_replication_goes_on(&mut world);
    let known = world.nodes[1].core.federation_log_table();
    let line = known[&world.nodes[0].site()];
    let view = world.nodes[0].store.view();
    assert_eq!(
        (line.snapshot, line.logseq, line.state_root),
        (view.head().id(), view.head().logseq_max, view.state().root())
    );
    assert_eq!(table::from_text(&format!("garbage\n{}", table::to_text(known))), *known);
}

#[test]
fn back_off_doubles_to_its_cap_starts_afresh_when_reached_and_shuns_strangers() {
    let (site, mut book, mut now_ms) = (key(1).site_id(), Book::default(), 0);
    book.add("a".to_owned(), Some(site));
    let mut wait_ms = BACKOFF_MS_MIN;
    for _ in 0..20 {
        assert_eq!(book.due(now_ms, |_| false), ["a"]);
        assert!(book.due(now_ms + wait_ms - 1, |_| false).is_empty());
        now_ms += wait_ms;
        wait_ms = (wait_ms * 2).min(BACKOFF_MS_MAX);
    }
    assert_eq!(wait_ms, BACKOFF_MS_MAX);
    assert!(book.due(now_ms, |_| true).is_empty());
    book.reached(&site);
    book.lost(&site, now_ms);
    assert_eq!(book.due(now_ms + BACKOFF_MS_MIN, |_| false), ["a"]);
    book.shun(&site, now_ms);
    assert!(book.due(now_ms + BACKOFF_MS_STRANGER - 1, |_| false).is_empty());
    assert_eq!(book.due(now_ms + BACKOFF_MS_STRANGER, |_| false), ["a"]);
}
