//! How far a command has come.

use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Items,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing, such as `adding`.
    pub label: String,
    /// How much is done.
    pub position: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

impl Progress {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .bytes(self.label.as_bytes())
            .u64(self.position)
            .u8(u8::from(self.total.is_some()));
        writer
            .u64(self.total.unwrap_or(0))
            .u8(u8::from(self.unit == Unit::Items));
        writer.into_bytes()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let label = reader.string("progress label", 4096)?.to_owned();
        let position = reader.u64("progress position")?;
        let has_total = reader.u8("progress flag")? == 1;
        let total = Some(reader.u64("progress total")?).filter(|_| has_total);
        let unit = if reader.u8("progress unit")? == 1 {
            Unit::Items
        } else {
            Unit::Bytes
        };
        reader.finish("progress")?;
        Ok(Self {
            label,
            position,
            total,
            unit,
        })
    }
}
