//! A federation in one thread.

use std::sync::Arc;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Committed, Store};
use uor_index_format::id::{Checksum, FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::Record;
use uor_node::replication::{Effect, FederationLogTable, Notice, Replicator};

use crate::network::{Message, Network, Weather};
use crate::random::Random;
use crate::workload;

/// How long nodes sleep between ticks, in virtual milliseconds.
const TICK_MS: u64 = 100;

/// What may go wrong in a run.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// The network.
    pub weather: Weather,
    /// Times out of a hundred that a tick cuts a link.
    pub cut: u64,
    /// Times out of a hundred that a tick mends all links.
    pub heal: u64,
    /// Times out of a hundred that a tick crashes a node.
    pub crash: u64,
    /// Whether one node is restored from an old backup and goes on writing: its log forks.
    pub restore_backup: bool,
}

impl Faults {
    /// A mixture that `seed` decides; about one run in six has a forked log.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xfa17);
        let weather = Weather {
            loss: random.below(20),
            duplication: random.below(30),
            delay_ms_max: 1 + random.below(400),
        };
        Self {
            weather,
            cut: random.below(12),
            heal: random.below(20),
            crash: random.below(8),
            restore_backup: random.percent(16),
        }
    }
}

/// One site.
pub struct Node {
    key: SiteKey,
    disk: MemoryDisk,
    running: Option<(Store, Replicator)>,
    backup: Option<MemoryDisk>,
    restored: bool,
    /// Commits that were acknowledged to this site's user.
    pub acknowledged: Vec<Committed>,
}

impl Node {
    fn new(index: usize, federation: FederationId) -> Self {
        let seed = [u8::try_from(index).unwrap_or_default() + 1; 32];
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::create(&shared, federation).expect("an empty disk takes a store");
        Self {
            key: SiteKey::from_seed(&seed),
            disk,
            running: None,
            backup: None,
            restored: false,
            acknowledged: Vec::new(),
        }
    }

    /// Whose node it is.
    pub fn site(&self) -> SiteId {
        self.key.site_id()
    }

    /// Whether it was restored from an old backup: it may have forked its log and lost payloads.
    pub const fn was_restored(&self) -> bool {
        self.restored
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.running.as_ref().expect("the node runs").0
    }

    /// Its replication core.
    pub fn core(&self) -> &Replicator {
        &self.running.as_ref().expect("the node runs").1
    }

    fn start(&mut self) {
        let store = Store::open(Arc::new(self.disk.clone()), Mode::Write)
            .expect("a crashed store opens again");
        self.running = Some((
            store,
            Replicator::new(self.site(), FederationLogTable::new()),
        ));
    }

    fn commit(&mut self, records: Vec<Record>) {
        let Some((store, _)) = &self.running else {
            return;
        };
        match store.commit(&self.key, records, 0) {
            Ok(committed) => self.acknowledged.push(committed),
            Err(error) => {
                assert!(
                    self.restored || !is_member(store, self.key.site_id()),
                    "a member may write: {error}"
                )
            }
        }
    }
}

fn is_member(store: &Store, site: SiteId) -> bool {
    store.view().members().contains(&site)
}

/// The federation and everything around it.
pub struct World {
    /// The sites.
    pub nodes: Vec<Node>,
    /// What connects them.
    pub network: Network,
    /// Everything that was worth a notice: by node.
    pub notices: Vec<(usize, Notice)>,
    /// How many crashes there were.
    pub crashes: u64,
    faults: Faults,
    random: Random,
    now_ms: u64,
}

impl World {
    /// `sites` sites, the first of which founded the federation and has admitted the others.
    pub fn new(sites: usize, faults: Faults, rule: ConflictRule, seed: u64) -> Self {
        let founder = SiteKey::from_seed(&[1; 32]).site_id();
        let name = "site-0".to_owned();
        let genesis = Genesis {
            founder,
            name,
            nonce: [7; 16],
            conflict_rule: rule,
            logseq_jump_max: 1 << 20,
        };
        let federation = genesis.federation_id();
        let mut nodes: Vec<Node> = (0..sites)
            .map(|index| Node::new(index, federation))
            .collect();
        nodes.iter_mut().for_each(Node::start);
        let admissions = nodes.iter().enumerate().skip(1).map(|(index, node)| {
            Record::admission(Admission {
                federation,
                site: node.site(),
                name: format!("site-{index}"),
            })
        });
        let admissions: Vec<Record> = admissions.collect();
        nodes[0].commit(vec![Record::genesis(genesis)]);
        nodes[0].commit(admissions);
        let network = Network::new(faults.weather);
        let random = Random::new(seed);
        let mut world = Self {
            nodes,
            network,
            notices: vec![],
            crashes: 0,
            faults,
            random,
            now_ms: 1,
        };
        (0..sites).for_each(|node| world.tell_addresses(node));
        world
    }

