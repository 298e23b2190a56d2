//! One conversation with one peer: its frontier, then a delta of each domain in which it is ahead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uor_asl::judge::Verdict;
use uor_asl::state::ReadError;
use uor_asl::store::{Store, StoreError};
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::{Checksum, CommitHash, LogSeq, SiteId, StateRoot};
use uor_index_format::snapshot::{Frontier, Head, Snapshot};
use uor_index_format::wire::{Position, Refusal, Request};

use super::{Applied, Effect, Notice, Question, Replicator};

/// Most fork proofs that are read of one frontier.
const FORK_PROOFS_MAX: usize = 256;

/// What is going on with a connected peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    stage: Stage,
    /// Ask again when this conversation ends: something has happened meanwhile.
    again: bool,
    /// When its frontier was last asked for.
    pub(super) asked_last_ms: u64,
    /// Payload questions that are out.
    pub(super) payloads_asked: usize,
    /// Payloads it said it does not have, since its frontier was last asked for.
    pub(super) lacks: BTreeSet<Checksum>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Frontier,
    Delta(Fetch),
}

/// The deltas of one conversation.
#[derive(Debug)]
struct Fetch {
    /// Where the peer said it stands.
    target: Snapshot,
    state_root: StateRoot,
    /// Domains still to fetch; the first is being fetched.
    domains: VecDeque<SiteId>,
    /// The last commit of the first domain that was asked for or came.
    cursor: Cursor,
    /// Whether the first domain is fetched from its start because the peer said that its log is another: once is enough.
    restarted: bool,
    /// How many commits counted in this conversation.
    applied: u64,
}

/// Where in a domain the next delta starts.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    after: u64,
    hash: CommitHash,
}

impl Cursor {
    const START: Self = Self { after: 0, hash: CommitHash::NONE };
}

impl Peer {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }
}

