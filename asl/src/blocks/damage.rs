//! What is damaged of packs and of their index, and which payloads that concerns.

use std::fmt;

use super::layout::{INDEX_DIR, LIST_PATH};
use crate::damage::{Damage, Mismatch};
use uor_index_format::id::Checksum;

/// A place in a pack, in the list of packs or in a file of their index that does not hold what was
/// written there; or such a file that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDamage {
    /// Which bytes, and which of their checks failed. In a pack they begin where the block does, or
    /// the file header, at 0.
    pub at: Damage,
    /// The block's name: the digest of a chunk, or of the payload a manifest is for. Only a claim
    /// where the header itself is damaged.
    pub block: Option<Checksum>,
    /// Digests of the payloads that cannot be read because of it, ascending, as far as is known.
    pub payloads: Vec<Checksum>,
}

/// What is missing of a file that is not there.
const GONE: &str = "file";

impl BlockDamage {
    /// Damage of a block of this name, or of what claims to be one.
    pub(super) fn of(block: Option<Checksum>, at: Damage) -> Self {
        Self {
            at,
            block,
            payloads: Vec::new(),
        }
    }

    /// That a file is not there, and why it should be.
    pub(super) fn gone(file: String, expected: &str) -> Self {
        Mismatch::new(GONE, expected, "nothing").at(file, 0).into()
    }

    /// Whether it is damage of the index of blocks, which is rebuilt from the packs.
    #[must_use]
    pub fn is_of_index(&self) -> bool {
        let inside = self.at.file.strip_prefix(INDEX_DIR);
        inside.is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether it is damage of the list of packs.
    #[must_use]
    pub fn is_of_list(&self) -> bool {
        self.at.file == LIST_PATH
    }
}

impl From<Damage> for BlockDamage {
    /// Damage of no block: of a list, or of a file of the index.
    fn from(at: Damage) -> Self {
        Self::of(None, at)
    }
}

impl fmt::Display for BlockDamage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            file,
            what,
            expected,
            ..
        } = &self.at;
        if *what == GONE {
            return write!(out, "{file} is missing: {expected}");
        }
        write!(out, "{}", self.at)?;
        self.block
            .map_or(Ok(()), |block| write!(out, " (block {block})"))
    }
}
