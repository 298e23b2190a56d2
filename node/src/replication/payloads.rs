//! Payloads follow records: whatever the store wants is asked of any peer that has it, a part at a time.
//!
//! A payload of one part is checked and put away as it comes. A longer one gathers in `staging/` under its checksum, so that
//! it goes on where it stopped after a lost peer or a restart; only when it is whole and its checksum is right does it enter
//! the blocks.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::{DiskError, DiskFile, Mode};
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::wire::{PART_LEN_MAX, Request};

use super::{Notice, Question, Replicator};

/// Most payload questions that are out to one peer at once.
const WINDOW: usize = 16;
const STAGING: &str = "staging";

/// Payloads that are on their way.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    coming: BTreeSet<Checksum>,
    /// Payloads whose staging began in this process. What an earlier one staged may be torn, and is then nobody's fault.
    begun: BTreeSet<Checksum>,
}

impl Payloads {
    pub(super) fn gave_up(&mut self, checksum: &Checksum) {
        self.coming.remove(checksum);
    }
}

impl Replicator {
    /// Asks for wanted payloads until every peer's window is full.
    pub(super) fn fetch_payloads(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        let room: usize = self.peers.values().map(|peer| WINDOW.saturating_sub(peer.payloads_asked)).sum();
        if room == 0 {
            return Ok(());
        }
        let coming = &self.payloads.coming;
        let wanted: Vec<Checksum> = {
            let view = store.view();
            let is_open = |checksum: &&Checksum| {
                !coming.contains(*checksum) && self.peers.values().any(|peer| !peer.lacks.contains(*checksum))
            };
            view.wanted().keys().filter(is_open).take(room).copied().collect()
        };
        for checksum in wanted {
            self.ask_payload(store, checksum, now_ms)?;
        }
        Ok(())
    }

    /// Asks the least busy peer that may have it.
    fn ask_payload(&mut self, store: &Store, checksum: Checksum, now_ms: u64) -> Result<(), StoreError> {
        let may_have =
            |(_, peer): &(&SiteId, &mut super::Peer)| peer.payloads_asked < WINDOW && !peer.lacks.contains(&checksum);
        let chosen = self.peers.iter_mut().filter(may_have).min_by_key(|(_, peer)| peer.payloads_asked);
        let Some((&peer, state)) = chosen else { return Ok(()) };
        state.payloads_asked += 1;
        self.payloads.coming.insert(checksum);
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
        let Some(len) = store.view().wanted().get(&checksum).copied() else {
            return self.fetch_payloads(store, now_ms);
        };
        let staged = staged_len(store, &checksum)?;
        let fits = total_len == len && staged + bytes.len() as u64 <= len && (!bytes.is_empty() || len == 0);
        if !fits {
            return self.payload_is_wrong(store, peer, checksum, now_ms);
        }
        if staged + (bytes.len() as u64) < len {
            stage(store, &checksum, staged, bytes)?;
            if staged == 0 {
                self.payloads.begun.insert(checksum);
            }
            return self.ask_payload(store, checksum, now_ms);
        }
        let put = if staged == 0 {
            store.blocks().put_verified(checksum, &mut io::Cursor::new(bytes))
        } else {
            stage(store, &checksum, staged, bytes)?;
            let mut whole = Staged { file: open(store, &checksum)?, offset: 0, len };
            store.blocks().put_verified(checksum, &mut whole)
        };
        match put {
            Ok(_) => {
                self.discard(store, &checksum)?;
                store.payload_arrived(&checksum);
                self.fetch_payloads(store, now_ms)
            }
            Err(BlocksError::WrongChecksum { .. }) if staged > 0 && !self.payloads.begun.contains(&checksum) => {
                self.discard(store, &checksum)?;
                self.fetch_payloads(store, now_ms)
            }
            Err(BlocksError::WrongChecksum { .. }) => self.payload_is_wrong(store, peer, checksum, now_ms),
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
        self.discard(store, &checksum)?;
        self.notice(Notice::WrongPayload { peer, checksum });
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lacks.insert(checksum);
        }
        self.fetch_payloads(store, now_ms)
    }

    /// Forgets what was staged of a payload.
    fn discard(&mut self, store: &Store, checksum: &Checksum) -> Result<(), StoreError> {
        self.payloads.begun.remove(checksum);
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

fn stage(store: &Store, checksum: &Checksum, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
    open(store, checksum)?.write_at(offset, bytes).map_err(failed("write", checksum))
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
