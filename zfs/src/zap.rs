//! ZAPs: the name-value tables that directories and registries are.
//!
//! Each structure tells its own byte order, since those of one table may come from streams of
//! either.

use std::collections::BTreeSet;
use std::io;

use crate::ByteOrder;
use crate::contents::Spool;
use crate::objects::ObjectSet;

const MICRO: u64 = 0x8000_0000_0000_0003;
const FAT: u64 = 0x8000_0000_0000_0001;
const LEAF: u64 = 0x8000_0000_0000_0000;
const FAT_MAGIC: u64 = 0x2_F52A_B2AB;
const LEAF_MAGIC: u32 = 0x2AB_1EAF;

const MICRO_ENTRY_LEN: usize = 64;
const MICRO_NAME_AT: usize = 14;
const LEAF_HEADER_LEN: usize = 48;
const CHUNK_LEN: usize = 24;
const CHUNK_BYTES: usize = 21;
const CHUNK_ENTRY: u8 = 252;
const CHUNK_ARRAY: u8 = 251;
/// Longest name with its NUL, and longest value, in bytes.
const NAME_LEN_MAX: usize = 1024;
const VALUE_LEN_MAX: usize = 16 << 10;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the NUL.
    pub name: Vec<u8>,
    /// Length of one number of the value, in bytes.
    pub number_len: usize,
    /// The value: numbers, most significant byte first.
    pub value: Vec<u8>,
}

impl Entry {
    /// The value, if it is one number of 64 bits.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        (self.number_len == 8 && self.value.len() == 8)
            .then(|| ByteOrder::Big.u64(&self.value, 0))?
    }
}

/// Why a ZAP cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZapError {
    /// It is damaged.
    #[error("damaged ZAP in object {object}, block {block}: {problem}")]
    Damaged {
        /// The object.
        object: u64,
        /// The block, from 0.
        block: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Its blocks could not be read.
    #[error("could not read object {object}")]
    Read {
        /// The object.
        object: u64,
        /// What reading said.
        #[source]
        source: io::Error,
    },
    /// There is no such object.
    #[error("missing object {object}, which should be a ZAP")]
    Missing {
        /// The object.
        object: u64,
    },
}

/// All entries of a ZAP, in no order that means anything.
///
/// # Errors
/// [`ZapError`].
pub fn entries(set: &ObjectSet, object: u64, spool: &dyn Spool) -> Result<Vec<Entry>, ZapError> {
    let block_len = set
        .get(object)
        .ok_or(ZapError::Missing { object })?
        .block_len;
    let block_len = usize::try_from(block_len).unwrap_or(usize::MAX);
    let zap = Zap {
        set,
        object,
        spool,
        block_len,
    };
    let head = zap.block(0)?;
    if ByteOrder::in_which(&head, MICRO).is_some() {
        zap.micro(&head)
    } else if let Some(order) = ByteOrder::in_which(&head, FAT) {
        zap.fat(&head, order)
    } else {
        Err(zap.damaged(0, "it is neither a microzap nor a fat ZAP"))
    }
}

struct Zap<'a> {
    set: &'a ObjectSet,
    object: u64,
    spool: &'a dyn Spool,
    block_len: usize,
}

