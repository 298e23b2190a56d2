//! What opening the packs finds.

use super::damage::BlockDamage;

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of payloads, going by the index alone: one that was stored again because it was
    /// damaged may count twice, and one that is gone until the run it is in is rewritten.
    pub payloads: u64,
    /// Number of pack files.
    pub packs: u32,
    /// Files of the index of blocks that were missing, damaged, or did not fit the packs, and were
    /// rebuilt, or by a reader done without.
    pub rebuilt: Vec<String>,
    /// What was written but never synced, and is no whole block. Nothing that was acknowledged
    /// rests on it.
    pub cut: Option<Cut>,
    /// Packs that are missing, and damaged places that were passed over and left as they are; of a
    /// reader, also what is damaged of what a writer rebuilds.
    pub damages: Vec<BlockDamage>,
    /// What was damaged, and a writer has rebuilt: the list of packs, and files of the index of
    /// blocks.
    pub mended: Vec<BlockDamage>,
}

impl Recovery {
    /// Whether something may not be here that was: a pack, or some of it. Without the list it is
    /// not known which there were.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.damages
            .iter()
            .chain(&self.mended)
            .any(|damage| !damage.is_of_index())
    }
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The last pack's file.
    pub file: String,
    /// Where the valid blocks end.
    pub offset: u64,
    /// How many bytes came after; a writer cuts them off, a reader leaves them in place.
    pub bytes: u64,
}
