//! One object: what its OBJECT record declares, and what of its contents is stored already.

use crate::ByteOrder;
use crate::bonus::{header_len, order_of};
use crate::contents::Stored;

/// Object type: contents of a file.
pub const KIND_FILE: u32 = 19;
/// Object type: a directory.
pub const KIND_DIRECTORY: u32 = 20;
/// Object type: contents of a volume.
pub const KIND_VOLUME: u32 = 23;
/// Bonus type: a znode of old file systems.
pub const BONUS_ZNODE: u32 = 17;
/// Bonus type: attributes.
pub const BONUS_SA: u32 = 44;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What its contents are.
    pub kind: u32,
    /// What its bonus buffer is.
    pub bonus_kind: u32,
    /// How many slots its dnode takes.
    pub slots: u8,
    /// Length of its blocks, in bytes.
    pub block_len: u32,
    /// The byte order of its bonus buffer.
    pub order: ByteOrder,
    /// Its bonus buffer.
    pub bonus: Box<[u8]>,
    /// Length of its spill block in bytes; 0 if it has none.
    pub spill_len: u32,
    /// Its contents as they are stored, of which parts may be in use.
    pub base: Option<Stored>,
}

impl Object {
    /// Whether its contents are bytes of a file or a volume, and no structure.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.kind, KIND_FILE | KIND_VOLUME)
    }

    /// A number of the attributes that stand at a fixed place whatever the layout: 0 mode, 1 size,
    /// 2 generation.
    fn fixed_attribute(&self, which: usize) -> Option<u64> {
        match self.bonus_kind {
            BONUS_SA => {
                let order = order_of(&self.bonus)?;
                let header_len = header_len(order, &self.bonus)?;
                order.u64(&self.bonus, header_len + 8 * which)
            }
            BONUS_ZNODE => self.order.u64(&self.bonus, *[72, 80, 64].get(which)?),
            _ => None,
        }
    }

    /// How long its attributes say the contents are: right for all that ZFS writes, and checked
    /// once layouts are known.
    #[must_use]
    pub fn len_hint(&self) -> Option<u64> {
        self.fixed_attribute(1)
    }

    fn generation(&self) -> Option<u64> {
        self.fixed_attribute(2)
    }

    fn block_pointers(&self) -> u32 {
        if self.bonus_kind == BONUS_SA {
            return 1;
        }
        let bonus_len = u32::try_from(self.bonus.len()).unwrap_or(u32::MAX);
        let room = (u32::from(self.slots) * 512 - 192).saturating_sub(bonus_len);
        (1 + (room >> 7)).min(3)
    }

    /// Whether contents that `old` had under this number go before those of `self` come.
    pub(super) fn drops_contents_of(&self, old: &Self) -> bool {
        if self.slots != old.slots {
            return true;
        }
        if self.block_len != old.block_len {
            // A base without large blocks, followed by an increment with them.
            let is_same_file = self.kind == KIND_FILE
                && old.kind == KIND_FILE
                && old.len_hint().is_some_and(|len| len > old.block_len.into())
                && self.generation().is_some()
                && self.generation() == old.generation();
            if !is_same_file {
                return true;
            }
        }
        self.block_pointers() < old.block_pointers()
    }
}
