//! The network shell over loopback sockets: every test waits for events, none for time to pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::multihash::Multihash;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use uor_node::net::{
    ANNOUNCEMENT_LEN_MAX, CommandError, NetCommand, NetConfig, NetError, NetEvent, NetHandle,
    REQUESTS_PER_PEER_MAX, SiteKey, peer_id, site_key, spawn,
};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Long enough for a loaded machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One running shell and what it said about itself at the start.
struct Node {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    address: Multiaddr,
    site: SiteKey,
}

impl Node {
    async fn start(seed: u8, listen: &str) -> Self {
        Self::start_with(seed, listen, |_| {}).await
    }

    async fn start_with(seed: u8, listen: &str, adjust: impl FnOnce(&mut NetConfig)) -> Self {
        let mut config = NetConfig::new([seed; 32]);
        config.members = (1..=20).map(peer_of).collect();
        config.listen.push(listen.parse().unwrap());
        adjust(&mut config);
        let (net, mut events) = spawn(config).unwrap();
        let NetEvent::Listening(address) = next(&mut events).await else {
            panic!("listens before anything else")
        };
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            panic!("no peer id in {address}")
        };
        Self {
            net,
            events,
            address,
            site: site_key(&peer).unwrap(),
        }
    }

    async fn send(&self, command: NetCommand) {
        self.net.send(command).await.unwrap();
    }

    async fn dial(&self, other: &Node) {
        self.send(NetCommand::Dial(other.address.clone())).await;
    }

    /// The first event `pick` takes; those before it are passed over.
    async fn until<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(next(&mut self.events).await) {
                return found;
            }
        }
    }

    async fn connected(&mut self, other: SiteKey) -> bool {
        self.until(|event| match event {
            NetEvent::Connected { peer, outbound, .. } if peer == other => Some(outbound),
            _ => None,
        })
        .await
    }

    async fn disconnected(&mut self, other: SiteKey) {
        self.until(|event| (event == NetEvent::Disconnected { peer: other }).then_some(()))
            .await;
    }

    async fn dial_failed(&mut self) -> (Option<Multiaddr>, Option<SiteKey>, String) {
        self.until(|event| match event {
            NetEvent::DialFailed {
                address,
                peer,
                reason,
            } => Some((address, peer, reason)),
            _ => None,
        })
        .await
    }

    async fn announced(&mut self) -> (SiteKey, Vec<u8>) {
        self.until(|event| match event {
            NetEvent::Announced { from, body } => Some((from, body)),
            _ => None,
        })
        .await
    }

    async fn request_failed(&mut self) -> (u64, String) {
        self.until(|event| match event {
            NetEvent::RequestFailed { id, reason, .. } => Some((id, reason)),
            _ => None,
        })
        .await
    }

    /// Answers the next request with `body` and returns what was asked.
    async fn answer(&mut self, body: Vec<u8>) -> Vec<u8> {
        let (token, asked) = self
            .until(|event| match event {
                NetEvent::Request { token, body, .. } => Some((token, body)),
                _ => None,
            })
            .await;
        self.send(NetCommand::Respond { token, body }).await;
        asked
    }

    async fn response(&mut self) -> (u64, Vec<u8>) {
        self.until(|event| match event {
            NetEvent::Response { id, body, .. } => Some((id, body)),
            NetEvent::RequestFailed { id, reason, .. } => panic!("request {id}: {reason}"),
            _ => None,
        })
        .await
    }

    async fn stopped(mut self) {
        self.until(|event| (event == NetEvent::Stopped).then_some(()))
            .await;
        assert_eq!(
            tokio::time::timeout(PATIENCE, self.events.recv()).await,
            Ok(None),
            "nothing follows the end"
        );
    }
}

async fn next(events: &mut mpsc::Receiver<NetEvent>) -> NetEvent {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("no event in time")
        .expect("the shell ended")
}

/// A question that takes any answer.
fn ask(peer: SiteKey, id: u64, body: impl Into<Vec<u8>>) -> NetCommand {
    NetCommand::Request {
        peer,
        id,
        body: body.into(),
        answer_len_max: u32::MAX,
    }
}

