//! Records: 312 bytes of header each, and what they say.
//!
//! Reading a header checks every field that can be checked without knowing the objects, so that a
//! length that is used afterwards is one that a sender can mean.

use crate::ByteOrder;

/// Length of every record header, in bytes.
pub const HEADER_LEN: usize = 312;
/// Where a record's own checksum is.
pub(crate) const CHECKSUM_AT: usize = 280;
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

const MAGIC: u64 = 0x0000_0002_F5BA_CBAC;

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

    const fn block_len_max(&self) -> u64 {
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

const fn bad(field: &'static str, value: u64, problem: &'static str) -> BadField {
    BadField {
        field,
        value,
        problem,
    }
}

/// The words for record types, by number.
const NAMES: [&str; 11] = [
    "BEGIN",
    "OBJECT",
    "FREEOBJECTS",
    "WRITE",
    "FREE",
    "END",
    "WRITE_BYREF",
    "SPILL",
    "WRITE_EMBEDDED",
    "OBJECT_RANGE",
    "REDACT",
];

/// The word for a record type.
pub(crate) fn name_of(kind: u32) -> Option<&'static str> {
    NAMES.get(usize::try_from(kind).ok()?).copied()
}

/// One header, and the order in which it is written.
pub(crate) struct Fields<'a> {
    pub(crate) bytes: &'a [u8; HEADER_LEN],
    pub(crate) order: ByteOrder,
}

