//! Payloads follow records: whatever the store wants is asked of any peer that has it, a part at a time.
//!
//! A payload of one part is checked and put away as it comes. A longer one gathers in `staging/` under its checksum, so that
//! it goes on where it stopped after a lost peer or a restart; only when it is whole and its checksum is right does it enter
//! the blocks.
//!
//! Only members are asked. All parts come from one peer while it lasts, so that wrong bytes have one author. Where several
//! peers contributed to wrong bytes nobody is blamed, and the next try is one peer's from its first byte to its last.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::{DiskError, DiskFile, Mode};
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::wire::{PART_LEN_MAX, Request};

use super::sync::Peer;
use super::{Notice, Question, Replicator};

/// Most payload questions that are out to one peer at once.
const WINDOW: usize = 16;
/// Most payloads that have come and that wait to be made durable together.
const ARRIVED_MAX: usize = 256;
const STAGING: &str = "staging";

/// Payloads that are on their way.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    coming: BTreeSet<Checksum>,
    /// Payloads that are in the blocks, and not yet known to be durable.
    arrived: BTreeSet<Checksum>,
    /// Who sent all that is staged of a payload. What several peers or an earlier process staged has no one author, and may
    /// be torn.
    authors: BTreeMap<Checksum, SiteId>,
    /// Payloads that came out wrong from several authors.
    doubted: BTreeSet<Checksum>,
    /// Whether what an earlier process staged of payloads that nobody wants any more has been removed.
    is_swept: bool,
}

impl Payloads {
    pub(super) fn gave_up(&mut self, checksum: &Checksum) {
        self.coming.remove(checksum);
    }
}

