//! One conversation with one peer: where it stands, which domains are frozen, then page by page of
//! its frontier a delta of each domain in which it is ahead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uor_asl::judge::{Parked, Verdict};
use uor_asl::state::ReadError;
use uor_asl::store::{Store, StoreError};
use uor_index_format::commit::Commit;
use uor_index_format::id::{Checksum, CommitHash, LogSeq, SiteId, SnapshotId, StateRoot};
use uor_index_format::snapshot::Head;
use uor_index_format::wire::{Contact, HEADS_MAX, Position, Refusal, Request, WireHead};

use super::forks::Proving;
use super::payloads::{Lack, WINDOW_FIRST};
use super::{Applied, Notice, Question, Replicator};

/// Most pages of one list in one conversation: more than the largest federation fills.
pub(super) const PAGES_MAX: usize = 64;

/// What is going on with a connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) stage: Stage,
    /// Ask again when this conversation ends: something has happened meanwhile.
    again: bool,
    /// When it was last asked where it stands.
    pub(super) asked_last_ms: Option<u64>,
    /// How often it was asked how sites became members: each time of others, so that none waits for
    /// those before it.
    pub(super) testimony_asked: usize,
    /// Payload questions that are out.
    pub(super) payloads_asked: usize,
    /// Most payload questions that may be out: more the more it has answered.
    pub(super) window: usize,
    /// Payloads it did not give, and when they are asked of it again.
    pub(super) lacks: BTreeMap<Checksum, Lack>,
    /// Questions for payloads it may not have that may still be put to it, once `lacks` is full.
    pub(super) probes: usize,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            again: false,
            asked_last_ms: None,
            testimony_asked: 0,
            payloads_asked: 0,
            window: WINDOW_FIRST,
            lacks: BTreeMap::new(),
            probes: 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Idle,
    /// Waits for a page of its frontier.
    Frontier(Talk),
    /// Waits for frozen domains, or for proofs.
    Forks(Talk, Proving),
    /// Waits for commits of the first of the talk's domains.
    Delta(Talk),
    /// Waits for testimony of how sites became members.
    Testimony(Talk),
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Talk {
    /// The snapshot we stood at when it was first asked.
    asked_at: [u8; 32],
    /// Where it stands, as it said with its first page.
    position: Option<Position>,
    /// Whether it stood there with every page.
    is_steady: bool,
    /// Whether everything it has told of is here.
    has_all: bool,
    /// The page that is being worked on.
    page: Vec<(SiteId, Head)>,
    has_more: bool,
    /// The last domain of the last page.
    after: Option<[u8; 32]>,
    /// How many pages have come.
    pages: usize,
    /// Domains of the page still to fetch; the first is being fetched.
    domains: VecDeque<(SiteId, Head)>,
    /// The last commit of the first domain that was asked for or came.
    cursor: Cursor,
    /// Whether the first domain is fetched from its start because the peer said that its log is
    /// another: once is enough.
    restarted: bool,
    /// How many commits counted in this conversation.
    applied: u64,
    /// How many commits of this site's own domain it says to have.
    claimed: u64,
    /// Sites of the page whose first commit names an admission that is not here.
    unjudged: BTreeSet<SiteId>,
    /// Whether it was asked how these became members, and others of the page that are not known to
    /// be any.
    has_asked_testimony: bool,
}

impl Talk {
    const fn new(asked_at: [u8; 32]) -> Self {
        Self {
            asked_at,
            position: None,
            is_steady: true,
            has_all: true,
            page: Vec::new(),
            has_more: false,
            after: None,
            pages: 0,
            domains: VecDeque::new(),
            cursor: Cursor::START,
            restarted: false,
            applied: 0,
            claimed: 0,
            unjudged: BTreeSet::new(),
            has_asked_testimony: false,
        }
    }
}

/// Where in a domain the next delta starts.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    after: u64,
    hash: CommitHash,
}

impl Cursor {
    const START: Self = Self {
        after: 0,
        hash: CommitHash::NONE,
    };
}

