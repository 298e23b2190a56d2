//! The replication core: announce, fetch, merge, repair. A state machine without sockets, clock or chance of its own.
//!
//! Events go in through `handle_*`, with the time as an argument; wishes come out of [`Replicator::poll_effect`]. Storage is
//! the store's business, on whatever disk it was given. The libp2p shell and the simulator drive this same code.
//!
//! One conversation with a peer: it rings a *doorbell* (or a connection opens, or time passes); we ask for its *frontier*;
//! we fetch a *delta* of every domain in which it is ahead, verified commit by commit; payloads follow. Nothing rests on a
//! doorbell arriving. What a peer sends is hostile until the store has judged it.
//!
//! This module never decides who may write or what is visible: that is `uor_asl::judge` and `uor_asl::state`.

pub mod answer;
pub mod book;
pub mod notice;
pub mod payloads;
pub mod sync;
pub mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{CommitHash, SiteId, SnapshotId, StateRoot};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::wire::{Contact, Doorbell, Position, Request, Response, WireHead};

use self::book::Book;
pub use self::notice::Notice;
use self::payloads::Payloads;
use self::sync::Peer;
pub use self::table::{Applied, FederationLogTable};

/// How often every connected peer is asked for its frontier even if all is quiet.
pub const ANTI_ENTROPY_MS: u64 = 10_000;
/// How long an answer may take.
pub const ANSWER_MS_MAX: u64 = 60_000;
/// Most addresses that are told to a peer.
const CONTACTS_MAX: usize = 64;

/// What the core wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Ask a peer; the answer comes back with the same `id`.
    Request {
        /// Whom.
        peer: SiteId,
        /// Which question.
        id: u64,
        /// An encoded [`Request`].
        frame: Vec<u8>,
    },
    /// Answer a peer's question.
    Respond {
        /// Which question: the token it came with.
        token: u64,
        /// An encoded [`Response`].
        frame: Vec<u8>,
    },
    /// Gossip.
    Publish {
        /// An encoded [`Doorbell`].
        frame: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// A multiaddress.
        address: String,
    },
    /// Close every connection with a peer.
    Disconnect {
        /// The peer.
        peer: SiteId,
    },
    /// A stranger shows a ticket. The site that holds the invitations decides; the answer goes to
    /// [`Replicator::handle_redeemed`].
    Redeem {
        /// The question's token.
        token: u64,
        /// Who asks.
        site: SiteId,
        /// The ticket's secret.
        secret: [u8; 16],
        /// The name it wants to be known by.
        name: String,
    },
    /// Tell the people who run this node.
    Notice(Notice),
}

/// What was asked under a request id.
#[derive(Debug, Clone)]
struct Asked {
    peer: SiteId,
    deadline_ms: u64,
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Frontier,
    Delta,
    Payload(uor_index_format::id::Checksum),
}

/// The replication core of one node.
#[derive(Debug)]
pub struct Replicator {
    me: SiteId,
    peers: BTreeMap<SiteId, Peer>,
    /// Connected auditors for whom a member vouches: they may read, and are not listened to.
    readers: BTreeSet<SiteId>,
    asked: BTreeMap<u64, Asked>,
    request_id_next: u64,
    effects: VecDeque<Effect>,
    book: Book,
    payloads: Payloads,
    table: FederationLogTable,
    announced: Option<Snapshot>,
    /// Members that have told what they have of this site's own domain, and up to which number they say to have it.
    heard: BTreeMap<SiteId, u64>,
}

