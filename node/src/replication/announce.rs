//! Telling members that the store has grown.

use uor_asl::store::Store;
use uor_index_format::id::CommitHash;
use uor_index_format::snapshot::Head;
use uor_index_format::wire::Announcement;

use super::effect::Effect;
use super::replicator::Replicator;

impl Replicator {
    /// Announces that the store has grown, if it has since that was last announced.
    pub fn announce(&mut self, store: &Store) {
        let announcement = {
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
            Announcement {
                federation: *store.federation().as_bytes(),
                domain: *self.me.as_bytes(),
                number: head.number,
                hash: *head.hash.as_bytes(),
                logseq: view.state().logseq_max().0,
                snapshot: *view.head().id().as_bytes(),
                state_root: *view.state().root().as_bytes(),
            }
        };
        self.effects.push_back(Effect::Announce {
            frame: announcement.encode(),
        });
    }
}
