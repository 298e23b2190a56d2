//! The replicator itself: what it knows, and what every part of it does with that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uor_asl::store::Store;
use uor_index_format::id::SiteId;
use uor_index_format::snapshot::Snapshot;
use uor_index_format::wire::{Position, Request, fork_set};

use super::book::Book;
use super::conversation::Stage;
use super::effect::Effect;
use super::notice::Notice;
use super::patience::Patience;
use super::peer::Peer;
use super::question::{Asked, Question};
use super::table::FederationLogTable;
use super::timing::ANSWER_MS_MAX;
use super::transfers::Transfers;

/// The replication core of one node.
#[derive(Debug)]
pub struct Replicator {
    pub(super) me: SiteId,
    pub(super) peers: BTreeMap<SiteId, Peer>,
    /// Connected auditors for whom a member vouches, and until when on the wall clock: they may
    /// read, and are not listened to.
    pub(super) readers: BTreeMap<SiteId, u64>,
    /// What the wall clock shows beyond `now_ms`, in milliseconds.
    pub(super) wall_ms_ahead: u64,
    /// Whom the network was last told to trust.
    pub(super) trusted: Option<BTreeSet<SiteId>>,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) request_id_next: u64,
    pub(super) effects: VecDeque<Effect>,
    pub(super) book: Book,
    pub(super) payloads: Transfers,
    pub(super) table: FederationLogTable,
    pub(super) patience: Patience,
    pub(super) announced: Option<Snapshot>,
    /// Members that have told what they have of this site's own domain, and up to which number they
    /// say to have it.
    pub(super) heard: BTreeMap<SiteId, u64>,
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
            payloads: Transfers::default(),
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

    pub(super) const fn wall_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.wall_ms_ahead)
    }

    /// Whether a peer is spoken to: a member. While this site has not heard of its own admission it
    /// cannot know who is one, and takes the word of whoever gave it their address.
    pub(super) fn trusts(&self, store: &Store, peer: &SiteId) -> bool {
        let view = store.view();
        view.members().contains(peer)
            || (!view.members().contains(&self.me) && self.book.is_given(peer))
    }

    /// Where this node stands.
    pub(super) fn position(&self, store: &Store) -> Position {
        let forks = Self::fork_set(store);
        let view = store.view();
        Position {
            snapshot: *view.head().id().as_bytes(),
            logseq_max: view.state().logseq_max().0,
            state_root: *view.state().root().as_bytes(),
            forks,
        }
    }

    pub(super) fn ask(&mut self, peer: SiteId, question: Question, request: &Request, now_ms: u64) {
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

    pub(super) fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }

    /// A question of a conversation goes out: its answer is awaited in this stage.
    pub(super) fn set_stage(&mut self, peer: SiteId, stage: Stage) {
        if let Some(state) = self.peers.get_mut(&peer) {
            assert!(
                state.is_idle(),
                "a conversation has one question out, and takes up its stage when that has ended"
            );
            state.stage = stage;
        }
    }

    /// The question of a conversation has ended: what it was about.
    pub(super) fn take_stage(&mut self, peer: SiteId) -> Stage {
        self.peers
            .get_mut(&peer)
            .map(|state| std::mem::take(&mut state.stage))
            .unwrap_or_default()
    }

    /// Which domains are frozen here, and where, as a digest.
    pub(super) fn fork_set(store: &Store) -> [u8; 32] {
        fork_set(
            store
                .view()
                .forks()
                .iter()
                .map(|(domain, proof)| (*domain, proof.number())),
        )
    }
}
