//! Payloads as ZFS compresses them. The length of the result is known beforehand and has to come
//! out exactly.

use std::io::Read as _;

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// There is no such method.
    #[error("unsupported compression {method}")]
    Unknown {
        /// Its number.
        method: u8,
    },
    /// The bytes are none of the method, or not that many.
    #[error("{method} does not decompress to {len} bytes")]
    Damaged {
        /// The method.
        method: &'static str,
        /// How many bytes there should be.
        len: usize,
    },
}

/// What zstd frames begin with, and ZFS leaves out.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// lzjb: how many bits the length of a match has, and the shortest match.
const LZJB_MATCH_BITS: u16 = 6;
const LZJB_MATCH_MIN: usize = 3;
/// zle: controls below this copy, others are runs of zeros.
const ZLE_RUN: u8 = 64;

/// Decompresses `payload` into `out`, which has the length that must come out. Bytes that follow
/// are padding.
///
/// # Errors
/// [`DecompressError`]; what is in `out` then means nothing.
pub fn decompress(method: u8, payload: &[u8], out: &mut [u8]) -> Result<(), DecompressError> {
    let len = out.len();
    let (name, done) = match method {
        0 | 2 => ("no compression", plain(payload, out)),
        3 => ("lzjb", lzjb(payload, out)),
        5..=13 => ("gzip", gzip(payload, out)),
        14 => ("zle", zle(payload, out)),
        15 => ("lz4", lz4(payload, out)),
        16 => ("zstd", zstd(payload, out)),
        method => return Err(DecompressError::Unknown { method }),
    };
    done.ok_or(DecompressError::Damaged { method: name, len })
}

fn plain(payload: &[u8], out: &mut [u8]) -> Option<()> {
    out.copy_from_slice(payload.get(..out.len())?);
    Some(())
}

/// What follows a length word, most significant byte first.
fn measured(payload: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = payload.split_first_chunk::<4>()?;
    Some((
        usize::try_from(u32::from_le_bytes(*len).swap_bytes()).ok()?,
        rest,
    ))
}

fn lz4(payload: &[u8], out: &mut [u8]) -> Option<()> {
    let (len, rest) = measured(payload)?;
    let done = lz4_flex::block::decompress_into(rest.get(..len)?, out).ok()?;
    (done == out.len()).then_some(())
}

fn zstd(payload: &[u8], out: &mut [u8]) -> Option<()> {
    let (len, rest) = measured(payload)?;
    // A word of version and level stands between.
    let frame = [&ZSTD_MAGIC, rest.get(4..)?.get(..len)?].concat();
    let done = zstd::bulk::decompress_to_buffer(&frame, out).ok()?;
    (done == out.len()).then_some(())
}

fn gzip(payload: &[u8], out: &mut [u8]) -> Option<()> {
    flate2::bufread::ZlibDecoder::new(payload)
        .read_exact(out)
        .ok()
}

fn zle(payload: &[u8], out: &mut [u8]) -> Option<()> {
    let (mut payload, mut out) = (payload, out);
    while !out.is_empty() {
        let (control, rest) = payload.split_first()?;
        payload = rest;
        let len = if *control < ZLE_RUN {
            let len = usize::from(*control) + 1;
            let (copied, rest) = payload.split_at_checked(len)?;
            out.get_mut(..len)?.copy_from_slice(copied);
            payload = rest;
            len
        } else {
            let len = usize::from(*control - ZLE_RUN) + 1;
            out.get_mut(..len)?.fill(0);
            len
        };
        out = out.get_mut(len..)?;
    }
    Some(())
}

fn lzjb(payload: &[u8], out: &mut [u8]) -> Option<()> {
    let mut bytes = payload.iter().copied();
    let (mut at, mut map, mut items) = (0, 0_u8, 0);
    while at < out.len() {
        if items == 0 {
            (map, items) = (bytes.next()?, 8);
        }
        if map & 1 == 0 {
            *out.get_mut(at)? = bytes.next()?;
            at += 1;
        } else {
            let word = u16::from(bytes.next()?) << 8 | u16::from(bytes.next()?);
            let len = usize::from(word >> (16 - LZJB_MATCH_BITS)) + LZJB_MATCH_MIN;
            let distance = usize::from(word & 0x3FF);
            let from = at.checked_sub(distance).filter(|_| distance > 0)?;
            // A match may run beyond what is needed, and into itself.
            for step in 0..len.min(out.len() - at) {
                *out.get_mut(at + step)? = *out.get(from + step)?;
            }
            at += len;
        }
        map >>= 1;
        items -= 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(method: u8, payload: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut out = vec![0xEE; len];
        decompress(method, payload, &mut out).ok().map(|()| out)
    }

    #[test]
    fn zle_copies_and_runs() {
        assert_eq!(
            opened(14, &[2, 7, 8, 9, 64 + 3, 0, 5], 8).unwrap(),
            [7, 8, 9, 0, 0, 0, 0, 5]
        );
        assert_eq!(opened(14, &[2, 7, 8], 3), None);
        assert_eq!(opened(14, &[64 + 9], 3), None, "a run beyond the end");
    }

    #[test]
    fn lzjb_copies_from_itself() {
        // Two literals, then a match of six bytes at distance two.
        assert_eq!(
            opened(3, &[0b100, b'a', b'b', 3 << 2, 2], 8).unwrap(),
            *b"abababab"
        );
        assert_eq!(opened(3, &[0b1, 0, 1], 3), None, "a match before the start");
        assert_eq!(
            opened(3, &[0b10, b'a', 0, 0], 4),
            None,
            "a match of distance zero"
        );
        assert_eq!(opened(3, &[0], 1), None);
    }

    #[test]
    fn padding_follows_and_lengths_are_exact() {
        let raw =
            b"a text that is long enough to be worth it, worth it, worth it, worth it".repeat(9);
        let measured = |head: &[u8], bytes: &[u8]| {
            let mut len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            len.reverse();
            [&len, head, bytes, &[0; 300]].concat()
        };
        let lz4 = measured(&[], &lz4_flex::block::compress(&raw));
        let frame = zstd::bulk::compress(&raw, 3).unwrap();
        let zstd = measured(&[0; 4], &frame[4..]);
        let mut gzip = Vec::new();
        let level = flate2::Compression::new(6);
        flate2::bufread::ZlibEncoder::new(raw.as_slice(), level)
            .read_to_end(&mut gzip)
            .unwrap();
        gzip.extend([0; 300]);
        for (method, payload) in [(15, lz4), (16, zstd), (6, gzip)] {
            assert_eq!(
                opened(method, &payload, raw.len()).unwrap(),
                raw,
                "{method}"
            );
            assert_eq!(opened(method, &payload, raw.len() + 1), None, "{method}");
            assert_eq!(opened(method, &payload[..20], raw.len()), None, "{method}");
        }
        assert_eq!(opened(2, &raw, 10).unwrap(), raw[..10]);
        assert_eq!(
            decompress(4, &raw, &mut [0]),
            Err(DecompressError::Unknown { method: 4 })
        );
    }
}
