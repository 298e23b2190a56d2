//! Payloads of more than one part gather in `staging/` under their checksums until they are whole.

use std::io::{self, Read};
use std::sync::Arc;

use uor_asl::disk::{DiskError, DiskFile, Mode};
use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, SiteId};

use super::replicator::Replicator;

const STAGING: &str = "staging";

impl Replicator {
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

    /// Puts a part away until the others have come.
    pub(super) fn stage(
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
}

/// Overwrites what is staged of a payload that was erased, and removes it. It is no longer wanted,
/// so nothing of it is staged again.
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

pub(super) fn staged_len(store: &Store, checksum: &Checksum) -> Result<u64, StoreError> {
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
pub(super) struct Staged {
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

impl Staged {
    pub(super) fn open(store: &Store, checksum: &Checksum, len: u64) -> Result<Self, StoreError> {
        Ok(Self {
            file: open(store, checksum)?,
            offset: 0,
            len,
        })
    }
}
