//! The replication core against hostile and unlucky peers: no network, no clock, one attack per
//! test, each with its bound.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "replication/damaged.rs"]
mod damaged;
#[path = "replication/dials.rs"]
mod dials;
#[path = "replication/payloads.rs"]
mod payloads;
#[path = "replication/testimony.rs"]
mod testimony;
#[path = "replication/world.rs"]
mod world;

use std::collections::BTreeMap;

use uor_asl::validator::Verdict;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{ArtifactKey, CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::Admission;
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_index_format::snapshot::Head;
use uor_index_format::wire::{
    Announcement, Contact, HEADS_MAX, Position, Refusal, Request, Response, WireFork, WireHead,
    fork_set,
};
use uor_node::replication::{Notice, READER_MS_MAX, table};

use self::payloads::part;
use self::world::{Script, World, key, mallory, refused, stranger};

const PART: usize = 1 << 20;

/// A whole frontier of these heads.
fn frontier(heads: Vec<WireHead>) -> Response {
    let position = Position {
        snapshot: [8; 32],
        forks: fork_set(std::iter::empty()),
        ..Position::NONE
    };
    Response::Frontier {
        position,
        heads,
        has_more: false,
        contacts: vec![],
    }
}

/// The same, at odds about forks.
fn at_odds(mut frontier: Response) -> Response {
    if let Response::Frontier { position, .. } = &mut frontier {
        position.forks = [7; 32];
    }
    frontier
}

fn nowhere() -> Response {
    frontier(vec![])
}

fn ahead(domain: SiteId, number: u64) -> Response {
    frontier(vec![WireHead {
        domain: *domain.as_bytes(),
        number,
        hash: [9; 32],
    }])
}

fn telling(told: Vec<Contact>) -> Response {
    match nowhere() {
        Response::Frontier {
            position,
            heads,
            has_more,
            ..
        } => Response::Frontier {
            position,
            heads,
            has_more,
            contacts: told,
        },
        other => other,
    }
}

/// Answers every frontier question with `frontier` and every delta question with `delta`; knows of
/// no fork.
fn claims(frontier: Response, delta: Response) -> Script {
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(frontier.clone()),
        Request::Delta { .. } => Some(delta.clone()),
        Request::Forks { .. } => Some(Response::Forks {
            forks: vec![],
            has_more: false,
        }),
        _ => refused(Refusal::NotHere),
    })
}

/// Stands nowhere, and proves these forks as often as it is asked.
fn proves(proofs: Vec<ForkProof>) -> Script {
    Box::new(move |request| match request {
        Request::Frontier { .. } => Some(at_odds(nowhere())),
        Request::Forks { after, .. } => {
            let fork = |proof: &ForkProof| WireFork {
                domain: *proof.domain().as_bytes(),
                number: proof.number(),
            };
            let all: BTreeMap<[u8; 32], WireFork> = proofs
                .iter()
                .map(|proof| (fork(proof).domain, fork(proof)))
                .collect();
            let forks = all
                .into_values()
                .filter(|fork| after.is_none_or(|after| after < fork.domain))
                .collect();
            Some(Response::Forks {
                forks,
                has_more: false,
            })
        }
        Request::Proofs { .. } => Some(Response::Proofs {
            proofs: proofs.iter().map(ForkProof::encode).collect(),
        }),
        _ => refused(Refusal::NotHere),
    })
}

fn nothing(commits_left: u64) -> Response {
    Response::Delta {
        commits: vec![],
        commits_left,
    }
}

fn draft(key: &SiteKey, number: u64, previous: CommitHash, name: &str) -> Commit {
    let target = ArtifactKey::from_bytes([1; 32]);
    let record = Record::reference(RefAssignment {
        namespace: NAMESPACE_USER.to_owned(),
        name: name.to_owned(),
        target,
    });
    let federation = FederationState::of(&[]);
    let draft = Draft {
        number,
        history: History::Previous(previous),
        logseq: LogSeq(100 + number),
        federation,
        wall_ms: 0,
        learned: vec![],
        records: vec![record],
    };
    Commit::seal(draft, key).unwrap()
}

fn fork_proof(key: &SiteKey, number: u64) -> ForkProof {
    let previous = if number == 1 {
        CommitHash::NONE
    } else {
        CommitHash::from_bytes([3; 32])
    };
    let [one, other] = ["a", "b"].map(|name| draft(key, number, previous, name).header().clone());
    ForkProof::new(one, other).unwrap()
}

