//! The list of chunks of a payload that is longer than one; `FORMAT.md`, "Manifest".
//!
//! Decoding trusts nothing: no input panics, and none allocates out of proportion to its length.

use super::layout::CHUNK_LEN_MAX;
use uor_index_format::id::Checksum;

/// Byte ranges before the chunks.
mod field {
    use std::ops::Range;

    pub(super) const PAYLOAD: Range<usize> = 0..32;
    pub(super) const LEN: Range<usize> = 32..40;
    pub(super) const COUNT: Range<usize> = 40..44;
    // 44..48 reserved, zero.
}

const HEAD_LEN: usize = 48;
const CHUNK_ENTRY_LEN: usize = 36;
const CHECK_LEN: usize = 32;

/// The longest manifest, in bytes: enough for some 450 GiB in the shortest chunks, 1.8 TiB in
/// average ones.
pub(super) const MANIFEST_LEN_MAX: usize = 64 << 20;

/// The most chunks a payload may have.
pub(super) const CHUNK_COUNT_MAX: usize =
    (MANIFEST_LEN_MAX - HEAD_LEN - CHECK_LEN) / CHUNK_ENTRY_LEN;

/// One chunk of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The digest of its bytes.
    pub digest: Checksum,
    /// How many bytes it has; at least one.
    pub len: u32,
}

/// A payload as a list of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The digest of the payload.
    pub(super) payload: Checksum,
    /// Its length: the sum of its chunks'.
    pub(super) len: u64,
    pub(super) chunks: Vec<Chunk>,
}

impl Manifest {
    pub(super) fn new(payload: Checksum, chunks: Vec<Chunk>) -> Self {
        Self {
            payload,
            len: chunks.iter().map(|chunk| u64::from(chunk.len)).sum(),
            chunks,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(HEAD_LEN + self.chunks.len() * CHUNK_ENTRY_LEN + CHECK_LEN);
        bytes.extend_from_slice(self.payload.as_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        let count =
            u32::try_from(self.chunks.len()).expect("the caller bounds the number of chunks");
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk.digest.as_bytes());
            bytes.extend_from_slice(&chunk.len.to_le_bytes());
        }
        let check = Checksum::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes
    }

    /// The manifest of `payload` in `bytes`, or which digest was expected where which was found.
    pub(super) fn decode(bytes: &[u8], payload: Checksum) -> Result<Self, (Checksum, Checksum)> {
        let Some((content, check)) = bytes.split_last_chunk::<CHECK_LEN>() else {
            return Err((payload, Checksum::of(bytes)));
        };
        let refused = (Checksum::from_bytes(*check), Checksum::of(content));
        if refused.0 != refused.1 || content.len() < HEAD_LEN {
            return Err(refused);
        }
        let mut named = [0; 32];
        named.copy_from_slice(&content[field::PAYLOAD]);
        if Checksum::from_bytes(named) != payload {
            return Err((payload, Checksum::from_bytes(named)));
        }
        let mut len = [0; 8];
        len.copy_from_slice(&content[field::LEN]);
        let mut count = [0; 4];
        count.copy_from_slice(&content[field::COUNT]);
        let (entries, rest) = content[HEAD_LEN..].as_chunks::<CHUNK_ENTRY_LEN>();
        let chunks: Vec<Chunk> = entries.iter().map(decode_chunk).collect();
        let manifest = Self::new(payload, chunks);
        let sound = rest.is_empty()
            && manifest.chunks.len() == u32::from_le_bytes(count) as usize
            && manifest.len == u64::from_le_bytes(len)
            && manifest
                .chunks
                .iter()
                .all(|chunk| (1..=CHUNK_LEN_MAX).contains(&(chunk.len as usize)));
        // Of several chunks, only their bytes prove that they are the payload's.
        match manifest.chunks.as_slice() {
            _ if !sound => Err(refused),
            [] if payload != Checksum::of(b"") => Err((payload, Checksum::of(b""))),
            [only] if only.digest != payload => Err((payload, only.digest)),
            _ => Ok(manifest),
        }
    }
}

fn decode_chunk(entry: &[u8; CHUNK_ENTRY_LEN]) -> Chunk {
    let mut digest = [0; 32];
    digest.copy_from_slice(&entry[..32]);
    let len = u32::from_le_bytes([entry[32], entry[33], entry[34], entry[35]]);
    Chunk {
        digest: Checksum::from_bytes(digest),
        len,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> impl Strategy<Value = Checksum> {
        any::<[u8; 32]>().prop_map(Checksum::from_bytes)
    }

    proptest! {
        #[test]
        fn manifests_come_back_and_flipped_ones_are_refused(
            payload in digest(),
            chunks in prop::collection::vec((digest(), 1..=4_u32 << 20), 0..20),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut chunks: Vec<Chunk> = chunks.into_iter().map(|(digest, len)| Chunk { digest, len }).collect();
            let payload = if chunks.is_empty() { Checksum::of(b"") } else { payload };
            if let [only] = chunks.as_mut_slice() {
                prop_assert!(Manifest::decode(&Manifest::new(payload, vec![*only]).encode(), payload).is_err());
                only.digest = payload;
            }
            let manifest = Manifest::new(payload, chunks);
            let mut bytes = manifest.encode();
            prop_assert_eq!(Manifest::decode(&bytes, payload).ok(), Some(manifest));
            prop_assert!(Manifest::decode(&bytes, Checksum::from_bytes([0; 32])).is_err());
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Manifest::decode(&bytes, payload).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), payload in digest()) {
            prop_assert!(Manifest::decode(&bytes, payload).is_err());
        }
    }
}