impl Replicator {
    /// Makes what came durable once nothing more is on its way, or when it is much; asks for wanted payloads until every
    /// peer's window is full.
    pub(super) fn fetch_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        if self.payloads.arrived.len() >= ARRIVED_MAX {
            self.settle_payloads(store)?;
        }
        self.ask_payloads(store, now_ms)?;
        if self.payloads.coming.is_empty() { self.settle_payloads(store) } else { Ok(()) }
    }

    /// Makes the payloads that came durable, so that they are no longer wanted.
    pub(super) fn settle_payloads(&mut self, store: &Store) -> Result<(), StoreError> {
        let arrived: Vec<Checksum> = std::mem::take(&mut self.payloads.arrived).into_iter().collect();
        Ok(store.payloads_arrived(&arrived)?)
    }

    fn ask_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        let wanted: Vec<Checksum> = {
            let view = store.view();
            let members: Vec<&Peer> =
                self.peers.iter().filter(|(site, _)| view.members().contains(*site)).map(|(_, peer)| peer).collect();
            let room: usize = members.iter().map(|peer| WINDOW.saturating_sub(peer.payloads_asked)).sum();
            if room == 0 {
                return Ok(());
            }
            let is_open = |checksum: &&Checksum| {
                !self.payloads.coming.contains(*checksum)
                    && !self.payloads.arrived.contains(*checksum)
                    && members.iter().any(|peer| !peer.lacks.contains(*checksum))
            };
            view.wanted().keys().filter(is_open).take(room).copied().collect()
        };
        for checksum in wanted {
            if let Some(peer) = self.least_busy(store, &checksum) {
                self.ask_payload(store, peer, checksum, now_ms)?;
            }
        }
        Ok(())
    }

    /// The member that has least to do of those that may have a payload.
    fn least_busy(&self, store: &Store, checksum: &Checksum) -> Option<SiteId> {
        let view = store.view();
        let may_have = |(site, peer): &(&SiteId, &Peer)| {
            peer.payloads_asked < WINDOW && !peer.lacks.contains(checksum) && view.members().contains(*site)
        };
        let chosen = self.peers.iter().filter(may_have).min_by_key(|(_, peer)| peer.payloads_asked);
        chosen.map(|(site, _)| *site)
    }

    fn ask_payload(&mut self, store: &Store, peer: SiteId, checksum: Checksum, now_ms: u64) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        state.payloads_asked += 1;
        self.payloads.coming.insert(checksum);
        if self.payloads.doubted.contains(&checksum) && self.payloads.authors.get(&checksum) != Some(&peer) {
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
        // A record may lie about the length of a payload; it bounds what is staged, and the checksum decides. A part is
        // exactly as long as was asked for: a peer that sends crumbs would hold a payload for ever.
        let fits = total_len <= len_max
            && total_len.checked_sub(staged).is_some_and(|rest| bytes.len() as u64 == rest.min(PART_LEN_MAX));
        if !fits {
            return self.payload_is_wrong(store, peer, checksum, now_ms);
        }
        let is_whole = staged + (bytes.len() as u64) == total_len;
        if !is_whole || staged > 0 {
            self.stage(store, peer, checksum, staged, bytes)?;
        }
        if !is_whole {
            return self.ask_payload(store, peer, checksum, now_ms);
        }
        let put = if staged == 0 {
            store.blocks().put_verified(checksum, &mut io::Cursor::new(bytes))
        } else {
            let mut whole = Staged { file: open(store, &checksum)?, offset: 0, len: total_len };
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

    pub(super) fn payload_failed(
        &mut self,
        store: &Store,
        peer: SiteId,
        checksum: Checksum,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.payload_answered(peer, checksum);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lacks.insert(checksum);
        }
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
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lacks.insert(checksum);
        }
        self.fetch_payloads(store, now_ms)
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
        open(store, &checksum)?.write_at(staged, bytes).map_err(failed("write", &checksum))?;
        if staged == 0 {
            self.payloads.authors.insert(checksum, peer);
        } else if self.payloads.authors.get(&checksum) != Some(&peer) {
            self.payloads.authors.remove(&checksum);
        }
        Ok(())
    }

    /// Removes, once, what an earlier process staged of payloads that are here or that nobody wants any more.
    pub(super) fn sweep_staging(&mut self, store: &Store) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.payloads.is_swept, true) {
            return Ok(());
        }
        let disk_failed = |source| DiskError { action: "list", path: STAGING.to_owned(), source };
        if !store.disk().exists(STAGING).map_err(disk_failed)? {
            return Ok(());
        }
        for name in store.disk().list(STAGING).map_err(disk_failed)? {
            let Ok(checksum) = name.parse::<Checksum>() else { continue };
            if !store.view().wanted().contains_key(&checksum) {
                self.discard(store, &checksum)?;
            }
        }
        Ok(())
    }

    /// Forgets what was staged of a payload.
    pub(super) fn discard(&mut self, store: &Store, checksum: &Checksum) -> Result<(), StoreError> {
        self.payloads.authors.remove(checksum);
        if store.disk().exists(&path(checksum)).map_err(failed("look for", checksum))? {
            store.disk().remove(&path(checksum)).map_err(failed("remove", checksum))?;
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

/// Overwrites what is staged of a payload that was erased, and removes it. It is no longer wanted, so nothing is staged anew.
///
/// # Errors
/// [`StoreError::Disk`].
pub(crate) fn erase_staged(store: &Store, checksum: &Checksum) -> Result<(), StoreError> {
    if !store.disk().exists(&path(checksum)).map_err(failed("look for", checksum))? {
        return Ok(());
    }
    let file = open(store, checksum)?;
    let len = file.len().map_err(failed("measure", checksum))?;
    let zeros = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < len {
        let piece = usize::try_from(len - offset).unwrap_or(zeros.len()).min(zeros.len());
        match file.write_at(offset, &zeros[..piece]) {
            // On a file system that copies what it overwrites: removing it is all that can be done.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            written => written.map_err(failed("erase", checksum))?,
        }
        offset += piece as u64;
    }
    file.sync().map_err(failed("sync", checksum))?;
    store.disk().remove(&path(checksum)).map_err(failed("remove", checksum))?;
    store.disk().sync_dir(STAGING).map_err(failed("sync the directory of", checksum))
}

fn path(checksum: &Checksum) -> String {
    format!("{STAGING}/{checksum}")
}

fn failed(action: &'static str, checksum: &Checksum) -> impl FnOnce(io::Error) -> StoreError {
    let path = path(checksum);
    move |source| DiskError { action, path, source }.into()
}

fn open(store: &Store, checksum: &Checksum) -> Result<Arc<dyn DiskFile>, StoreError> {
    store.disk().create_dir_all(STAGING).map_err(failed("make the directory of", checksum))?;
    store.disk().open(&path(checksum), Mode::Write).map_err(failed("open", checksum))
}

fn staged_len(store: &Store, checksum: &Checksum) -> Result<u64, StoreError> {
    if !store.disk().exists(&path(checksum)).map_err(failed("look for", checksum))? {
        return Ok(0);
    }
    open(store, checksum)?.len().map_err(failed("measure", checksum))
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
        let Some(target) = bytes.get_mut(..len) else { return Ok(0) };
        self.file.read_at(self.offset, target)?;
        self.offset += len as u64;
        Ok(len)
    }
}
