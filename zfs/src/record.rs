//! Records: 312 bytes of header each, and what they say. `fields` reads and checks the bytes.

pub(crate) mod fields;

use crate::ByteOrder;

/// Length of every record header, in bytes.
pub const HEADER_LEN: usize = 312;
/// The longest block, in bytes.
pub const BLOCK_LEN_MAX: u64 = 16 << 20;
/// The longest block of a stream without large blocks, in bytes.
pub const SMALL_BLOCK_LEN_MAX: u64 = 128 << 10;
/// The unit of block lengths and offsets, in bytes.
pub const SECTOR_LEN: u64 = 512;
/// Object numbers are below this.
pub const OBJECT_MAX: u64 = 1 << 48;
/// Contents end at or before this offset.
pub const CONTENT_LEN_MAX: u64 = i64::MAX as u64;
/// The longest payload of an embedded block, in bytes.
pub const EMBEDDED_LEN_MAX: u32 = 112;
/// The largest number of slots of a dnode.
pub const SLOTS_MAX: u8 = 32;

/// A feature that a stream announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature(u32);

impl Feature {
    /// Blocks may refer to earlier ones (`-D`).
    pub const DEDUP: Self = Self(0);
    /// The same, with properties.
    pub const DEDUP_PROPS: Self = Self(1);
    /// Attributes may lie in spill blocks.
    pub const SA_SPILL: Self = Self(2);
    /// Blocks may be embedded (`-e`).
    pub const EMBED_DATA: Self = Self(16);
    /// Payloads may be lz4.
    pub const LZ4: Self = Self(17);
    /// Blocks may be longer than 128 KiB (`-L`).
    pub const LARGE_BLOCKS: Self = Self(19);
    /// The tail of an interrupted send.
    pub const RESUMING: Self = Self(20);
    /// Contents were withheld.
    pub const REDACTED: Self = Self(21);
    /// Payloads may be compressed (`-c`).
    pub const COMPRESSED: Self = Self(22);
    /// Dnodes may have more than one slot.
    pub const LARGE_DNODE: Self = Self(23);
    /// Encrypted blocks as they are (`-w`).
    pub const RAW: Self = Self(24);
    /// Payloads may be zstd.
    pub const ZSTD: Self = Self(25);

    /// Bits 0 to 2, and 16 to 29 without 18.
    const KNOWN: u64 = 0b111 | ((1 << 30) - (1 << 16)) & !(1 << 18);

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// What kind of stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// One snapshot.
    Single,
    /// A package: streams of several snapshots follow.
    Package,
}

/// The beginning of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// One snapshot, or a package of them.
    pub kind: StreamKind,
    /// Feature bits.
    pub features: u64,
    /// When the snapshot was taken, in seconds since 1970.
    pub creation: u64,
    /// 2 for a file system, 3 for a volume.
    pub objset_type: u32,
    /// Flags of the sender.
    pub flags: u32,
    /// The snapshot's GUID.
    pub to_guid: u64,
    /// The GUID of the snapshot that this one is told as changes to; 0 if it is told whole.
    pub from_guid: u64,
    /// `pool/dataset@snapshot` at the sender: a label of any bytes.
    pub to_name: Vec<u8>,
    /// The byte order of everything that has no order of its own.
    pub order: ByteOrder,
    /// The length of the payload, in bytes.
    pub payload_len: u32,
}

impl Begin {
    /// Objset type of a file system.
    pub const FILESYSTEM: u32 = 2;
    /// Objset type of a volume.
    pub const VOLUME: u32 = 3;
    const SPILL_BLOCK: u32 = 8;

    /// Whether the stream announces a feature.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.features & feature.bit() != 0
    }

    /// The lowest feature bit that nothing is known about.
    #[must_use]
    pub const fn unknown_feature(&self) -> Option<u32> {
        let unknown = self.features & !Feature::KNOWN;
        if unknown == 0 {
            None
        } else {
            Some(unknown.trailing_zeros())
        }
    }

    /// Whether OBJECT records say if there is a spill block.
    #[must_use]
    pub const fn tells_spills(&self) -> bool {
        self.flags & Self::SPILL_BLOCK != 0
    }

    pub(crate) const fn block_len_max(&self) -> u64 {
        if self.has(Feature::LARGE_BLOCKS) {
            BLOCK_LEN_MAX
        } else {
            SMALL_BLOCK_LEN_MAX
        }
    }
}

