//! Addresses worth dialling, each with its own back-off. Links between sites are meant to last, so
//! an address is tried for ever, ever more rarely.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::id::SiteId;

/// First wait after a failed dial.
pub const BACKOFF_MS_MIN: u64 = 500;
/// Longest wait.
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// Wait before a peer that is not a member is tried again.
pub const BACKOFF_MS_STRANGER: u64 = 600_000;
/// Most addresses that are kept.
const ADDRESSES_MAX: usize = 1024;
/// Most addresses of one site that are kept on the word of peers.
const HEARD_MAX: usize = 8;
/// Most addresses of one site that are dialled at the same time: one that is silent does not hide
/// the others.
const DIALS_PER_SITE_MAX: usize = 2;
/// Most addresses that are dialled at the same time.
const DIALS_MAX: usize = 16;
/// How long a dial may take before the next address of its site is tried, whatever became of it.
pub const DIAL_MS_MAX: u64 = 15_000;
/// Longest address that is kept, in bytes.
const ADDRESS_LEN_MAX: usize = 512;

#[derive(Debug, Clone)]
struct Line {
    source: Source,
    due_ms: u64,
    backoff_ms: u64,
    /// While it is being dialled: until when that is waited for.
    dialled_until_ms: Option<u64>,
}

/// Whose word an address is, in ascending order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Hearsay,
    SiteItself,
    Owner,
}

/// The address book of a node.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// By address and by who should answer there: a false claim to an address does not hide the
    /// true one.
    lines: BTreeMap<(String, Option<SiteId>), Line>,
    own: BTreeSet<String>,
}

impl Book {
    /// Adds an address, due at once. A full book takes no more.
    pub fn add(&mut self, address: String, site: Option<SiteId>) {
        self.insert(address, site, Source::Owner);
    }

    /// Adds an address of `site` on the word of the peer `teller`. Of each site only a few are
    /// kept; its own word replaces hearsay.
    pub fn hear(&mut self, address: String, site: SiteId, teller: SiteId) {
        let source = if site == teller {
            Source::SiteItself
        } else {
            Source::Hearsay
        };
        let heard = self
            .lines
            .iter()
            .filter(|((_, of), line)| *of == Some(site) && line.source < Source::Owner);
        if heard.clone().count() >= HEARD_MAX
            && !self.lines.contains_key(&(address.clone(), Some(site)))
        {
            let Some(key) = heard
                .filter(|(_, line)| line.source < source)
                .map(|(key, _)| key.clone())
                .next()
            else {
                return;
            };
            self.lines.remove(&key);
        }
        self.insert(address, Some(site), source);
    }

    fn insert(&mut self, address: String, site: Option<SiteId>, source: Source) {
        if address.len() > ADDRESS_LEN_MAX
            || self.own.contains(&address)
            || !self.has_room_for(source)
        {
            return;
        }
        let line = Line {
            source,
            due_ms: 0,
            backoff_ms: BACKOFF_MS_MIN,
            dialled_until_ms: None,
        };
        let line = self.lines.entry((address, site)).or_insert(line);
        line.source = line.source.max(source);
    }

    /// In a full book, hearsay makes room for what is worth more.
    fn has_room_for(&mut self, source: Source) -> bool {
        if self.lines.len() < ADDRESSES_MAX {
            return true;
        }
        let least = self
            .lines
            .iter()
            .min_by_key(|(_, line)| line.source)
            .filter(|(_, line)| line.source < source);
        let Some(key) = least.map(|(key, _)| key.clone()) else {
            return false;
        };
        self.lines.remove(&key).is_some()
    }

    /// Sites whose addresses were given by the owner of this node.
    pub fn given(&self) -> impl Iterator<Item = SiteId> {
        let given = self
            .lines
            .iter()
            .filter(|(_, line)| line.source == Source::Owner);
        given
            .filter_map(|((_, site), _)| *site)
            .collect::<BTreeSet<SiteId>>()
            .into_iter()
    }

    /// Whether an address of this site was given by the owner of this node.
    pub fn is_given(&self, peer: &SiteId) -> bool {
        self.lines
            .iter()
            .any(|((_, site), line)| *site == Some(*peer) && line.source == Source::Owner)
    }

