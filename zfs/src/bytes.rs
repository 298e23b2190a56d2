//! Numbers in either byte order.

/// The byte order of a stream, or of one structure inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Little => Self::Big,
            Self::Big => Self::Little,
        }
    }

    /// The 16 bits at `at`, if they are there.
    #[must_use]
    pub fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let value = u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(if self == Self::Big {
            value.swap_bytes()
        } else {
            value
        })
    }

    /// The 32 bits at `at`, if they are there.
    #[must_use]
    pub fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let value = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(if self == Self::Big {
            value.swap_bytes()
        } else {
            value
        })
    }

    /// The 64 bits at `at`, if they are there.
    #[must_use]
    pub fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let value = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(if self == Self::Big {
            value.swap_bytes()
        } else {
            value
        })
    }

    /// The order in which the 64 bits at the start are `value`.
    #[must_use]
    pub fn in_which(bytes: &[u8], value: u64) -> Option<Self> {
        [Self::Little, Self::Big]
            .into_iter()
            .find(|order| order.u64(bytes, 0) == Some(value))
    }
}
