//! Where blocks are.

use super::frame::Header;

/// Where a block starts; later blocks have greater places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The pack's number.
    pub(super) pack: u32,
    /// Where in its file the block's header begins.
    pub(super) offset: u64,
}

impl Place {
    /// Before every block.
    pub(super) const FIRST: Self = Self { pack: 0, offset: 0 };
    /// Behind every block.
    pub(super) const LAST: Self = Self {
        pack: u32::MAX,
        offset: u64::MAX,
    };
}

/// Where a block is, and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) header: Header,
}