impl Replicator {
    /// Asks a peer how far it is, now or as soon as the conversation that is going on has ended.
    pub(super) fn start_sync(&mut self, store: &Store, peer: SiteId, now_ms: u64) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        if !state.is_idle() {
            state.again = true;
            return Ok(());
        }
        state.stage = Stage::Frontier;
        state.again = false;
        state.asked_last_ms = now_ms;
        state.lacks.clear();
        let position = if store.view().members().contains(&peer) { self.position(store) } else { Self::no_position() };
        let request = Request::Frontier { federation: *store.federation().as_bytes(), position };
        self.ask(peer, Question::Frontier, &request, now_ms);
        Ok(())
    }

    /// The peer did not answer: leave it until the next doorbell or the next round.
    pub(super) fn sync_failed(&mut self, peer: SiteId) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.stage = Stage::Idle;
        }
    }

    pub(super) fn frontier_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        position: &Position,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.heed(store, peer, position)?;
        let target = snapshot_of(position);
        let domains = VecDeque::from(domains_ahead(store, &target)?);
        let fetch = Fetch {
            state_root: StateRoot::from_bytes(position.state_root),
            cursor: domains.front().map_or(Cursor::START, |domain| cursor_for(store, domain, &target)),
            target,
            domains,
            restarted: false,
            applied: 0,
        };
        self.continue_fetch(store, peer, fetch, now_ms)
    }

    /// Takes what a position says beside frontiers: proofs of forks, and what a member says of addresses.
    pub(super) fn heed(&mut self, store: &Store, peer: SiteId, position: &Position) -> Result<(), StoreError> {
        let mut proofs: BTreeMap<SiteId, ForkProof> = BTreeMap::new();
        for bytes in position.fork_proofs.iter().take(FORK_PROOFS_MAX) {
            let proof = match ForkProof::decode(bytes) {
                Ok(proof) => proof,
                Err(error) => {
                    self.notice(Notice::Malformed { peer, problem: error.to_string() });
                    break;
                }
            };
            if proofs.get(&proof.domain()).is_none_or(|known| proof.number() < known.number()) {
                proofs.insert(proof.domain(), proof);
            }
        }
        for proof in proofs.into_values() {
            self.freeze(store, proof)?;
        }
        let view = store.view();
        for contact in position.contacts.iter().take(super::CONTACTS_MAX) {
            let site = SiteId::from_bytes(contact.site);
            if site != self.me && view.members().contains(&site) && view.members().contains(&peer) {
                self.book.hear(contact.address.clone(), site, peer);
            }
        }
        Ok(())
    }

    /// Heeds a proof that says something of the commits here, or of the next. Each proof may mean judging the whole log anew,
    /// and a forked writer can make as many as there are numbers; one above that is told again when it matters.
    fn freeze(&mut self, store: &Store, proof: ForkProof) -> Result<(), StoreError> {
        let (domain, number) = (proof.domain(), proof.number());
        let worth_judging = {
            let view = store.view();
            let last = view.head().frontier.get(&domain).map_or(0, |head| head.number);
            view.members().contains(&domain)
                && number <= last.saturating_add(1)
                && view.forks().get(&domain).is_none_or(|known| number < known.number())
        };
        if worth_judging && store.freeze(proof)? {
            self.notice(Notice::Forked { domain, number });
        }
        Ok(())
    }

    fn continue_fetch(&mut self, store: &Store, peer: SiteId, fetch: Fetch, now_ms: u64) -> Result<(), StoreError> {
        let Some(domain) = fetch.domains.front().copied() else {
            return self.conversation_over(store, peer, &fetch, now_ms);
        };
        let Cursor { after, hash } = fetch.cursor;
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        state.stage = Stage::Delta(fetch);
        let request = Request::Delta {
            federation: *store.federation().as_bytes(),
            domain: *domain.as_bytes(),
            after,
            after_hash: *hash.as_bytes(),
        };
        self.ask(peer, Question::Delta, &request, now_ms);
        Ok(())
    }

    pub(super) fn delta_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: &[Vec<u8>],
        commits_left: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(mut fetch) = self.take_fetch(peer) else { return Ok(()) };
        let domain = fetch.domains.front().copied();
        let mut decoded = Vec::new();
        for bytes in commits {
            let problem = match Commit::decode(bytes) {
                Ok(commit) if Some(commit.header().domain) == domain => {
                    decoded.push(commit);
                    continue;
                }
                Ok(_) => "a commit of another domain".to_owned(),
                Err(error) => error.to_string(),
            };
            self.notice(Notice::Malformed { peer, problem });
            break;
        }
        let is_whole = decoded.len() == commits.len() && !decoded.is_empty();
        let last = decoded.last().map(|commit| Cursor { after: commit.header().number, hash: commit.hash() });
        let all_known = self.merge(store, peer, decoded, &mut fetch)?;
        let advanced = last.is_some_and(|last| last.after > fetch.cursor.after);
        if is_whole && all_known && advanced && commits_left > 0 {
            fetch.cursor = last.unwrap_or(fetch.cursor);
        } else {
            next_domain(store, &mut fetch);
        }
        self.continue_fetch(store, peer, fetch, now_ms)
    }

    /// Hands commits of one domain to the store; says whether all of them are in its log now. Only the first that does not
    /// count is worth a notice: those after it rest on it.
    fn merge(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: Vec<Commit>,
        fetch: &mut Fetch,
    ) -> Result<bool, StoreError> {
        let named: Vec<(SiteId, u64)> =
            commits.iter().map(|commit| (commit.header().domain, commit.header().number)).collect();
        let verdicts = store.merge(commits)?;
        let mut all_known = true;
        for ((domain, number), verdict) in named.into_iter().zip(verdicts) {
            fetch.applied += u64::from(verdict == Verdict::Counts);
            if !all_known || matches!(verdict, Verdict::Counts | Verdict::Known) {
                continue;
            }
            all_known = false;
            match verdict {
                Verdict::Forks(proof) => self.notice(Notice::Forked { domain, number: proof.number() }),
                Verdict::Parked(reason) => self.notice(Notice::Parked { domain, number, reason: reason.to_string() }),
                Verdict::Refused(reason) => {
                    self.notice(Notice::Refused { peer, domain, number, reason: reason.to_string() });
                }
                _ => {}
            }
        }
        Ok(all_known)
    }

    pub(super) fn refused(
        &mut self,
        store: &Store,
        peer: SiteId,
        question: Question,
        reason: Refusal,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match (question, reason) {
            (Question::Payload(checksum), Refusal::Malformed) => {
                // The offset lies beyond the end: what is staged is longer than the payload.
                self.discard(store, &checksum)?;
                self.payload_failed(store, peer, checksum, now_ms)
            }
            (Question::Payload(checksum), _) => self.payload_failed(store, peer, checksum, now_ms),
            (Question::Delta, Refusal::Forked) => {
                // Our log of this domain is not theirs: fetch theirs from the start, the first difference proves the fork.
                let Some(mut fetch) = self.take_fetch(peer) else { return Ok(()) };
                if fetch.restarted || fetch.cursor.after == 0 {
                    next_domain(store, &mut fetch);
                } else {
                    fetch.cursor = Cursor::START;
                    fetch.restarted = true;
                }
                self.continue_fetch(store, peer, fetch, now_ms)
            }
            (Question::Delta, _) => {
                let Some(mut fetch) = self.take_fetch(peer) else { return Ok(()) };
                next_domain(store, &mut fetch);
                self.continue_fetch(store, peer, fetch, now_ms)
            }
            (Question::Frontier, Refusal::OtherFederation) => {
                self.sync_failed(peer);
                self.part(peer, now_ms);
                Ok(())
            }
            (Question::Frontier, reason) => {
                if reason == Refusal::NotAMember {
                    self.notice(Notice::NotAdmitted { peer });
                }
                self.sync_failed(peer);
                Ok(())
            }
        }
    }

    /// Parts from a peer of another federation.
    pub(super) fn part(&mut self, peer: SiteId, now_ms: u64) {
        self.book.shun(&peer, now_ms);
        self.notice(Notice::OtherFederation { peer });
        self.effects.push_back(Effect::Disconnect { peer });
    }

    fn take_fetch(&mut self, peer: SiteId) -> Option<Fetch> {
        match std::mem::take(&mut self.peers.get_mut(&peer)?.stage) {
            Stage::Delta(fetch) => Some(fetch),
            stage => {
                self.peers.get_mut(&peer)?.stage = stage;
                None
            }
        }
    }

    fn conversation_over(&mut self, store: &Store, peer: SiteId, fetch: &Fetch, now_ms: u64) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        state.stage = Stage::Idle;
        let again = std::mem::take(&mut state.again);
        if fetch.applied > 0 {
            self.notice(Notice::Applied { peer, commits: fetch.applied });
            self.announce(store);
        }
        self.note_heard(store, peer, fetch);
        self.note_applied(store, peer, fetch)?;
        self.fetch_payloads(store, now_ms)?;
        // What came may be what a parked commit waited for, so ask again until a round brings nothing.
        if again || fetch.applied > 0 { self.start_sync(store, peer, now_ms) } else { Ok(()) }
    }

    /// Notes that a member has told what it has of this site's own domain: what it can give of that is here then. One that
    /// claims more than it gives has been heard as well, or it could keep this site waiting.
    fn note_heard(&mut self, store: &Store, peer: SiteId, fetch: &Fetch) {
        let claimed = fetch.target.frontier.get(&self.me).map_or(0, |head| head.number);
        let view = store.view();
        let here = view.head().frontier.get(&self.me).map_or(0, |head| head.number);
        if view.members().contains(&peer) && (here >= claimed || fetch.applied == 0) {
            self.heard.insert(peer, claimed);
        }
    }

    /// Brings the federation log table up to date, and compares state roots where both sides include the same commits. Only
    /// members have a line, and only for what they can have.
    fn note_applied(&mut self, store: &Store, peer: SiteId, fetch: &Fetch) -> Result<(), ReadError> {
        let (has_all, ours) = {
            let view = store.view();
            let same = *view.head() == fetch.target;
            let has_all = view.members().contains(&peer)
                && view.has(&fetch.target)?
                && fetch.target.logseq_max <= view.head().logseq_max;
            (has_all, same.then(|| view.state().root()))
        };
        if has_all {
            let (snapshot, logseq) = (fetch.target.id(), fetch.target.logseq_max);
            self.note_position(peer, Applied { snapshot, logseq, state_root: fetch.state_root }, ours);
        }
        Ok(())
    }

    /// Notes a position of a member that is wholly included here; `ours` is the state root here, if it is the same position.
    pub(super) fn note_position(&mut self, peer: SiteId, applied: Applied, ours: Option<StateRoot>) {
        if self.table.insert(peer, applied) != Some(applied) {
            self.notice(Notice::Settled { peer, logseq: applied.logseq.0 });
        }
        if let Some(ours) = ours.filter(|ours| *ours != applied.state_root) {
            self.notice(Notice::Diverged { peer, ours, theirs: applied.state_root });
        }
    }
}

