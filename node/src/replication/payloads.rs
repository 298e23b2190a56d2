//! Payloads follow records: whatever payload is missing is asked of any peer that has it, a part at
//! a time.
//!
//! A payload of one part is checked and put away as it comes. A longer one gathers in `staging/`
//! under its checksum, so that it goes on where it stopped after a lost peer or a restart; only
//! when it is whole and its checksum is right does it enter the blocks.
//!
//! Only members are asked. All parts come from one peer while it lasts, so that wrong bytes have
//! one author. Where several peers contributed to wrong bytes nobody is blamed, and the next try is
//! one peer's from its first byte to its last.
//!
//! Records may name payloads that nobody has, and as many as their writers like. So what is missing
//! is gone through in a circle, a bounded stretch at a time, and a payload that a peer did not have
//! is asked of that peer ever more rarely.

use std::io;
use std::ops::Bound;

use uor_asl::blocks::BlocksError;
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::wire::{PART_LEN_MAX, Request};

use super::notice::Notice;
use super::question::Question;
use super::replicator::Replicator;
use super::staging::{Staged, staged_len};
use super::transfers::ARRIVED_MAX;

impl Replicator {
    /// Makes what came durable once nothing more is on its way, or when it is much; asks for
    /// missing payloads until every peer's window is full.
    pub(super) fn fetch_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        if self.payloads.arrived.len() >= ARRIVED_MAX {
            self.settle_payloads(store)?;
        }
        self.ask_payloads(store, now_ms)?;
        if self.payloads.coming.is_empty() {
            self.settle_payloads(store)
        } else {
            Ok(())
        }
    }

    /// Makes the payloads that came durable, so that they are stored and no longer missing.
    pub(super) fn settle_payloads(&mut self, store: &Store) -> Result<(), StoreError> {
        let arrived: Vec<Checksum> = std::mem::take(&mut self.payloads.arrived)
            .into_iter()
            .collect();
        Ok(store.payloads_arrived(&arrived)?)
    }

    /// Time has passed, or does not matter: what is missing may be looked through further.
    pub fn payloads_may_look_again(&mut self) {
        self.payloads.looks.renew();
        self.peers
            .values_mut()
            .for_each(|peer| peer.payloads.renew_probes());
    }

    fn ask_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        for (peer, checksum) in self.choose_payloads(store, now_ms) {
            self.ask_payload(store, peer, checksum, now_ms)?;
        }
        Ok(())
    }

    /// Goes on through what is missing from where it stopped, and says what to ask of whom.
    fn choose_payloads(&mut self, store: &Store, now_ms: u64) -> Vec<(SiteId, Checksum)> {
        let view = store.view();
        let mut free: Vec<(SiteId, usize)> = self
            .peers
            .iter()
            .filter(|(site, peer)| peer.payloads.free() > 0 && view.members().contains(*site))
            .map(|(site, peer)| (*site, peer.payloads.free()))
            .collect();
        let mut chosen = Vec::new();
        let from = self.payloads.cursor;
        let behind = view.wanted().range((
            from.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        ));
        let before = from.map(|from| view.wanted().range(..=from));
        for (checksum, len) in behind.chain(before.into_iter().flatten()) {
            if free.is_empty() || !self.payloads.looks.take() {
                break;
            }
            self.payloads.cursor = Some(*checksum);
            if self.payloads.coming.contains(checksum) || self.payloads.arrived.contains(checksum) {
                continue;
            }
            if let Some(peer) = self.least_busy(&mut free, checksum, *len, now_ms) {
                chosen.push((peer, *checksum));
            }
        }
        chosen
    }

    /// The member with most free places of those that may have a payload; takes one of them.
    fn least_busy(
        &mut self,
        free: &mut Vec<(SiteId, usize)>,
        checksum: &Checksum,
        len: u64,
        now_ms: u64,
    ) -> Option<SiteId> {
        let may_give = |site: &SiteId| {
            self.peers
                .get(site)
                .is_some_and(|peer| peer.payloads.may_give(checksum, len, now_ms))
        };
        let at = (0..free.len())
            .filter(|at| free.get(*at).is_some_and(|(site, _)| may_give(site)))
            .max_by_key(|at| free.get(*at).map(|(_, left)| *left))?;
        let (site, left) = free.get_mut(at)?;
        let site = *site;
        *left -= 1;
        if *left == 0 {
            free.remove(at);
        }
        self.peers.get_mut(&site)?.payloads.choose(checksum);
        Some(site)
    }

    fn ask_payload(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if !self.peers.contains_key(&peer) {
            return Ok(());
        }
        if self.payloads.doubted.contains(&checksum)
            && self.payloads.authors.get(&checksum) != Some(&peer)
        {
            self.discard(store, &checksum)?;
        }
        let request = Request::Payload {
            federation: *store.federation().as_bytes(),
            checksum: *checksum.as_bytes(),
            offset: staged_len(store, &checksum)?,
            len_max: PART_LEN_MAX,
        };
        // Counted only once nothing can fail any more: whatever is counted is asked, and ends.
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads.ask();
        }
        self.payloads.coming.insert(checksum);
        self.ask(peer, Question::Payload(checksum), &request, now_ms);
        Ok(())
    }

    /// A part has come: it is put away, or, if it is the last, the payload enters the blocks.
    pub(super) fn payload_came(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        total_len: u64,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.payload_answered(peer, checksum);
        // So that what is still missing here is not erased before it is staged or put.
        let _nothing_is_erased = store.hold_erasing();
        let Some(len_max) = store.view().wanted().get(&checksum).copied() else {
            self.discard(store, &checksum)?;
            return self.fetch_payloads(store, now_ms);
        };
        let staged = staged_len(store, &checksum)?;
        if !is_next_part(staged, bytes, total_len, len_max) {
            return self.payload_is_wrong(store, peer, checksum, now_ms);
        }
        self.payloads.looks.earn();
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads.gave(&checksum);
        }
        let is_whole = staged + (bytes.len() as u64) == total_len;
        if !is_whole || staged > 0 {
            self.stage(store, peer, checksum, staged, bytes)?;
        }
        if !is_whole {
            return self.ask_payload(store, peer, checksum, now_ms);
        }
        let put = if staged == 0 {
            let mut whole = io::Cursor::new(bytes);
            store.blocks().put_verified(checksum, &mut whole)
        } else {
            let mut whole = Staged::open(store, &checksum, total_len)?;
            store.blocks().put_verified(checksum, &mut whole)
        };
        let is_of_one = staged == 0 || self.payloads.authors.contains_key(&checksum);
        self.discard(store, &checksum)?;
        match put {
            Ok(_) => {
                self.payloads.doubted.remove(&checksum);
                self.payloads.arrived.insert(checksum);
                self.fetch_payloads(store, now_ms)
            }
            Err(BlocksError::WrongChecksum { .. } | BlocksError::TooLarge { .. }) if !is_of_one => {
                self.payloads.doubted.insert(checksum);
                self.fetch_payloads(store, now_ms)
            }
            Err(BlocksError::WrongChecksum { .. } | BlocksError::TooLarge { .. }) => {
                self.payload_is_wrong(store, peer, checksum, now_ms)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The peer does not have it.
    pub(super) fn payload_missing(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.payload_answered(peer, checksum);
        let len = said_len(store, &checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads.lacks(checksum, len, now_ms);
        }
        self.fetch_payloads(store, now_ms)
    }

    /// The peer said nothing, or nothing that makes sense.
    pub(super) fn payload_failed(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.payload_answered(peer, checksum);
        self.payload_withheld(store, peer, checksum, now_ms);
        self.fetch_payloads(store, now_ms)
    }

    fn payload_is_wrong(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.notice(Notice::WrongPayload { peer, checksum });
        self.payload_withheld(store, peer, checksum, now_ms);
        self.fetch_payloads(store, now_ms)
    }

    fn payload_withheld(&mut self, store: &Store, peer: SiteId, checksum: Checksum, now_ms: u64) {
        let len = said_len(store, &checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads.failed(checksum, len, now_ms);
        }
    }

    fn payload_answered(&mut self, peer: SiteId, checksum: Checksum) {
        self.payloads.coming.remove(&checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads.end();
        }
    }
}

/// How long records say that a missing payload is.
fn said_len(store: &Store, checksum: &Checksum) -> u64 {
    store
        .view()
        .wanted()
        .get(checksum)
        .copied()
        .unwrap_or_default()
}

/// Whether these are the bytes that were asked for. A record may lie about the length of a payload;
/// it bounds what is staged, and the checksum decides. A part is exactly as long as was asked for:
/// a peer that sends crumbs would hold a payload for ever.
fn is_next_part(staged: u64, bytes: &[u8], total_len: u64, len_max: u64) -> bool {
    let rest = total_len.checked_sub(staged);
    total_len <= len_max && rest.is_some_and(|rest| bytes.len() as u64 == rest.min(PART_LEN_MAX))
}
