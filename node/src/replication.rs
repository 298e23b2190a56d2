//! The replication core: announce, fetch, merge, repair. A state machine without sockets, clock or
//! chance of its own.
//!
//! Events go in through `handle_*`, with the time as an argument; wishes come out of
//! [`Replicator::poll_effect`]. Storage is the store's business, on whatever disk it was given. The
//! libp2p shell and the simulator drive this same code.
//!
//! One conversation with a peer: it rings a *doorbell* (or a connection opens, or time passes); we
//! ask for its *frontier*, page by page; we fetch a *delta* of every domain in which it is ahead,
//! verified commit by commit; payloads follow. Nothing rests on a doorbell arriving. What a peer
//! sends is hostile until the store has judged it.
//!
//! A connection proves the peer's key, so whether it is a member is known before a word is said.
//! Only members are spoken to: whoever else connects hears nothing, not even which federation this
//! is.
//!
//! This module never decides who may write or what is visible: that is `uor_asl::judge` and
//! `uor_asl::state`.

pub mod answer;
pub mod book;
mod forks;
pub mod notice;
mod patience;
pub mod payloads;
pub mod sync;
pub mod table;
mod testimony;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{CommitHash, SiteId, SnapshotId, StateRoot};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::wire::{
    CONTACTS_MAX, Doorbell, FORKS_MAX, FRAME_LEN_MAX, HEADS_MAX, PART_LEN_MAX, PROOFS_MAX,
    Position, Request, Response,
};

pub use self::answer::READER_MS_MAX;
use self::book::Book;
pub use self::notice::{Notice, Provoked};
use self::patience::Patience;
use self::payloads::Payloads;
use self::sync::{Page, Peer};
pub use self::table::{Applied, FederationLogTable};

/// How often every connected peer is asked for its frontier even if all is quiet.
pub const ANTI_ENTROPY_MS: u64 = 10_000;
/// How long an answer may take.
pub const ANSWER_MS_MAX: u64 = 60_000;
/// How soon a member that asks from elsewhere is asked back after it was last asked.
const ASKED_BACK_MS: u64 = 1000;

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
        /// The longest answer that makes sense, in bytes.
        answer_len_max: u32,
    },
    /// Answer a peer's question.
    Respond {
        /// Which question: the token it came with.
        token: u64,
        /// An encoded [`Response`].
        frame: Vec<u8>,
    },
    /// Ring the doorbell of every connected member.
    Ring {
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
    /// Let a peer that is no member stay connected for a while, longer than strangers may.
    LetStay {
        /// The peer.
        peer: SiteId,
        /// For how long, in milliseconds from now.
        for_ms: u64,
    },
    /// From now on, these are the peers that are spoken to.
    Trust(BTreeSet<SiteId>),
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
    Forks,
    Proofs,
    Testimony,
    Delta,
    Payload(uor_index_format::id::Checksum),
}

impl Question {
    /// The longest answer that makes sense, in bytes; 64 KiB are for what is around it.
    fn answer_len_max(self) -> u32 {
        let len = match self {
            Self::Frontier => HEADS_MAX * 72 + CONTACTS_MAX * 600,
            Self::Forks => FORKS_MAX * 40,
            Self::Proofs => PROOFS_MAX * 512,
            Self::Testimony | Self::Delta => FRAME_LEN_MAX,
            Self::Payload(_) => usize::try_from(PART_LEN_MAX).unwrap_or(usize::MAX),
        };
        u32::try_from(len)
            .unwrap_or(u32::MAX)
            .saturating_add(1 << 16)
    }
}

/// The replication core of one node.
#[derive(Debug)]
pub struct Replicator {
    me: SiteId,
    peers: BTreeMap<SiteId, Peer>,
    /// Connected auditors for whom a member vouches, and until when on the wall clock: they may
    /// read, and are not listened to.
    readers: BTreeMap<SiteId, u64>,
    /// What the wall clock shows beyond `now_ms`, in milliseconds.
    wall_ms_ahead: u64,
    /// Whom the network was last told to trust.
    trusted: Option<BTreeSet<SiteId>>,
    asked: BTreeMap<u64, Asked>,
    request_id_next: u64,
    effects: VecDeque<Effect>,
    book: Book,
    payloads: Payloads,
    table: FederationLogTable,
    patience: Patience,
    announced: Option<Snapshot>,
    /// Members that have told what they have of this site's own domain, and up to which number they
    /// say to have it.
    heard: BTreeMap<SiteId, u64>,
}