impl Replicator {
    /// A core for the site `me`, with what it knew of its peers when it last ran.
    pub fn new(me: SiteId, table: FederationLogTable) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            readers: BTreeSet::new(),
            asked: BTreeMap::new(),
            request_id_next: 1,
            effects: VecDeque::new(),
            book: Book::default(),
            payloads: Payloads::default(),
            table,
            announced: None,
            heard: BTreeMap::new(),
        }
    }

    /// Members that have been asked since this core began, and have given what they have of this site's own domain; each with
    /// the number of the last commit of it that they say to have.
    pub const fn heard(&self) -> &BTreeMap<SiteId, u64> {
        &self.heard
    }

    /// The next thing to do, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Per peer: the last snapshot of it that is wholly applied here (specification §3.3, §7).
    pub const fn federation_log_table(&self) -> &FederationLogTable {
        &self.table
    }

    /// Peers that are connected.
    pub fn connected(&self) -> impl Iterator<Item = &SiteId> {
        self.peers.keys()
    }

    /// Whether no question is out: nothing more comes before time passes or someone speaks.
    pub fn is_waiting_for_nothing(&self) -> bool {
        self.asked.is_empty()
    }

    /// Addresses worth dialling: given at the start, or told by peers.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Adds an address to dial whenever nobody answers there yet. `site` is who is expected, if known.
    pub fn add_address(&mut self, address: String, site: Option<SiteId>) {
        if site != Some(self.me) {
            self.book.add(address, site);
        }
    }

    /// The network is mended: every address is due at once.
    pub fn dial_all_again(&mut self, now_ms: u64) {
        self.book.start_afresh(now_ms);
    }

    /// An address at which this node listens: told to peers.
    pub fn add_own_address(&mut self, address: String) {
        self.book.add_own(address);
    }

    /// A connection with a peer has opened.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the node should stop then.
    pub fn handle_connected(&mut self, store: &Store, peer: SiteId, now_ms: u64) -> Result<(), StoreError> {
        self.book.reached(&peer);
        self.peers.entry(peer).or_default();
        self.start_sync(store, peer, now_ms)
    }

    /// The last connection with a peer has closed.
    pub fn handle_disconnected(&mut self, peer: SiteId, now_ms: u64) {
        self.peers.remove(&peer);
        self.readers.remove(&peer);
        self.book.lost(&peer, now_ms);
        let lost: Vec<u64> = self.asked.iter().filter(|(_, asked)| asked.peer == peer).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(Asked { question: Question::Payload(checksum), .. }) = self.asked.remove(&id) {
                self.payloads.gave_up(&checksum);
            }
        }
    }

    /// Gossip has arrived. Only a member's doorbell is heeded: it says that the member stands where we do, or starts a
    /// conversation.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_gossip(&mut self, store: &Store, from: SiteId, frame: &[u8], now_ms: u64) -> Result<(), StoreError> {
        let Ok(doorbell) = Doorbell::decode(frame) else { return Ok(()) };
        let (is_ours, is_level, head_logseq, root) = {
            let view = store.view();
            let is_ours = doorbell.federation == *store.federation().as_bytes() && view.members().contains(&from);
            let is_level = doorbell.snapshot == *view.head().id().as_bytes();
            (is_ours, is_level, view.head().logseq_max, view.state().root())
        };
        if is_ours && is_level {
            let snapshot = SnapshotId::from_bytes(doorbell.snapshot);
            let state_root = StateRoot::from_bytes(doorbell.state_root);
            self.note_position(from, Applied { snapshot, logseq: head_logseq, state_root }, Some(root));
        } else if is_ours && self.peers.contains_key(&from) {
            self.start_sync(store, from, now_ms)?;
        }
        Ok(())
    }

    /// A peer asks.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_request(
        &mut self,
        store: &Store,
        peer: SiteId,
        token: u64,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.answer(store, peer, token, frame, now_ms)
    }

    /// A peer has answered.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_response(&mut self, store: &Store, id: u64, frame: &[u8], now_ms: u64) -> Result<(), StoreError> {
        let Some(Asked { peer, question, .. }) = self.asked.remove(&id) else { return Ok(()) };
        let response = match Response::decode(frame) {
            Ok(response) => response,
            Err(error) => {
                self.notice(Notice::Malformed { peer, problem: error.to_string() });
                return self.question_failed(store, peer, question, now_ms);
            }
        };
        match (question, response) {
            (Question::Frontier, Response::Frontier { position }) => self.frontier_came(store, peer, &position, now_ms),
            (Question::Delta, Response::Delta { commits, commits_left }) => {
                self.delta_came(store, peer, &commits, commits_left, now_ms)
            }
            (Question::Payload(checksum), Response::Payload { total_len, bytes }) => {
                self.payload_came(store, peer, checksum, total_len, &bytes, now_ms)
            }
            (question, Response::Refused { reason }) => self.refused(store, peer, question, reason, now_ms),
            (question, _) => {
                self.notice(Notice::Malformed { peer, problem: "the answer does not fit the question".to_owned() });
                self.question_failed(store, peer, question, now_ms)
            }
        }
    }

    /// A question went unanswered.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_request_failed(&mut self, store: &Store, id: u64, now_ms: u64) -> Result<(), StoreError> {
        match self.asked.remove(&id) {
            Some(Asked { peer, question, .. }) => self.question_failed(store, peer, question, now_ms),
            None => Ok(()),
        }
    }

    /// Time has passed: dial, give up on late answers, ask everyone again now and then, announce what has grown here.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_tick(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        for address in self.book.due(now_ms, |site| self.peers.contains_key(site)) {
            self.effects.push_back(Effect::Dial { address });
        }
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, asked)| asked.deadline_ms <= now_ms).map(|(id, _)| *id).collect();
        for id in late {
            self.handle_request_failed(store, id, now_ms)?;
        }
        let quiet: Vec<SiteId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_idle() && now_ms >= peer.asked_last_ms.saturating_add(ANTI_ENTROPY_MS))
            .map(|(site, _)| *site)
            .collect();
        for peer in quiet {
            self.start_sync(store, peer, now_ms)?;
        }
        self.announce(store);
        self.sweep_staging(store)?;
        self.settle_payloads(store)?;
        self.fetch_payloads(store, now_ms)
    }

    /// Rings the doorbell if the store has grown since it was last rung.
    pub fn announce(&mut self, store: &Store) {
        let doorbell = {
            let view = store.view();
            if self.announced.as_ref() == Some(view.head()) || self.peers.is_empty() {
                return;
            }
            self.announced = Some(view.head().clone());
            let head = view.head().frontier.get(&self.me).copied();
            let head = head.unwrap_or(Head { number: 0, hash: CommitHash::NONE });
            Doorbell {
                federation: *store.federation().as_bytes(),
                domain: *self.me.as_bytes(),
                number: head.number,
                hash: *head.hash.as_bytes(),
                logseq: view.state().logseq_max().0,
                snapshot: *view.head().id().as_bytes(),
                state_root: *view.state().root().as_bytes(),
            }
        };
        self.effects.push_back(Effect::Publish { frame: doorbell.encode() });
    }

    fn ask(&mut self, peer: SiteId, question: Question, request: &Request, now_ms: u64) {
        let id = self.request_id_next;
        self.request_id_next += 1;
        self.asked.insert(id, Asked { peer, deadline_ms: now_ms.saturating_add(ANSWER_MS_MAX), question });
        self.effects.push_back(Effect::Request { peer, id, frame: request.encode() });
    }

    fn question_failed(
        &mut self,
        store: &Store,
        peer: SiteId,
        question: Question,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match question {
            Question::Frontier | Question::Delta => {
                self.sync_failed(peer);
                Ok(())
            }
            Question::Payload(checksum) => self.payload_failed(store, peer, checksum, now_ms),
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }

    /// What a stranger is told of where this node stands: nothing.
    const fn no_position() -> Position {
        Position {
            heads: Vec::new(),
            logseq_max: 0,
            state_root: [0; 32],
            fork_proofs: Vec::new(),
            contacts: Vec::new(),
        }
    }

    /// Where this node stands.
    fn position(&self, store: &Store) -> Position {
        let view = store.view();
        let heads = view.head().frontier.iter().map(|(domain, head)| WireHead {
            domain: *domain.as_bytes(),
            number: head.number,
            hash: *head.hash.as_bytes(),
        });
        Position {
            heads: heads.collect(),
            logseq_max: view.state().logseq_max().0,
            state_root: *view.state().root().as_bytes(),
            fork_proofs: view.forks().values().map(|proof| proof.encode()).collect(),
            contacts: self
                .book
                .contacts(&self.me)
                .take(CONTACTS_MAX)
                .map(|(site, address)| Contact { site: *site.as_bytes(), address: address.to_owned() })
                .collect(),
        }
    }
}
