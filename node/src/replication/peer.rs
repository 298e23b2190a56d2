//! A connected peer.

use super::conversation::Stage;
use super::window::PayloadWindow;

/// What is going on with a connected peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) stage: Stage,
    /// Ask again when this conversation ends: something has happened meanwhile.
    pub(super) again: bool,
    /// When it was last asked where it stands.
    pub(super) asked_last_ms: Option<u64>,
    /// How often it was asked how sites became members: each time of others, so that none waits for
    /// those before it.
    pub(super) testimony_asked: usize,
    pub(super) payloads: PayloadWindow,
}

impl Peer {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Whether no conversation is going on, and none has begun for `quiet_ms`.
    pub(super) fn is_quiet_for(&self, quiet_ms: u64, now_ms: u64) -> bool {
        self.is_idle()
            && self
                .asked_last_ms
                .is_none_or(|last| now_ms >= last.saturating_add(quiet_ms))
    }
}