impl Peer {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }
}

/// A page of a frontier, as it came.
pub(super) struct Page {
    pub(super) position: Position,
    pub(super) heads: Vec<WireHead>,
    pub(super) has_more: bool,
    pub(super) contacts: Vec<Contact>,
}

impl Replicator {
    /// Asks a peer where it stands, now or as soon as the conversation that is going on has ended.
    /// One that is not known to be a member is told nothing by it.
    pub(super) fn start_sync(
        &mut self,
        store: &Store,
        peer: SiteId,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        if !state.is_idle() {
            state.again = true;
            return Ok(());
        }
        state.again = false;
        state.asked_last_ms = Some(now_ms);
        let position = if self.trusts(store, &peer) {
            self.position(store)
        } else {
            Position::NONE
        };
        self.ask_frontier(store, peer, position, Talk::new(position.snapshot), now_ms);
        Ok(())
    }

    fn ask_frontier(
        &mut self,
        store: &Store,
        peer: SiteId,
        position: Position,
        talk: Talk,
        now_ms: u64,
    ) {
        let request = Request::Frontier {
            federation: *store.federation().as_bytes(),
            position,
            after: talk.after,
        };
        self.set_stage(peer, Stage::Frontier(talk));
        self.ask(peer, Question::Frontier, &request, now_ms);
    }

