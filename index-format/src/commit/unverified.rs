//! What a commit's header says before anything of it is believed: for those who read a commit that
//! was decoded before, or look for one in bytes that may hold none.
//!
//! Decoding trusts nothing: no input panics, and none allocates.

use std::ops::Range;

use super::header::{MAGIC, VERSION};
use super::{BODY_LEN_MAX, CommitHeader, LEARNED_MAX, RECORDS_MAX, field};
use crate::codec::{DecodeError, Reader};
use crate::id::{LogSeq, SiteId};

/// Fields of a commit's header. Neither the signature nor the body was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnverifiedHeader {
    /// The log that the commit says it belongs to.
    pub domain: SiteId,
    /// Its position there, said to count from 1.
    pub number: u64,
    /// Its Lamport time.
    pub logseq: LogSeq,
    /// Length of the body in bytes, at most [`BODY_LEN_MAX`].
    pub body_len: u32,
    /// Number of membership commits named first in the body, at most [`LEARNED_MAX`].
    pub learned_count: u32,
    /// Number of records behind them, at most [`RECORDS_MAX`].
    pub record_count: u32,
}

impl UnverifiedHeader {
    /// Reads the header at the start of `bytes`, which may go on after it.
    ///
    /// # Errors
    /// [`DecodeError`] if there are too few bytes, if they do not begin like a commit of a version
    /// that this release reads, or if a length or count is above what the format allows.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = Reader::new(bytes).take("commit header", CommitHeader::LEN)?;
        Reader::new(header).header("commit", MAGIC, VERSION)?;
        let bounded = |name, field: Range<usize>, max: u32| {
            let (value, offset) = (u32::from_le_bytes(at(header, &field)), field.start);
            if value <= max {
                return Ok(value);
            }
            Err(DecodeError::TooLarge {
                field: name,
                offset,
                value: value.into(),
                max: max.into(),
            })
        };
        Ok(Self {
            domain: SiteId::from_bytes(at(header, &field::DOMAIN)),
            number: u64::from_le_bytes(at(header, &field::NUMBER)),
            logseq: LogSeq(u64::from_le_bytes(at(header, &field::LOGSEQ))),
            body_len: bounded("commit body length", field::BODY_LEN, BODY_LEN_MAX)?,
            learned_count: bounded("commit membership count", field::LEARNED_COUNT, LEARNED_MAX)?,
            record_count: bounded("commit record count", field::RECORD_COUNT, RECORDS_MAX)?,
        })
    }
}

/// The bytes of a field of a header.
fn at<const LEN: usize>(header: &[u8], field: &Range<usize>) -> [u8; LEN] {
    header[field.clone()]
        .try_into()
        .expect("each field is read as the type that has its length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that says this, and is signed by nobody.
    fn header(version: u16, counts: [u32; 3]) -> Vec<u8> {
        let mut bytes = vec![0; CommitHeader::LEN];
        let mut put = |field: Range<usize>, value: &[u8]| bytes[field].copy_from_slice(value);
        put(field::MAGIC, &MAGIC);
        put(field::VERSION, &version.to_le_bytes());
        put(field::DOMAIN, &[7; 32]);
        put(field::NUMBER, &5_u64.to_le_bytes());
        put(field::LOGSEQ, &9_u64.to_le_bytes());
        put(field::BODY_LEN, &counts[0].to_le_bytes());
        put(field::LEARNED_COUNT, &counts[1].to_le_bytes());
        put(field::RECORD_COUNT, &counts[2].to_le_bytes());
        bytes
    }

    #[test]
    fn fields_are_read_though_nobody_signed_them() {
        for version in 1..=VERSION {
            let bytes = [header(version, [10, 2, 3]), vec![1; 10]].concat();
            let found = UnverifiedHeader::read(&bytes).unwrap();
            let expected = UnverifiedHeader {
                domain: SiteId::from_bytes([7; 32]),
                number: 5,
                logseq: LogSeq(9),
                body_len: 10,
                learned_count: 2,
                record_count: 3,
            };
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        let sound = header(VERSION, [BODY_LEN_MAX, LEARNED_MAX, RECORDS_MAX]);
        assert!(UnverifiedHeader::read(&sound).is_ok());
        for len in 0..sound.len() {
            assert!(
                matches!(
                    UnverifiedHeader::read(&sound[..len]),
                    Err(DecodeError::Truncated { .. })
                ),
                "{len} bytes"
            );
        }
        let mut other = sound.clone();
        other[field::MAGIC.start] ^= 1;
        assert!(UnverifiedHeader::read(&other).is_err(), "another magic");
        assert!(UnverifiedHeader::read(&header(0, [1, 0, 1])).is_err());
        assert!(matches!(
            UnverifiedHeader::read(&header(VERSION + 1, [1, 0, 1])),
            Err(DecodeError::NewerVersion { .. })
        ));
        for (counts, offset) in [
            ([BODY_LEN_MAX + 1, 0, 1], field::BODY_LEN.start),
            ([1, LEARNED_MAX + 1, 1], field::LEARNED_COUNT.start),
            ([1, 0, RECORDS_MAX + 1], field::RECORD_COUNT.start),
        ] {
            assert!(matches!(
                UnverifiedHeader::read(&header(VERSION, counts)),
                Err(DecodeError::TooLarge { offset: found, .. }) if found == offset
            ));
        }
    }
}