/// Replication between nodes 0 and 1 still works.
fn honest_replication_goes_on(world: &mut World) {
    world.connect(0, 1);
    let checksum = world.nodes[0].add(b"news");
    world.tick(110);
    assert!(
        world.nodes[1].store.blocks().has(checksum),
        "honest replication stopped"
    );
    assert_eq!(
        *world.nodes[0].store.view().head(),
        *world.nodes[1].store.view().head()
    );
}

#[test]
fn a_peer_that_claims_to_be_ahead_and_sends_nothing_is_asked_once_a_round() {
    let mut world = World::new(2);
    let lie = ahead(mallory().site_id(), u64::MAX);
    world.meet(1, mallory().site_id(), claims(lie, nothing(u64::MAX)));
    world.tick(310);
    assert!(
        (3..=10).contains(&world.asked.len()),
        "{} questions in 31 s",
        world.asked.len()
    );
    honest_replication_goes_on(&mut world);
}

#[test]
fn who_claims_more_of_a_site_s_own_log_than_it_gives_does_not_keep_the_site_waiting() {
    let mut world = World::new(2);
    let me = world.nodes[1].site();
    world.meet(
        1,
        mallory().site_id(),
        claims(ahead(me, u64::MAX), nothing(u64::MAX)),
    );
    world.meet(1, stranger().site_id(), claims(nowhere(), nothing(0)));
    world.tick(20);
    assert_eq!(
        *world.nodes[1].core.heard(),
        BTreeMap::from([(mallory().site_id(), u64::MAX)]),
        "and it is known for it"
    );
    honest_replication_goes_on(&mut world);
    assert_eq!(
        world.nodes[1].core.heard().get(&world.nodes[0].site()),
        Some(&0)
    );
}

#[test]
fn known_commits_sent_again_and_again_do_not_keep_a_conversation_alive() {
    let mut world = World::new(2);
    let founder = key(1).site_id();
    let known = world.nodes[0]
        .store
        .commit_bytes(&founder, 1)
        .unwrap()
        .unwrap();
    let delta = Response::Delta {
        commits: vec![known],
        commits_left: 1000,
    };
    world.meet(1, mallory().site_id(), claims(ahead(founder, 9), delta));
    assert!(world.carry() <= 4);
    honest_replication_goes_on(&mut world);
}

