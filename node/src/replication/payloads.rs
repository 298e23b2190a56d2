//! Payloads follow records: whatever the store wants is asked of any peer that has it, a part at a
//! time.
//!
//! A payload of one part is checked and put away as it comes. A longer one gathers in `staging/`
//! under its checksum, so that it goes on where it stopped after a lost peer or a restart; only
//! when it is whole and its checksum is right does it enter the blocks.
//!
//! Only members are asked. All parts come from one peer while it lasts, so that wrong bytes have
//! one author. Where several peers contributed to wrong bytes nobody is blamed, and the next try is
//! one peer's from its first byte to its last.
//!
//! Records may name payloads that nobody has, and as many as their writers like. So what is wanted
//! is gone through in a circle, a bounded stretch at a time, and a payload that a peer did not have
//! is asked of that peer ever more rarely.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::Arc;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::{DiskError, DiskFile, Mode};
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::wire::{PART_LEN_MAX, Request};

use super::sync::Peer;
use super::{Notice, Question, Replicator};

/// Most payload questions that are out to one peer at once, if it answers.
const WINDOW_MAX: usize = 16;
/// Payload questions that are put to a peer before it has answered any.
pub(super) const WINDOW_FIRST: usize = 4;
/// How many wanted payloads are looked at between two ticks, if none of them comes.
const LOOKS_MAX: usize = 4096;
/// Further looks for each payload that comes.
const LOOKS_PER_PAYLOAD: usize = 64;
/// Payloads that one peer did not give and that are remembered.
const LACKS_MAX: usize = 32_768;
/// When that many are remembered, so many others may still be asked of the peer between two ticks.
const PROBES: usize = 10;
/// First wait before a payload is asked again of a peer that did not have it; it doubles.
const LACK_MS_MIN: u64 = 2_000;
/// First wait before a payload is asked again of a peer that sent something else, or nothing.
const FAULT_MS_MIN: u64 = 10_000;
/// Longest wait.
pub const LACK_MS_MAX: u64 = 300_000;
/// Most payloads that have come and that wait to be made durable together.
const ARRIVED_MAX: usize = 256;
const STAGING: &str = "staging";

/// A payload that a peer did not give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lack {
    due_ms: u64,
    wait_ms: u64,
    /// How long the payload was said to be: once a record says more, it is asked again at once.
    len: u64,
}

/// Payloads that are on their way.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    coming: BTreeSet<Checksum>,
    /// Payloads that are in the blocks, and not yet known to be durable.
    arrived: BTreeSet<Checksum>,
    /// Who sent all that is staged of a payload. What several peers or an earlier process staged
    /// has no one author, and may be torn.
    authors: BTreeMap<Checksum, SiteId>,
    /// Payloads that came out wrong from several authors.
    doubted: BTreeSet<Checksum>,
    /// The wanted payload that was looked at last.
    cursor: Option<Checksum>,
    /// How many more may be looked at.
    looks: Looks,
    /// Whether what an earlier process staged of payloads that nobody wants any more has been
    /// removed.
    is_swept: bool,
}

/// How many more wanted payloads may be looked at before time has passed or one of them has come.
#[derive(Debug)]
struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(LOOKS_MAX)
    }
}

impl Looks {
    fn add(&mut self, more: usize) {
        self.0 = LOOKS_MAX.min(self.0 + more);
    }
}

impl Peer {
    /// Whether one more payload may be asked of this peer.
    const fn has_room(&self) -> bool {
        self.payloads_asked < self.window
    }

    /// Whether this payload may be asked of it now.
    fn may_give(&self, checksum: &Checksum, len: u64, now_ms: u64) -> bool {
        match self.lacks.get(checksum) {
            Some(lack) => lack.due_ms <= now_ms || lack.len < len,
            None => self.lacks.len() < LACKS_MAX || self.probes > 0,
        }
    }

    /// It did not give this payload: it is asked again later, each time after twice as long.
    fn lacked(&mut self, checksum: Checksum, len: u64, wait_ms_min: u64, now_ms: u64) {
        let wait_ms = self
            .lacks
            .get(&checksum)
            .map_or(wait_ms_min, |lack| (lack.wait_ms * 2).min(LACK_MS_MAX));
        let lack = Lack {
            due_ms: now_ms.saturating_add(wait_ms),
            wait_ms,
            len,
        };
        if self.lacks.len() < LACKS_MAX || self.lacks.contains_key(&checksum) {
            self.lacks.insert(checksum, lack);
        }
    }
}

impl Payloads {
    pub(super) fn gave_up(&mut self, checksum: &Checksum) {
        self.coming.remove(checksum);
    }
}

impl Replicator {
    /// Makes what came durable once nothing more is on its way, or when it is much; asks for wanted
    /// payloads until every peer's window is full.
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