    pub(super) fn set_stage(&mut self, peer: SiteId, stage: Stage) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.stage = stage;
        }
    }

    pub(super) fn take_stage(&mut self, peer: SiteId) -> Stage {
        self.peers
            .get_mut(&peer)
            .map(|state| std::mem::take(&mut state.stage))
            .unwrap_or_default()
    }

    /// The peer did not answer: leave it until the next doorbell or the next round.
    pub(super) fn sync_failed(&mut self, peer: SiteId) {
        self.set_stage(peer, Stage::Idle);
    }

    pub(super) fn frontier_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        page: Page,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Stage::Frontier(mut talk) = self.take_stage(peer) else {
            return Ok(());
        };
        if !is_well_formed(&page, talk.after) {
            let problem =
                "a page of a frontier is too long, does not ascend, or is empty and not the last"
                    .to_owned();
            self.notice(Notice::Malformed { peer, problem });
            return Ok(());
        }
        let is_first = talk.position.is_none();
        let position = *talk.position.get_or_insert(page.position);
        talk.is_steady &= position.snapshot == page.position.snapshot;
        // An empty frontier says "I stand where you do"; whoever says so and does not is not
        // believed.
        talk.has_all &= !is_first || !page.heads.is_empty() || position.snapshot == talk.asked_at;
        talk.after = page.heads.last().map(|head| head.domain).or(talk.after);
        talk.pages += 1;
        talk.has_more = page.has_more && talk.pages < PAGES_MAX;
        talk.has_all &= talk.has_more == page.has_more;
        talk.page = page
            .heads
            .iter()
            .filter(|head| head.number > 0)
            .map(head_of)
            .collect();
        talk.has_asked_testimony = false;
        talk.unjudged.clear();
        let own = talk.page.iter().find(|(site, _)| *site == self.me);
        talk.claimed = own.map_or(talk.claimed, |(_, head)| head.number);
        if is_first && self.trusts(store, &peer) {
            self.heed_contacts(store, peer, &page.contacts);
            if position.forks != Self::fork_set(store) {
                return self.ask_forks(store, peer, talk, now_ms);
            }
        }
        self.work_on_page(store, peer, talk, now_ms)
    }

    /// What a member says of addresses.
    fn heed_contacts(&mut self, store: &Store, peer: SiteId, contacts: &[Contact]) {
        let view = store.view();
        for contact in contacts.iter().take(super::CONTACTS_MAX) {
            let site = SiteId::from_bytes(contact.site);
            if site != self.me && view.members().contains(&site) && view.members().contains(&peer) {
                self.book.hear(contact.address.clone(), site, peer);
            }
        }
    }

    /// Fetches what the page of a frontier that has come is ahead in.
    pub(super) fn work_on_page(
        &mut self,
        store: &Store,
        peer: SiteId,
        mut talk: Talk,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        talk.domains = domains_ahead(store, &talk.page)?.into();
        talk.restarted = false;
        talk.cursor = talk
            .domains
            .front()
            .map_or(Cursor::START, |(domain, head)| {
                cursor_for(store, domain, head)
            });
        self.continue_talk(store, peer, talk, now_ms)
    }

    pub(super) fn continue_talk(
        &mut self,
        store: &Store,
        peer: SiteId,
        mut talk: Talk,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if let Some((domain, _)) = talk.domains.front() {
            let request = Request::Delta {
                federation: *store.federation().as_bytes(),
                domain: *domain.as_bytes(),
                after: talk.cursor.after,
                after_hash: *talk.cursor.hash.as_bytes(),
            };
            self.set_stage(peer, Stage::Delta(talk));
            self.ask(peer, Question::Delta, &request, now_ms);
            return Ok(());
        }
        let unknown: Vec<SiteId> = unknown_sites(store, &talk.page)
            .union(&talk.unjudged)
            .copied()
            .collect();
        if !unknown.is_empty() && !std::mem::replace(&mut talk.has_asked_testimony, true) {
            self.ask_testimony(store, peer, &unknown, talk, now_ms);
            return Ok(());
        }
        talk.has_all &= are_here(store, &std::mem::take(&mut talk.page))?;
        if talk.has_more {
            let position = if self.trusts(store, &peer) {
                self.position(store)
            } else {
                Position::NONE
            };
            self.ask_frontier(store, peer, position, talk, now_ms);
            return Ok(());
        }
        self.talk_over(store, peer, &talk, now_ms)
    }

    pub(super) fn delta_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: &[Vec<u8>],
        commits_left: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(mut talk) = self.take_delta(peer) else {
            return Ok(());
        };
        let domain = talk.domains.front().map(|(domain, _)| *domain);
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
        let last = decoded.last().map(|commit| Cursor {
            after: commit.header().number,
            hash: commit.hash(),
        });
        let all_known = self.merge(store, peer, decoded, &mut talk, now_ms)?;
        let advanced = last.is_some_and(|last| last.after > talk.cursor.after);
        if is_whole && all_known && advanced && commits_left > 0 {
            talk.cursor = last.unwrap_or(talk.cursor);
        } else {
            next_domain(store, &mut talk);
        }
        self.continue_talk(store, peer, talk, now_ms)
    }

    /// Hands commits of one domain to the store; says whether all of them are in its log now. Only
    /// the first that does not count is worth a notice: those after it rest on it.
    fn merge(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: Vec<Commit>,
        talk: &mut Talk,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let named: Vec<(SiteId, u64)> = commits
            .iter()
            .map(|commit| (commit.header().domain, commit.header().number))
            .collect();
        let verdicts = store.merge_patiently(commits, self.patience.jumps())?;
        if verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Parked(Parked::ClockJump { .. })))
        {
            self.patience.held_back(now_ms);
        }
        let is_own = |((domain, _), verdict): &(&(SiteId, u64), &Verdict)| {
            *domain == self.me && **verdict == Verdict::Counts
        };
        let own = named.iter().zip(&verdicts).filter(is_own).count() as u64;
        if own > 0 {
            self.notice(Notice::OwnCommits { peer, commits: own });
        }
        let mut all_known = true;
        for ((domain, number), verdict) in named.into_iter().zip(verdicts) {
            talk.applied += u64::from(verdict == Verdict::Counts);
            if !all_known || matches!(verdict, Verdict::Counts | Verdict::Known) {
                continue;
            }
            all_known = false;
            // That it is a member by another admission does not help: it rests on the one that it
            // names.
            if matches!(verdict, Verdict::Parked(Parked::Membership { .. })) {
                talk.unjudged.insert(domain);
            }
            match verdict {
                Verdict::Forks(proof) => self.notice(Notice::Forked {
                    domain,
                    number: proof.number(),
                }),
                Verdict::Parked(reason) => self.notice(Notice::Parked {
                    domain,
                    number,
                    reason: reason.to_string(),
                }),
                Verdict::Refused(reason) => {
                    self.notice(Notice::Refused {
                        peer,
                        domain,
                        number,
                        reason: reason.to_string(),
                    });
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
                self.payload_missing(store, peer, checksum, now_ms)
            }
            (Question::Payload(checksum), _) => self.payload_missing(store, peer, checksum, now_ms),
            (Question::Delta, Refusal::Forked) => {
                // Our log of this domain is not theirs: fetch theirs from the start, the first
                // difference proves the fork.
                let Some(mut talk) = self.take_delta(peer) else {
                    return Ok(());
                };
                if talk.restarted || talk.cursor.after == 0 {
                    next_domain(store, &mut talk);
                } else {
                    talk.cursor = Cursor::START;
                    talk.restarted = true;
                }
                self.continue_talk(store, peer, talk, now_ms)
            }
            (Question::Delta, _) => {
                let Some(mut talk) = self.take_delta(peer) else {
                    return Ok(());
                };
                next_domain(store, &mut talk);
                self.continue_talk(store, peer, talk, now_ms)
            }
            (Question::Testimony, _) => self.testimony_failed(store, peer, now_ms),
            (Question::Frontier | Question::Forks | Question::Proofs, reason) => {
                if reason == Refusal::NotAdmitted && self.trusts(store, &peer) {
                    self.notice(Notice::NotAdmitted { peer });
                }
                self.sync_failed(peer);
                Ok(())
            }
        }
    }

    fn take_delta(&mut self, peer: SiteId) -> Option<Talk> {
        match self.take_stage(peer) {
            Stage::Delta(talk) => Some(talk),
            stage => {
                self.set_stage(peer, stage);
                None
            }
        }
    }

    fn talk_over(
        &mut self,
        store: &Store,
        peer: SiteId,
        talk: &Talk,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        state.stage = Stage::Idle;
        let again = std::mem::take(&mut state.again);
        if talk.applied > 0 {
            self.notice(Notice::Applied {
                peer,
                commits: talk.applied,
            });
            self.announce(store);
        }
        self.note_heard(store, peer, talk);
        self.note_applied(store, peer, talk);
        self.fetch_payloads(store, now_ms)?;
        // What came may be what a parked commit waited for, so ask again until a round brings
        // nothing.
        if again || talk.applied > 0 {
            self.start_sync(store, peer, now_ms)
        } else {
            Ok(())
        }
    }

    /// Notes that a member has told what it has of this site's own domain: what it can give of that
    /// is here then. One that claims more than it gives has been heard as well, or it could keep
    /// this site waiting.
    fn note_heard(&mut self, store: &Store, peer: SiteId, talk: &Talk) {
        let view = store.view();
        let here = view
            .head()
            .frontier
            .get(&self.me)
            .map_or(0, |head| head.number);
        // One that stands where we do names no heads.
        let is_level = talk
            .position
            .is_some_and(|position| position.snapshot == talk.asked_at);
        let claimed = if is_level {
            here.max(talk.claimed)
        } else {
            talk.claimed
        };
        if view.members().contains(&peer) && (here >= claimed || talk.applied == 0) {
            self.heard.insert(peer, claimed);
        }
    }

    /// Brings the federation log table up to date, and compares state roots where both sides
    /// include the same commits. Only members have a line, and only for what they can have.
    fn note_applied(&mut self, store: &Store, peer: SiteId, talk: &Talk) {
        let Some(position) = talk.position.filter(|_| talk.has_all && talk.is_steady) else {
            return;
        };
        let logseq = LogSeq(position.logseq_max);
        let (is_level, ours) = {
            let view = store.view();
            let is_level = view.members().contains(&peer) && logseq <= view.head().logseq_max;
            let same = is_level && *view.head().id().as_bytes() == position.snapshot;
            (is_level, same.then(|| view.state().root()))
        };
        if is_level {
            let snapshot = SnapshotId::from_bytes(position.snapshot);
            let state_root = StateRoot::from_bytes(position.state_root);
            self.note_position(
                peer,
                Applied {
                    snapshot,
                    logseq,
                    state_root,
                },
                ours,
            );
        }
    }

    /// Notes a position of a member that is wholly included here; `ours` is the state root here, if
    /// it is the same position.
    pub(super) fn note_position(
        &mut self,
        peer: SiteId,
        applied: Applied,
        ours: Option<StateRoot>,
    ) {
        if self.table.insert(peer, applied) != Some(applied) {
            self.notice(Notice::Settled {
                peer,
                logseq: applied.logseq.0,
            });
        }
        if let Some(ours) = ours.filter(|ours| *ours != applied.state_root) {
            self.notice(Notice::Diverged {
                peer,
                ours,
                theirs: applied.state_root,
            });
        }
    }
}

