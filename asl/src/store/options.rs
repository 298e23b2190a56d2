//! How a store is opened.

use std::num::NonZeroU32;

use crate::{blocks, log};

/// Which payloads a store keeps an eye on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payloads {
    /// All that records name: those that are not here are wanted.
    #[default]
    Everything,
    /// None: whoever needs one asks for it.
    OnDemand,
}

/// What may differ between stores of one federation, and between openings of one store.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Into how many shards the index is cut; a power of two. If it is not what it was, the index
    /// is rewritten.
    pub shards: NonZeroU32,
    /// Records that are indexed in memory before the index is written.
    pub memtable_records_max: u64,
    /// Mixed into the index's hash tables, so that nobody who does not know it can write ids that
    /// collide there.
    pub seed: u64,
    /// Which payloads are wanted.
    pub payloads: Payloads,
    /// Reads the log from its start, whatever the index says: what was lost is then looked for
    /// again, and a log that ends before its index does is taken as it is.
    pub rebuild_index: bool,
    /// Whether the packs are known to end earlier than they did, which does not show: payloads that
    /// were in them are looked for in the log, and what it calls erased is not taken out of older
    /// packs.
    pub are_packs_cut: bool,
    /// How many bytes of the disk are kept in reserve, so that things can be removed, erased and
    /// collected when it is full; 0 for none.
    pub reserve_bytes: u64,
    /// Sizes of the log's files.
    pub log: log::Options,
    /// Sizes of packs.
    pub blocks: blocks::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: NonZeroU32::MIN.saturating_add(3),
            memtable_records_max: 1 << 20,
            seed: 0,
            payloads: Payloads::default(),
            rebuild_index: false,
            are_packs_cut: false,
            reserve_bytes: 0,
            log: log::Options::default(),
            blocks: blocks::Options::default(),
        }
    }
}
