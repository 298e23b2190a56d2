//! Honest cores and scripted peers in one thread: effects are carried at once, time stands still
//! unless a test moves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Options, Store};
use uor_index_format::id::{Checksum, FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::{Payload, Record};
use uor_index_format::wire::{Refusal, Request, Response};
use uor_node::replication::{Effect, FederationLogTable, Notice, Replicator};

/// More exchanges than any conversation of these tests needs: a hot loop runs into it.
const EXCHANGES_MAX: usize = 2000;

/// What a scripted peer answers; `None` is silence.
pub(crate) type Script = Box<dyn FnMut(Request) -> Option<Response>>;

pub(crate) struct Node {
    pub(crate) key: SiteKey,
    pub(crate) disk: MemoryDisk,
    pub(crate) store: Store,
    pub(crate) core: Replicator,
    pub(crate) notices: Vec<Notice>,
    pub(crate) dials: Vec<String>,
    pub(crate) redeems: usize,
    pub(crate) answers: Vec<Response>,
}

impl Node {
    pub(crate) fn site(&self) -> SiteId {
        self.key.site_id()
    }

    /// A new core on the same store, as after a restart.
    pub(crate) fn restart(&mut self) {
        self.core = Replicator::new(self.site(), FederationLogTable::new());
    }

    /// Opens the store again, after `between` had its way with the disk.
    pub(crate) fn reopen(&mut self, options: Options, between: impl FnOnce(&MemoryDisk)) {
        let other: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&other, self.store.federation()).unwrap();
        // One lets go of the disk before the next takes it.
        self.store = Store::open(other, Mode::Write).unwrap();
        between(&self.disk);
        self.store = Store::open_with(Arc::new(self.disk.clone()), Mode::Write, options).unwrap();
    }

    /// Commits an artifact of these bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Checksum {
        let checksum = self.store.blocks().put_bytes(bytes).unwrap().checksum;
        let record = Record::artifact(
            None,
            Payload {
                checksum,
                len: bytes.len() as u64,
            },
        );
        self.store.commit(&self.key, vec![record], 0).unwrap();
        checksum
    }

    /// How often something was noticed.
    pub(crate) fn noticed(&self, is_it: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| is_it(notice)).count()
    }
}

pub(crate) struct World {
    pub(crate) federation: FederationId,
    pub(crate) nodes: Vec<Node>,
    pub(crate) scripts: BTreeMap<SiteId, Script>,
    /// Questions that scripted peers were asked.
    pub(crate) asked: Vec<(SiteId, Request)>,
    /// Questions of all nodes.
    pub(crate) exchanges: usize,
    /// Most of them until all is quiet.
    pub(crate) exchanges_max: usize,
    /// Fork proofs that honest nodes have sent.
    pub(crate) proofs_sent: usize,
    pub(crate) now_ms: u64,
}

pub(crate) fn key(seed: u8) -> SiteKey {
    SiteKey::from_seed(&[seed; 32])
}

/// A member without an honest node. Sites with lower ids are asked first, so it is the lowest of
/// many.
pub(crate) fn mallory() -> SiteKey {
    (100..200).map(key).min_by_key(SiteKey::site_id).unwrap()
}

pub(crate) fn stranger() -> SiteKey {
    key(250)
}

pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut number = 1_u32;
    let next = |_| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(number >> 24).unwrap()
    };
    (0..len).map(next).collect()
}

impl World {
    /// `count` honest members that know each other, and Mallory's admission.
    pub(crate) fn new(count: u8) -> Self {
        let founder = key(1).site_id();
        let genesis = Genesis {
            founder,
            name: "one".to_owned(),
            nonce: [7; 16],
            conflict_rule: ConflictRule::First,
            logseq_jump_max: 1 << 20,
        };
        let federation = genesis.federation_id();
        let start = |seed| {
            let disk = MemoryDisk::new();
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            Store::create(&shared, federation).unwrap();
            let store = Store::open(shared, Mode::Write).unwrap();
            let core = Replicator::new(key(seed).site_id(), FederationLogTable::new());
            let (notices, dials, answers) = (vec![], vec![], vec![]);
            Node {
                key: key(seed),
                disk,
                store,
                core,
                notices,
                dials,
                redeems: 0,
                answers,
            }
        };
        let nodes: Vec<Node> = (1..=count).map(start).collect();
        let sites = nodes
            .iter()
            .skip(1)
            .map(Node::site)
            .chain([mallory().site_id()]);
        let admissions: Vec<Record> = sites
            .map(|site| {
                Record::admission(Admission {
                    federation,
                    site,
                    name: site.short().to_string(),
                })
            })
            .collect();
        nodes[0]
            .store
            .commit(&key(1), vec![Record::genesis(genesis)], 0)
            .unwrap();
        nodes[0].store.commit(&key(1), admissions, 0).unwrap();
        for node in nodes.iter().skip(1) {
            let commits = (1..=2)
                .map(|number| {
                    nodes[0]
                        .store
                        .read_commit(&founder, number)
                        .unwrap()
                        .unwrap()
                })
                .collect();
            node.store.merge(commits).unwrap();
        }
        Self {
            federation,
            nodes,
            scripts: BTreeMap::new(),
            asked: vec![],
            exchanges: 0,
            exchanges_max: EXCHANGES_MAX,
            proofs_sent: 0,
            now_ms: 1,
        }
    }

