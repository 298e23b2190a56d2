//! Reading a header checks every field that can be checked without knowing the objects, so that a
//! length that is used afterwards is one that a sender can mean.

use super::{
    BLOCK_LEN_MAX, BadField, Begin, CONTENT_LEN_MAX, EMBEDDED_LEN_MAX, EmbeddedHeader, Feature,
    HEADER_LEN, Header, OBJECT_MAX, ObjectHeader, SECTOR_LEN, SLOTS_MAX, SpillHeader, StreamKind,
    WriteHeader,
};
use crate::ByteOrder;

/// Where a record's own checksum is.
pub(crate) const CHECKSUM_AT: usize = 280;

const MAGIC: u64 = 0x0000_0002_F5BA_CBAC;

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
