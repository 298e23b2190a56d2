//! The 32 bytes at the start of every log segment and pack; `FORMAT.md`, "File header".
//!
//! Invariant: this layout is the same in every format version, so that a file of a newer version
//! can be told from a damaged one.

use uor_index_format::codec::hex;

use crate::damage::Mismatch;

/// Byte ranges of the header.
mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..10;
    // 10..12 reserved, zero.
    pub(super) const NUMBER: Range<usize> = 12..16;
    pub(super) const CHECK: Range<usize> = 16..32;
}

/// Length of the header in bytes.
pub(crate) const LEN: usize = 32;
const _: () = assert!(field::CHECK.end == LEN, "no gap, no padding");

/// Why 32 bytes are not the header that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// A sound header of a version this program does not know.
    Version { found: u16 },
    /// Not a sound header.
    Damaged(Mismatch),
}

/// The header of file `number` of the kind that `magic` names.
pub(crate) fn encode(magic: [u8; 8], number: u32, version: u16) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[field::MAGIC].copy_from_slice(&magic);
    bytes[field::VERSION].copy_from_slice(&version.to_le_bytes());
    bytes[field::NUMBER].copy_from_slice(&number.to_le_bytes());
    let check = check(&bytes);
    bytes[field::CHECK].copy_from_slice(&check);
    bytes
}

/// The version, at most `newest`, in the header of file `number` of the kind that `magic` names.
pub(crate) fn version(
    bytes: &[u8],
    magic: [u8; 8],
    number: u32,
    newest: u16,
) -> Result<u16, Invalid> {
    let found = &bytes[..LEN.min(bytes.len())];
    if found.len() == LEN {
        let version =
            u16::from_le_bytes([found[field::VERSION.start], found[field::VERSION.start + 1]]);
        if found == encode(magic, number, version) {
            let known = (1..=newest).contains(&version);
            return if known {
                Ok(version)
            } else {
                Err(Invalid::Version { found: version })
            };
        }
    }
    Err(Invalid::Damaged(Mismatch::new(
        "file header",
        hex(&encode(magic, number, newest)),
        hex(found),
    )))
}

fn check(bytes: &[u8; LEN]) -> [u8; 16] {
    let mut check = [0; 16];
    check.copy_from_slice(&blake3::hash(&bytes[..field::CHECK.start]).as_bytes()[..16]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"UORLOG\0\0";

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = encode(MAGIC, 3, 3);
        assert_eq!(version(&newer, MAGIC, 3, 3), Ok(3));
        assert_eq!(
            version(&newer, MAGIC, 3, 2),
            Err(Invalid::Version { found: 3 })
        );
        for bit in 0..LEN * 8 {
            let mut flipped = encode(MAGIC, 3, 2);
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(version(&flipped, MAGIC, 3, 2), Err(Invalid::Damaged(_))),
                "bit {bit}"
            );
        }
        assert!(version(&newer[..31], MAGIC, 3, 3).is_err());
        assert!(version(&encode(MAGIC, 4, 3), MAGIC, 3, 3).is_err());
    }
}