/// Two nodes, the first of which has dialled the second.
async fn pair(listen: &str) -> (Node, Node) {
    let (mut a, mut b) = (Node::start(1, listen).await, Node::start(2, listen).await);
    a.dial(&b).await;
    assert!(
        a.connected(b.site).await,
        "the dialler's connection is outbound"
    );
    assert!(!b.connected(a.site).await, "the listener's is inbound");
    (a, b)
}

/// Twice, because links, requests and announcements must all come back, and go again.
async fn cut_and_heal(listen: &str) {
    let (mut a, mut b) = pair(listen).await;
    for round in 0..2 {
        a.send(NetCommand::Cut(true)).await;
        a.disconnected(b.site).await;
        b.disconnected(a.site).await;

        a.dial(&b).await;
        assert_eq!(
            a.dial_failed().await.2,
            "connection denied: the network is cut"
        );
        b.dial(&a).await;
        assert_eq!(
            b.dial_failed().await.1,
            Some(a.site),
            "the cut site answers nobody"
        );

        a.send(NetCommand::Cut(false)).await;
        a.dial(&b).await;
        a.connected(b.site).await;
        b.connected(a.site).await;
        a.send(ask(b.site, round, b"healed?".to_vec())).await;
        assert_eq!(b.answer(b"healed".to_vec()).await, b"healed?");
        assert_eq!(a.response().await, (round, b"healed".to_vec()));
        b.send(ask(a.site, round, b"you too?".to_vec())).await;
        assert_eq!(a.answer(b"I too".to_vec()).await, b"you too?");
    }
    a.send(NetCommand::Cut(true)).await;
    a.send(NetCommand::Cut(false)).await;
    a.disconnected(b.site).await;
    b.disconnected(a.site).await;
    b.dial(&a).await;
    a.connected(b.site).await;
    a.send(NetCommand::Announce(b"here again".to_vec())).await;
    assert_eq!(b.announced().await, (a.site, b"here again".to_vec()));
}

#[tokio::test]
async fn two_nodes_connect_over_tcp() {
    pair(TCP).await;
}

#[tokio::test]
async fn two_nodes_connect_over_quic() {
    pair(QUIC).await;
}

/// A line of three: whoever announces something is heard by those it is connected with, and by no
/// others.
#[tokio::test]
async fn an_announcement_is_heard_by_neighbours_only() {
    let (mut a, mut b) = (Node::start(1, TCP).await, Node::start(2, TCP).await);
    let mut c = Node::start(3, QUIC).await;
    a.dial(&b).await;
    b.dial(&c).await;
    a.connected(b.site).await;
    b.connected(a.site).await;
    b.connected(c.site).await;
    c.connected(b.site).await;

    a.send(NetCommand::Announce(b"from a".to_vec())).await;
    assert_eq!(b.announced().await, (a.site, b"from a".to_vec()));
    b.send(NetCommand::Announce(vec![7; ANNOUNCEMENT_LEN_MAX]))
        .await;
    assert_eq!(a.announced().await, (b.site, vec![7; ANNOUNCEMENT_LEN_MAX]));
    assert_eq!(
        c.announced().await,
        (b.site, vec![7; ANNOUNCEMENT_LEN_MAX]),
        "it hears its neighbour, and not what that one heard"
    );
}

/// A head is announced again after a cut has healed, in the same bytes.
#[tokio::test]
async fn the_same_announcement_arrives_twice() {
    let (a, mut b) = pair(TCP).await;
    for _ in 0..2 {
        a.send(NetCommand::Announce(b"head 1".to_vec())).await;
        assert_eq!(b.announced().await, (a.site, b"head 1".to_vec()));
    }
}

/// Of many in a row the last arrives, whatever became of the others.
#[tokio::test]
async fn the_last_of_many_announcements_is_heard() {
    let (a, mut b) = pair(TCP).await;
    for number in 0..=200_u8 {
        a.send(NetCommand::Announce(vec![number])).await;
    }
    while b.announced().await.1 != [200] {}
}