fn next_domain(store: &Store, fetch: &mut Fetch) {
    fetch.domains.pop_front();
    fetch.restarted = false;
    fetch.cursor = fetch.domains.front().map_or(Cursor::START, |domain| cursor_for(store, domain, &fetch.target));
}

/// The snapshot a peer says it stands at.
pub(super) fn snapshot_of(position: &Position) -> Snapshot {
    let head = |head: &uor_index_format::wire::WireHead| {
        (SiteId::from_bytes(head.domain), Head { number: head.number, hash: CommitHash::from_bytes(head.hash) })
    };
    let frontier: Frontier = position.heads.iter().filter(|head| head.number > 0).map(head).collect();
    Snapshot { frontier, logseq_max: LogSeq(position.logseq_max), origin: None }
}

/// Domains in which `target` has a commit that is not here, and that are not frozen below it. Nobody but a member has
/// commits that count; before the founding commit is here, any domain may be the founder's.
pub(super) fn domains_ahead(store: &Store, target: &Snapshot) -> Result<Vec<SiteId>, ReadError> {
    let view = store.view();
    let mut ahead = Vec::new();
    for (domain, head) in &target.frontier {
        let may_count = view.members().is_empty() || view.members().contains(domain);
        let last = view.head().frontier.get(domain).map_or(0, |ours| ours.number);
        let frozen = view.forks().get(domain).filter(|proof| proof.number() <= head.number);
        let done = frozen.is_some_and(|proof| last + 1 >= proof.number());
        if may_count && !done && view.commit_hash(domain, head.number)? != Some(head.hash) {
            ahead.push(*domain);
        }
    }
    Ok(ahead)
}

/// After our own last commit; from the start where the peer's log of that domain is not ours.
fn cursor_for(store: &Store, domain: &SiteId, target: &Snapshot) -> Cursor {
    let view = store.view();
    let theirs = target.frontier.get(domain).map_or(0, |head| head.number);
    match view.head().frontier.get(domain) {
        Some(ours) if ours.number < theirs => Cursor { after: ours.number, hash: ours.hash },
        _ => Cursor::START,
    }
}