fn head_of(head: &WireHead) -> (SiteId, Head) {
    (
        SiteId::from_bytes(head.domain),
        Head {
            number: head.number,
            hash: CommitHash::from_bytes(head.hash),
        },
    )
}

/// Whether a page ascends from where it was to begin, so that paging ends.
fn is_well_formed(page: &Page, after: Option<[u8; 32]>) -> bool {
    let begins = page
        .heads
        .first()
        .is_none_or(|head| after.is_none_or(|after| after < head.domain));
    let ascends = page
        .heads
        .is_sorted_by(|one, next| one.domain < next.domain);
    begins && ascends && page.heads.len() <= HEADS_MAX && !(page.has_more && page.heads.is_empty())
}

/// Sites that have written, as a page of a frontier says, and of whose admission nothing is known
/// here.
fn unknown_sites(store: &Store, page: &[(SiteId, Head)]) -> BTreeSet<SiteId> {
    let view = store.view();
    page.iter()
        .map(|(site, _)| *site)
        .filter(|site| !view.members().contains(site))
        .collect()
}

fn next_domain(store: &Store, talk: &mut Talk) {
    talk.domains.pop_front();
    talk.restarted = false;
    talk.cursor = talk
        .domains
        .front()
        .map_or(Cursor::START, |(domain, head)| {
            cursor_for(store, domain, head)
        });
}

