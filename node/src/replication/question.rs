//! Questions to peers, and how long their answers may be.

use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::wire::{
    CONTACTS_MAX, FORKS_MAX, FRAME_LEN_MAX, HEADS_MAX, PART_LEN_MAX, PROOFS_MAX,
};

/// What was asked under a request id.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) peer: SiteId,
    pub(super) deadline_ms: u64,
    pub(super) question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Frontier,
    Forks,
    Proofs,
    Testimony,
    Delta,
    Payload(Checksum),
}

impl Question {
    /// The longest answer that makes sense, in bytes; 64 KiB are for what is around it.
    pub(super) fn answer_len_max(self) -> u32 {
        let len = match self {
            Self::Frontier => HEADS_MAX * 72 + CONTACTS_MAX * 600,
            Self::Forks => FORKS_MAX * 40,
            Self::Proofs => PROOFS_MAX * 512,
            Self::Testimony | Self::Delta => FRAME_LEN_MAX,
            Self::Payload(_) => usize::try_from(PART_LEN_MAX).unwrap_or(usize::MAX),
        };
        u32::try_from(len)
            .unwrap_or(u32::MAX)
            .saturating_add(1 << 16)
    }
}
