//! A federation of running nodes on loopback, and whoever attacks it with our own network shell in
//! their hands.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::sync::mpsc;
use uor_asl::disk::Mode;
use uor_index_format::membership::ConflictRule;
use uor_index_format::wire::Response;
use uor_node::clock::wall_ms;
use uor_node::net::{self, NetCommand, NetConfig, NetEvent, NetHandle};
use uor_node::service::{self, ServiceEvent};
use uor_node::site::Site;

use crate::running::{PATIENCE, Running, agree, directory};

/// A federation with one running member, and a directory for more.
pub(crate) struct Federation {
    pub(crate) root: tempfile::TempDir,
    pub(crate) sender: Sender<ServiceEvent>,
    pub(crate) events: Receiver<ServiceEvent>,
    pub(crate) a: Running,
}

impl Federation {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (sender, events) = channel();
        Site::init(&directory(root.path(), "a"), Some("a"), ConflictRule::First).unwrap();
        let a = Running::start(&directory(root.path(), "a"), &sender);
        Self {
            root,
            sender,
            events,
            a,
        }
    }

    /// A member that joins now, through whatever is going on.
    pub(crate) fn join(&self, name: &str) -> Running {
        let ticket = self.a.site.invite(vec![self.a.address.clone()]).unwrap();
        let dir = directory(self.root.path(), name);
        service::join(&dir, Some(name), &ticket, &[]).unwrap();
        Running::start(&dir, &self.sender)
    }

    /// A member that is not running: its key in the hands of an attacker.
    pub(crate) fn turned(&self, name: &str) -> Site {
        let dir = directory(self.root.path(), name);
        let ticket = self.a.site.invite(vec![self.a.address.clone()]).unwrap();
        service::join(&dir, Some(name), &ticket, &[]).unwrap();
        Site::open(&dir, Mode::ReadOnly).unwrap()
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        *self.a.site.federation().as_bytes()
    }

    /// What a wrote arrives at b.
    pub(crate) fn replicates(&self, b: &Running) {
        let news = self.a.put(format!("news for {}", b.site.name()).as_bytes());
        self.a.write(vec![news]);
        agree(&[&self.a, b], &self.events);
    }

    /// Looks again and again, whenever something is told or a moment has passed, until it is so;
    /// gives the lines that were told meanwhile.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Vec<String> {
        let deadline_ms = wall_ms() + u64::try_from(PATIENCE.as_millis()).unwrap();
        let mut told = Vec::new();
        while !is_so() {
            assert!(wall_ms() < deadline_ms, "waited in vain: {what}");
            if let Ok(ServiceEvent::Notice(line)) =
                self.events.recv_timeout(Duration::from_millis(10))
            {
                told.push(line);
            }
        }
        told.extend(self.told());
        told
    }

    /// Lines that were told so far.
    pub(crate) fn told(&self) -> Vec<String> {
        let notice = |event| {
            if let ServiceEvent::Notice(line) = event {
                Some(line)
            } else {
                None
            }
        };
        self.events.try_iter().filter_map(notice).collect()
    }
}

/// Somebody with a key of their own, and the network shell in their own hands.
pub(crate) struct Attacker {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    victim: [u8; 32],
    address: Multiaddr,
}

impl Attacker {
    /// Calls the victim a member, so that nothing the victim says would be missed.
    pub(crate) async fn new(seed: [u8; 32], victim: &Running) -> Self {
        let victim_key = *victim.site.site_id().as_bytes();
        let mut config = NetConfig::new(seed);
        config.members.insert(victim_key);
        config.question_len_max = 9 << 20;
        let (net, events) = net::spawn(config).unwrap();
        let attacker = Self {
            net,
            events,
            victim: victim_key,
            address: victim.address.parse().unwrap(),
        };
        attacker.dial().await;
        attacker
    }

    async fn dial(&self) {
        self.net
            .send(NetCommand::Dial(self.address.clone()))
            .await
            .unwrap();
    }

    pub(crate) async fn ask(&self, id: u64, body: Vec<u8>) {
        let ask = NetCommand::Request {
            peer: self.victim,
            id,
            body,
            answer_len_max: u32::MAX,
        };
        self.net.send(ask).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> NetEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn until<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn connected(&mut self) {
        self.until(|event| matches!(event, NetEvent::Connected { .. }).then_some(()))
            .await;
    }

    pub(crate) async fn disconnected(&mut self) {
        self.until(|event| matches!(event, NetEvent::Disconnected { .. }).then_some(()))
            .await;
    }

    /// The answer to the question that was just asked; `None` if there is none.
    pub(crate) async fn answer(&mut self) -> Option<Response> {
        self.until(|event| match event {
            NetEvent::Response { body, .. } => Some(Some(Response::decode(&body).unwrap())),
            NetEvent::RequestFailed { .. } => Some(None),
            _ => None,
        })
        .await
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn socket(address: &str) -> String {
    let parsed: Multiaddr = address.parse().unwrap();
    let port = parsed
        .iter()
        .find_map(|part| {
            if let Protocol::Tcp(port) = part {
                Some(port)
            } else {
                None
            }
        })
        .unwrap();
    format!("127.0.0.1:{port}")
}
