//! Which codec a block is stored with: zstd where it saves at least a sixteenth, found out cheaply
//! first.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

use super::error::BlocksError;
use super::frame::{Codec, Header, Kind, len_of};
use uor_index_format::id::Checksum;

/// Almost as small as the usual level 3, and a quarter faster.
const LEVEL: i32 = 2;
/// Shorter blocks are not worth a try.
const LEN_MIN: usize = 64;

/// Of blocks longer than this, pieces are tried first: what does not compress would cost as much as
/// what does.
const SAMPLED_LEN_MIN: usize = 64 << 10;
const SAMPLE_PIECES: usize = 4;
const SAMPLE_PIECE_LEN: usize = 4 << 10;
const SAMPLE_LEVEL: i32 = 1;

thread_local! {
    /// Contexts are large, and are used for one block after the other.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::default();
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

/// The bytes to store, and as what: compressed where that saves at least a sixteenth.
pub(super) fn compress(name: Checksum, raw: &[u8]) -> Result<(Codec, Cow<'_, [u8]>), BlocksError> {
    if raw.len() >= LEN_MIN {
        let failed = |source| BlocksError::Compression {
            action: "compress",
            digest: name,
            source,
        };
        if let Some(stored) = COMPRESSOR
            .with_borrow_mut(|compressor| try_compress(compressor, raw))
            .map_err(failed)?
        {
            return Ok((Codec::Zstd, Cow::Owned(stored)));
        }
    }
    Ok((Codec::Raw, Cow::Borrowed(raw)))
}

/// The header of a block that holds these bytes, and the bytes to store behind it.
pub(super) fn compress_block(
    kind: Kind,
    name: Checksum,
    raw: &[u8],
) -> Result<(Header, Cow<'_, [u8]>), BlocksError> {
    let (codec, stored) = compress(name, raw)?;
    let header = Header {
        kind,
        codec,
        raw_len: len_of(raw),
        stored_len: len_of(&stored),
        name,
    };
    Ok((header, stored))
}

fn try_compress(compressor: &mut Compressor<'_>, raw: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if raw.len() >= SAMPLED_LEN_MIN {
        let sample = sample(raw);
        compressor.set_compression_level(SAMPLE_LEVEL)?;
        // What hardly compresses in pieces may do so as a whole; what does not at all, does not.
        if compressor.compress(&sample)?.len() > sample.len() - sample.len() / 64 {
            return Ok(None);
        }
    }
    compressor.set_compression_level(LEVEL)?;
    let stored = compressor.compress(raw)?;
    Ok((stored.len() <= raw.len() - raw.len() / 16).then_some(stored))
}

/// Pieces from all over a long block.
fn sample(raw: &[u8]) -> Vec<u8> {
    let stride = (raw.len() - SAMPLE_PIECE_LEN) / (SAMPLE_PIECES - 1);
    let piece = |number: usize| &raw[number * stride..number * stride + SAMPLE_PIECE_LEN];
    (0..SAMPLE_PIECES).flat_map(piece).copied().collect()
}

/// The raw bytes of one zstd frame that should be at most `len_max` long.
pub(super) fn decompress(stored: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress(stored, len_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new()
            .update(&[seed])
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_pays_is_compressed_and_comes_back() {
        let name = Checksum::of(b"");
        let prose: Vec<u8> = noise(1, 1 << 20)
            .iter()
            .map(|byte| b'a' + byte % 16)
            .collect();
        let half = [noise(2, 1 << 19), vec![0; 1 << 19]].concat();
        for len in [
            0,
            63,
            64,
            1000,
            SAMPLED_LEN_MIN - 1,
            SAMPLED_LEN_MIN,
            1 << 20,
        ] {
            for (raw, pays) in [
                (&noise(3, 1 << 20), false),
                (&prose, true),
                (&vec![7; 1 << 20], true),
            ] {
                let raw = &raw[..len];
                let (codec, stored) = compress(name, raw).unwrap();
                assert_eq!(
                    codec == Codec::Zstd,
                    pays && len >= LEN_MIN,
                    "{len} bytes, {pays}"
                );
                if codec == Codec::Zstd {
                    assert_eq!(decompress(&stored, len).unwrap(), raw);
                }
            }
        }
        assert_eq!(compress(name, &half).unwrap().0, Codec::Zstd);
    }
}
