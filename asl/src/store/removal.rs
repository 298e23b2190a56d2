//! Removals: the word of the log that payloads are no longer here on purpose. `FORMAT.md`, "Removal".
//!
//! Records and their chain cover checksums, not bytes, so a log stays valid when a payload goes; a removal says that it went
//! because someone wanted it to, and when. It concerns this site alone and is never sent.

use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};
use uor_index_format::id::Checksum;

const MAGIC: [u8; 4] = *b"UORX";
const VERSION: u16 = 1;

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
        reader.header("removal", MAGIC, VERSION)?;
        let offset = reader.offset();
        let reason = match reader.u16("removal reason")? {
            1 => Reason::Erased,
            2 => Reason::Collected,
            _ => return Err(Reader::invalid("removal reason", offset, "unknown: written by a newer release?")),
        };
        let wall_ms = reader.u64("removal wall clock")?;
        let count =
            reader.count("removal payloads", u32::try_from(Self::COUNT_MAX).unwrap_or(u32::MAX), Checksum::LEN)?;
        let checksums =
            (0..count).map(|_| reader.array("removed payload").map(Checksum::from_bytes)).collect::<Result<_, _>>()?;
        reader.finish("removal")?;
        Ok(Self { reason, wall_ms, checksums })
    }
}