impl Fields<'_> {
    fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        self.order.u32(self.bytes, at).unwrap_or_default()
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        self.order.u64(self.bytes, at).unwrap_or_default()
    }

    /// An object that has contents of its own.
    fn object(&self, at: usize) -> Result<u64, BadField> {
        match self.u64(at) {
            0 => Err(bad("object", 0, "object 0 is never sent")),
            object if object >= OBJECT_MAX => {
                Err(bad("object", object, "object numbers are below 2^48"))
            }
            object => Ok(object),
        }
    }

    fn block_len(&self, field: &'static str, value: u64, begin: &Begin) -> Result<u64, BadField> {
        if !(SECTOR_LEN..=BLOCK_LEN_MAX).contains(&value) || !value.is_multiple_of(SECTOR_LEN) {
            Err(bad(
                field,
                value,
                "not a multiple of 512 from 512 to 16 MiB",
            ))
        } else if value > begin.block_len_max() {
            Err(bad(
                field,
                value,
                "over 128 KiB, and the stream announces no large blocks",
            ))
        } else {
            Ok(value)
        }
    }

    /// The byte order of the stream whose first header this is.
    pub(crate) fn order_of(bytes: &[u8; HEADER_LEN]) -> Option<ByteOrder> {
        let kind_is_begin = bytes.iter().take(4).all(|byte| *byte == 0);
        ByteOrder::in_which(bytes.get(8..)?, MAGIC).filter(|_| kind_is_begin)
    }

    pub(crate) fn begin(&self) -> Result<Begin, BadField> {
        if self.u64(8) != MAGIC {
            return Err(bad(
                "magic",
                self.u64(8),
                "not that of a stream in this byte order",
            ));
        }
        let version = self.u64(16);
        let kind = match version & 3 {
            1 => StreamKind::Single,
            2 => StreamKind::Package,
            other => {
                return Err(bad(
                    "header type",
                    other,
                    "neither a stream (1) nor a package (2)",
                ));
            }
        };
        let payload_len = self.u32(4);
        let name = self.bytes.get(56..HEADER_LEN).unwrap_or_default();
        let to_name = name.iter().copied().take_while(|byte| *byte != 0).collect();
        Ok(Begin {
            kind,
            features: version >> 2,
            creation: self.u64(24),
            objset_type: self.u32(32),
            flags: self.u32(36),
            to_guid: self.u64(40),
            from_guid: self.u64(48),
            to_name,
            order: self.order,
            payload_len,
        })
    }

    /// The record, and the length of its payload.
    pub(crate) fn record(&self, begin: &Begin) -> Result<(Header, u64), BadField> {
        let kind = self.u32(0);
        self.check_guid(kind, begin)?;
        let record = match kind {
            1 => return self.object_record(begin),
            2 => self.free_objects()?,
            3 => return self.write(begin),
            4 => self.free()?,
            5 => Header::End,
            6 => Header::WriteByRef,
            7 => return self.spill(begin),
            8 => return self.embedded(begin),
            9 => Header::ObjectRange,
            10 => Header::Redact,
            other => {
                return Err(bad(
                    "type",
                    other.into(),
                    "unsupported record type: made by a newer ZFS",
                ));
            }
        };
        Ok((record, 0))
    }

    fn check_guid(&self, kind: u32, begin: &Begin) -> Result<(), BadField> {
        let at = match kind {
            1 | 3 | 5 => 40,
            2 | 7 | 9 => 24,
            4 | 6 | 8 | 10 => 32,
            _ => return Ok(()),
        };
        let guid = self.u64(at);
        if guid == begin.to_guid {
            Ok(())
        } else {
            Err(bad("toguid", guid, "not that of the stream"))
        }
    }

    fn object_record(&self, begin: &Begin) -> Result<(Header, u64), BadField> {
        let slots = self.u8(34).max(1);
        if slots > SLOTS_MAX {
            return Err(bad("dn_slots", slots.into(), "more than 32"));
        }
        if slots > 1 && !begin.has(Feature::LARGE_DNODE) {
            return Err(bad(
                "dn_slots",
                slots.into(),
                "over 1, and the stream announces no large dnodes",
            ));
        }
        let object = self.object(8)?;
        if object + u64::from(slots) > OBJECT_MAX {
            return Err(bad("object", object, "its slots go beyond 2^48"));
        }
        let block_len = self.block_len("blksz", self.u32(24).into(), begin)?;
        let room = u32::from(slots) * 512 - 192;
        let (bonus_len, raw_bonus_len) = (self.u32(28), self.u32(36));
        if bonus_len > room {
            return Err(bad(
                "bonuslen",
                bonus_len.into(),
                "longer than the dnode has room for",
            ));
        }
        if raw_bonus_len > room {
            return Err(bad(
                "raw_bonuslen",
                raw_bonus_len.into(),
                "longer than the dnode has room for",
            ));
        }
        let header = ObjectHeader {
            object,
            kind: self.u32(16),
            bonus_kind: self.u32(20),
            block_len: u32::try_from(block_len).unwrap_or(u32::MAX),
            bonus_len,
            slots,
            has_spill: self.u8(35) & 4 != 0,
            raw_bonus_len,
        };
        if header.kind == 0 || header.kind > 255 {
            return Err(bad("type", header.kind.into(), "not an object type"));
        }
        if header.bonus_kind > 255 {
            return Err(bad(
                "bonustype",
                header.bonus_kind.into(),
                "not an object type",
            ));
        }
        let payload_len = if raw_bonus_len > 0 {
            raw_bonus_len
        } else {
            bonus_len.next_multiple_of(8)
        };
        Ok((Header::Object(header), payload_len.into()))
    }

    fn free_objects(&self) -> Result<Header, BadField> {
        let (first, count) = (self.u64(8), self.u64(16));
        match first.checked_add(count) {
            Some(_) => Ok(Header::FreeObjects { first, count }),
            None => Err(bad("numobjs", count, "the range goes beyond 2^64")),
        }
    }

    /// Where a range ends that begins at `offset`.
    fn end(&self, field: &'static str, offset: u64, len: u64) -> Result<u64, BadField> {
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= CONTENT_LEN_MAX);
        end.ok_or(bad(field, offset, "the range goes beyond 2^63"))
    }

    fn write(&self, begin: &Begin) -> Result<(Header, u64), BadField> {
        let object = self.object(8)?;
        let (offset, compression) = (self.u64(24), self.u8(50));
        let len = self.block_len("logical_size", self.u64(32), begin)?;
        if !offset.is_multiple_of(SECTOR_LEN) {
            return Err(bad("offset", offset, "not a multiple of 512"));
        }
        self.end("offset", offset, len)?;
        let compressed_len = self.u64(96);
        if compression != 0 && compressed_len > len {
            return Err(bad(
                "compressed_size",
                compressed_len,
                "more than logical_size",
            ));
        }
        let header = WriteHeader {
            object,
            offset,
            len,
            compression,
            compressed_len,
        };
        Ok((
            Header::Write(header),
            if compression == 0 {
                len
            } else {
                compressed_len
            },
        ))
    }

    fn free(&self) -> Result<Header, BadField> {
        let (object, offset, len) = (self.object(8)?, self.u64(16), self.u64(24));
        let end = if len == u64::MAX {
            None
        } else {
            Some(offset.checked_add(len).ok_or(bad(
                "length",
                len,
                "offset and length go beyond 2^64",
            ))?)
        };
        Ok(Header::Free {
            object,
            offset,
            end,
        })
    }

    fn spill(&self, begin: &Begin) -> Result<(Header, u64), BadField> {
        let object = self.object(8)?;
        let len = self.block_len("length", self.u64(16), begin)?;
        let compressed_len = self.u64(40);
        if compressed_len > len {
            return Err(bad("compressed_size", compressed_len, "more than length"));
        }
        let compression = self.u8(33);
        let header = SpillHeader {
            object,
            len,
            is_unmodified: self.u8(32) & 4 != 0,
            compression,
            compressed_len,
        };
        Ok((
            Header::Spill(header),
            if compressed_len == 0 {
                len
            } else {
                compressed_len
            },
        ))
    }

    fn embedded(&self, begin: &Begin) -> Result<(Header, u64), BadField> {
        let object = self.object(8)?;
        let (offset, logical_len, payload_len) = (self.u64(16), self.u32(48), self.u32(52));
        let len = self.block_len("length", self.u64(24), begin)?;
        if payload_len == 0 || payload_len > EMBEDDED_LEN_MAX {
            return Err(bad("psize", payload_len.into(), "not from 1 to 112"));
        }
        if u64::from(logical_len) > len {
            return Err(bad("lsize", logical_len.into(), "more than length"));
        }
        let header = EmbeddedHeader {
            object,
            offset,
            len,
            compression: self.u8(40),
            kind: self.u8(41),
            logical_len,
            payload_len,
        };
        if header.kind != 0 {
            return Err(bad(
                "etype",
                header.kind.into(),
                "unsupported: embedded is something else than data",
            ));
        }
        if !header.is_spill() {
            if !offset.is_multiple_of(SECTOR_LEN) {
                return Err(bad("offset", offset, "not a multiple of 512"));
            }
            self.end("offset", offset, len)?;
        }
        Ok((
            Header::WriteEmbedded(header),
            payload_len.next_multiple_of(8).into(),
        ))
    }
}

impl EmbeddedHeader {
    /// Whether this is a spill block that a sender took for contents: releases 2.3 and 2.4 write it
    /// at offset 2^64 − 2·length.
    #[must_use]
    pub const fn is_spill(&self) -> bool {
        self.offset == (2 * self.len).wrapping_neg()
    }
}
