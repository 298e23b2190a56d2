//! Strangers: whoever can open a connection, with as many keys as they like.

use std::net::TcpStream;
use std::sync::Arc;

use uor_asl::disk::Mode;
use uor_index_format::id::SiteId;
use uor_index_format::ticket::Ticket;
use uor_index_format::wire::{Position, Refusal, Request, Response};
use uor_node::net::{ANNOUNCEMENT_PROTOCOL, DELTA_PROTOCOL, NetEvent};
use uor_node::service::{self, JoinError};
use uor_node::site::{Redeemed, Site};

use crate::child::ChildNode;
use crate::network::{Attacker, Federation, runtime, socket};
use crate::raw::{Raw, Said, claiming, framed};
use crate::running::directory;
use crate::size;

/// Bounded: places. Three hundred connections that never say a word, before the handshake and
/// behind it.
#[test]
fn silent_connections_keep_no_member_out() {
    let federation = Federation::new();
    let runtime = runtime();
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(socket(&federation.a.address)).unwrap())
        .collect();
    let strangers = runtime.block_on(async {
        let mut strangers = Vec::new();
        for seed in 100..130 {
            let mut stranger = Attacker::new([seed; 32], &federation.a).await;
            stranger.connected().await;
            strangers.push(stranger);
        }
        strangers
    });
    let b = federation.join("b");
    federation.replicates(&b);
    assert_eq!(
        (silent.len(), strangers.len()),
        (300, 30),
        "they have been there all the time"
    );
    b.stop();
    federation.a.stop();
}

/// Bounded: time. A stranger that says nothing is gone after ten seconds.
#[test]
fn a_stranger_does_not_stay() {
    let federation = Federation::new();
    runtime().block_on(async {
        let mut stranger = Attacker::new([100; 32], &federation.a).await;
        stranger.connected().await;
        stranger.disconnected().await;
    });
    federation.a.stop();
}

/// Bounded: memory. What is longer than any question is not read, from whomever it comes.
#[test]
fn huge_questions_are_not_read() {
    let federation = Federation::new();
    let runtime = runtime();
    let turned = federation.turned("m");
    runtime.block_on(async {
        for seed in [[100; 32], turned.key().seed()] {
            let mut attacker = Attacker::new(seed, &federation.a).await;
            attacker.connected().await;
            attacker.ask(1, vec![2; 8 << 20]).await;
            assert_eq!(attacker.answer().await, None);
        }
    });
    let b = federation.join("b");
    federation.replicates(&b);
    b.stop();
    federation.a.stop();
}

/// Bounded: work and log. A stranger that asks without end is shown the door, and a few lines tell
/// of it.
#[test]
fn many_tiny_questions_are_a_few_lines() {
    let federation = Federation::new();
    let _ = federation.told();
    runtime().block_on(async {
        for seed in 100..130 {
            let mut stranger = Attacker::new([seed; 32], &federation.a).await;
            stranger.connected().await;
            for id in 0..20 {
                stranger.ask(id, vec![2]).await;
            }
            stranger.disconnected().await;
        }
    });
    let told = federation.told();
    assert!(!told.is_empty(), "it is told");
    assert!(told.len() <= 20, "{} lines: {told:#?}", told.len());
    federation.a.stop();
}

/// Bounded: silence. Whatever a stranger asks, it gets one and the same answer, and nothing is ever
/// asked of it.
#[test]
fn a_stranger_that_asks_everything_learns_nothing() {
    let federation = Federation::new();
    let (id, domain) = (federation.id(), *federation.a.site.site_id().as_bytes());
    let secret = federation.a.put(b"secret");
    federation.a.write(vec![secret]);
    let questions = [
        Request::Frontier {
            federation: [9; 32],
            position: Position::NONE,
            after: None,
        }
        .encode(),
        Request::Forks {
            federation: id,
            after: None,
        }
        .encode(),
        Request::Proofs {
            federation: id,
            domains: vec![domain],
        }
        .encode(),
        Request::Delta {
            federation: id,
            domain,
            after: 0,
            after_hash: [0; 32],
        }
        .encode(),
        Request::Payload {
            federation: id,
            checksum: [1; 32],
            offset: 0,
            len_max: 1,
        }
        .encode(),
        Request::Read {
            federation: id,
            member: domain,
            expires_ms: u64::MAX,
            signature: [0; 64],
        }
        .encode(),
        Request::Join {
            federation: id,
            token: [0; 16],
            name: "x".to_owned(),
        }
        .encode(),
        b"garbage".to_vec(),
    ];
    runtime().block_on(async {
        let mut stranger = Attacker::new([100; 32], &federation.a).await;
        stranger.connected().await;
        for (number, question) in (0..).zip(questions) {
            stranger.ask(number, question).await;
            let answer = loop {
                match stranger.next().await {
                    NetEvent::Response { body, .. } => break Response::decode(&body).unwrap(),
                    NetEvent::Request { body, .. } => panic!("it was asked {body:?}"),
                    NetEvent::RequestFailed { reason, .. } => panic!("question {number}: {reason}"),
                    _ => {}
                }
            };
            assert_eq!(
                answer,
                Response::Refused {
                    reason: Refusal::NotAdmitted
                },
                "question {number}"
            );
        }
    });
    federation.a.stop();
}

