//! The window of a payload fetch: how many payloads may be asked of one peer, and which. It grows
//! with what the peer has answered; what a peer did not give is asked of it ever more rarely.

use std::collections::BTreeMap;

use uor_index_format::id::Checksum;

/// Most payload questions that are out to one peer at once, if it answers.
const WINDOW_MAX: usize = 16;

/// Payload questions that are put to a peer before it has answered any.
const WINDOW_FIRST: usize = 4;

/// Payloads that one peer did not give and that are remembered.
const LACKS_MAX: usize = 32_768;

/// How many others may still be asked of the peer between two ticks when that many are remembered.
const PROBES: usize = 10;

/// First wait before a payload is asked again of a peer that did not have it; it doubles.
const LACK_MS_MIN: u64 = 2_000;

/// First wait before a payload is asked again of a peer that sent something else, or nothing.
const FAULT_MS_MIN: u64 = 10_000;

/// Longest wait.
const LACK_MS_MAX: u64 = 300_000;

/// A payload that a peer did not give.
#[derive(Debug, Clone, Copy)]
struct Lack {
    due_ms: u64,
    wait_ms: u64,
    /// How long the payload was said to be: once a record says more, it is asked again at once.
    len: u64,
}

/// What may be asked of one peer.
#[derive(Debug)]
pub(super) struct PayloadWindow {
    /// Questions that are out: each is counted once when it is asked, and once when it has ended.
    asked: usize,
    /// Most questions that may be out, from 1 to [`WINDOW_MAX`]. Where it has shrunk, more may be.
    size: usize,
    /// Payloads it did not give, and when they are asked of it again.
    lacks: BTreeMap<Checksum, Lack>,
    /// Questions for payloads it may not have that may still be put to it, once `lacks` is full.
    probes: usize,
}

impl Default for PayloadWindow {
    fn default() -> Self {
        Self {
            asked: 0,
            size: WINDOW_FIRST,
            lacks: BTreeMap::new(),
            probes: 0,
        }
    }
}

impl PayloadWindow {
    /// How many more payloads may be asked of this peer.
    pub(super) const fn free(&self) -> usize {
        self.size.saturating_sub(self.asked)
    }

    /// Whether this payload may be asked of it now.
    pub(super) fn may_give(&self, checksum: &Checksum, len: u64, now_ms: u64) -> bool {
        match self.lacks.get(checksum) {
            Some(lack) => lack.due_ms <= now_ms || lack.len < len,
            None => self.remembers_more() || self.probes > 0,
        }
    }

    /// This payload is chosen to be asked of it.
    pub(super) fn choose(&mut self, checksum: &Checksum) {
        if !self.remembers_more() && !self.lacks.contains_key(checksum) {
            assert!(
                self.probes > 0,
                "without a probe left it may give only what it is known to lack"
            );
            self.probes -= 1;
        }
    }

    /// A question goes out.
    pub(super) fn ask(&mut self) {
        assert!(
            self.asked < WINDOW_MAX,
            "a question goes out where there is a free place, or in the place of one that has ended"
        );
        self.asked += 1;
    }

    /// A question has ended, whatever came of it.
    pub(super) fn end(&mut self) {
        assert!(
            self.asked > 0,
            "every question was counted when it went out"
        );
        self.asked -= 1;
    }

    /// It gave what it was asked for.
    pub(super) fn gave(&mut self, checksum: &Checksum) {
        self.size = WINDOW_MAX.min(self.size + 1);
        self.lacks.remove(checksum);
    }

    /// It does not have this payload.
    pub(super) fn lacks(&mut self, checksum: Checksum, len: u64, now_ms: u64) {
        self.did_not_give(checksum, len, LACK_MS_MIN, now_ms);
    }

    /// It gave something else, or nothing. Little is asked of a peer that fails.
    pub(super) fn failed(&mut self, checksum: Checksum, len: u64, now_ms: u64) {
        self.size = 1;
        self.did_not_give(checksum, len, FAULT_MS_MIN, now_ms);
    }

    /// Time has passed: some payloads may be asked of it again though it may not have them.
    pub(super) const fn renew_probes(&mut self) {
        self.probes = PROBES;
    }

    /// It is asked again later, each time after twice as long.
    fn did_not_give(&mut self, checksum: Checksum, len: u64, wait_ms_min: u64, now_ms: u64) {
        let wait_ms = self
            .lacks
            .get(&checksum)
            .map_or(wait_ms_min, |lack| (lack.wait_ms * 2).min(LACK_MS_MAX));
        let lack = Lack {
            due_ms: now_ms.saturating_add(wait_ms),
            wait_ms,
            len,
        };
        if self.remembers_more() || self.lacks.contains_key(&checksum) {
            self.lacks.insert(checksum, lack);
        }
    }

    fn remembers_more(&self) -> bool {
        self.lacks.len() < LACKS_MAX
    }
}
