//! How often, and how long: the times that several parts of the core hold to.

/// How often every connected peer is asked for its frontier even if all is quiet.
pub const ANTI_ENTROPY_MS: u64 = 10_000;

/// How long an answer may take.
pub const ANSWER_MS_MAX: u64 = 60_000;

/// How soon a member that asks from elsewhere is asked back after it was last asked.
pub(super) const ASKED_BACK_MS: u64 = 1000;