    /// Makes the payloads that came durable, so that they are no longer wanted.
    pub(super) fn settle_payloads(&mut self, store: &Store) -> Result<(), StoreError> {
        let arrived: Vec<Checksum> = std::mem::take(&mut self.payloads.arrived)
            .into_iter()
            .collect();
        Ok(store.payloads_arrived(&arrived)?)
    }

    /// Time has passed, or does not matter: what is wanted may be looked through further.
    pub fn payloads_may_look_again(&mut self) {
        self.payloads.looks.add(LOOKS_MAX);
        self.peers
            .values_mut()
            .for_each(|peer| peer.probes = PROBES);
    }

    fn ask_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        for (peer, checksum) in self.choose_payloads(store, now_ms) {
            self.ask_payload(store, peer, checksum, now_ms)?;
        }
        Ok(())
    }

    /// Goes on through what is wanted from where it stopped, and says what to ask of whom.
    fn choose_payloads(&mut self, store: &Store, now_ms: u64) -> Vec<(SiteId, Checksum)> {
        let view = store.view();
        let mut room: Vec<(SiteId, usize)> = self
            .peers
            .iter()
            .filter(|(site, peer)| peer.has_room() && view.members().contains(*site))
            .map(|(site, peer)| (*site, peer.window - peer.payloads_asked))
            .collect();
        let mut chosen = Vec::new();
        let from = self.payloads.cursor;
        let behind = view.wanted().range((
            from.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        ));
        let before = from.map(|from| view.wanted().range(..=from));
        for (checksum, len) in behind.chain(before.into_iter().flatten()) {
            if room.is_empty() || self.payloads.looks.0 == 0 {
                break;
            }
            self.payloads.looks.0 -= 1;
            self.payloads.cursor = Some(*checksum);
            if self.payloads.coming.contains(checksum) || self.payloads.arrived.contains(checksum) {
                continue;
            }
            if let Some(peer) = self.least_busy(&mut room, checksum, *len, now_ms) {
                chosen.push((peer, *checksum));
            }
        }
        chosen
    }

    /// The member with most room of those that may have a payload; takes a place of it.
    fn least_busy(
        &mut self,
        room: &mut Vec<(SiteId, usize)>,
        checksum: &Checksum,
        len: u64,
        now_ms: u64,
    ) -> Option<SiteId> {
        let may_give = |site: &SiteId| {
            self.peers
                .get(site)
                .is_some_and(|peer| peer.may_give(checksum, len, now_ms))
        };
        let at = (0..room.len())
            .filter(|at| room.get(*at).is_some_and(|(site, _)| may_give(site)))
            .max_by_key(|at| room.get(*at).map(|(_, left)| *left))?;
        let (site, left) = room.get_mut(at)?;
        let site = *site;
        *left -= 1;
        if *left == 0 {
            room.remove(at);
        }
        let peer = self.peers.get_mut(&site)?;
        if peer.lacks.len() >= LACKS_MAX && !peer.lacks.contains_key(checksum) {
            peer.probes = peer.probes.saturating_sub(1);
        }
        Some(site)
    }

    fn ask_payload(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        state.payloads_asked += 1;
        self.payloads.coming.insert(checksum);
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
        self.ask(peer, Question::Payload(checksum), &request, now_ms);
        Ok(())
    }

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
        // So that what is still wanted here is not erased before it is staged or put.
        let _nothing_is_erased = store.hold_erasing();
        let Some(len_max) = store.view().wanted().get(&checksum).copied() else {
            self.discard(store, &checksum)?;
            return self.fetch_payloads(store, now_ms);
        };
        let staged = staged_len(store, &checksum)?;
        // A record may lie about the length of a payload; it bounds what is staged, and the
        // checksum decides. A part is exactly as long as was asked for: a peer that sends crumbs
        // would hold a payload for ever.
        let fits = total_len <= len_max
            && total_len
                .checked_sub(staged)
                .is_some_and(|rest| bytes.len() as u64 == rest.min(PART_LEN_MAX));
        if !fits {
            return self.payload_is_wrong(store, peer, checksum, now_ms);
        }
        self.payloads.looks.add(LOOKS_PER_PAYLOAD);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.window = WINDOW_MAX.min(state.window + 1);
            state.lacks.remove(&checksum);
        }
        let is_whole = staged + (bytes.len() as u64) == total_len;
        if !is_whole || staged > 0 {
            self.stage(store, peer, checksum, staged, bytes)?;
        }
        if !is_whole {
            return self.ask_payload(store, peer, checksum, now_ms);
        }
        let put = if staged == 0 {
            store
                .blocks()
                .put_verified(checksum, &mut io::Cursor::new(bytes))
        } else {
            let mut whole = Staged {
                file: open(store, &checksum)?,
                offset: 0,
                len: total_len,
            };
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
            state.lacked(checksum, len, LACK_MS_MIN, now_ms);
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

    /// Little is asked of a peer that fails.
    fn payload_withheld(&mut self, store: &Store, peer: SiteId, checksum: Checksum, now_ms: u64) {
        let len = said_len(store, &checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.window = 1;
            state.lacked(checksum, len, FAULT_MS_MIN, now_ms);
        }
    }

    /// Puts a part away until the others have come.
    fn stage(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        staged: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        open(store, &checksum)?
            .write_at(staged, bytes)
            .map_err(failed("write", &checksum))?;
        if staged == 0 {
            self.payloads.authors.insert(checksum, peer);
        } else if self.payloads.authors.get(&checksum) != Some(&peer) {
            self.payloads.authors.remove(&checksum);
        }
        Ok(())
    }

    /// Removes, once, what an earlier process staged of payloads that are here or that nobody wants
    /// any more.
    pub(super) fn sweep_staging(&mut self, store: &Store) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.payloads.is_swept, true) {
            return Ok(());
        }
        let disk_failed = |source| DiskError {
            action: "list",
            path: STAGING.to_owned(),
            source,
        };
        if !store.disk().exists(STAGING).map_err(disk_failed)? {
            return Ok(());
        }
        for name in store.disk().list(STAGING).map_err(disk_failed)? {
            let Ok(checksum) = name.parse::<Checksum>() else {
                continue;
            };
            if !store.view().wanted().contains_key(&checksum) {
                self.discard(store, &checksum)?;
            }
        }
        Ok(())
    }

    /// Forgets what was staged of a payload.
    pub(super) fn discard(&mut self, store: &Store, checksum: &Checksum) -> Result<(), StoreError> {
        self.payloads.authors.remove(checksum);
        if store
            .disk()
            .exists(&path(checksum))
            .map_err(failed("look for", checksum))?
        {
            store
                .disk()
                .remove(&path(checksum))
                .map_err(failed("remove", checksum))?;
        }
        Ok(())
    }

    fn payload_answered(&mut self, peer: SiteId, checksum: Checksum) {
        self.payloads.coming.remove(&checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.payloads_asked = state.payloads_asked.saturating_sub(1);
        }
    }
}

