//! One block: which pack it is in, and its bytes, verified as its kind wants it.

use std::sync::Arc;

use super::compress::decompress;
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::frame::{Codec, HEADER_LEN, Kind};
use super::manifest::Manifest;
use super::pack::Pack;
use super::place::{Location, Place};
use super::record;
use crate::damage::Mismatch;
use uor_index_format::id::Checksum;

/// A block together with its pack, which can be read as long as this is held.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) pack: Arc<Pack>,
    pub(super) at: Location,
}

impl Found {
    /// That a check of this block failed.
    pub(super) fn damage(
        &self,
        what: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> BlockDamage {
        let mismatch = Mismatch::new(what, expected, found);
        let at = mismatch.at(&self.pack.path, self.at.place.offset);
        BlockDamage::of(Some(self.at.header.name), at)
    }
}

/// The manifest in this block, which is one.
pub(super) fn read_manifest(found: &Found) -> Result<Manifest, BlocksError> {
    let bytes = read_raw(found)?;
    Manifest::decode(&bytes, found.at.header.name).map_err(|(expected, actual)| {
        BlocksError::Damaged(found.damage("manifest", expected.to_string(), actual.to_string()))
    })
}

/// The verified bytes of a block.
pub(super) fn read_block(found: &Found) -> Result<Vec<u8>, BlocksError> {
    let bytes = read_raw(found)?;
    let name = found.at.header.name;
    let (expected, actual) = match found.at.header.kind {
        Kind::Manifest => {
            Manifest::decode(&bytes, name).map_or_else(|differ| differ, |_| (name, name))
        }
        Kind::Erased | Kind::Dropped => {
            record::decode(name, &bytes).map_or_else(|differ| differ, |_| (name, name))
        }
        Kind::Whole | Kind::Part => (name, Checksum::of(&bytes)),
        Kind::Mark | Kind::Seal | Kind::Zeroed => (name, name),
    };
    if expected == actual {
        return Ok(bytes);
    }
    Err(BlocksError::Damaged(found.damage(
        "contents",
        expected.to_string(),
        actual.to_string(),
    )))
}

/// The stored bytes of a block, not verified.
pub(super) fn read_stored(found: &Found) -> Result<Vec<u8>, BlocksError> {
    found.pack.read(
        found.at.place.offset + HEADER_LEN as u64,
        found.at.header.stored_len as usize,
    )
}

/// The bytes of a block, decompressed but not yet verified.
fn read_raw(found: &Found) -> Result<Vec<u8>, BlocksError> {
    let header = found.at.header;
    let stored = read_stored(found)?;
    let raw = match header.codec {
        Codec::Raw => Ok(stored),
        Codec::Zstd => decompress(&stored, header.raw_len as usize),
    };
    match raw {
        Ok(raw) if raw.len() == header.raw_len as usize => Ok(raw),
        other => {
            let actual = other.map_or_else(
                |error| error.to_string(),
                |raw| format!("{} bytes", raw.len()),
            );
            let expected = format!("{} bytes", header.raw_len);
            Err(BlocksError::Damaged(found.damage(
                "decompressed contents",
                expected,
                actual,
            )))
        }
    }
}

/// The places in this block, which is a record.
pub(super) fn read_places(found: &Found) -> Result<Vec<Place>, BlocksError> {
    let bytes = read_block(found)?;
    record::decode(found.at.header.name, &bytes).map_err(|(expected, actual)| {
        BlocksError::Damaged(found.damage("record", expected.to_string(), actual.to_string()))
    })
}
