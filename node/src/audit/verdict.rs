//! What an audit says at its end, and on its way.

use serde::{Serialize, Serializer};

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything agrees.
    Agrees,
    /// Something differs or is damaged.
    Diverges,
    /// The audit could not be completed.
    Incomplete,
}

impl Verdict {
    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Diverges => "diverges",
            Self::Incomplete => "incomplete",
        }
    }

    /// The verdict over both: a proven difference outweighs what could not be looked at.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Diverges, _) | (_, Self::Diverges) => Self::Diverges,
            (Self::Incomplete, _) | (_, Self::Incomplete) => Self::Incomplete,
            _ => Self::Agrees,
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How far an audit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of payloads that were read, of how many.
    Payloads(u64, u64),
    /// Bytes of the log that were read, of how many.
    Log(u64, u64),
    /// The index is held against the log.
    Index,
    /// Commits that were replayed, of how many.
    Commits(u64, u64),
    /// How many snapshots are being replayed.
    Snapshots(u64),
    /// Claims about receipts that were looked at, of how many.
    Claims(u64, u64),
}
