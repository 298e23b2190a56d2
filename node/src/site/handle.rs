//! What every part of a site shares: directory, key, store, the way to a commit, and the head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uor_asl::disk::{Disk, Mode};
use uor_asl::state::ReadError as StateError;
use uor_asl::store::{CommitError, Committed, MaintenanceThread, Store, StoreError};
use uor_index_format::commit::BODY_LEN_MAX;
use uor_index_format::id::{CanonicalId, FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use super::integrity::found::Found;
use super::integrity::permission::Permission;
use super::integrity::witness::SharedWitness;
use super::locks::Locks;
use crate::cancel::Cancel;

/// Most records of one commit of many: less than the format's bound.
const COMMIT_RECORDS_MAX: usize = 60_000;
const COMMIT_BYTES_MAX: usize = BODY_LEN_MAX as usize / 2;

/// One data directory, opened by this process. Clones are handles of the same open directory.
#[derive(Clone)]
pub struct Site {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) mode: Mode,
    pub(super) name: String,
    pub(super) key: SiteKey,
    pub(super) store: Arc<Store>,
    /// Does the store's maintenance, unless it was opened to be read; writes its index when the
    /// site is let go of.
    pub(super) _maintenance: Option<Arc<MaintenanceThread>>,
    pub(super) locks: Arc<Locks>,
    /// Whether what is being done through this handle is still wanted.
    pub(super) cancel: Cancel,
    /// What was acknowledged, beside the log; of a site that is open to be written.
    pub(super) witness: Arc<SharedWitness>,
    /// Whether the site may write now.
    pub(super) permission: Arc<Permission>,
    /// What was found when it was opened.
    pub(super) found: Arc<Found>,
}

impl Site {
    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The site's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The site's id: its domain, and its peer key.
    pub fn site_id(&self) -> SiteId {
        self.key.site_id()
    }

    /// The key the site signs with.
    pub const fn key(&self) -> &SiteKey {
        &self.key
    }

    /// The federation.
    pub fn federation(&self) -> FederationId {
        self.store.federation()
    }

    /// The store under the site, for the replication core. Writing through [`Site`] keeps the rules
    /// of this module.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The snapshot of everything here, as of now.
    pub fn head(&self) -> Snapshot {
        self.store.view().head().clone()
    }

    /// Another handle of the same open directory: what is done through it stops when `cancel` says
    /// so, and commits nothing from then on.
    #[must_use]
    pub fn cancellable(&self, cancel: Cancel) -> Self {
        Self {
            cancel,
            ..self.clone()
        }
    }

    pub(super) fn commit(&self, records: Vec<Record>) -> Result<Committed, CommitError> {
        let check = || self.cancel.check().map_err(|_| StoreError::Cancelled);
        check()?;
        self.permission
            .wait(&mut || {})
            .map_err(|held| CommitError::Parked {
                reason: held.to_string(),
            })?;
        check()?;
        let committed = self
            .store
            .commit(&self.key, records, crate::clock::wall_ms())?;
        self.witness.note(&committed);
        Ok(committed)
    }

    /// One commit, or as few as can hold the records in their order, so that what is visible never
    /// names what is not.
    pub(super) fn commit_in_order(&self, records: Vec<Record>) -> Result<(), CommitError> {
        let mut batch: BTreeMap<_, Record> = BTreeMap::new();
        let mut bytes = 0;
        for record in records {
            let len = record.encoded_len();
            if batch.len() >= COMMIT_RECORDS_MAX
                || (bytes + len > COMMIT_BYTES_MAX && !batch.is_empty())
            {
                self.commit(std::mem::take(&mut batch).into_values().collect())?;
                bytes = 0;
            }
            bytes += len;
            batch.insert(record.id(), record);
        }
        if !batch.is_empty() {
            self.commit(batch.into_values().collect())?;
        }
        Ok(())
    }

    /// Whether something is visible now.
    pub(super) fn is_visible(&self, id: &CanonicalId) -> Result<bool, StateError> {
        let view = self.store.view();
        Ok(view.state().entry(id, view.head())?.is_some())
    }
}