/// Domains of a page that have a commit which is not here, and that are not frozen below it. Nobody
/// but a member has commits that count; before the founding commit is here, any domain may be the
/// founder's.
fn domains_ahead(store: &Store, page: &[(SiteId, Head)]) -> Result<Vec<(SiteId, Head)>, ReadError> {
    let view = store.view();
    let mut ahead = Vec::new();
    for (domain, head) in page {
        let may_count = view.members().is_empty() || view.members().contains(domain);
        let last = view
            .head()
            .frontier
            .get(domain)
            .map_or(0, |ours| ours.number);
        let frozen = view
            .forks()
            .get(domain)
            .filter(|proof| proof.number() <= head.number);
        let done = frozen.is_some_and(|proof| last + 1 >= proof.number());
        if may_count && !done && view.commit_hash(domain, head.number)? != Some(head.hash) {
            ahead.push((*domain, *head));
        }
    }
    Ok(ahead)
}

/// Whether all these commits are here.
fn are_here(store: &Store, page: &[(SiteId, Head)]) -> Result<bool, ReadError> {
    let view = store.view();
    for (domain, head) in page {
        if view.commit_hash(domain, head.number)? != Some(head.hash) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// After our own last commit; from the start where the peer's log of that domain is not ours.
fn cursor_for(store: &Store, domain: &SiteId, theirs: &Head) -> Cursor {
    let view = store.view();
    match view.head().frontier.get(domain) {
        Some(ours) if ours.number < theirs.number => Cursor {
            after: ours.number,
            hash: ours.hash,
        },
        _ => Cursor::START,
    }
}