#[test]
fn a_peer_that_alternates_known_commits_and_refusals_ends_its_conversation() {
    let mut world = World::new(2);
    let founder = key(1).site_id();
    let known = world.nodes[0]
        .store
        .commit_bytes(&founder, 1)
        .unwrap()
        .unwrap();
    let script: Script = Box::new(move |request| match request {
        Request::Frontier { .. } => Some(ahead(founder, 9)),
        Request::Delta { after: 0, .. } => Some(Response::Delta {
            commits: vec![known.clone()],
            commits_left: 9,
        }),
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
        WireHead {
            domain,
            number: 1,
            hash: [1; 32],
        }
    };
    let mut heads: Vec<WireHead> = (0..HEADS_MAX as u64).map(head).collect();
    heads.sort_by_key(|head| head.domain);
    world.meet(1, mallory().site_id(), claims(frontier(heads), nothing(1)));
    // It is asked where it stands, and once how those became members.
    assert_eq!(world.carry(), 2);
    honest_replication_goes_on(&mut world);
}

#[test]
fn fork_proofs_count_once_and_only_against_members_and_near_what_is_here() {
    let mut world = World::new(2);
    let far: Vec<ForkProof> = (2..40)
        .rev()
        .map(|number| fork_proof(&mallory(), number))
        .collect();
    let foreign = vec![fork_proof(&stranger(), 1)];
    for proofs in [far, foreign] {
        world.meet(1, mallory().site_id(), proves(proofs));
        world.carry();
        assert!(world.nodes[1].store.view().forks().is_empty());
    }
    world.meet(
        1,
        mallory().site_id(),
        proves(vec![fork_proof(&mallory(), 1); 64]),
    );
    world.tick(310);
    assert_eq!(
        world.nodes[1].noticed(|notice| matches!(notice, Notice::Forked { .. })),
        1
    );
    honest_replication_goes_on(&mut world);
}

#[test]
fn pages_that_lead_nowhere_end() {
    let mut world = World::new(2);
    let next = |after: Option<[u8; 32]>| {
        let mut domain = after.unwrap_or([0; 32]);
        domain[31] += 1;
        domain
    };
    let endless: Script = Box::new(move |request| match request {
        Request::Frontier { after, .. } => Some(Response::Frontier {
            position: Position {
                snapshot: [8; 32],
                ..Position::NONE
            },
            heads: vec![WireHead {
                domain: next(after),
                number: 1,
                hash: [1; 32],
            }],
            has_more: true,
            contacts: vec![],
        }),
        Request::Forks { after, .. } => Some(Response::Forks {
            forks: vec![WireFork {
                domain: next(after),
                number: 1,
            }],
            has_more: true,
        }),
        _ => refused(Refusal::NotHere),
    });
    world.meet(1, mallory().site_id(), endless);
    assert!(
        world.carry() <= 200,
        "one conversation has a bounded number of pages"
    );
    for (heads, has_more) in [(vec![2, 1], false), (vec![1, 1], false), (vec![], true)] {
        let head = |at: &u8| WireHead {
            domain: [*at; 32],
            number: 1,
            hash: [1; 32],
        };
        let position = Position {
            snapshot: [8; 32],
            ..Position::NONE
        };
        let bad = Response::Frontier {
            position,
            heads: heads.iter().map(head).collect(),
            has_more,
            contacts: vec![],
        };
        world.nodes[1]
            .core
            .handle_disconnected(mallory().site_id(), world.now_ms);
        world.meet(1, mallory().site_id(), claims(bad, nothing(0)));
        assert_eq!(world.carry(), 1);
    }
    assert_eq!(
        world.nodes[1].noticed(|notice| matches!(notice, Notice::Malformed { .. })),
        3
    );
    honest_replication_goes_on(&mut world);
}

/// All sites know the same forks in the end, however many there are, and proofs travel once.
#[test]
fn a_thousand_forked_domains_converge_by_difference() {
    const FORKED: u32 = 1000;
    let mut world = World::new(3);
    let writer = |number: u32| {
        let mut seed = [77; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        SiteKey::from_seed(&seed)
    };
    let (federation, founder) = (world.federation, key(1).site_id());
    let admit = |number| {
        let site = writer(number).site_id();
        Record::admission(Admission {
            federation,
            site,
            name: format!("site-{number}"),
        })
    };
    let mut admissions: Vec<Record> = (0..FORKED).map(admit).collect();
    admissions.sort_by_key(Record::id);
    world.nodes[0].store.commit(&key(1), admissions, 0).unwrap();
    let commit = world.nodes[0]
        .store
        .read_commit(&founder, 3)
        .unwrap()
        .unwrap();
    for node in &world.nodes[1..] {
        node.store.merge(vec![commit.clone()]).unwrap();
    }
    for number in 0..FORKED {
        let (one, other) = (0, 1 + number as usize % 2);
        let known_to = if number % 3 == 0 { one } else { other };
        assert!(
            world.nodes[known_to]
                .store
                .freeze(fork_proof(&writer(number), 1))
                .unwrap()
        );
    }
    world.connect(0, 1);
    world.connect(1, 2);
    world.tick(400);
    for node in &world.nodes {
        assert_eq!(node.store.view().forks().len(), FORKED as usize);
    }
    let before = world.proofs_sent;
    assert!(before <= 3 * FORKED as usize, "{before} proofs were sent");
    world.tick(300);
    assert_eq!(
        world.proofs_sent, before,
        "what both know is not sent again"
    );
    honest_replication_goes_on(&mut world);
}

/// A first commit whose writer was admitted by this one, which it names.
fn first_commit(key: &SiteKey, admitted_by: CommitHash, logseq: u64, record: Record) -> Commit {
    let draft = Draft {
        number: 1,
        history: History::Previous(CommitHash::NONE),
        logseq: LogSeq(logseq),
        federation: FederationState::of(&[admitted_by]),
        wall_ms: 0,
        learned: vec![admitted_by],
        records: vec![record],
    };
    Commit::seal(draft, key).unwrap()
}

/// A fork took its inviter's word out of all deltas. It is a member by someone else's word as well,
/// and its first commit still rests on the one it names.
#[test]
fn a_site_that_was_admitted_twice_is_heard_though_its_inviter_forked() {
    let mut world = World::new(2);
    let store = &world.nodes[0].store;
    let admitted_by = store
        .view()
        .commit_hash(&key(1).site_id(), 2)
        .unwrap()
        .unwrap();
    let invitee = stranger().site_id();
    let admission = Admission {
        federation: world.federation,
        site: invitee,
        name: "twice".to_owned(),
    };
    let admission = Record::admission(admission);
    let invites = first_commit(&mallory(), admitted_by, 50, admission.clone());
    let word = Record::artifact(None, Payload::of(b"a word"));
    let writes = first_commit(&stranger(), invites.hash(), 60, word.clone());
    let twin = first_commit(&mallory(), admitted_by, 50, word);
    let verdicts = store.merge(vec![invites, writes, twin]).unwrap();
    assert!(
        matches!(
            verdicts[..],
            [Verdict::Accepted, Verdict::Accepted, Verdict::Forks(_)]
        ),
        "{verdicts:?}"
    );
    store.commit(&key(1), vec![admission], 0).unwrap();
    world.connect(0, 1);
    world.tick(300);
    let [here, there] =
        [0, 1].map(|node: usize| world.nodes[node].store.view().head().frontier.clone());
    assert!(there.contains_key(&invitee), "it is not heard");
    assert_eq!(here, there);
}

/// A frontier that comes a head at a time arrives whole, and in the end the peer is noted as caught
/// up with.
#[test]
fn a_frontier_of_several_pages_arrives_whole() {
    let mut world = World::new(3);
    let peer = world.nodes[0].site();
    for at in [1, 2] {
        world.nodes[at].add(b"a page of its own");
        let (site, commit) = (world.nodes[at].site(), 1);
        let commit = world.nodes[at]
            .store
            .read_commit(&site, commit)
            .unwrap()
            .unwrap();
        world.nodes[0].store.merge(vec![commit]).unwrap();
    }
    world.nodes[0].add(b"and another");
    let (frontier, position, commits) = {
        let view = world.nodes[0].store.view();
        let position = Position {
            snapshot: *view.head().id().as_bytes(),
            logseq_max: view.head().logseq_max.0,
            state_root: *view.state().root().as_bytes(),
            forks: fork_set(std::iter::empty()),
        };
        let bytes = |domain: &SiteId, number| {
            world.nodes[0]
                .store
                .commit_bytes(domain, number)
                .unwrap()
                .unwrap()
        };
        let commits: BTreeMap<[u8; 32], Vec<Vec<u8>>> = view
            .head()
            .frontier
            .iter()
            .map(|(domain, head)| {
                (
                    *domain.as_bytes(),
                    (1..=head.number)
                        .map(|number| bytes(domain, number))
                        .collect(),
                )
            })
            .collect();
        (view.head().frontier.clone(), position, commits)
    };
    assert!(frontier.len() >= 3);
    let script: Script = Box::new(move |request| match request {
        Request::Frontier {
            position: asker, ..
        } if asker.snapshot == position.snapshot => Some(Response::Frontier {
            position,
            heads: vec![],
            has_more: false,
            contacts: vec![],
        }),
        Request::Frontier { after, .. } => {
            let mut rest = frontier
                .iter()
                .filter(|(domain, _)| after.is_none_or(|after| after < *domain.as_bytes()));
            let head = |(domain, head): (&SiteId, &Head)| WireHead {
                domain: *domain.as_bytes(),
                number: head.number,
                hash: *head.hash.as_bytes(),
            };
            let heads = rest.next().map(head).into_iter().collect();
            Some(Response::Frontier {
                position,
                heads,
                has_more: rest.next().is_some(),
                contacts: vec![],
            })
        }
        Request::Delta { domain, after, .. } => {
            let commits = commits[&domain][usize::try_from(after).unwrap()..].to_vec();
            Some(Response::Delta {
                commits,
                commits_left: 0,
            })
        }
        _ => refused(Refusal::NotHere),
    });
    world.meet(1, peer, script);
    world.carry();
    assert_eq!(
        *world.nodes[1].store.view().head(),
        *world.nodes[0].store.view().head()
    );
    let applied = world.nodes[1].core.federation_log_table()[&peer];
    assert_eq!(applied.snapshot, world.nodes[0].store.view().head().id());
}

/// A liar that stands nowhere we stand is not noted as caught up with.
#[test]
fn an_empty_frontier_at_another_snapshot_is_not_believed() {
    let mut world = World::new(2);
    world.meet(1, mallory().site_id(), claims(nowhere(), nothing(0)));
    world.tick(310);
    assert!(world.nodes[1].core.federation_log_table().is_empty());
}

#[test]
fn one_malformed_thing_is_one_notice() {
    let mut world = World::new(2);
    let site = mallory().site_id();
    let script: Script = Box::new(move |request| match request {
        Request::Frontier { .. } => Some(at_odds(ahead(site, 9))),
        Request::Forks { .. } => {
            let forks = vec![WireFork {
                domain: *site.as_bytes(),
                number: 1,
            }];
            Some(Response::Forks {
                forks,
                has_more: false,
            })
        }
        Request::Proofs { .. } => Some(Response::Proofs {
            proofs: vec![vec![]; 10_000],
        }),
        _ => Some(Response::Delta {
            commits: vec![vec![]; 10_000],
            commits_left: 9,
        }),
    });
    world.meet(1, site, script);
    world.carry();
    assert_eq!(
        world.nodes[1].noticed(|notice| matches!(notice, Notice::Malformed { .. })),
        2
    );
    honest_replication_goes_on(&mut world);
}

#[test]
fn commits_that_wait_are_fetched_again_once_a_round_with_one_notice() {
    let mut world = World::new(2);
    let site = mallory().site_id();
    let parked = (5..50)
        .map(|number| draft(&mallory(), number, CommitHash::from_bytes([3; 32]), "x").encode());
    let delta = Response::Delta {
        commits: parked.collect(),
        commits_left: 100,
    };
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
        let contact = |number| Contact {
            site: *site.as_bytes(),
            address: format!("/ip4/10.0.0.1/tcp/{round}{number:04}"),
        };
        telling((0..64).map(contact).collect())
    };
    for round in 0..40 {
        for (teller, site) in [
            (mallory(), victim),
            (mallory(), mallory().site_id()),
            (stranger(), victim),
        ] {
            world.meet(1, teller.site_id(), claims(flood(round, site), nothing(0)));
            world.carry();
            world.nodes[1]
                .core
                .handle_disconnected(teller.site_id(), world.now_ms);
        }
    }
    let told = telling(vec![Contact {
        site: *victim.as_bytes(),
        address: "/ip4/1.2.3.4/tcp/1".to_owned(),
    }]);
    world.meet(1, victim, claims(told, nothing(0)));
    world.carry();
    let me = world.nodes[1].site();
    let book: Vec<(SiteId, String)> = world.nodes[1]
        .core
        .book()
        .contacts(&me)
        .map(|(site, address)| (*site, address.to_owned()))
        .collect();
    assert!(book.len() <= 16, "{} addresses", book.len());
    assert!(
        book.contains(&(victim, "/ip4/1.2.3.4/tcp/1".to_owned())),
        "a site's own word was crowded out"
    );
}

#[test]
fn strangers_get_one_answer_and_hear_nothing() {
    let mut world = World::new(2);
    let checksum = world.nodes[1].add(b"secret");
    let (federation, site) = (*world.federation.as_bytes(), stranger().site_id());
    let domain = *world.nodes[1].site().as_bytes();
    world.meet(1, site, claims(nowhere(), nothing(0)));
    world.tick(310);
    assert!(world.asked.is_empty(), "nothing is asked of a stranger");
    let read = |signature| Request::Read {
        federation,
        member: domain,
        expires_ms: 1000,
        signature,
    };
    let other = [9; 32];
    let questions = [
        Request::Frontier {
            federation: other,
            position: Position::NONE,
            after: None,
        }
        .encode(),
        Request::Forks {
            federation,
            after: None,
        }
        .encode(),
        Request::Proofs {
            federation,
            domains: vec![domain],
        }
        .encode(),
        Request::Delta {
            federation,
            domain,
            after: 0,
            after_hash: [0; 32],
        }
        .encode(),
        Request::Payload {
            federation,
            checksum: *checksum.as_bytes(),
            offset: 0,
            len_max: 100,
        }
        .encode(),
        read([0; 64]).encode(),
        Request::Join {
            federation: other,
            token: [0; 16],
            name: "x".to_owned(),
        }
        .encode(),
        b"garbage".to_vec(),
        vec![],
        vec![1; 4097],
    ];
    for question in &questions {
        assert_eq!(world.ask(1, site, question), refused(Refusal::NotAdmitted));
    }
    assert!(
        world.asked.is_empty(),
        "nothing is asked of a stranger that does not name the federation"
    );
    assert!(world.nodes[1].core.federation_log_table().is_empty());
    let join = Request::Join {
        federation,
        token: [0; 16],
        name: "x".to_owned(),
    }
    .encode();
    (0..100).for_each(|_| assert_eq!(world.ask(1, site, &join), None));
    assert_eq!(world.nodes[1].redeems, 100);
    let node = &mut world.nodes[1];
    node.core.handle_redeemed(u64::MAX, None);
    world.carry();
    assert_eq!(world.nodes[1].answers.pop(), refused(Refusal::NotAdmitted));
    assert_eq!(world.nodes[1].store.view().members().len(), 3);
}

/// A site that was admitted elsewhere brings its own admission: it is refused, but asked for what
/// it has.
#[test]
fn a_member_unheard_of_is_asked_for_its_admission() {
    let mut world = World::new(2);
    let (newcomer, founder) = (stranger(), key(1).site_id());
    let federation = world.federation;
    let admission = Admission {
        federation,
        site: newcomer.site_id(),
        name: "new".to_owned(),
    };
    world.nodes[0]
        .store
        .commit(&key(1), vec![Record::admission(admission)], 0)
        .unwrap();
    let commit = world.nodes[0]
        .store
        .commit_bytes(&founder, 3)
        .unwrap()
        .unwrap();
    let delta = Response::Delta {
        commits: vec![commit],
        commits_left: 0,
    };
    world.meet(1, newcomer.site_id(), claims(ahead(founder, 3), delta));
    world.carry();
    assert!(world.asked.is_empty());
    let question = Request::Frontier {
        federation: *federation.as_bytes(),
        position: Position::NONE,
        after: None,
    };
    for _ in 0..50 {
        assert!(
            world
                .ask(1, newcomer.site_id(), &question.encode())
                .is_some()
        );
    }
    let nothing_said = |(_, asked): &(SiteId, Request)| match asked {
        Request::Frontier { position, .. } => *position == Position::NONE,
        _ => true,
    };
    assert!(
        world.asked.iter().take(2).all(nothing_said),
        "{:?}",
        world.asked
    );
    assert!(
        world.nodes[1]
            .store
            .view()
            .members()
            .contains(&newcomer.site_id())
    );
}

/// A stranger that names the federation can make a node ask it, but not often, nor many of its kind
/// at once.
#[test]
fn strangers_that_name_the_federation_are_asked_seldom_and_few_at_a_time() {
    let mut world = World::new(2);
    let federation = *world.federation.as_bytes();
    let question = Request::Frontier {
        federation,
        position: Position::NONE,
        after: None,
    }
    .encode();
    for seed in 200..210 {
        let site = key(seed).site_id();
        world.meet(1, site, Box::new(|_| None));
        (0..20)
            .for_each(|_| assert_eq!(world.ask(1, site, &question), refused(Refusal::NotAdmitted)));
    }
    assert_eq!(world.asked.len(), 2);
    honest_replication_goes_on(&mut world);
}

#[test]
fn a_credential_expires_and_lets_few_in() {
    let mut world = World::new(2);
    let (federation, member) = (world.federation, key(1));
    world.nodes[1].core.set_wall_ms(1_000_000, world.now_ms);
    let read = |reader: SiteId, expires_ms: u64| {
        let signature = member.vouch(&federation, &reader, expires_ms);
        let (federation, member) = (*federation.as_bytes(), *member.site_id().as_bytes());
        Request::Read {
            federation,
            member,
            expires_ms,
            signature,
        }
        .encode()
    };
    let frontier = Request::Frontier {
        federation: *federation.as_bytes(),
        position: Position::NONE,
        after: None,
    };
    let reader = stranger().site_id();
    for expires_ms in [0, 999_999, 1_000_000, 1_000_001 + READER_MS_MAX, u64::MAX] {
        assert_eq!(
            world.ask(1, reader, &read(reader, expires_ms)),
            refused(Refusal::NotAdmitted),
            "{expires_ms}"
        );
    }
    assert_eq!(
        world.ask(1, key(240).site_id(), &read(reader, 1_005_000)),
        refused(Refusal::NotAdmitted)
    );
    assert_eq!(
        world.ask(1, reader, &read(reader, 1_005_000)),
        Some(Response::Welcome)
    );
    assert!(matches!(
        world.ask(1, reader, &frontier.encode()),
        Some(Response::Frontier { .. })
    ));
    let others: Vec<SiteId> = (230..240).map(|seed| key(seed).site_id()).collect();
    let let_in = others
        .iter()
        .filter(|site| world.ask(1, **site, &read(**site, 1_005_000)) == Some(Response::Welcome));
    assert_eq!(let_in.count(), 3, "four may read at one time");
    world.tick(60);
    assert_eq!(
        world.ask(1, reader, &frontier.encode()),
        refused(Refusal::NotAdmitted),
        "it has expired"
    );
}

#[test]
fn garbage_and_odd_questions_are_refused() {
    let mut world = World::new(2);
    let checksum = *world.nodes[1].add(b"12345").as_bytes();
    let (federation, site) = (*world.federation.as_bytes(), mallory().site_id());
    for garbage in [vec![], vec![1], vec![9; 50], vec![2; 4097]] {
        assert_eq!(world.ask(1, site, &garbage), refused(Refusal::Malformed));
    }
    let other = Request::Frontier {
        federation: [9; 32],
        position: Position::NONE,
        after: None,
    };
    assert_eq!(
        world.ask(1, site, &other.encode()),
        refused(Refusal::NotAdmitted)
    );
    let payload = |offset| {
        Request::Payload {
            federation,
            checksum,
            offset,
            len_max: u64::MAX,
        }
        .encode()
    };
    assert_eq!(world.ask(1, site, &payload(6)), refused(Refusal::Malformed));
    assert_eq!(
        world.ask(1, site, &payload(u64::MAX)),
        refused(Refusal::Malformed)
    );
    assert_eq!(
        world.ask(1, site, &payload(5)),
        Some(Response::Payload {
            total_len: 5,
            bytes: vec![]
        })
    );
    let delta = |after| {
        Request::Delta {
            federation,
            domain: [4; 32],
            after,
            after_hash: [0; 32],
        }
        .encode()
    };
    assert_eq!(world.ask(1, site, &delta(0)), Some(nothing(0)));
    assert_eq!(world.ask(1, site, &delta(7)), refused(Refusal::NotHere));
    honest_replication_goes_on(&mut world);
}

#[test]
fn only_a_members_announcement_of_this_federation_is_heeded() {
    let mut world = World::new(2);
    for (peer, federation, asked) in [
        (stranger(), *world.federation.as_bytes(), 0),
        (mallory(), [9; 32], 0),
        (mallory(), *world.federation.as_bytes(), 1),
    ] {
        world.meet(1, peer.site_id(), claims(nowhere(), nothing(0)));
        world.carry();
        world.asked.clear();
        let announcement = Announcement {
            federation,
            domain: [1; 32],
            number: 1,
            hash: [1; 32],
            logseq: 1,
            snapshot: [1; 32],
            state_root: [1; 32],
        };
        let node = &mut world.nodes[1];
        node.core
            .handle_announcement(
                &node.store,
                peer.site_id(),
                &announcement.encode(),
                world.now_ms,
            )
            .unwrap();
        node.core
            .handle_announcement(&node.store, peer.site_id(), b"garbage", world.now_ms)
            .unwrap();
        world.carry();
        assert_eq!(world.asked.len(), asked);
    }
}

#[test]
fn an_answer_of_the_wrong_kind_ends_the_conversation() {
    let mut world = World::new(2);
    let wrong: Script = Box::new(|request| match request {
        Request::Frontier { .. } => part(b"x", 0),
        _ => Some(nowhere()),
    });
    world.meet(1, mallory().site_id(), wrong);
    world.tick(310);
    assert!(world.asked.len() <= 4);
    honest_replication_goes_on(&mut world);
}

#[test]
fn a_peer_that_was_caught_up_with_has_a_line_in_the_table_that_survives_as_text() {
    let mut world = World::new(2);
    honest_replication_goes_on(&mut world);
    let known = world.nodes[1].core.federation_log_table();
    let line = known[&world.nodes[0].site()];
    let view = world.nodes[0].store.view();
    assert_eq!(
        (line.snapshot, line.logseq, line.state_root),
        (
            view.head().id(),
            view.head().logseq_max,
            view.state().root()
        )
    );
    assert_eq!(
        table::from_text(&format!("garbage\n{}", table::to_text(known))),
        *known
    );
}
