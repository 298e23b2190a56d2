//! The witness: what a site has acknowledged, noted beside its log, so that a log or packs that got
//! lost are not taken for ones that never were; and where the data directory lay, so that a copy is
//! recognised.
//!
//! A slot of file `acknowledged` is written after each own commit has become durable, and not
//! synced then: so the witness costs a commit one write to the page cache, survives the end of the
//! process, may lag behind the log after a power failure, and is never ahead of it. It is synced
//! when the site is let go of, and the copy beside the packs is written then.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use uor_asl::disk::{Disk, DiskError, DiskFile, Mode};
use uor_asl::store::{Committed, Store};
use uor_index_format::id::SiteId;
use uor_index_format::snapshot::Head;

use super::acknowledged::{Acknowledged, COPY_FILE, SLOT_LEN, read_newest};
use super::packs::Packs;
use super::place::Place;
use crate::site::directory::files::WITNESS_FILE;

/// The witness of a site that is open to be written.
pub(in crate::site) struct Witness {
    file: Arc<dyn DiskFile>,
    state: Mutex<Noted>,
}

struct Noted {
    sequence: u64,
    last: Acknowledged,
    is_synced: bool,
}

impl Noted {
    /// Puts the copy in place. It is not synced, and one that cannot be written lags: the file it
    /// is a copy of counts.
    fn write_copy(&self, disk: &dyn Disk) {
        let bytes = self.last.encode(self.sequence);
        drop(
            disk.open(COPY_FILE, Mode::Write)
                .and_then(|file| file.write_at(0, &bytes)),
        );
    }
}

impl Witness {
    /// Takes up the witness of a data directory, or makes one. `here_now` is false for a copy that
    /// has to keep saying so: it goes on naming the place that it was copied from.
    pub(in crate::site) fn open(
        dir: &Path,
        disk: &dyn Disk,
        store: &Store,
        domain: SiteId,
        here_now: bool,
    ) -> Result<Self, DiskError> {
        let failed = |action| {
            move |source| DiskError {
                action,
                path: WITNESS_FILE.to_owned(),
                source,
            }
        };
        let before = read_newest(disk)?;
        let file = disk
            .open(WITNESS_FILE, Mode::Write)
            .map_err(failed("open"))?;
        let place = match &before {
            Some((_, before)) if !here_now => before.place.clone(),
            _ => Place::of(dir).map_err(failed("look at"))?,
        };
        let (sequence, is_new) = (
            before.as_ref().map_or(0, |(sequence, _)| *sequence),
            before.is_none(),
        );
        let now = Acknowledged::of(store, domain, Packs::of(disk)?, place);
        let is_same = before.is_some_and(|(_, before)| before == now);
        let state = Mutex::new(Noted {
            sequence,
            last: now.clone(),
            is_synced: true,
        });
        let this = Self { file, state };
        if !is_same {
            let mut state = this.state();
            this.write(&mut state, now)?;
            state.write_copy(disk);
            if is_new {
                this.file.sync().map_err(failed("sync"))?;
                disk.sync_dir("").map_err(failed("sync the directory of"))?;
                state.is_synced = true;
            }
        }
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, Noted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut Noted, now: Acknowledged) -> Result<(), DiskError> {
        let sequence = state.sequence + 1;
        let offset = (sequence % 2) * SLOT_LEN as u64;
        self.file
            .write_at(offset, &now.encode(sequence))
            .map_err(|source| DiskError {
                action: "write",
                path: WITNESS_FILE.to_owned(),
                source,
            })?;
        *state = Noted {
            sequence,
            last: now,
            is_synced: false,
        };
        Ok(())
    }

    /// Notes a commit of the own domain that is durable.
    pub(in crate::site) fn note(&self, head: Head) -> Result<(), DiskError> {
        let mut state = self.state();
        if head.number <= state.last.head.number {
            return Ok(());
        }
        let now = Acknowledged {
            head,
            ..state.last.clone()
        };
        self.write(&mut state, now)
    }

    /// Notes everything that a store holds, whose blocks are durable, and makes that durable; with
    /// `place`, also that the data directory is where it is.
    pub(in crate::site) fn settle(
        &self,
        disk: &dyn Disk,
        store: &Store,
        place: Option<&Path>,
    ) -> Result<(), DiskError> {
        let failed = |action| {
            move |source| DiskError {
                action,
                path: WITNESS_FILE.to_owned(),
                source,
            }
        };
        let mut state = self.state();
        let place = place
            .map(Place::of)
            .transpose()
            .map_err(failed("look at"))?;
        let place = place.unwrap_or_else(|| state.last.place.clone());
        let now = Acknowledged::of(store, state.last.domain, Packs::of(disk)?, place);
        if now != state.last {
            self.write(&mut state, now)?;
        }
        state.write_copy(disk);
        if !state.is_synced {
            self.file.sync().map_err(failed("sync"))?;
            state.is_synced = true;
        }
        Ok(())
    }
}

/// The witness of a site that is open, shared by all its handles: it is settled when the last of
/// them is let go of.
pub(in crate::site) struct SharedWitness {
    witness: OnceLock<Witness>,
    disk: Arc<dyn Disk>,
    store: Arc<Store>,
}

impl SharedWitness {
    /// Of a site that may write now, or may do so later.
    pub(in crate::site) fn new(
        witness: Option<Witness>,
        disk: Arc<dyn Disk>,
        store: Arc<Store>,
    ) -> Self {
        Self {
            witness: witness.map_or_else(OnceLock::new, OnceLock::from),
            disk,
            store,
        }
    }

    pub(in crate::site) fn get(&self) -> Option<&Witness> {
        self.witness.get()
    }

    /// Notes a commit of this site that has become durable. A witness that cannot be written lags:
    /// the next one tells all.
    pub(in crate::site) fn note(&self, committed: &Committed) {
        if let Some(witness) = self.get() {
            drop(witness.note(Head {
                number: committed.number,
                hash: committed.hash,
            }));
        }
    }

    /// Begins to witness.
    pub(in crate::site) fn set(&self, witness: Witness) {
        // One that is there already goes on.
        drop(self.witness.set(witness));
    }
}

impl Drop for SharedWitness {
    fn drop(&mut self) {
        // While a loss stands there is none, and what was acknowledged before goes on being said.
        // What cannot be written lags.
        let Some(witness) = self
            .witness
            .get()
            .filter(|_| self.store.mode() == Mode::Write)
        else {
            return;
        };
        if self.store.blocks().sync().is_ok() {
            drop(witness.settle(self.disk.as_ref(), &self.store, None));
        }
    }
}
