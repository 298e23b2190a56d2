//! Addresses worth dialling, each with its own back-off. Links between sites are meant to last, so an address is tried for
//! ever, ever more rarely.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::SiteId;

/// First wait after a failed dial.
pub const BACKOFF_MS_MIN: u64 = 500;
/// Longest wait.
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// Wait before a peer of another federation is tried again.
pub const BACKOFF_MS_STRANGER: u64 = 600_000;
/// Most addresses that are kept.
const ADDRESSES_MAX: usize = 1024;
/// Longest address that is kept, in bytes.
const ADDRESS_LEN_MAX: usize = 512;

#[derive(Debug, Clone)]
struct Line {
    site: Option<SiteId>,
    due_ms: u64,
    backoff_ms: u64,
}

/// The address book of a node.
#[derive(Debug, Clone, Default)]
pub struct Book {
    lines: BTreeMap<String, Line>,
    own: BTreeSet<String>,
}

impl Book {
    /// Adds an address, due at once. A full book takes no more.
    pub fn add(&mut self, address: String, site: Option<SiteId>) {
        let fits = self.lines.len() < ADDRESSES_MAX && address.len() <= ADDRESS_LEN_MAX;
        if fits && !self.own.contains(&address) {
            let line = self.lines.entry(address).or_insert(Line { site, due_ms: 0, backoff_ms: BACKOFF_MS_MIN });
            line.site = line.site.or(site);
        }
    }

    /// Adds an address of this node itself.
    pub fn add_own(&mut self, address: String) {
        self.lines.remove(&address);
        self.own.insert(address);
    }

    /// Known addresses by site, this node's first.
    pub fn contacts<'a>(&'a self, me: &'a SiteId) -> impl Iterator<Item = (&'a SiteId, &'a str)> {
        let own = self.own.iter().map(move |address| (me, address.as_str()));
        let others = self.lines.iter().filter_map(|(address, line)| Some((line.site.as_ref()?, address.as_str())));
        own.chain(others)
    }

    /// A peer answered: its addresses start afresh.
    pub fn reached(&mut self, peer: &SiteId) {
        self.of(peer).for_each(|line| line.backoff_ms = BACKOFF_MS_MIN);
    }

    /// Every address is due now, as if it had never failed.
    pub fn start_afresh(&mut self, now_ms: u64) {
        for line in self.lines.values_mut() {
            (line.due_ms, line.backoff_ms) = (now_ms, BACKOFF_MS_MIN);
        }
    }

    /// A peer was lost: dial it again soon.
    pub fn lost(&mut self, peer: &SiteId, now_ms: u64) {
        self.of(peer).for_each(|line| line.due_ms = line.due_ms.max(now_ms.saturating_add(line.backoff_ms)));
    }

    /// A peer is none of ours: leave it alone for long.
    pub fn shun(&mut self, peer: &SiteId, now_ms: u64) {
        self.of(peer).for_each(|line| line.due_ms = now_ms.saturating_add(BACKOFF_MS_STRANGER));
    }

    fn of(&mut self, peer: &SiteId) -> impl Iterator<Item = &mut Line> {
        let peer = *peer;
        self.lines.values_mut().filter(move |line| line.site == Some(peer))
    }

    /// Addresses to dial now; each waits twice as long for its next turn.
    pub fn due(&mut self, now_ms: u64, is_connected: impl Fn(&SiteId) -> bool) -> Vec<String> {
        let mut due = Vec::new();
        for (address, line) in &mut self.lines {
            if line.due_ms <= now_ms && !line.site.is_some_and(|site| is_connected(&site)) {
                line.due_ms = now_ms.saturating_add(line.backoff_ms);
                line.backoff_ms = (line.backoff_ms * 2).min(BACKOFF_MS_MAX);
                due.push(address.clone());
            }
        }
        due
    }
}
