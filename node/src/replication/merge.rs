//! What a delta brought: commits are decoded and handed to the store, which validates them.

use uor_asl::store::{Store, StoreError};
use uor_asl::validator::{Parked, Verdict};
use uor_index_format::commit::Commit;
use uor_index_format::id::SiteId;

use super::conversation::{Conversation, Cursor};
use super::notice::Notice;
use super::replicator::Replicator;

impl Replicator {
    pub(super) fn delta_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: &[Vec<u8>],
        commits_left: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(mut conversation) = self.take_delta(peer) else {
            return Ok(());
        };
        let domain = conversation.domains.front().map(|(domain, _)| *domain);
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
        let all_known = self.merge(store, peer, decoded, &mut conversation, now_ms)?;
        let advanced = last.is_some_and(|last| last.after > conversation.cursor.after);
        if is_whole && all_known && advanced && commits_left > 0 {
            conversation.cursor = last.unwrap_or(conversation.cursor);
        } else {
            conversation.next_domain(store);
        }
        self.continue_conversation(store, peer, conversation, now_ms)
    }

    /// Hands commits of one domain to the store; says whether all of them are in its log now. Only
    /// the first that is not accepted is worth a notice: those after it rest on it.
    fn merge(
        &mut self,
        store: &Store,
        peer: SiteId,
        commits: Vec<Commit>,
        conversation: &mut Conversation,
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
            *domain == self.me && **verdict == Verdict::Accepted
        };
        let own = named.iter().zip(&verdicts).filter(is_own).count() as u64;
        if own > 0 {
            self.notice(Notice::OwnCommits { peer, commits: own });
        }
        let mut all_known = true;
        for ((domain, number), verdict) in named.into_iter().zip(verdicts) {
            conversation.applied += u64::from(verdict == Verdict::Accepted);
            if !matches!(verdict, Verdict::Accepted | Verdict::Known) {
                if all_known {
                    self.note_verdict(peer, domain, number, verdict, conversation);
                }
                all_known = false;
            }
        }
        Ok(all_known)
    }

    /// What the verdict on the first commit that is not accepted says to people, and whether its
    /// writer's admission is to be asked for.
    fn note_verdict(
        &mut self,
        peer: SiteId,
        domain: SiteId,
        number: u64,
        verdict: Verdict,
        conversation: &mut Conversation,
    ) {
        match verdict {
            Verdict::Forks(proof) => self.notice(Notice::Forked {
                domain,
                number: proof.number(),
            }),
            Verdict::Parked(reason) => {
                // That it is a member by another admission does not help: it rests on the one that
                // it names.
                if matches!(reason, Parked::Membership { .. }) {
                    conversation.unvalidated.insert(domain);
                }
                self.notice(Notice::Parked {
                    domain,
                    number,
                    reason: reason.to_string(),
                });
            }
            Verdict::Rejected(reason) => self.notice(Notice::Rejected {
                peer,
                domain,
                number,
                reason: reason.to_string(),
            }),
            _ => {}
        }
    }
}
