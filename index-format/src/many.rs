//! `derive_key` digests of many inputs of one length, side by side in vector registers. A record of
//! a commit takes three blocks (its leaf, and one node): some 60 ns of a processor with AVX2, and
//! 250 one after the other.
//!
//! What does it is `blake3::platform`, which is public but not promised. `blake3::many` takes its
//! place once that is released (BLAKE3 pull request 575); nothing outside of this file knows.

use blake3::IncrementCounter;
use blake3::platform::{MAX_SIMD_DEGREE, Platform};

use crate::id::Context;

/// Bytes of a BLAKE3 block: inputs hashed side by side are whole blocks.
pub(crate) const BLOCK_LEN: usize = 64;

/// Flags of a compression (BLAKE3 specification, table 3).
mod flag {
    pub(super) const CHUNK_START: u8 = 1 << 0;
    pub(super) const CHUNK_END: u8 = 1 << 1;
    pub(super) const ROOT: u8 = 1 << 3;
    pub(super) const DERIVE_KEY_MATERIAL: u8 = 1 << 6;
}

/// Appends the `derive_key` digest of each input to `digests`. An input is one BLAKE3 chunk at
/// most, and whole blocks.
pub(crate) fn derive_many<const LEN: usize>(
    context: &Context,
    inputs: &[[u8; LEN]],
    digests: &mut Vec<[u8; 32]>,
) {
    const {
        assert!(
            LEN > 0 && LEN.is_multiple_of(BLOCK_LEN) && LEN <= blake3::CHUNK_LEN,
            "one chunk of whole blocks"
        );
    }
    let (platform, key) = (Platform::detect(), key_words(context));
    for inputs in inputs.chunks(MAX_SIMD_DEGREE) {
        let mut lanes = [&inputs[0]; MAX_SIMD_DEGREE];
        lanes
            .iter_mut()
            .zip(inputs)
            .for_each(|(lane, input)| *lane = input);
        let mut found = [[0; 32]; MAX_SIMD_DEGREE];
        platform.hash_many(
            &lanes[..inputs.len()],
            &key,
            0,
            IncrementCounter::No,
            flag::DERIVE_KEY_MATERIAL,
            flag::CHUNK_START,
            flag::CHUNK_END | flag::ROOT,
            found.as_flattened_mut(),
        );
        digests.extend_from_slice(&found[..inputs.len()]);
    }
}

fn key_words(context: &Context) -> [u32; 8] {
    let (words, _) = context.key().as_chunks();
    std::array::from_fn(|index| u32::from_le_bytes(words[index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{context, derive};

    fn hold<const LEN: usize>(count: usize) {
        let inputs: Vec<[u8; LEN]> = (0..count)
            .map(|number| {
                let input = blake3::hash(&number.to_le_bytes());
                std::array::from_fn(|at| {
                    input.as_bytes()[at % 32].wrapping_add((at % 251).to_le_bytes()[0])
                })
            })
            .collect();
        let mut many = Vec::new();
        derive_many(&context::COMMIT, &inputs, &mut many);
        let one_by_one = inputs
            .iter()
            .map(|input| derive(&context::COMMIT, &[input]));
        assert!(many.into_iter().eq(one_by_one), "{count} of {LEN}");
    }

    #[test]
    fn digests_side_by_side_are_those_of_one_after_the_other() {
        for count in 0..=2 * MAX_SIMD_DEGREE + 1 {
            hold::<64>(count);
            hold::<128>(count);
            hold::<1024>(count);
        }
    }
}