/// Overwrites what is staged of a payload that was erased, and removes it. It is no longer wanted,
/// so nothing is staged anew.
///
/// # Errors
/// [`StoreError::Disk`].
pub(crate) fn erase_staged(store: &Store, checksum: &Checksum) -> Result<(), StoreError> {
    if !store
        .disk()
        .exists(&path(checksum))
        .map_err(failed("look for", checksum))?
    {
        return Ok(());
    }
    let file = open(store, checksum)?;
    let len = file.len().map_err(failed("measure", checksum))?;
    let zeros = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < len {
        let piece = usize::try_from(len - offset)
            .unwrap_or(zeros.len())
            .min(zeros.len());
        match file.write_at(offset, &zeros[..piece]) {
            // On a file system that copies what it overwrites: removing it is all that can be done.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            written => written.map_err(failed("erase", checksum))?,
        }
        offset += piece as u64;
    }
    file.sync().map_err(failed("sync", checksum))?;
    store
        .disk()
        .remove(&path(checksum))
        .map_err(failed("remove", checksum))?;
    store
        .disk()
        .sync_dir(STAGING)
        .map_err(failed("sync the directory of", checksum))
}

/// How long records say that a wanted payload is.
fn said_len(store: &Store, checksum: &Checksum) -> u64 {
    store
        .view()
        .wanted()
        .get(checksum)
        .copied()
        .unwrap_or_default()
}

fn path(checksum: &Checksum) -> String {
    format!("{STAGING}/{checksum}")
}

fn failed(action: &'static str, checksum: &Checksum) -> impl FnOnce(io::Error) -> StoreError {
    let path = path(checksum);
    move |source| {
        DiskError {
            action,
            path,
            source,
        }
        .into()
    }
}

fn open(store: &Store, checksum: &Checksum) -> Result<Arc<dyn DiskFile>, StoreError> {
    store
        .disk()
        .create_dir_all(STAGING)
        .map_err(failed("make the directory of", checksum))?;
    store
        .disk()
        .open(&path(checksum), Mode::Write)
        .map_err(failed("open", checksum))
}

fn staged_len(store: &Store, checksum: &Checksum) -> Result<u64, StoreError> {
    if !store
        .disk()
        .exists(&path(checksum))
        .map_err(failed("look for", checksum))?
    {
        return Ok(0);
    }
    open(store, checksum)?
        .len()
        .map_err(failed("measure", checksum))
}

/// Reads a staged payload from its start.
struct Staged {
    file: Arc<dyn DiskFile>,
    offset: u64,
    len: u64,
}

impl Read for Staged {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        let len = bytes.len().min(left);
        let Some(target) = bytes.get_mut(..len) else {
            return Ok(0);
        };
        self.file.read_at(self.offset, target)?;
        self.offset += len as u64;
        Ok(len)
    }
}