    fn tell_addresses(&mut self, node: usize) {
        let contacts: Vec<(String, SiteId)> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(index, other)| (address_of(index), other.site()))
            .collect();
        if let Some((_, core)) = &mut self.nodes[node].running {
            contacts
                .into_iter()
                .for_each(|(address, site)| core.add_address(address, Some(site)));
        }
    }

    /// Runs for `ticks` ticks while sites write and faults happen.
    pub fn run(&mut self, ticks: u64) {
        for tick in 0..ticks {
            self.now_ms += TICK_MS;
            self.strike(tick, ticks);
            for node in 0..self.nodes.len() {
                if self.random.percent(30) {
                    self.write(node);
                }
            }
            self.turn();
        }
    }

    /// Ends all faults and runs until every node has the same commits and no payload is wanted; at
    /// most ten virtual minutes.
    pub fn settle(&mut self) -> bool {
        self.network.clear_up();
        self.network.heal();
        for _ in 0..6000 {
            self.now_ms += TICK_MS;
            self.turn();
            if self.is_settled() {
                return true;
            }
        }
        false
    }

    fn is_settled(&self) -> bool {
        let head = self.nodes[0].store().view().head().clone();
        self.network.is_quiet()
            && self.nodes.iter().all(|node| {
                let view = node.store().view();
                *view.head() == head && view.wanted().keys().all(|checksum| self.is_lost(*checksum))
            })
    }

    /// Whether a payload is nowhere any more, because the only site that had it was restored from a
    /// backup.
    fn is_lost(&self, checksum: Checksum) -> bool {
        let restored = self.nodes.iter().any(Node::was_restored);
        restored
            && self
                .nodes
                .iter()
                .all(|node| !node.store().blocks().has(checksum))
    }

    /// Where every node stands and what it noticed last: for the report of a failure.
    pub fn describe(&self) -> String {
        let node = |(index, node): (usize, &Node)| {
            let view = node.store().view();
            let heads: Vec<String> = view
                .head()
                .frontier
                .iter()
                .map(|(domain, head)| {
                    format!("{}:{}:{}", domain.short(), head.number, head.hash.short())
                })
                .collect();
            let noticed: Vec<String> = self
                .notices
                .iter()
                .rev()
                .filter(|(by, _)| *by == index)
                .take(4)
                .map(|(_, notice)| notice.to_string())
                .collect();
            let (site, wanted) = (node.site().short(), view.wanted().len());
            format!(
                "node {index} {site}: {heads:?}, {wanted} payloads wanted, last notices {noticed:#?}"
            )
        };
        self.nodes
            .iter()
            .enumerate()
            .map(node)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn write(&mut self, node: usize) {
        let site = self.nodes[node].site();
        let Some((store, _)) = &self.nodes[node].running else {
            return;
        };
        if let Some(records) = workload::records(&mut self.random, store, site) {
            self.nodes[node].commit(records);
        }
    }

    fn strike(&mut self, tick: u64, ticks: u64) {
        let count = self.nodes.len();
        let (a, b) = (self.random.index(count), self.random.index(count));
        if a != b && self.random.percent(self.faults.cut) && self.network.cut(a, b) {
            self.disconnected(a, b);
        }
        if self.random.percent(self.faults.heal) {
            self.network.heal();
        }
        if self.random.percent(self.faults.crash) {
            self.crash(a);
        }
        let victim = count - 1;
        if self.faults.restore_backup && tick == ticks / 3 {
            self.nodes[victim].disk.settle();
            let seed = self.random.next();
            self.nodes[victim].backup = Some(self.nodes[victim].disk.crash(seed));
        }
        if self.faults.restore_backup && tick == ticks / 3 * 2 {
            self.restore(victim);
        }
    }

    /// Power loss and restart: what was not synced may be lost or torn.
    fn crash(&mut self, node: usize) {
        let seed = self.random.next();
        let disk = self.nodes[node].disk.crash(seed);
        self.restart(node, disk);
        self.crashes += 1;
    }

    /// A well-meaning person restores last week's disk.
    fn restore(&mut self, node: usize) {
        if let Some(backup) = self.nodes[node].backup.take() {
            self.nodes[node].restored = true;
            self.restart(node, backup);
        }
    }

    fn restart(&mut self, node: usize, disk: MemoryDisk) {
        for other in self.network.neighbours(node) {
            self.network.disconnect(node, other);
            self.disconnected(node, other);
        }
        self.nodes[node].running = None;
        self.nodes[node].disk = disk;
        self.nodes[node].start();
        self.tell_addresses(node);
    }

    fn disconnected(&mut self, a: usize, b: usize) {
        for (here, there) in [(a, b), (b, a)] {
            let site = self.nodes[there].site();
            if let Some((_, core)) = &mut self.nodes[here].running {
                core.handle_disconnected(site, self.now_ms);
            }
        }
    }

    /// One tick for everyone, and everything that arrives meanwhile.
    fn turn(&mut self) {
        for node in 0..self.nodes.len() {
            self.with(node, |store, core, now_ms| core.handle_tick(store, now_ms));
        }
        while let Some(parcel) = self.network.arrive(self.now_ms) {
            let from = self.nodes[parcel.from].site();
            self.with(parcel.to, |store, core, now_ms| match &parcel.message {
                Message::Announcement(frame) => {
                    core.handle_announcement(store, from, frame, now_ms)
                }
                Message::Request(id, frame) => {
                    let token = *id << 8 | parcel.from as u64;
                    core.handle_request(store, from, token, frame, now_ms)
                }
                Message::Response(id, frame) => core.handle_response(store, *id, frame, now_ms),
            });
        }
    }

    fn with(
        &mut self,
        node: usize,
        action: impl FnOnce(&Store, &mut Replicator, u64) -> Result<(), uor_asl::store::StoreError>,
    ) {
        let now_ms = self.now_ms;
        if let Some((store, core)) = &mut self.nodes[node].running {
            action(store, core, now_ms).expect("a sound disk does not fail");
        }
        while let Some(effect) = self.nodes[node]
            .running
            .as_mut()
            .and_then(|(_, core)| core.poll_effect())
        {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Request {
                peer, id, frame, ..
            } => self.send(node, peer, Message::Request(id, frame)),
            Effect::Respond { token, frame } => {
                let to = usize::try_from(token & 0xff).unwrap_or_default();
                let message = Message::Response(token >> 8, frame);
                self.network
                    .send(node, to, message, self.now_ms, &mut self.random);
            }
            Effect::Announce { frame } => {
                for to in self.network.neighbours(node) {
                    self.network.send(
                        node,
                        to,
                        Message::Announcement(frame.clone()),
                        self.now_ms,
                        &mut self.random,
                    );
                }
            }
            Effect::Dial { address } => self.dial(node, &address),
            Effect::Disconnect { peer } => {
                if let Some(other) = self
                    .index_of(peer)
                    .filter(|other| self.network.disconnect(node, *other))
                {
                    self.disconnected(node, other);
                }
            }
            Effect::Notice(notice) => self.notices.push((node, notice)),
            // Whom to trust and whom to let stay concerns a network with strangers; there are none
            // here.
            Effect::Trust(_) | Effect::LetStay { .. } => {}
            other => panic!("nobody shows a ticket in this world: {other:?}"),
        }
    }

    fn send(&mut self, from: usize, peer: SiteId, message: Message) {
        if let Some(to) = self.index_of(peer) {
            self.network
                .send(from, to, message, self.now_ms, &mut self.random);
        }
    }

    fn dial(&mut self, node: usize, address: &str) {
        let other = (0..self.nodes.len()).find(|index| address_of(*index) == address);
        let Some(other) = other.filter(|other| self.network.connect(node, *other)) else {
            return;
        };
        for (here, there) in [(node, other), (other, node)] {
            let site = self.nodes[there].site();
            self.with(here, |store, core, now_ms| {
                core.handle_connected(store, site, now_ms)
            });
        }
    }

    fn index_of(&self, site: SiteId) -> Option<usize> {
        self.nodes.iter().position(|node| node.site() == site)
    }
}

fn address_of(node: usize) -> String {
    format!("node-{node}")
}