    /// Adds an address of this node itself.
    pub fn add_own(&mut self, address: String) {
        self.lines.retain(|(known, _), _| *known != address);
        self.own.insert(address);
    }

    /// Known addresses by site, this node's first.
    pub fn contacts<'a>(&'a self, me: &'a SiteId) -> impl Iterator<Item = (&'a SiteId, &'a str)> {
        let own = self.own.iter().map(move |address| (me, address.as_str()));
        let others = self
            .lines
            .keys()
            .filter_map(|(address, site)| Some((site.as_ref()?, address.as_str())));
        own.chain(others)
    }

    /// A peer answered: its addresses start afresh.
    pub fn reached(&mut self, peer: &SiteId) {
        self.of(peer)
            .for_each(|line| (line.backoff_ms, line.dialled_until_ms) = (BACKOFF_MS_MIN, None));
    }

    /// Nobody answered at an address, or somebody else.
    pub fn failed(&mut self, address: &str) {
        let lines = self
            .lines
            .iter_mut()
            .filter(|((known, _), _)| known == address);
        lines.for_each(|(_, line)| line.dialled_until_ms = None);
    }

    /// A peer has become a member: dial it now.
    pub fn welcome(&mut self, peer: &SiteId, now_ms: u64) {
        self.of(peer).for_each(|line| {
            (line.due_ms, line.backoff_ms) = (line.due_ms.min(now_ms), BACKOFF_MS_MIN)
        });
    }

    /// Every address is due now, as if it had never failed.
    pub fn start_afresh(&mut self, now_ms: u64) {
        for line in self.lines.values_mut() {
            (line.due_ms, line.backoff_ms, line.dialled_until_ms) = (now_ms, BACKOFF_MS_MIN, None);
        }
    }

    /// A peer was lost: dial it again soon.
    pub fn lost(&mut self, peer: &SiteId, now_ms: u64) {
        self.of(peer).for_each(|line| line.dialled_until_ms = None);
        self.of(peer)
            .for_each(|line| line.due_ms = line.due_ms.max(now_ms.saturating_add(line.backoff_ms)));
    }

    /// A peer is not a member: leave it alone for long.
    pub fn shun(&mut self, peer: &SiteId, now_ms: u64) {
        self.of(peer)
            .for_each(|line| line.due_ms = now_ms.saturating_add(BACKOFF_MS_STRANGER));
    }

    fn of(&mut self, peer: &SiteId) -> impl Iterator<Item = &mut Line> {
        let peer = *peer;
        self.lines
            .iter_mut()
            .filter(move |((_, site), _)| *site == Some(peer))
            .map(|(_, line)| line)
    }

    /// Addresses to dial now, the longest due first; each waits twice as long for its next turn. Of
    /// each site only a few are dialled at a time, and the others keep their turn.
    pub fn due(&mut self, now_ms: u64, is_connected: impl Fn(&SiteId) -> bool) -> Vec<String> {
        let mut under_way: BTreeMap<Option<SiteId>, usize> = BTreeMap::new();
        let mut due: Vec<(&(String, Option<SiteId>), &mut Line)> = Vec::new();
        let mut room = DIALS_MAX;
        for (key, line) in &mut self.lines {
            if line
                .dialled_until_ms
                .is_some_and(|until_ms| now_ms < until_ms)
            {
                *under_way.entry(key.1).or_default() += 1;
                room = room.saturating_sub(1);
            } else if line.due_ms <= now_ms && !key.1.is_some_and(|site| is_connected(&site)) {
                due.push((key, line));
            }
        }
        due.sort_by_key(|(_, line)| line.due_ms);
        let mut chosen = Vec::new();
        for ((address, site), line) in due {
            let of_site = under_way.entry(*site).or_default();
            if chosen.len() == room || *of_site >= DIALS_PER_SITE_MAX {
                continue;
            }
            *of_site += 1;
            line.due_ms = now_ms.saturating_add(line.backoff_ms);
            line.backoff_ms = (line.backoff_ms * 2).min(BACKOFF_MS_MAX);
            line.dialled_until_ms = Some(now_ms.saturating_add(DIAL_MS_MAX));
            chosen.push(address.clone());
        }
        chosen
    }
}
