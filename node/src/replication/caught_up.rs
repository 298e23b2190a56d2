//! How far others are known here: what members say to have of this site's own domain, and the
//! federation log table.

use uor_asl::store::Store;
use uor_index_format::id::{LogSeq, SiteId, SnapshotId, StateRoot};

use super::conversation::Conversation;
use super::notice::Notice;
use super::replicator::Replicator;
use super::table::Applied;

impl Replicator {
    /// Notes that a member has told what it has of this site's own domain: what it can give of that
    /// is here then. One that claims more than it gives has been heard as well, or it could keep
    /// this site waiting.
    pub(super) fn note_heard(&mut self, store: &Store, peer: SiteId, conversation: &Conversation) {
        let view = store.view();
        let here = view
            .head()
            .frontier
            .get(&self.me)
            .map_or(0, |head| head.number);
        // One that stands where we do names no heads.
        let is_caught_up = conversation
            .position
            .is_some_and(|position| position.snapshot == conversation.asked_at);
        let claimed = if is_caught_up {
            here.max(conversation.claimed)
        } else {
            conversation.claimed
        };
        if view.members().contains(&peer) && (here >= claimed || conversation.applied == 0) {
            self.heard.insert(peer, claimed);
        }
    }

    /// Brings the federation log table up to date, and compares state roots where both sides
    /// include the same commits. Only members have a line, and only for what they can have.
    pub(super) fn note_applied(
        &mut self,
        store: &Store,
        peer: SiteId,
        conversation: &Conversation,
    ) {
        let Some(position) = conversation
            .position
            .filter(|_| conversation.has_all && conversation.is_steady)
        else {
            return;
        };
        let logseq = LogSeq(position.logseq_max);
        let (is_caught_up, ours) = {
            let view = store.view();
            let is_caught_up = view.members().contains(&peer) && logseq <= view.head().logseq_max;
            let same = is_caught_up && *view.head().id().as_bytes() == position.snapshot;
            (is_caught_up, same.then(|| view.state().root()))
        };
        if is_caught_up {
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
            self.notice(Notice::CaughtUp {
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
