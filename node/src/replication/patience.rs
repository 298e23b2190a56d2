//! How far ahead a clock may be that others followed: a policy of arrival
//! (`uor_asl::validator::CommitValidator::hold_back`).
//!
//! Each round in which a commit is held back allows one clock jump more. So what honest sites wrote
//! under a clock that someone had jumped comes after as many rounds as there were jumps, and
//! whoever sets its clock to the end of time waits for ages.

use super::timing::ANTI_ENTROPY_MS;

/// How long nothing has to be held back before patience is used up: some rounds, since peers answer
/// when they can.
const FORGOTTEN_MS: u64 = 30 * ANTI_ENTROPY_MS;

/// How many clock jumps are allowed at once, and since when.
#[derive(Debug)]
pub(super) struct Patience {
    jumps: u64,
    grown_ms: Option<u64>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            jumps: 1,
            grown_ms: None,
        }
    }
}

impl Patience {
    /// How many clock jumps are allowed at once.
    pub(super) const fn jumps(&self) -> u64 {
        self.jumps
    }

    /// A commit was held back: the next round allows one jump more.
    pub(super) fn held_back(&mut self, now_ms: u64) {
        match self.grown_ms {
            Some(grown_ms) if now_ms < grown_ms.saturating_add(ANTI_ENTROPY_MS) => {}
            Some(grown_ms) if now_ms >= grown_ms.saturating_add(FORGOTTEN_MS) => {
                *self = Self {
                    jumps: 2,
                    grown_ms: Some(now_ms),
                };
            }
            _ => {
                self.jumps = self.jumps.saturating_add(1);
                self.grown_ms = Some(now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_allows_one_jump_more_and_quiet_ends_it() {
        let mut patience = Patience::default();
        assert_eq!(patience.jumps(), 1);
        for round in 0..5 {
            for again in 0..3 {
                patience.held_back(round * ANTI_ENTROPY_MS + again);
            }
            assert_eq!(patience.jumps(), round + 2, "once a round");
        }
        patience.held_back(5 * ANTI_ENTROPY_MS + FORGOTTEN_MS);
        assert_eq!(patience.jumps(), 2);
    }
}
