//! Removals: the word of the log that payloads are no longer here on purpose. `FORMAT.md`,
//! "Removal".
//!
//! Records and their chain cover checksums, not bytes, so a log stays valid when a payload goes; a
//! removal says that it went because someone wanted it to, and when. It concerns this site alone
//! and is never sent.

use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};
use uor_index_format::id::Checksum;

const MAGIC: [u8; 4] = *b"UORM";
const VERSION: u16 = 2;
/// What version 1 begins with: outcomes of receipts do too, which is why it has changed. All else
/// is as in version 2.
const MAGIC_V1: [u8; 4] = *b"UORX";
const VERSION_V1: u16 = 1;

/// Why payloads were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Someone asked for it: they are not to come back by themselves.
    Erased,
    /// No kept snapshot sees them.
    Collected,
}

/// Payloads that were removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) reason: Reason,
    /// Milliseconds since 1970.
    pub(super) wall_ms: u64,
    pub(super) checksums: Vec<Checksum>,
}

impl Removal {
    /// Most payloads of one removal.
    pub(super) const COUNT_MAX: usize = 65_536;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.u16(match self.reason {
            Reason::Erased => 1,
            Reason::Collected => 2,
        });
        writer.u64(self.wall_ms).count(self.checksums.len());
        self.checksums.iter().for_each(|checksum| {
            writer.raw(checksum.as_bytes());
        });
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if bytes.starts_with(&MAGIC_V1) {
            reader.header("removal", MAGIC_V1, VERSION_V1)?;
        } else if reader.header("removal", MAGIC, VERSION)? != VERSION {
            return Err(Reader::invalid(
                "removal",
                MAGIC.len(),
                "a version that never was: the file is damaged",
            ));
        }
        let offset = reader.offset();
        let reason = match reader.u16("removal reason")? {
            1 => Reason::Erased,
            2 => Reason::Collected,
            _ => {
                return Err(Reader::invalid(
                    "removal reason",
                    offset,
                    "unknown: written by a newer release?",
                ));
            }
        };
        let wall_ms = reader.u64("removal wall clock")?;
        let count = reader.count(
            "removal payloads",
            u32::try_from(Self::COUNT_MAX).unwrap_or(u32::MAX),
            Checksum::LEN,
        )?;
        let checksums = (0..count)
            .map(|_| reader.array("removed payload").map(Checksum::from_bytes))
            .collect::<Result<_, _>>()?;
        reader.finish("removal")?;
        Ok(Self {
            reason,
            wall_ms,
            checksums,
        })
    }
}

#[cfg(test)]
mod tests {
    use uor_index_format::codec::{from_hex, hex};

    use super::*;

    /// After magic and version: erased at 1,000 ms, one payload.
    const REST: &str = "0100e80300000000000001000000abababababababababababababababababababababababababababababababab";

    fn removal() -> Removal {
        Removal {
            reason: Reason::Erased,
            wall_ms: 1000,
            checksums: vec![Checksum::from_bytes([0xab; 32])],
        }
    }

    #[test]
    fn the_bytes_of_a_removal_are_golden_and_the_first_version_is_read() {
        assert_eq!(hex(&removal().encode()), format!("554f524d0200{REST}"));
        for start in ["554f524d0200", "554f52580100"] {
            assert_eq!(
                Removal::decode(&from_hex(&format!("{start}{REST}")).unwrap()),
                Ok(removal())
            );
        }
    }

    #[test]
    fn other_magics_and_versions_are_refused() {
        for start in [
            "554f524d0100",
            "554f524d0300",
            "554f524d0000",
            "554f52580200",
            "554f52530100",
        ] {
            assert!(
                Removal::decode(&from_hex(&format!("{start}{REST}")).unwrap()).is_err(),
                "{start}"
            );
        }
    }
}