/// Bounded: silence. A stranger that listens hears no announcement and no question while members
/// talk.
#[test]
fn a_listening_stranger_hears_nothing() {
    let federation = Federation::new();
    let b = federation.join("b");
    runtime().block_on(async {
        let mut stranger = Attacker::new([100; 32], &federation.a).await;
        stranger.connected().await;
        federation.replicates(&b);
        // Until it is shown the door; whatever was said to it came before that.
        loop {
            match stranger.next().await {
                NetEvent::Disconnected { .. } => break,
                NetEvent::Announced { .. } | NetEvent::Request { .. } => {
                    panic!("something was said to a stranger")
                }
                _ => {}
            }
        }
    });
    b.stop();
    federation.a.stop();
}

/// Bounded: members. A ticket that was used admits nobody else, however often it is shown, and its
/// owner again and again.
#[test]
fn a_replayed_ticket_admits_nobody() {
    let federation = Federation::new();
    let ticket = federation
        .a
        .site
        .invite(vec![federation.a.address.clone()])
        .unwrap();
    service::join(
        &directory(federation.root.path(), "b"),
        Some("b"),
        &ticket,
        &[],
    )
    .unwrap();
    for number in 0..5 {
        let thief = directory(federation.root.path(), &format!("thief-{number}"));
        let refused = service::join(&thief, Some("thief"), &ticket, &[]);
        assert!(
            matches!(refused, Err(JoinError::Refused(Refusal::NotAdmitted))),
            "{refused:?}"
        );
        assert!(!thief.exists());
    }
    assert_eq!(federation.a.site.members().unwrap().len(), 2);
    let b = Arc::new(Site::open(&directory(federation.root.path(), "b"), Mode::Write).unwrap());
    let again = federation
        .a
        .site
        .redeem(&ticket.token, b.site_id(), "b")
        .unwrap();
    assert_eq!(again, Redeemed::AlreadyMember);
    let other = federation
        .a
        .site
        .redeem(&ticket.token, SiteId::from_bytes([1; 32]), "x");
    assert!(other.is_err());
    federation.a.stop();
}

/// Bounded: members, and lines in the log. Whoever has seen a ticket, and guesses at tokens, is let
/// in nowhere.
#[test]
fn guessed_and_forged_tickets_admit_nobody() {
    let federation = Federation::new();
    let open = federation
        .a
        .site
        .invite(vec![federation.a.address.clone()])
        .unwrap();
    let _ = federation.told();
    let near = (0..128).step_by(size(16, 1)).map(|bit| {
        let mut token = open.token;
        token[bit / 8] ^= 1 << (bit % 8);
        token
    });
    let mut guesses = 0;
    for token in near.chain([[0; 16], [0xff; 16]]) {
        let thief = directory(federation.root.path(), "thief");
        let forged = Ticket {
            token,
            ..open.clone()
        };
        let refused = service::join(&thief, Some("thief"), &forged, &[]);
        assert!(
            matches!(refused, Err(JoinError::Refused(Refusal::NotAdmitted))),
            "{refused:?}"
        );
        guesses += 1;
    }
    assert_eq!(federation.a.site.members().unwrap().len(), 1);
    let told = federation.told();
    assert!(
        told.iter().any(|line| line.contains("ticket")),
        "it is told: {told:?}"
    );
    assert!(
        guesses > 9 && told.len() <= 10,
        "{} lines for {guesses} guesses",
        told.len()
    );
    service::join(
        &directory(federation.root.path(), "b"),
        Some("b"),
        &open,
        &[],
    )
    .expect("the true ticket is still good");
    federation.a.stop();
}

