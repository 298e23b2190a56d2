//! A volume in the objects of a snapshot: one run of bytes.

use crate::contents::Spool;
use crate::objects::{KIND_VOLUME, ObjectSet};
use crate::zap::{self, Entry, ZapError};

/// The object that a volume's bytes are in, and the one that says how many.
pub const CONTENTS: u64 = 1;
const PROPERTIES: u64 = 2;

/// Why a snapshot's objects are no volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The properties cannot be read.
    #[error(transparent)]
    Zap(#[from] ZapError),
    /// They say nothing about the length.
    #[error("the volume does not say how long it is")]
    NoSize,
    /// Its contents are of another kind.
    #[error("object {CONTENTS} does not hold a volume")]
    NoVolume,
}

/// The length of the volume in these objects, in bytes.
///
/// # Errors
/// [`VolumeError`].
pub fn len(set: &ObjectSet, spool: &dyn Spool) -> Result<u64, VolumeError> {
    if set
        .get(CONTENTS)
        .is_none_or(|object| object.kind != KIND_VOLUME)
    {
        return Err(VolumeError::NoVolume);
    }
    let properties = zap::entries(set, PROPERTIES, spool)?;
    let size = properties
        .iter()
        .find(|entry| entry.name == b"size")
        .and_then(Entry::number);
    size.ok_or(VolumeError::NoSize)
}
