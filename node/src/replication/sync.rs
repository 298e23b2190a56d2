//! One conversation with one peer: where it stands, which domains are frozen, then page by page of
//! its frontier a delta of each domain in which it is ahead.

use std::collections::BTreeSet;

use uor_asl::state::ReadError;
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::SiteId;
use uor_index_format::snapshot::Head;
use uor_index_format::wire::{CONTACTS_MAX, Contact, Position, Refusal, Request};

use super::conversation::{Conversation, Cursor, PAGES_MAX, Page, Stage};
use super::notice::Notice;
use super::question::Question;
use super::replicator::Replicator;

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
        self.ask_frontier(
            store,
            peer,
            position,
            Conversation::new(position.snapshot),
            now_ms,
        );
        Ok(())
    }

    fn ask_frontier(
        &mut self,
        store: &Store,
        peer: SiteId,
        position: Position,
        conversation: Conversation,
        now_ms: u64,
    ) {
        let request = Request::Frontier {
            federation: *store.federation().as_bytes(),
            position,
            after: conversation.after,
        };
        self.set_stage(peer, Stage::Frontier(conversation));
        self.ask(peer, Question::Frontier, &request, now_ms);
    }

    /// The peer did not answer: leave it until its next announcement or the next round.
    pub(super) fn sync_failed(&mut self, peer: SiteId) {
        drop(self.take_stage(peer));
    }

    pub(super) fn frontier_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        page: Page,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Stage::Frontier(mut conversation) = self.take_stage(peer) else {
            return Ok(());
        };
        if !page.is_well_formed(conversation.after) {
            let problem =
                "a page of a frontier is too long, does not ascend, or is empty and not the last"
                    .to_owned();
            self.notice(Notice::Malformed { peer, problem });
            return Ok(());
        }
        let is_first = conversation.position.is_none();
        let position = *conversation.position.get_or_insert(page.position);
        conversation.is_steady &= position.snapshot == page.position.snapshot;
        // An empty frontier says "I stand where you do"; whoever says so and does not is not
        // believed.
        conversation.has_all &=
            !is_first || !page.heads.is_empty() || position.snapshot == conversation.asked_at;
        conversation.after = page
            .heads
            .last()
            .map(|head| head.domain)
            .or(conversation.after);
        conversation.pages += 1;
        conversation.has_more = page.has_more && conversation.pages < PAGES_MAX;
        conversation.has_all &= conversation.has_more == page.has_more;
        conversation.page = page.written();
        conversation.has_asked_testimony = false;
        conversation.unvalidated.clear();
        let own = conversation.page.iter().find(|(site, _)| *site == self.me);
        conversation.claimed = own.map_or(conversation.claimed, |(_, head)| head.number);
        if is_first && self.trusts(store, &peer) {
            self.heed_contacts(store, peer, &page.contacts);
            if position.forks != Self::fork_set(store) {
                return self.ask_forks(store, peer, conversation, now_ms);
            }
        }
        self.work_on_page(store, peer, conversation, now_ms)
    }

    /// What a member says of addresses.
    fn heed_contacts(&mut self, store: &Store, peer: SiteId, contacts: &[Contact]) {
        let view = store.view();
        for contact in contacts.iter().take(CONTACTS_MAX) {
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
        mut conversation: Conversation,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        conversation.domains = domains_ahead(store, &conversation.page)?.into();
        conversation.begin_domain(store);
        self.continue_conversation(store, peer, conversation, now_ms)
    }

    pub(super) fn continue_conversation(
        &mut self,
        store: &Store,
        peer: SiteId,
        mut conversation: Conversation,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if let Some((domain, _)) = conversation.domains.front() {
            let request = Request::Delta {
                federation: *store.federation().as_bytes(),
                domain: *domain.as_bytes(),
                after: conversation.cursor.after,
                after_hash: *conversation.cursor.hash.as_bytes(),
            };
            self.set_stage(peer, Stage::Delta(conversation));
            self.ask(peer, Question::Delta, &request, now_ms);
            return Ok(());
        }
        let unknown: Vec<SiteId> = unknown_sites(store, &conversation.page)
            .union(&conversation.unvalidated)
            .copied()
            .collect();
        if !unknown.is_empty() && !std::mem::replace(&mut conversation.has_asked_testimony, true) {
            self.ask_testimony(store, peer, &unknown, conversation, now_ms);
            return Ok(());
        }
        conversation.has_all &= are_here(store, &std::mem::take(&mut conversation.page))?;
        if conversation.has_more {
            let position = if self.trusts(store, &peer) {
                self.position(store)
            } else {
                Position::NONE
            };
            self.ask_frontier(store, peer, position, conversation, now_ms);
            return Ok(());
        }
        self.conversation_over(store, peer, &conversation, now_ms)
    }

    /// A peer refuses to answer a question.
    pub(super) fn question_refused(
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
                // The question has ended even where the disk refuses.
                let discarded = self.discard(store, &checksum);
                let missing = self.payload_missing(store, peer, checksum, now_ms);
                discarded.and(missing)
            }
            (Question::Payload(checksum), _) => self.payload_missing(store, peer, checksum, now_ms),
            (Question::Delta, Refusal::Forked) => {
                // Our log of this domain is not theirs: fetch theirs from the start, the first
                // difference proves the fork.
                let Some(mut conversation) = self.take_delta(peer) else {
                    return Ok(());
                };
                if conversation.restarted || conversation.cursor.after == 0 {
                    conversation.next_domain(store);
                } else {
                    conversation.cursor = Cursor::START;
                    conversation.restarted = true;
                }
                self.continue_conversation(store, peer, conversation, now_ms)
            }
            (Question::Delta, _) => {
                let Some(mut conversation) = self.take_delta(peer) else {
                    return Ok(());
                };
                conversation.next_domain(store);
                self.continue_conversation(store, peer, conversation, now_ms)
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

    pub(super) fn take_delta(&mut self, peer: SiteId) -> Option<Conversation> {
        match self.take_stage(peer) {
            Stage::Delta(conversation) => Some(conversation),
            stage => {
                self.set_stage(peer, stage);
                None
            }
        }
    }

    fn conversation_over(
        &mut self,
        store: &Store,
        peer: SiteId,
        conversation: &Conversation,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        assert!(
            state.is_idle(),
            "what a conversation waited for has been taken from its stage"
        );
        let again = std::mem::take(&mut state.again);
        if conversation.applied > 0 {
            self.notice(Notice::Applied {
                peer,
                commits: conversation.applied,
            });
            self.announce(store);
        }
        self.note_heard(store, peer, conversation);
        self.note_applied(store, peer, conversation);
        self.fetch_payloads(store, now_ms)?;
        // What came may be what a parked commit waited for, so ask again until a round brings
        // nothing.
        if again || conversation.applied > 0 {
            self.start_sync(store, peer, now_ms)
        } else {
            Ok(())
        }
    }
}

impl Conversation {
    /// Goes on to the next domain of the page.
    pub(super) fn next_domain(&mut self, store: &Store) {
        self.domains.pop_front();
        self.begin_domain(store);
    }

    fn begin_domain(&mut self, store: &Store) {
        self.restarted = false;
        self.cursor = self
            .domains
            .front()
            .map_or(Cursor::START, |(domain, head)| {
                cursor_for(store, domain, head)
            });
    }
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

/// Domains of a page that have a commit which is not here, and that are not frozen below it. Nobody
/// but a member has accepted commits; before the founding commit is here, any domain may be the
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
