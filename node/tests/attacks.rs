//! Attacks of the network against running nodes, over loopback: strangers, and members that turned. Each names what is
//! bounded: whether others still get through, what is told, what is kept.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

#[expect(dead_code, reason = "attacks need less of it")]
#[path = "service/running.rs"]
mod running;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::sync::mpsc;
use uor_asl::disk::Mode;
use uor_index_format::id::SiteId;
use uor_index_format::membership::ConflictRule;
use uor_index_format::wire::{Position, Refusal, Request, Response};
use uor_node::net::{self, NetCommand, NetConfig, NetEvent, NetHandle, peer_id};
use uor_node::service::{self, JoinError, ServiceEvent};
use uor_node::site::{Redeemed, Site};

use self::running::{PATIENCE, Running, agree, directory};

/// A federation of two running members, and a directory for more.
struct Federation {
    root: tempfile::TempDir,
    sender: Sender<ServiceEvent>,
    events: Receiver<ServiceEvent>,
    a: Running,
}

impl Federation {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (sender, events) = channel();
        Site::init(&directory(root.path(), "a"), Some("a"), ConflictRule::First).unwrap();
        let a = Running::start(&directory(root.path(), "a"), &sender);
        Self { root, sender, events, a }
    }

    /// A member that joins now, through whatever is going on.
    fn join(&self, name: &str) -> Running {
        let ticket = self.a.site.invite(vec![self.a.address.clone()]).unwrap();
        let dir = directory(self.root.path(), name);
        service::join(&dir, Some(name), &ticket, &[]).unwrap();
        Running::start(&dir, &self.sender)
    }

    /// A member that is not running: its key in the hands of an attacker.
    fn turned(&self, name: &str) -> Site {
        let dir = directory(self.root.path(), name);
        let ticket = self.a.site.invite(vec![self.a.address.clone()]).unwrap();
        service::join(&dir, Some(name), &ticket, &[]).unwrap();
        Site::open(&dir, Mode::ReadOnly).unwrap()
    }

    fn id(&self) -> [u8; 32] {
        *self.a.site.federation().as_bytes()
    }

    /// What a wrote arrives at b.
    fn replicates(&self, b: &Running) {
        let news = self.a.put(format!("news for {}", b.site.name()).as_bytes());
        self.a.write(vec![news]);
        agree(&[&self.a, b], &self.events);
    }

    /// Lines that were told so far.
    fn told(&self) -> Vec<String> {
        let notice = |event| if let ServiceEvent::Notice(line) = event { Some(line) } else { None };
        self.events.try_iter().filter_map(notice).collect()
    }
}

/// Somebody with a key of their own, and the network shell in their own hands.
struct Attacker {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    victim: [u8; 32],
    address: Multiaddr,
}

impl Attacker {
    /// Calls the victim a member, so that nothing the victim says would be missed.
    async fn new(seed: [u8; 32], victim: &Running) -> Self {
        let victim_key = *victim.site.site_id().as_bytes();
        let mut config = NetConfig::new(seed);
        config.members.insert(victim_key);
        config.question_len_max = 9 << 20;
        let (net, events) = net::spawn(config).unwrap();
        let attacker = Self { net, events, victim: victim_key, address: victim.address.parse().unwrap() };
        attacker.dial().await;
        attacker
    }

    async fn dial(&self) {
        self.net.send(NetCommand::Dial(self.address.clone())).await.unwrap();
    }

    async fn ask(&self, id: u64, body: Vec<u8>) {
        let ask = NetCommand::Request { peer: self.victim, id, body, answer_len_max: u32::MAX };
        self.net.send(ask).await.unwrap();
    }

    async fn next(&mut self) -> NetEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    async fn until<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next().await) {
                return found;
            }
        }
    }

    async fn connected(&mut self) {
        self.until(|event| matches!(event, NetEvent::Connected { .. }).then_some(())).await;
    }

    async fn disconnected(&mut self) {
        self.until(|event| matches!(event, NetEvent::Disconnected { .. }).then_some(())).await;
    }

    /// The answer to the question that was just asked; `None` if there is none.
    async fn answer(&mut self) -> Option<Response> {
        self.until(|event| match event {
            NetEvent::Response { body, .. } => Some(Some(Response::decode(&body).unwrap())),
            NetEvent::RequestFailed { .. } => Some(None),
            _ => None,
        })
        .await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn socket(address: &str) -> String {
    let parsed: Multiaddr = address.parse().unwrap();
    let port = parsed.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None }).unwrap();
    format!("127.0.0.1:{port}")
}

