//! What comes in: connections, announcements, questions, answers and time.

use std::collections::BTreeSet;

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{SiteId, SnapshotId, StateRoot};
use uor_index_format::wire::{Announcement, Response};

use super::conversation::Page;
use super::effect::Effect;
use super::notice::Notice;
use super::question::{Asked, Question};
use super::replicator::Replicator;
use super::table::Applied;
use super::timing::ANTI_ENTROPY_MS;

impl Replicator {
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
                self.payloads.coming.remove(&checksum);
            }
        }
    }

    /// A connected peer announces that it has grown. Only a member is heeded: either it has caught
    /// up with this site, or a conversation starts.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn handle_announcement(
        &mut self,
        store: &Store,
        from: SiteId,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Ok(announcement) = Announcement::decode(frame) else {
            return Ok(());
        };
        let (is_ours, is_same, head_logseq, root) = {
            let view = store.view();
            let is_ours = announcement.federation == *store.federation().as_bytes()
                && view.members().contains(&from);
            let is_same = is_ours && announcement.snapshot == *view.head().id().as_bytes();
            (
                is_ours,
                is_same,
                view.head().logseq_max,
                is_same.then(|| view.state().root()),
            )
        };
        if is_same {
            let snapshot = SnapshotId::from_bytes(announcement.snapshot);
            let state_root = StateRoot::from_bytes(announcement.state_root);
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
        self.answered(store, peer, question, response, now_ms)
    }

    fn answered(
        &mut self,
        store: &Store,
        peer: SiteId,
        question: Question,
        response: Response,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match (question, response) {
            (
                Question::Frontier,
                Response::Frontier {
                    position,
                    heads,
                    has_more,
                    contacts,
                },
            ) => {
                let page = Page {
                    position,
                    heads,
                    has_more,
                    contacts,
                };
                self.frontier_came(store, peer, page, now_ms)
            }
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
                self.question_refused(store, peer, question, reason, now_ms)
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
            .filter(|(_, peer)| peer.is_quiet_for(ANTI_ENTROPY_MS, now_ms))
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
}