impl Zap<'_> {
    fn damaged(&self, block: u64, problem: &'static str) -> ZapError {
        ZapError::Damaged {
            object: self.object,
            block,
            problem,
        }
    }

    fn block(&self, block: u64) -> Result<Vec<u8>, ZapError> {
        let mut bytes = vec![0; self.block_len];
        let offset = block
            .checked_mul(self.block_len as u64)
            .ok_or(self.damaged(block, "beyond every object"))?;
        let read = self
            .set
            .read_at(self.object, offset, &mut bytes, self.spool);
        read.map_err(|source| ZapError::Read {
            object: self.object,
            source,
        })?;
        Ok(bytes)
    }

    fn micro(&self, block: &[u8]) -> Result<Vec<Entry>, ZapError> {
        let order = ByteOrder::in_which(block, MICRO).unwrap_or(ByteOrder::Little);
        let mut entries = Vec::new();
        for entry in block.chunks_exact(MICRO_ENTRY_LEN).skip(1) {
            let name = entry.get(MICRO_NAME_AT..).unwrap_or_default();
            let Some(len) = name.iter().position(|byte| *byte == 0) else {
                return Err(self.damaged(0, "a name does not end"));
            };
            if len > 0 {
                let mut value = order.u64(entry, 0).unwrap_or_default().to_le_bytes();
                value.reverse();
                entries.push(Entry {
                    name: name.get(..len).unwrap_or_default().to_vec(),
                    number_len: 8,
                    value: value.to_vec(),
                });
            }
        }
        Ok(entries)
    }

    fn fat(&self, head: &[u8], order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
        let field = |at| order.u64(head, at).unwrap_or_default();
        if field(8) != FAT_MAGIC {
            return Err(self.damaged(0, "its magic is wrong"));
        }
        let mut entries = Vec::new();
        for leaf in self.leaves(head, order)? {
            self.leaf(leaf, &self.block(leaf)?, &mut entries)?;
        }
        if entries.len() as u64 != field(72) {
            return Err(self.damaged(0, "it does not have as many entries as it states"));
        }
        Ok(entries)
    }

    /// The numbers of all leaf blocks.
    fn leaves(&self, head: &[u8], order: ByteOrder) -> Result<BTreeSet<u64>, ZapError> {
        let field = |at| order.u64(head, at).unwrap_or_default();
        let (first, blocks, shift, free) = (field(16), field(24), field(32), field(56));
        let filled = self.set.filled(self.object);
        let table_len = 1_u64
            .checked_shl(u32::try_from(shift).unwrap_or(u32::MAX))
            .and_then(|count| count.checked_mul(8));
        let table_len = table_len
            .filter(|len| *len <= filled)
            .ok_or(self.damaged(0, "its pointer table is too long"))?;
        let mut leaves = BTreeSet::new();
        if blocks == 0 {
            let table = head.get(self.block_len / 2..).unwrap_or_default();
            let table = table.get(..usize::try_from(table_len).unwrap_or(usize::MAX));
            let table = table.ok_or(self.damaged(0, "its pointer table does not fit the block"))?;
            leaves.extend(
                pointers(table, order, free)
                    .ok_or(self.damaged(0, "a pointer points beyond it"))?,
            );
            return Ok(leaves);
        }
        let mut left = table_len;
        for block in first..first.saturating_add(blocks) {
            let bytes = self.block(block)?;
            let len = left.min(bytes.len() as u64);
            let table = bytes
                .get(..usize::try_from(len).unwrap_or(usize::MAX))
                .unwrap_or_default();
            let found =
                pointers(table, order, free).or_else(|| pointers(table, order.other(), free));
            leaves.extend(found.ok_or(self.damaged(block, "a pointer points beyond it"))?);
            left -= len;
            if left == 0 {
                return Ok(leaves);
            }
        }
        Err(self.damaged(0, "its pointer table is longer than its blocks"))
    }

    fn leaf(&self, number: u64, block: &[u8], entries: &mut Vec<Entry>) -> Result<(), ZapError> {
        let order =
            ByteOrder::in_which(block, LEAF).ok_or(self.damaged(number, "it is no leaf"))?;
        if order.u32(block, 24) != Some(LEAF_MAGIC) {
            return Err(self.damaged(number, "the magic of the leaf is wrong"));
        }
        let chunks = block
            .get(LEAF_HEADER_LEN + 2 * (block.len() / 32)..)
            .unwrap_or_default();
        let leaf = Leaf {
            zap: self,
            number,
            order,
            chunks,
        };
        // Arrays share no chunks, so what they hold fits the block.
        let mut room = block.len();
        for chunk in chunks
            .chunks_exact(CHUNK_LEN)
            .filter(|chunk| chunk.first() == Some(&CHUNK_ENTRY))
        {
            let field = |at| usize::from(order.u16(chunk, at).unwrap_or_default());
            let number_len = usize::from(chunk.get(1).copied().unwrap_or_default());
            let mut name = leaf.array(field(4), field(6), NAME_LEN_MAX, &mut room)?;
            if name.pop() != Some(0) {
                return Err(self.damaged(number, "a name does not end"));
            }
            let value = leaf.array(field(8), field(10) * number_len, VALUE_LEN_MAX, &mut room)?;
            entries.push(Entry {
                name,
                number_len,
                value,
            });
        }
        Ok(())
    }
}

/// The pointers of a table, if all of them lie inside the ZAP.
fn pointers(table: &[u8], order: ByteOrder, free: u64) -> Option<BTreeSet<u64>> {
    let pointers = table.chunks_exact(8).map(|pointer| {
        order
            .u64(pointer, 0)
            .filter(|block| (1..free).contains(block))
    });
    pointers.collect()
}

struct Leaf<'a> {
    zap: &'a Zap<'a>,
    number: u64,
    order: ByteOrder,
    chunks: &'a [u8],
}

impl Leaf<'_> {
    /// The `len` bytes of the array that begins in chunk `first`.
    fn array(
        &self,
        first: usize,
        len: usize,
        len_max: usize,
        room: &mut usize,
    ) -> Result<Vec<u8>, ZapError> {
        let damaged = |problem| self.zap.damaged(self.number, problem);
        if len > len_max || len > *room {
            return Err(damaged("a name or value is too long"));
        }
        *room -= len;
        let mut bytes = Vec::with_capacity(len);
        let mut next = first;
        while bytes.len() < len {
            let chunk = self
                .chunks
                .get(next * CHUNK_LEN..)
                .and_then(|rest| rest.get(..CHUNK_LEN));
            let chunk = chunk.filter(|chunk| chunk.first() == Some(&CHUNK_ARRAY));
            let chunk = chunk.ok_or(damaged("an array leads to a chunk that is none"))?;
            let part = chunk.get(1..=CHUNK_BYTES).unwrap_or_default();
            bytes.extend(part.iter().take(len - bytes.len()));
            next = usize::from(self.order.u16(chunk, 22).unwrap_or(u16::MAX));
        }
        Ok(bytes)
    }
}