    /// Connects a node with a scripted peer.
    pub(crate) fn meet(&mut self, node: usize, peer: SiteId, script: Script) {
        self.scripts.insert(peer, script);
        let node = &mut self.nodes[node];
        node.core
            .handle_connected(&node.store, peer, self.now_ms)
            .unwrap();
    }

    /// Connects two honest nodes.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            let peer = self.nodes[there].site();
            let node = &mut self.nodes[here];
            node.core
                .handle_connected(&node.store, peer, self.now_ms)
                .unwrap();
        }
    }

    /// A scripted peer asks, and gets at most one answer.
    pub(crate) fn ask(&mut self, node: usize, peer: SiteId, frame: &[u8]) -> Option<Response> {
        let node_of = &mut self.nodes[node];
        node_of.answers.clear();
        node_of
            .core
            .handle_request(&node_of.store, peer, u64::MAX, frame, self.now_ms)
            .unwrap();
        self.carry();
        assert!(self.nodes[node].answers.len() <= 1);
        self.nodes[node].answers.pop()
    }

    /// Moves time by ticks of 100 ms, carrying everything between.
    pub(crate) fn tick(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.now_ms += 100;
            for node in &mut self.nodes {
                node.core.handle_tick(&node.store, self.now_ms).unwrap();
            }
            self.carry();
        }
    }

    /// Carries effects until there are none; a loop that does not end is a failure. Returns the
    /// number of exchanges.
    pub(crate) fn carry(&mut self) -> usize {
        let mut exchanges = 0;
        while let Some((index, effect)) = (0..self.nodes.len())
            .find_map(|index| Some((index, self.nodes[index].core.poll_effect()?)))
        {
            match effect {
                Effect::Request {
                    peer, id, frame, ..
                } => {
                    exchanges += 1;
                    self.exchanges += 1;
                    assert!(
                        exchanges < self.exchanges_max,
                        "the conversation does not end"
                    );
                    self.request(index, peer, id, &frame);
                }
                Effect::Respond {
                    token: u64::MAX,
                    frame,
                } => {
                    self.nodes[index]
                        .answers
                        .push(Response::decode(&frame).unwrap());
                }
                Effect::Respond { token, frame } => {
                    if let Ok(Response::Proofs { proofs }) = Response::decode(&frame) {
                        self.proofs_sent += proofs.len();
                    }
                    let asker = &mut self.nodes[usize::try_from(token >> 32).unwrap()];
                    asker
                        .core
                        .handle_response(&asker.store, token & 0xffff_ffff, &frame, self.now_ms)
                        .unwrap();
                }
                Effect::Notice(notice) => self.nodes[index].notices.push(notice),
                Effect::Dial { address } => self.nodes[index].dials.push(address),
                Effect::Redeem { .. } => self.nodes[index].redeems += 1,
                _ => {}
            }
        }
        exchanges
    }

    fn request(&mut self, asker: usize, peer: SiteId, id: u64, frame: &[u8]) {
        if let Some(script) = self.scripts.get_mut(&peer) {
            let request = Request::decode(frame).unwrap();
            self.asked.push((peer, request.clone()));
            if let Some(response) = script(request) {
                let asker = &mut self.nodes[asker];
                asker
                    .core
                    .handle_response(&asker.store, id, &response.encode(), self.now_ms)
                    .unwrap();
            }
            return;
        }
        let from = self.nodes[asker].site();
        let token = (asker as u64) << 32 | id;
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.site() == peer)
            .unwrap();
        node.core
            .handle_request(&node.store, from, token, frame, self.now_ms)
            .unwrap();
    }
}

pub(crate) fn refused(reason: Refusal) -> Option<Response> {
    Some(Response::Refused { reason })
}
