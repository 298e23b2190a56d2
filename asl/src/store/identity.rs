//! The file that makes a directory a store and names its federation: `FORMAT.md`, "The file
//! `store`".

use std::sync::Arc;

use uor_index_format::id::FederationId;

use super::error::StoreError;
use crate::disk::{self, Context as _, Disk};

pub(super) const FILE: &str = "store";
pub(super) const TITLE: &str = "uor store format ";
pub(super) const VERSION: u16 = 1;

/// Makes an empty store for a federation.
///
/// # Errors
/// [`StoreError::Exists`] if there is one; [`StoreError::Disk`].
pub(super) fn create(disk: &Arc<dyn Disk>, federation: FederationId) -> Result<(), StoreError> {
    if disk.exists(FILE).during("look for", FILE)? {
        return Err(StoreError::Exists);
    }
    disk.create_dir_all("")
        .during("create", "the store's directory")?;
    disk::replace(disk.as_ref(), FILE, text(federation).as_bytes())?;
    Ok(())
}

/// The federation the store on `disk` belongs to.
///
/// # Errors
/// [`StoreError::Absent`], [`StoreError::Identity`], [`StoreError::NewerVersion`] or
/// [`StoreError::Disk`].
pub(super) fn read(disk: &Arc<dyn Disk>) -> Result<FederationId, StoreError> {
    if !disk.exists(FILE).during("look for", FILE)? {
        return Err(StoreError::Absent);
    }
    let bytes = disk::read_all(disk.as_ref(), FILE)?;
    let found = std::str::from_utf8(&bytes).map_err(|_| StoreError::Identity)?;
    let mut lines = found.lines();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix(TITLE)?.parse::<u16>().ok());
    match version {
        Some(VERSION) => {}
        Some(found) if found > VERSION => return Err(StoreError::NewerVersion { found }),
        _ => return Err(StoreError::Identity),
    }
    let federation = lines
        .next()
        .and_then(|line| line.strip_prefix("federation ")?.parse().ok());
    federation
        .filter(|federation| text(*federation) == found)
        .ok_or(StoreError::Identity)
}

fn text(federation: FederationId) -> String {
    format!("{TITLE}{VERSION}\nfederation {federation}\n")
}