impl Replicator {
    /// A core for the site `me`, with what it knew of its peers when it last ran.
    pub fn new(me: SiteId, table: FederationLogTable) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            readers: BTreeMap::new(),
            wall_ms_ahead: 0,
            trusted: None,
            asked: BTreeMap::new(),
            request_id_next: 1,
            effects: VecDeque::new(),
            book: Book::default(),
            payloads: Payloads::default(),
            table,
            patience: Patience::default(),
            announced: None,
            heard: BTreeMap::new(),
        }
    }

    /// Members that have been asked since this core began, and have given what they have of this
    /// site's own domain; each with the number of the last commit of it that they say to have.
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

    /// Adds an address to dial whenever nobody answers there yet. `site` is who is expected, if
    /// known.
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

    /// What the wall clock shows at `now_ms`, in milliseconds since 1970: credentials expire by it.
    /// Nothing else rests on it.
    pub const fn set_wall_ms(&mut self, wall_ms: u64, now_ms: u64) {
        self.wall_ms_ahead = wall_ms.saturating_sub(now_ms);
    }

    const fn wall_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.wall_ms_ahead)
    }

    /// Whether a peer is spoken to: a member. While this site has not heard of its own admission it
    /// cannot know who is one, and takes the word of whoever gave it their address.
    fn trusts(&self, store: &Store, peer: &SiteId) -> bool {
        let view = store.view();
        view.members().contains(peer)
            || (!view.members().contains(&self.me) && self.book.is_given(peer))
    }

    /// A connection with a peer has opened.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the node should stop then.
    pub fn handle_connected(
        &mut self,
        store: &Store,
        peer: SiteId,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.book.reached(&peer);
        self.peers.entry(peer).or_default();
        if self.trusts(store, &peer) {
            return self.start_sync(store, peer, now_ms);
        }
        if self.book.is_given(&peer) {
            self.book.shun(&peer, now_ms);
            self.notice(Notice::NoMember { peer });
        }
        Ok(())
    }

    /// Nobody, or somebody else, answered at an address.
    pub fn handle_dial_failed(&mut self, address: &str) {
        self.book.failed(address);
    }

    /// The last connection with a peer has closed.
    pub fn handle_disconnected(&mut self, peer: SiteId, now_ms: u64) {
        self.peers.remove(&peer);
        self.readers.remove(&peer);
        self.book.lost(&peer, now_ms);
        let lost: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(Asked {
                question: Question::Payload(checksum),
                ..
            }) = self.asked.remove(&id)
            {
                self.payloads.gave_up(&checksum);
            }
        }
    }

    /// A connected peer has rung. Only a member's doorbell is heeded: it says that the member
    /// stands where we do, or starts a conversation.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_doorbell(
        &mut self,
        store: &Store,
        from: SiteId,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Ok(doorbell) = Doorbell::decode(frame) else {
            return Ok(());
        };
        let (is_ours, is_level, head_logseq, root) = {
            let view = store.view();
            let is_ours = doorbell.federation == *store.federation().as_bytes()
                && view.members().contains(&from);
            let is_level = is_ours && doorbell.snapshot == *view.head().id().as_bytes();
            (
                is_ours,
                is_level,
                view.head().logseq_max,
                is_level.then(|| view.state().root()),
            )
        };
        if is_level {
            let snapshot = SnapshotId::from_bytes(doorbell.snapshot);
            let state_root = StateRoot::from_bytes(doorbell.state_root);
            self.note_position(
                from,
                Applied {
                    snapshot,
                    logseq: head_logseq,
                    state_root,
                },
                root,
            );
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
    pub fn handle_response(
        &mut self,
        store: &Store,
        id: u64,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(Asked { peer, question, .. }) = self.asked.remove(&id) else {
            return Ok(());
        };
        let response = match Response::decode(frame) {
            Ok(response) => response,
            Err(error) => {
                self.notice(Notice::Malformed {
                    peer,
                    problem: error.to_string(),
                });
                return self.question_failed(store, peer, question, now_ms);
            }
        };
        match (question, response) {
            (
                Question::Frontier,
                Response::Frontier {
                    position,
                    heads,
                    has_more,
                    contacts,
                },
            ) => self.frontier_came(
                store,
                peer,
                Page {
                    position,
                    heads,
                    has_more,
                    contacts,
                },
                now_ms,
            ),
            (Question::Forks, Response::Forks { forks, has_more }) => {
                self.forks_came(store, peer, &forks, has_more, now_ms)
            }
            (Question::Proofs, Response::Proofs { proofs }) => {
                self.proofs_came(store, peer, &proofs, now_ms)
            }
            (Question::Testimony, Response::Testimony { commits }) => {
                self.testimony_came(store, peer, &commits, now_ms)
            }
            (
                Question::Delta,
                Response::Delta {
                    commits,
                    commits_left,
                },
            ) => self.delta_came(store, peer, &commits, commits_left, now_ms),
            (Question::Payload(checksum), Response::Payload { total_len, bytes }) => {
                self.payload_came(store, peer, checksum, total_len, &bytes, now_ms)
            }
            (question, Response::Refused { reason }) => {
                self.refused(store, peer, question, reason, now_ms)
            }
            (question, _) => {
                self.notice(Notice::Malformed {
                    peer,
                    problem: "the answer does not fit the question".to_owned(),
                });
                self.question_failed(store, peer, question, now_ms)
            }
        }
    }

    /// A question went unanswered.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_request_failed(
        &mut self,
        store: &Store,
        id: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match self.asked.remove(&id) {
            Some(Asked { peer, question, .. }) => {
                self.question_failed(store, peer, question, now_ms)
            }
            None => Ok(()),
        }
    }

    /// Time has passed: dial, give up on late answers, ask everyone again now and then, announce
    /// what has grown here.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_tick(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        self.tell_whom_to_trust(store, now_ms);
        for address in self.book.due(now_ms, |site| self.peers.contains_key(site)) {
            self.effects.push_back(Effect::Dial { address });
        }
        let late: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.deadline_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.handle_request_failed(store, id, now_ms)?;
        }
        let quiet: Vec<SiteId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.is_idle()
                    && peer
                        .asked_last_ms
                        .is_none_or(|last| now_ms >= last.saturating_add(ANTI_ENTROPY_MS))
            })
            .map(|(site, _)| *site)
            .filter(|site| self.trusts(store, site))
            .collect();
        for peer in quiet {
            self.start_sync(store, peer, now_ms)?;
        }
        self.payloads_may_look_again();
        self.announce(store);
        self.sweep_staging(store)?;
        self.settle_payloads(store)?;
        self.fetch_payloads(store, now_ms)
    }

    /// Tells the network who is spoken to, whenever that has changed; whoever has become a member
    /// is dialled at once.
    pub fn tell_whom_to_trust(&mut self, store: &Store, now_ms: u64) {
        let given = {
            let view = store.view();
            let may_trust = !view.members().contains(&self.me);
            let given: Vec<SiteId> = self
                .book
                .given()
                .filter(|site| may_trust && !view.members().contains(site))
                .collect();
            let is_told = |told: &BTreeSet<SiteId>| {
                told.len() == view.members().len() + given.len()
                    && view
                        .members()
                        .iter()
                        .chain(&given)
                        .all(|site| told.contains(site))
            };
            if self.trusted.as_ref().is_some_and(is_told) {
                return;
            }
            view.members()
                .iter()
                .copied()
                .chain(given)
                .collect::<BTreeSet<SiteId>>()
        };
        let told = self.trusted.take().unwrap_or_default();
        for site in given.difference(&told) {
            self.book.welcome(site, now_ms);
        }
        self.trusted = Some(given.clone());
        self.effects.push_back(Effect::Trust(given));
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
            let head = head.unwrap_or(Head {
                number: 0,
                hash: CommitHash::NONE,
            });
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
        self.effects.push_back(Effect::Ring {
            frame: doorbell.encode(),
        });
    }

    fn ask(&mut self, peer: SiteId, question: Question, request: &Request, now_ms: u64) {
        let id = self.request_id_next;
        self.request_id_next += 1;
        self.asked.insert(
            id,
            Asked {
                peer,
                deadline_ms: now_ms.saturating_add(ANSWER_MS_MAX),
                question,
            },
        );
        let answer_len_max = question.answer_len_max();
        self.effects.push_back(Effect::Request {
            peer,
            id,
            frame: request.encode(),
            answer_len_max,
        });
    }

    fn question_failed(
        &mut self,
        store: &Store,
        peer: SiteId,
        question: Question,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match question {
            Question::Frontier
            | Question::Forks
            | Question::Proofs
            | Question::Testimony
            | Question::Delta => {
                self.sync_failed(peer);
                Ok(())
            }
            Question::Payload(checksum) => self.payload_failed(store, peer, checksum, now_ms),
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }

    /// Where this node stands.
    fn position(&self, store: &Store) -> Position {
        let forks = Self::fork_set(store);
        let view = store.view();
        Position {
            snapshot: *view.head().id().as_bytes(),
            logseq_max: view.state().logseq_max().0,
            state_root: *view.state().root().as_bytes(),
            forks,
        }
    }
}