/// Bounded: places. Connections that open, say something and go, one after the other and many at a
/// time.
#[test]
fn connections_that_come_and_go_keep_no_member_out() {
    let federation = Federation::new();
    let runtime = runtime();
    let (address, rounds) = (federation.a.address.clone(), size(10, 200));
    let churn = (0..8_u8).map(|number| {
        let mut raw = Raw::new([150 + number; 32], DELTA_PROTOCOL, &address);
        runtime.spawn(async move {
            let much = vec![
                Said {
                    bytes: framed(b"garbage"),
                    hangs: false
                };
                12
            ];
            raw.storm(&much, rounds).await
        })
    });
    let churn: Vec<_> = churn.collect();
    let b = federation.join("b");
    federation.replicates(&b);
    let (mut opened, mut rounds_had) = (0, 0);
    for tally in churn {
        let tally = runtime.block_on(tally).unwrap();
        opened += tally.opened;
        rounds_had += tally.opened + tally.refused;
    }
    assert!(
        opened > 0 && rounds_had >= 8 * rounds,
        "{opened} of {rounds_had}"
    );
    federation.replicates(&b);
    b.stop();
    federation.a.stop();
}

/// Bounded: questions, and streams on one connection. Two thousand are opened at once, half of them
/// without a word.
#[test]
fn streams_by_the_thousand_are_a_few_questions() {
    let federation = Federation::new();
    let runtime = runtime();
    let _ = federation.told();
    let question = Request::Frontier {
        federation: [9; 32],
        position: Position::NONE,
        after: None,
    }
    .encode();
    let said: Vec<Said> = (0..size(400, 2000))
        .map(|number| Said {
            bytes: if number % 2 == 0 {
                framed(&question)
            } else {
                vec![]
            },
            hangs: number % 2 == 1,
        })
        .collect();
    let storms = [(160, DELTA_PROTOCOL), (161, ANNOUNCEMENT_PROTOCOL)].map(|(seed, protocol)| {
        let (mut raw, said) = (
            Raw::new([seed; 32], protocol, &federation.a.address),
            said.clone(),
        );
        runtime.spawn(async move { raw.storm(&said, 1).await })
    });
    for storm in storms {
        let tally = runtime.block_on(storm).unwrap();
        assert_eq!(tally.opened, 1);
        // So many questions of a stranger are answered; then it is shown the door.
        assert!(tally.answered <= 8, "{tally:?}");
    }
    assert!(federation.told().len() <= 10);
    let b = federation.join("b");
    federation.replicates(&b);
    b.stop();
    federation.a.stop();
}

/// Bounded: memory. Strangers claim frames of four gigabytes, send the longest that are taken, and
/// send without end, all at once and again and again.
#[test]
fn a_flood_of_strangers_takes_little_memory() {
    /// More than a node of a small federation has ever been seen to take for it.
    const GROWTH_MAX: u64 = 64 << 20;
    let root = tempfile::tempdir().unwrap();
    let dir = directory(root.path(), "a");
    Site::init(
        &dir,
        Some("a"),
        uor_index_format::membership::ConflictRule::First,
    )
    .unwrap();
    let node = ChildNode::start(&dir);
    let runtime = runtime();
    let (before, _) = node.resident();
    let longest = Said {
        bytes: framed(&[2; 4096]),
        hangs: false,
    };
    let claimed = Said {
        bytes: claiming(u32::MAX, &vec![2; 1 << 20]),
        hangs: true,
    };
    let cut = Said {
        bytes: claiming(4096, &[2; 4000]),
        hangs: true,
    };
    let (strangers, rounds) = (size(12, 64), size(2, 20));
    let floods: Vec<_> = (0..strangers)
        .map(|number| {
            let said: Vec<Said> = [&longest, &claimed, &cut]
                .into_iter()
                .cycle()
                .take(60)
                .cloned()
                .collect();
            let seed = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let mut raw = Raw::new(seed, DELTA_PROTOCOL, &node.address);
            runtime.spawn(async move { raw.storm(&said, rounds).await })
        })
        .collect();
    let opened: usize = floods
        .into_iter()
        .map(|flood| runtime.block_on(flood).unwrap().opened)
        .sum();
    let (after, most) = node.resident();
    println!(
        "resident: {before} bytes before, {most} at most, {after} after; {opened} connections of {strangers} strangers"
    );
    assert!(opened >= 8, "{opened} connections opened");
    assert!(
        most - before <= GROWTH_MAX,
        "{before} bytes before, {most} at most"
    );
}