/// Bounded: places. Three hundred connections that never say a word, before the handshake and behind it.
#[test]
fn silent_connections_keep_no_member_out() {
    let federation = Federation::new();
    let runtime = runtime();
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(socket(&federation.a.address)).unwrap()).collect();
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
    assert_eq!((silent.len(), strangers.len()), (300, 30), "they have been there all the time");
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

/// Bounded: work and log. A stranger that asks without end is shown the door, and a few lines tell of it.
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

/// Bounded: silence. Whatever a stranger asks, it gets one and the same answer, and nothing is ever asked of it.
#[test]
fn a_stranger_that_asks_everything_learns_nothing() {
    let federation = Federation::new();
    let (id, domain) = (federation.id(), *federation.a.site.site_id().as_bytes());
    let secret = federation.a.put(b"secret");
    federation.a.write(vec![secret]);
    let questions = [
        Request::Frontier { federation: [9; 32], position: Position::NONE, after: None }.encode(),
        Request::Forks { federation: id, after: None }.encode(),
        Request::Proofs { federation: id, domains: vec![domain] }.encode(),
        Request::Delta { federation: id, domain, after: 0, after_hash: [0; 32] }.encode(),
        Request::Payload { federation: id, checksum: [1; 32], offset: 0, len_max: 1 }.encode(),
        Request::Read { federation: id, member: domain, expires_ms: u64::MAX, signature: [0; 64] }.encode(),
        Request::Join { federation: id, token: [0; 16], name: "x".to_owned() }.encode(),
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
            assert_eq!(answer, Response::Refused { reason: Refusal::NotAdmitted }, "question {number}");
        }
    });
    federation.a.stop();
}

/// Bounded: silence. A stranger that listens hears no doorbell and no question while members talk.
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
                NetEvent::Rang { .. } | NetEvent::Request { .. } => panic!("something was said to a stranger"),
                _ => {}
            }
        }
    });
    b.stop();
    federation.a.stop();
}

/// Bounded: memory and others' time. A member asks for much and reads nothing; others are served meanwhile.
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
            let part = Request::Payload { federation: federation.id(), checksum, offset, len_max: 1 << 20 };
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

/// Bounded: time. Addresses that accept and stay silent, told by the owner or by others, hide no true one.
#[test]
fn silent_addresses_hide_no_peer() {
    let federation = Federation::new();
    let peer = Protocol::P2p(peer_id(federation.a.site.site_id().as_bytes()));
    let b = federation.join("b");
    agree(&[&federation.a, &b], &federation.events);
    b.stop();
    let silent: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |listener: &TcpListener| {
        let port = listener.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        address.with(peer.clone()).to_string()
    };
    let addresses = silent.iter().map(address).collect();
    let b = Running::start_with(&directory(federation.root.path(), "b"), &federation.sender, addresses);
    federation.replicates(&b);
    b.stop();
    federation.a.stop();
}

/// Bounded: members. A ticket that was used admits nobody else, however often it is shown, and its owner again and again.
#[test]
fn a_replayed_ticket_admits_nobody() {
    let federation = Federation::new();
    let ticket = federation.a.site.invite(vec![federation.a.address.clone()]).unwrap();
    service::join(&directory(federation.root.path(), "b"), Some("b"), &ticket, &[]).unwrap();
    for number in 0..5 {
        let thief = directory(federation.root.path(), &format!("thief-{number}"));
        let refused = service::join(&thief, Some("thief"), &ticket, &[]);
        assert!(matches!(refused, Err(JoinError::Refused(Refusal::NotAdmitted))), "{refused:?}");
        assert!(!thief.exists());
    }
    assert_eq!(federation.a.site.members().unwrap().len(), 2);
    let b = Arc::new(Site::open(&directory(federation.root.path(), "b"), Mode::Write).unwrap());
    let again = federation.a.site.redeem(&ticket.token, b.site_id(), "b").unwrap();
    assert_eq!(again, Redeemed::AlreadyMember);
    let other = federation.a.site.redeem(&ticket.token, SiteId::from_bytes([1; 32]), "x");
    assert!(other.is_err());
    federation.a.stop();
}

/// Said at once, and by name: two programs cannot both listen on one port.
#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_address() {
    runtime().block_on(async {
        for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
            let mut config = NetConfig::new([1; 32]);
            config.listen.push(listen.parse().unwrap());
            let (_net, mut events) = net::spawn(config).unwrap();
            let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap();
            let NetEvent::Listening(mut address) = event else { panic!("{event:?}") };
            address.pop();
            let mut config = NetConfig::new([2; 32]);
            config.listen.push(address.clone());
            let error = net::spawn(config).err().unwrap();
            assert_eq!(error.to_string(), format!("cannot listen on {address}: another program listens there"));
        }
    });
}
