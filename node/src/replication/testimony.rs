//! Testimony: what commits beyond a fork say of membership, asked for by whoever meets a site that
//! it knows no admission of.
//!
//! Such commits are not accepted, so no delta carries them. What comes is validated like any
//! commit: it testifies or is nothing.

use uor_asl::store::{Store, StoreError};
use uor_asl::validator::Verdict;
use uor_index_format::DecodeError;
use uor_index_format::commit::Commit;
use uor_index_format::id::SiteId;
use uor_index_format::wire::{Request, TESTIMONY_SITES_MAX};

use super::conversation::{Conversation, Stage};
use super::notice::Notice;
use super::question::Question;
use super::replicator::Replicator;

impl Replicator {
    /// Asks a peer how these sites became members: of as many of them as one question can name, of
    /// the next ones each time.
    pub(super) fn ask_testimony(
        &mut self,
        store: &Store,
        peer: SiteId,
        sites: &[SiteId],
        conversation: Conversation,
        now_ms: u64,
    ) {
        let asked = self.peers.get_mut(&peer).map_or(0, |state| {
            state.testimony_asked += 1;
            state.testimony_asked
        });
        let mut parts = sites.chunks(TESTIMONY_SITES_MAX);
        let named = parts.nth(asked % parts.len().max(1)).unwrap_or_default();
        let sites = named.iter().map(|site| *site.as_bytes()).collect();
        let request = Request::Testimony {
            federation: *store.federation().as_bytes(),
            sites,
        };
        self.set_stage(peer, Stage::Testimony(conversation));
        self.ask(peer, Question::Testimony, &request, now_ms);
    }

    /// Membership commits have come. If one of them testifies, what the page tells of is looked at
    /// once more.
    pub(super) fn testimony_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: &[Vec<u8>],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Stage::Testimony(conversation) = self.take_stage(peer) else {
            return Ok(());
        };
        let mut decoded = Vec::new();
        for bytes in commits {
            match Commit::decode(bytes) {
                Ok(commit) if commit.is_membership() => decoded.push(commit),
                Ok(_) => {
                    self.notice(Notice::Malformed {
                        peer,
                        problem: "testimony that admits nobody".to_owned(),
                    });
                    break;
                }
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
        let is_news = !decoded.is_empty() && store.merge(decoded)?.contains(&Verdict::Testifies);
        if is_news {
            self.work_on_page(store, peer, conversation, now_ms)
        } else {
            self.continue_conversation(store, peer, conversation, now_ms)
        }
    }

    /// No testimony is to be had: the conversation goes on without.
    pub(super) fn testimony_failed(
        &mut self,
        store: &Store,
        peer: SiteId,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        match self.take_stage(peer) {
            Stage::Testimony(conversation) => {
                self.continue_conversation(store, peer, conversation, now_ms)
            }
            stage => {
                self.set_stage(peer, stage);
                Ok(())
            }
        }
    }
}