#[tokio::test]
async fn an_announcement_is_short() {
    let alone = Node::start(1, TCP).await;
    let error = alone
        .net
        .send(NetCommand::Announce(vec![0; ANNOUNCEMENT_LEN_MAX + 1]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "announcement of 1001 bytes exceeds the bound of 1000 bytes"
    );
}

async fn round_trip(listen: &str) {
    let (mut a, mut b) = pair(listen).await;
    let answer: Vec<u8> = (0_u32..1 << 18).flat_map(u32::to_le_bytes).collect();
    let question = answer[..4096].to_vec();
    a.send(ask(b.site, 42, question.clone())).await;
    assert_eq!(b.answer(answer.clone()).await, question);
    assert_eq!(a.response().await, (42, answer));
    b.send(ask(a.site, 7, Vec::new())).await;
    assert_eq!(a.answer(Vec::new()).await, b"");
    assert_eq!(b.response().await, (7, Vec::new()));
}

#[tokio::test]
async fn a_mebibyte_goes_there_and_back_over_tcp() {
    round_trip(TCP).await;
}

#[tokio::test]
async fn a_mebibyte_goes_there_and_back_over_quic() {
    round_trip(QUIC).await;
}

#[tokio::test]
async fn a_frame_over_the_bound_is_refused_with_both_numbers() {
    let mut a = Node::start_with(1, TCP, |config| {
        (config.question_len_max, config.frame_len_max) = (2000, 2500)
    })
    .await;
    let mut b = Node::start_with(2, TCP, |config| {
        (config.question_len_max, config.frame_len_max) = (3000, 3000)
    })
    .await;
    a.dial(&b).await;
    a.connected(b.site).await;
    let error = a.net.send(ask(b.site, 1, vec![0; 2001])).await.unwrap_err();
    assert_eq!(
        error,
        CommandError::FrameTooLarge {
            len: 2001,
            len_max: 2000
        }
    );
    assert_eq!(
        error.to_string(),
        "frame of 2001 bytes exceeds the bound of 2000 bytes"
    );

    // A peer with a larger bound answers with more than this site is willing to read, or has asked
    // for.
    for (answer_len_max, said) in [(u32::MAX, "2500"), (100, "100")] {
        a.send(NetCommand::Request {
            peer: b.site,
            id: 2,
            body: vec![0; 2000],
            answer_len_max,
        })
        .await;
        b.answer(vec![0; 3000]).await;
        let (id, reason) = a.request_failed().await;
        assert_eq!(id, 2);
        assert!(
            reason.ends_with(&format!(
                "frame of 3000 bytes exceeds the bound of {said} bytes"
            )),
            "{reason}"
        );
    }

    // And asks more than this site is willing to read: the asker is told, this site is not
    // bothered.
    b.send(ask(a.site, 3, vec![0; 3000])).await;
    assert_eq!(b.request_failed().await.0, 3);
    b.send(ask(a.site, 4, vec![4; 2000])).await;
    assert_eq!(a.answer(Vec::new()).await, [4; 2000]);
}

#[tokio::test]
async fn a_request_to_nobody_or_one_too_many_fails_at_once() {
    let (mut a, b) = pair(TCP).await;
    a.send(ask([9; 32], 1, Vec::new())).await;
    assert_eq!(
        a.request_failed().await,
        (1, "the peer is not connected".to_owned())
    );
    for id in 0..=REQUESTS_PER_PEER_MAX as u64 {
        a.send(ask(b.site, id, Vec::new())).await;
    }
    let (id, reason) = a.request_failed().await;
    assert_eq!(id, REQUESTS_PER_PEER_MAX as u64);
    assert_eq!(
        reason,
        format!(
            "{REQUESTS_PER_PEER_MAX} requests to this peer are unanswered, the most there may be"
        )
    );
}

/// The asker leaves before the answer: the request fails on its side, and its token is void on
/// ours.
#[tokio::test]
async fn a_request_ends_with_its_connection() {
    let (mut a, mut b) = pair(TCP).await;
    a.send(ask(b.site, 1, Vec::new())).await;
    let token = b.until(|event| match event {
        NetEvent::Request { token, .. } => Some(token),
        _ => None,
    });
    let token = token.await;
    a.send(NetCommand::Disconnect(b.site)).await;
    assert_eq!(a.request_failed().await.0, 1);
    let void = b.until(|event| match event {
        NetEvent::RespondFailed { token, .. } => Some(token),
        _ => None,
    });
    assert_eq!(void.await, token);
    b.send(NetCommand::Respond {
        token,
        body: Vec::new(),
    })
    .await;
    b.send(NetCommand::Shutdown).await;
    b.stopped().await;
}

#[tokio::test]
async fn a_cut_closes_and_refuses_until_healed_over_tcp() {
    cut_and_heal(TCP).await;
}

#[tokio::test]
async fn a_cut_closes_and_refuses_until_healed_over_quic() {
    cut_and_heal(QUIC).await;
}

#[tokio::test]
async fn a_dial_needs_the_peer_that_is_there() {
    for listen in [TCP, QUIC] {
        let (mut a, b) = (Node::start(1, listen).await, Node::start(2, listen).await);
        let mut bare = b.address.clone();
        bare.pop();

        a.send(NetCommand::Dial(bare.clone())).await;
        let (address, peer, reason) = a.dial_failed().await;
        assert_eq!((address.as_ref(), peer), (Some(&bare), None));
        assert_eq!(
            reason,
            "the address names no peer: it must end in /p2p/<peer id>"
        );

        let hashed = PeerId::from_multihash(Multihash::wrap(0x12, &[7; 32]).unwrap()).unwrap();
        a.send(NetCommand::Dial(bare.clone().with(Protocol::P2p(hashed))))
            .await;
        let (_, peer, reason) = a.dial_failed().await;
        assert_eq!(peer, None);
        assert_eq!(
            reason,
            format!("connection denied: peer {hashed} is not named by an Ed25519 key")
        );

        let stranger = bare.clone().with(Protocol::P2p(peer_id(&[9; 32])));
        a.send(NetCommand::Dial(stranger.clone())).await;
        let (address, peer, reason) = a.dial_failed().await;
        assert_eq!((address, peer), (Some(stranger), Some([9; 32])));
        assert!(reason.contains(&peer_id(&b.site).to_string()), "{reason}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_a_failed_dial() {
    let (mut a, b) = (Node::start(1, TCP).await, Node::start(2, TCP).await);
    let gone = b.address.clone();
    b.send(NetCommand::Shutdown).await;
    b.stopped().await;
    a.send(NetCommand::Dial(gone.clone())).await;
    let (address, _, reason) = a.dial_failed().await;
    assert_eq!(address, Some(gone));
    assert!(!reason.is_empty());
}

#[tokio::test]
async fn connections_are_counted_before_anything_else() {
    let (mut a, b) = (
        Node::start_with(1, TCP, |config| config.limits.members = 1).await,
        Node::start(2, TCP).await,
    );
    let c = Node::start(3, TCP).await;
    a.dial(&b).await;
    a.connected(b.site).await;
    a.dial(&c).await;
    let (_, peer, reason) = a.dial_failed().await;
    assert_eq!(peer, Some(c.site));
    assert_eq!(
        reason,
        "connection denied: members have 1 connections already, the most there may be"
    );
}

/// The failed request behind the dials marks the place where their outcome would have stood.
#[tokio::test]
async fn dialling_a_connected_or_dialling_peer_does_nothing() {
    let (mut a, b) = (Node::start(1, TCP).await, Node::start(2, TCP).await);
    a.dial(&b).await;
    a.dial(&b).await;
    a.connected(b.site).await;
    a.dial(&b).await;
    a.send(ask([9; 32], 1, Vec::new())).await;
    let ended = a.until(|event| match event {
        NetEvent::Connected { .. }
        | NetEvent::DialFailed { .. }
        | NetEvent::RequestFailed { .. } => Some(event),
        _ => None,
    });
    let ended = ended.await;
    assert!(
        matches!(ended, NetEvent::RequestFailed { id: 1, .. }),
        "{ended:?}"
    );
}

/// Both dial at once: one connected event each, and one disconnected event when all is closed.
#[tokio::test]
async fn links_are_reported_once_per_peer() {
    let (mut a, mut b) = (Node::start(1, TCP).await, Node::start(2, TCP).await);
    a.dial(&b).await;
    b.dial(&a).await;
    a.connected(b.site).await;
    b.connected(a.site).await;
    a.send(NetCommand::Disconnect(b.site)).await;
    a.send(NetCommand::Shutdown).await;
    let mut seen = Vec::new();
    loop {
        match next(&mut a.events).await {
            NetEvent::Stopped => break,
            NetEvent::Disconnected { .. } => seen.push("disconnected"),
            NetEvent::Connected { .. } => seen.push("connected"),
            _ => {}
        }
    }
    assert_eq!(seen, ["disconnected"]);
    b.disconnected(a.site).await;
}

/// A peer that takes no events is answered with patience, not memory: once it listens again, all is
/// there.
#[tokio::test]
async fn a_slow_owner_loses_nothing() {
    let (mut a, mut b) = pair(TCP).await;
    let rounds = 3 * REQUESTS_PER_PEER_MAX as u64;
    let answers = tokio::spawn(async move {
        for _ in 0..rounds {
            b.answer(vec![1; 100_000]).await;
        }
        b
    });
    let mut left = rounds;
    for id in 0..REQUESTS_PER_PEER_MAX as u64 {
        a.send(ask(peer_of(2), id, vec![0; 100])).await;
        left -= 1;
    }
    // A hundred failures fill the event channel several times over while nobody takes any.
    for id in 1000..1100 {
        a.send(ask([9; 32], id, Vec::new())).await;
    }
    let (mut failed, mut answered) = (0, 0);
    while failed < 100 || answered < rounds {
        match next(&mut a.events).await {
            NetEvent::RequestFailed { id, reason, .. } => {
                assert!(id >= 1000, "request {id}: {reason}");
                failed += 1;
            }
            NetEvent::Response { body, .. } => {
                assert_eq!(body.len(), 100_000);
                answered += 1;
                if left > 0 {
                    a.send(ask(peer_of(2), left, vec![0; 100])).await;
                    left -= 1;
                }
            }
            _ => {}
        }
    }
    answers.await.unwrap();
}

/// The key of the node that was started with this seed.
fn peer_of(seed: u8) -> SiteKey {
    let pair = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    site_key(&pair.public().to_peer_id()).unwrap()
}

#[tokio::test]
async fn shutdown_ends_the_shell_and_its_links() {
    let (a, mut b) = pair(TCP).await;
    let (net, site) = (a.net.clone(), a.site);
    a.send(NetCommand::Shutdown).await;
    a.stopped().await;
    b.disconnected(site).await;
    assert_eq!(
        net.send(NetCommand::Cut(false)).await,
        Err(CommandError::Stopped)
    );
    assert_eq!(
        net.try_send(NetCommand::Cut(false)),
        Err(CommandError::Stopped)
    );
}

/// An owner that takes no events cannot hold up the end.
#[tokio::test]
async fn a_deaf_owner_is_left_behind() {
    let (a, mut b) = pair(TCP).await;
    for id in 0..100 {
        a.send(ask([9; 32], id, Vec::new())).await;
    }
    a.send(NetCommand::Shutdown).await;
    b.disconnected(a.site).await;
}

#[tokio::test]
async fn dropping_either_end_ends_the_shell() {
    let (a, mut b) = pair(TCP).await;
    let Node {
        net,
        mut events,
        site,
        ..
    } = a;
    drop(net);
    while next(&mut events).await != NetEvent::Stopped {}
    b.disconnected(site).await;

    let Node { net, events, .. } = b;
    drop(events);
    tokio::time::timeout(PATIENCE, async {
        while net.send(NetCommand::Cut(false)).await.is_ok() {}
    })
    .await
    .unwrap();
}

#[test]
fn without_a_runtime_there_is_no_shell() {
    assert!(matches!(
        spawn(NetConfig::new([1; 32])),
        Err(NetError::NoRuntime(_))
    ));
}

#[tokio::test]
async fn an_address_in_use_or_of_no_known_transport_is_an_error() {
    for address in ["/ip4/203.0.113.1/tcp/0", "/memory/1"] {
        let mut config = NetConfig::new([1; 32]);
        config.listen.push(address.parse().unwrap());
        assert!(
            matches!(spawn(config), Err(NetError::Listen { .. })),
            "{address}"
        );
    }
}
