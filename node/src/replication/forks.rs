//! Proofs of forks, exchanged by difference: which domains are frozen is compared by digest, then
//! by list, and only those proofs are asked for that say something new here.

use std::collections::VecDeque;

use uor_asl::store::{Store, StoreError};
use uor_index_format::DecodeError;
use uor_index_format::commit::ForkProof;
use uor_index_format::id::SiteId;
use uor_index_format::wire::{FORKS_MAX, PROOFS_MAX, Request, WireFork};

use super::conversation::{Conversation, PAGES_MAX, Proving, Stage};
use super::notice::Notice;
use super::question::Question;
use super::replicator::Replicator;

impl Replicator {
    pub(super) fn ask_forks(
        &mut self,
        store: &Store,
        peer: SiteId,
        conversation: Conversation,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let proving = Proving {
            domains: VecDeque::new(),
            after: None,
            has_more: false,
            pages: 0,
        };
        self.ask_forks_page(store, peer, conversation, proving, now_ms)
    }

    fn ask_forks_page(
        &mut self,
        store: &Store,
        peer: SiteId,
        conversation: Conversation,
        proving: Proving,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let request = Request::Forks {
            federation: *store.federation().as_bytes(),
            after: proving.after,
        };
        self.set_stage(peer, Stage::Forks(conversation, proving));
        self.ask(peer, Question::Forks, &request, now_ms);
        Ok(())
    }

    pub(super) fn forks_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        forks: &[WireFork],
        has_more: bool,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Stage::Forks(conversation, mut proving) = self.take_stage(peer) else {
            return Ok(());
        };
        let begins = forks
            .first()
            .is_none_or(|fork| proving.after.is_none_or(|after| after < fork.domain));
        let ascends = forks.is_sorted_by(|one, next| one.domain < next.domain);
        if !begins || !ascends || forks.len() > FORKS_MAX || (has_more && forks.is_empty()) {
            let problem =
                "a page of frozen domains is too long, does not ascend, or is empty and not the last".to_owned();
            self.notice(Notice::Malformed { peer, problem });
            return self.work_on_page(store, peer, conversation, now_ms);
        }
        let news = |fork: &&WireFork| is_news(store, &SiteId::from_bytes(fork.domain), fork.number);
        proving.domains = forks
            .iter()
            .filter(news)
            .map(|fork| SiteId::from_bytes(fork.domain))
            .collect();
        proving.after = forks.last().map(|fork| fork.domain).or(proving.after);
        proving.pages += 1;
        proving.has_more = has_more && proving.pages < PAGES_MAX;
        self.ask_proofs(store, peer, conversation, proving, now_ms)
    }

    fn ask_proofs(
        &mut self,
        store: &Store,
        peer: SiteId,
        conversation: Conversation,
        mut proving: Proving,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let count = proving.domains.len().min(PROOFS_MAX);
        let domains: Vec<[u8; 32]> = proving
            .domains
            .drain(..count)
            .map(|domain| *domain.as_bytes())
            .collect();
        if !domains.is_empty() {
            self.set_stage(peer, Stage::Forks(conversation, proving));
            let request = Request::Proofs {
                federation: *store.federation().as_bytes(),
                domains,
            };
            self.ask(peer, Question::Proofs, &request, now_ms);
            return Ok(());
        }
        if proving.has_more {
            return self.ask_forks_page(store, peer, conversation, proving, now_ms);
        }
        self.work_on_page(store, peer, conversation, now_ms)
    }

    pub(super) fn proofs_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        proofs: &[Vec<u8>],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Stage::Forks(conversation, proving) = self.take_stage(peer) else {
            return Ok(());
        };
        for bytes in proofs.iter().take(PROOFS_MAX) {
            match ForkProof::decode(bytes) {
                Ok(proof) => self.freeze(store, proof)?,
                // What a newer release wrote does not hide what is behind it.
                Err(error @ DecodeError::NewerVersion { .. }) => self.notice(Notice::Malformed {
                    peer,
                    problem: error.to_string(),
                }),
                Err(error) => {
                    self.notice(Notice::Malformed {
                        peer,
                        problem: error.to_string(),
                    });
                    break;
                }
            }
        }
        self.ask_proofs(store, peer, conversation, proving, now_ms)
    }

    /// Heeds a proof that says something of the commits here, or of the next.
    fn freeze(&mut self, store: &Store, proof: ForkProof) -> Result<(), StoreError> {
        let (domain, number) = (proof.domain(), proof.number());
        if is_news(store, &domain, number) && store.freeze(proof)? {
            self.notice(Notice::Forked { domain, number });
        }
        Ok(())
    }
}

/// Whether a proof is worth validating. Each is kept for good, and a forked writer can make as many
/// as there are numbers; one above what is here is told again when it matters.
fn is_news(store: &Store, domain: &SiteId, number: u64) -> bool {
    let view = store.view();
    let last = view
        .head()
        .frontier
        .get(domain)
        .map_or(0, |head| head.number);
    view.members().contains(domain)
        && number <= last.saturating_add(1)
        && view
            .forks()
            .get(domain)
            .is_none_or(|known| number < known.number())
}