/// A stream that cannot be imported, though nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Blocks are encrypted.
    #[error(
        "raw encrypted stream: send again without -w with the key loaded, or import from a mounted snapshot"
    )]
    Raw,
    /// Something was left out on purpose.
    #[error("redacted stream: some contents were withheld")]
    Redacted,
    /// The beginning is not there.
    #[error("tail of an interrupted send: send again from the start")]
    Resuming,
    /// Blocks stand in other places.
    #[error("deduplicated stream: convert with `zstream redup`")]
    Deduplicated,
    /// It is a volume.
    #[error("this is a volume, not a filesystem")]
    Volume,
    /// It was to be a volume.
    #[error("this is a filesystem, not a volume")]
    NoVolume,
    /// It is something else.
    #[error("this is not a filesystem: its objset type is {objset_type}")]
    Other {
        /// What it is.
        objset_type: u32,
    },
}

impl Begin {
    /// Why this stream cannot be imported, whatever follows.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        if self.has(Feature::RAW) {
            Some(Refusal::Raw)
        } else if self.has(Feature::REDACTED) {
            Some(Refusal::Redacted)
        } else if self.has(Feature::RESUMING) {
            Some(Refusal::Resuming)
        } else if self.has(Feature::DEDUP) || self.has(Feature::DEDUP_PROPS) {
            Some(Refusal::Deduplicated)
        } else {
            None
        }
    }
}

/// A record, as far as an importer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// A stream begins.
    Begin(Begin),
    /// An object is declared or changed; the payload is its bonus buffer.
    Object(ObjectHeader),
    /// Objects in a range of numbers are gone.
    FreeObjects {
        /// The first number.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Contents.
    Write(WriteHeader),
    /// A hole.
    Free {
        /// Of which object.
        object: u64,
        /// Where it begins.
        offset: u64,
        /// Where it ends; `None` if it goes on to the end.
        end: Option<u64>,
    },
    /// The stream ends.
    End,
    /// Contents as in another place of the package.
    WriteByRef,
    /// Attributes that do not fit the bonus buffer.
    Spill(SpillHeader),
    /// Contents short enough to lie in a block pointer.
    WriteEmbedded(EmbeddedHeader),
    /// Encryption parameters.
    ObjectRange,
    /// Contents that were withheld.
    Redact,
}

/// An OBJECT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader {
    /// Its number.
    pub object: u64,
    /// What its contents are.
    pub kind: u32,
    /// What its bonus buffer is.
    pub bonus_kind: u32,
    /// Length of its blocks, in bytes.
    pub block_len: u32,
    /// Length of its bonus buffer, in bytes.
    pub bonus_len: u32,
    /// How many slots its dnode takes.
    pub slots: u8,
    /// Whether it has a spill block, where the stream tells.
    pub has_spill: bool,
    /// Length of a raw bonus buffer; not 0 only in raw streams.
    pub raw_bonus_len: u32,
}

/// A WRITE record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteHeader {
    /// Into which object.
    pub object: u64,
    /// Where, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// How the payload is compressed; 0 if not.
    pub compression: u8,
    /// Length of a compressed payload, in bytes.
    pub compressed_len: u64,
}

/// A SPILL record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillHeader {
    /// Of which object.
    pub object: u64,
    /// How many bytes.
    pub len: u64,
    /// Whether it is told only for receivers that would lose it.
    pub is_unmodified: bool,
    /// How the payload is compressed; 0 if not.
    pub compression: u8,
    /// Length of a compressed payload, in bytes.
    pub compressed_len: u64,
}

/// A `WRITE_EMBEDDED` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedHeader {
    /// Into which object.
    pub object: u64,
    /// Where, in bytes.
    pub offset: u64,
    /// Length of the block, in bytes.
    pub len: u64,
    /// How the payload is compressed.
    pub compression: u8,
    /// What is embedded; 0 for data.
    pub kind: u8,
    /// Length of the payload once it is decompressed, in bytes.
    pub logical_len: u32,
    /// Length of the payload, in bytes.
    pub payload_len: u32,
}

impl EmbeddedHeader {
    /// Whether this is a spill block that a sender took for contents: releases 2.3 and 2.4 write it
    /// at offset 2^64 − 2·length.
    #[must_use]
    pub const fn is_spill(&self) -> bool {
        self.offset == (2 * self.len).wrapping_neg()
    }
}

/// A field that cannot be what a sender means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadField {
    /// Its name.
    pub field: &'static str,
    /// What it says.
    pub value: u64,
    /// Why that cannot be.
    pub problem: &'static str,
}
