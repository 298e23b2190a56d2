//! Reading every byte of the packs, to say what is damaged and which payloads that concerns. Nothing is modified, and
//! nothing stops at the first damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::frame::{HEADER_LEN, Kind};
use super::index::{Found, Location};
use super::manifest::Manifest;
use super::read::read_block;
use super::{Blocks, BlocksError};
use uor_index_format::codec::hex;
use uor_index_format::id::Checksum;

/// A place in a pack that does not hold what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDamage {
    /// The pack's path inside the store.
    pub file: String,
    /// Where the block (or the file header, at 0) starts.
    pub offset: u64,
    /// The block's name: the digest of a chunk, or of the payload a manifest is for. Only a claim where the header itself
    /// is damaged.
    pub block: Option<Checksum>,
    /// Which check failed.
    pub what: &'static str,
    /// What should be there: a digest in hex, or words.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Digests of the payloads that cannot be read because of it, ascending, as far as is known.
    pub payloads: Vec<Checksum>,
}

impl fmt::Display for BlockDamage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, block, what, expected, found, .. } = self;
        write!(out, "{file} is damaged at offset {offset}: {what} expected {expected}, found {found}")?;
        block.map_or(Ok(()), |block| write!(out, " (block {block})"))
    }
}

/// What reading every byte found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Number of payloads whose bytes were verified, damaged ones included.
    pub payloads: u64,
    /// Number of blocks read.
    pub blocks: u64,
    /// Bytes of blocks read.
    pub bytes: u64,
    /// Damaged places, by file and offset, those that were passed over at opening included. A chunk that is missing altogether counts as damage of its manifest.
    pub damages: Vec<BlockDamage>,
}

impl Blocks {
    /// Reads every block, then every payload that has a manifest; `on_progress` is told how many bytes of blocks have been
    /// read, and how many there are.
    ///
    /// # Errors
    /// [`BlocksError::Disk`]; damage is not an error here but the answer.
    pub fn verify(&self, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, BlocksError> {
        let locations = self.index().used();
        let total = locations.iter().map(|location| location.header.block_len()).sum();
        let (payloads, damages) = (self.index().payloads().len() as u64, self.damages.clone());
        let mut verified = Verified { payloads, damages, ..Verified::default() };
        let mut damaged = BTreeMap::new();
        for location in &locations {
            // What has been collected since needs no verifying.
            let Some(found) = self.index().locate(location) else { continue };
            if let Some(damage) = verify_block(&found)? {
                if damage.what != "padding" {
                    self.index_mut().note_damage(location.place);
                }
                damaged.insert(location.header.name, verified.damages.len());
                verified.damages.push(damage);
            }
            verified.blocks += 1;
            verified.bytes += location.header.block_len();
            on_progress(verified.bytes, total);
        }
        self.verify_payloads(&locations, &damaged, &mut verified)?;
        for damage in &mut verified.damages {
            let payload = damage.block.filter(|block| self.has(*block));
            damage.payloads = damage.payloads.drain(..).chain(payload).collect::<BTreeSet<_>>().into_iter().collect();
        }
        verified.damages.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        Ok(verified)
    }

    /// Verifies that chunks make up the payloads they are said to, and adds to each damaged chunk the payloads it spoils.
    fn verify_payloads(
        &self,
        locations: &[Location],
        damaged: &BTreeMap<Checksum, usize>,
        verified: &mut Verified,
    ) -> Result<(), BlocksError> {
        for location in locations.iter().filter(|location| location.header.kind == Kind::Manifest) {
            let checksum = location.header.name;
            let Some(found) = self.index().locate(location) else { continue };
            let manifest = match self.manifest(&found) {
                Ok(manifest) => manifest,
                Err(BlocksError::Damaged(_)) => continue,
                Err(error) => return Err(error),
            };
            let spoiled: BTreeSet<usize> =
                manifest.chunks.iter().filter_map(|chunk| damaged.get(&chunk.digest)).copied().collect();
            for position in &spoiled {
                verified.damages[*position].payloads.push(checksum);
            }
            if spoiled.is_empty()
                && let Some((what, expected, actual)) = self.verify_payload(&manifest)?
            {
                verified.damages.push(found.damage(what, expected, actual));
            }
        }
        Ok(())
    }

    fn verify_payload(&self, manifest: &Manifest) -> Result<Option<(&'static str, String, String)>, BlocksError> {
        let missing = {
            let index = self.index();
            manifest.chunks.iter().find(|chunk| index.chunk(chunk.digest).is_none()).copied()
        };
        if let Some(chunk) = missing {
            return Ok(Some(("chunk", chunk.digest.to_string(), "nothing".to_owned())));
        }
        let mut hasher = blake3::Hasher::new();
        for chunk in &manifest.chunks {
            match self.read_chunk(manifest.payload, *chunk) {
                Ok(bytes) => hasher.update(&bytes),
                Err(BlocksError::Damaged(damage)) => return Ok(Some((damage.what, damage.expected, damage.found))),
                Err(error) => return Err(error),
            };
        }
        let found = Checksum::from_bytes(*hasher.finalize().as_bytes());
        Ok((found != manifest.payload).then(|| ("payload", manifest.payload.to_string(), found.to_string())))
    }
}

/// Verifies header, contents and padding of a block.
fn verify_block(found: &Found) -> Result<Option<BlockDamage>, BlocksError> {
    let Location { place, header } = found.at;
    let (expected, actual) = (header.encode(place.pack, place.offset), found.pack.read(place.offset, HEADER_LEN)?);
    if actual != expected {
        return Ok(Some(found.damage("block header", hex(&expected), hex(&actual))));
    }
    match read_block(found) {
        Ok(_) => {}
        Err(BlocksError::Damaged(damage)) => return Ok(Some(damage)),
        Err(error) => return Err(error),
    }
    let end = HEADER_LEN as u64 + u64::from(header.stored_len);
    let padding_len = usize::try_from(header.block_len() - end).unwrap_or(0);
    let padding = found.pack.read(place.offset + end, padding_len)?;
    let clean = padding.iter().all(|byte| *byte == 0);
    Ok((!clean).then(|| found.damage("padding", hex(&vec![0; padding_len]), hex(&padding))))
}
