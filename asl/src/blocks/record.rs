//! Records of blocks that are no more, which are blocks themselves; `FORMAT.md`, "Erased and
//! dropped".
//!
//! Decoding trusts nothing: no input panics, and none allocates out of proportion to its length.

use super::manifest::MANIFEST_LEN_MAX;
use super::place::Place;
use uor_index_format::id::Checksum;

const HEAD_LEN: usize = 8;
const PLACE_LEN: usize = 12;
const CHECK_LEN: usize = 32;

/// The most places of one record.
pub(super) const PLACES_MAX: usize = (MANIFEST_LEN_MAX - HEAD_LEN - CHECK_LEN) / PLACE_LEN;

/// The raw bytes of a record named `name`.
pub(super) fn encode(name: Checksum, places: &[Place]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + places.len() * PLACE_LEN + CHECK_LEN);
    let count = u32::try_from(places.len()).expect("the caller bounds the number of places");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for place in places {
        bytes.extend_from_slice(&place.pack.to_le_bytes());
        bytes.extend_from_slice(&place.offset.to_le_bytes());
    }
    let check = check(name, &bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

/// The places in a record named `name`, or which digest was expected where which was found.
pub(super) fn decode(name: Checksum, bytes: &[u8]) -> Result<Vec<Place>, (Checksum, Checksum)> {
    let Some((content, stored)) = bytes.split_last_chunk::<CHECK_LEN>() else {
        return Err((name, Checksum::of(bytes)));
    };
    let refused = (Checksum::from_bytes(*stored), check(name, content));
    let Some((head, rest)) = content
        .split_first_chunk::<HEAD_LEN>()
        .filter(|_| refused.0 == refused.1)
    else {
        return Err(refused);
    };
    let (entries, rest) = rest.as_chunks::<PLACE_LEN>();
    let count = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if !rest.is_empty() || entries.len() != count as usize {
        return Err(refused);
    }
    Ok(entries.iter().map(decode_place).collect())
}

fn decode_place(entry: &[u8; PLACE_LEN]) -> Place {
    let [a, b, c, d, offset @ ..] = *entry;
    Place {
        pack: u32::from_le_bytes([a, b, c, d]),
        offset: u64::from_le_bytes(offset),
    }
}

fn check(name: Checksum, content: &[u8]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes()).update(content);
    Checksum::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_back_and_flipped_ones_are_refused(
            name in any::<[u8; 32]>().prop_map(Checksum::from_bytes),
            places in prop::collection::vec((any::<u32>(), any::<u64>()), 0..20),
            flip in any::<prop::sample::Index>(),
        ) {
            let places: Vec<Place> = places.into_iter().map(|(pack, offset)| Place { pack, offset }).collect();
            let mut bytes = encode(name, &places);
            prop_assert_eq!(decode(name, &bytes), Ok(places));
            prop_assert!(decode(Checksum::from_bytes([0; 32]), &bytes).is_err());
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(name, &bytes).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(Checksum::from_bytes([0; 32]), &bytes).is_err());
        }
    }
}
