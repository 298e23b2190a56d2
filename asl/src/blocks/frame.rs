//! The 64 bytes before every block in a pack; `FORMAT.md`, "Block".
//!
//! Invariants: a header verifies only at the pack and offset it was written for. Decoding trusts
//! nothing: no input panics, and none allocates out of proportion to its length.

use super::layout::CHUNK_LEN_MAX;
use super::manifest::MANIFEST_LEN_MAX;
use crate::damage::Mismatch;
use uor_index_format::codec::hex;
use uor_index_format::id::Checksum;

/// Byte ranges of a block's header; the stored bytes follow, padded with zeros to a multiple of
/// [`ALIGN`].
mod field {
    use std::ops::Range;

    pub(super) const STORED_LEN: Range<usize> = 0..4;
    pub(super) const RAW_LEN: Range<usize> = 4..8;
    pub(super) const KIND: usize = 8;
    pub(super) const CODEC: usize = 9;
    // 10..16 reserved, zero.
    pub(super) const NAME: Range<usize> = 16..48;
    pub(super) const CHECK: Range<usize> = 48..64;
}

/// Length of a block's header in bytes.
pub(super) const HEADER_LEN: usize = 64;
const _: () = assert!(field::CHECK.end == HEADER_LEN, "no gap, no padding");

/// Blocks start at multiples of this.
pub(super) const ALIGN: usize = 8;

const CHECK_KEY: &[u8; 32] = b"uor-asl block header check v.1  ";

/// What a block holds, which says what its name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole payload; named by its digest.
    Whole,
    /// A chunk of payloads that have manifests, not a payload by itself; named by its digest.
    Part,
    /// The chunks of a payload; named by the payload's digest.
    Manifest,
    /// Nothing: everything before the offset in its name was durable when it was written.
    Mark,
    /// Like a mark, and ends a pack: the next block is in the next pack.
    Seal,
    /// A payload whose bytes were erased, and the places of the blocks that held them; named by the
    /// payload.
    Erased,
    /// Places of blocks that nothing needs any more; named by nothing.
    Dropped,
    /// Nothing: the erasing of the payload that names it is complete.
    Zeroed,
}

impl Kind {
    /// Whether it makes a payload visible.
    pub(super) fn is_payload(self) -> bool {
        matches!(self, Self::Whole | Self::Manifest)
    }

    /// Whether it holds the bytes that its name is the digest of.
    pub(super) fn is_chunk(self) -> bool {
        matches!(self, Self::Whole | Self::Part)
    }

    /// Whether it can be asked for by its name.
    pub(super) fn is_named(self) -> bool {
        self.is_stored() || self == Self::Erased
    }

    /// Whether it holds bytes of payloads.
    pub(super) fn is_stored(self) -> bool {
        self.is_payload() || self.is_chunk()
    }

    /// Whether it names places of blocks that are no more.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::Erased | Self::Dropped)
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Whole => 1,
            Self::Part => 2,
            Self::Manifest => 3,
            Self::Mark => 4,
            Self::Seal => 5,
            Self::Erased => 6,
            Self::Dropped => 7,
            Self::Zeroed => 8,
        }
    }

    /// The first version of packs that has blocks of this kind.
    fn since(self) -> u16 {
        match self {
            Self::Whole | Self::Part | Self::Manifest | Self::Mark | Self::Seal => 1,
            Self::Erased | Self::Dropped | Self::Zeroed => 2,
        }
    }

    /// How much of the name of such a block says something; the rest is zeros.
    fn name_len(self) -> usize {
        match self {
            Self::Whole | Self::Part | Self::Manifest | Self::Erased | Self::Zeroed => {
                Checksum::LEN
            }
            Self::Mark | Self::Seal => size_of::<u64>(),
            Self::Dropped => 0,
        }
    }

    /// The kind of a code, and the most raw bytes it can have.
    pub(super) fn of(code: u8) -> Option<(Self, usize)> {
        Some(match code {
            1 => (Self::Whole, CHUNK_LEN_MAX),
            2 => (Self::Part, CHUNK_LEN_MAX),
            3 => (Self::Manifest, MANIFEST_LEN_MAX),
            4 => (Self::Mark, 0),
            5 => (Self::Seal, 0),
            6 => (Self::Erased, MANIFEST_LEN_MAX),
            7 => (Self::Dropped, MANIFEST_LEN_MAX),
            8 => (Self::Zeroed, 0),
            _ => return None,
        })
    }
}

/// How stored bytes become raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// They are the same.
    Raw,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    pub(super) fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) codec: Codec,
    pub(super) raw_len: u32,
    pub(super) stored_len: u32,
    pub(super) name: Checksum,
}

impl Header {
    /// A mark or seal that says that everything before `durable` was durable when it was written.
    pub(super) fn mark(kind: Kind, durable: u64) -> Self {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&durable.to_le_bytes());
        Self::named(kind, Checksum::from_bytes(name))
    }

    /// A block that has nothing but a kind and a name.
    pub(super) fn named(kind: Kind, name: Checksum) -> Self {
        Self {
            kind,
            codec: Codec::Raw,
            raw_len: 0,
            stored_len: 0,
            name,
        }
    }

    /// The offset that a mark or seal vouches for; no other block does.
    pub(super) fn durable(&self) -> Option<u64> {
        let mut offset = [0; 8];
        offset.copy_from_slice(&self.name.as_bytes()[..8]);
        matches!(self.kind, Kind::Mark | Kind::Seal).then(|| u64::from_le_bytes(offset))
    }

    /// Length of the whole block, with header and padding.
    pub(super) fn block_len(&self) -> u64 {
        (HEADER_LEN + (self.stored_len as usize).next_multiple_of(ALIGN)) as u64
    }

    /// The bytes of this header at its place.
    pub(super) fn encode(&self, pack: u32, offset: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[field::STORED_LEN].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[field::RAW_LEN].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[field::KIND] = self.kind.code();
        bytes[field::CODEC] = self.codec.code();
        bytes[field::NAME].copy_from_slice(self.name.as_bytes());
        let check = check(&bytes, pack, offset);
        bytes[field::CHECK].copy_from_slice(&check);
        bytes
    }

    /// The header in `bytes`, which were read at `offset` of `pack`, a pack of this version.
    pub(super) fn decode(
        bytes: &[u8; HEADER_LEN],
        pack: u32,
        offset: u64,
        version: u16,
    ) -> Result<Self, Mismatch> {
        let (expected, found) = (&bytes[field::CHECK], check(bytes, pack, offset));
        if found != expected {
            return Err(Mismatch::new("block header", hex(expected), hex(&found)));
        }
        let header = Self::read(bytes)?;
        header.check_kind_and_name(version)?;
        // What is left are the reserved bytes.
        let encoded = header.encode(pack, offset);
        if encoded != *bytes {
            return Err(Mismatch::new("block header", hex(&encoded), hex(bytes)));
        }
        Ok(header)
    }

    /// The fields, if kind and codec are known ones and the lengths possible.
    fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, Mismatch> {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (kind, codec) = (bytes[field::KIND], bytes[field::CODEC]);
        let (stored_len, raw_len) = (
            number(field::STORED_LEN.start),
            number(field::RAW_LEN.start),
        );
        match (Kind::of(kind), Codec::of(codec)) {
            (Some((kind, len_max)), Some(codec))
                if raw_len as usize <= len_max && stored_len <= raw_len =>
            {
                Ok(Self {
                    kind,
                    codec,
                    raw_len,
                    stored_len,
                    name: claimed_name(bytes),
                })
            }
            _ => Err(Mismatch::new(
                "block kind, codec and lengths",
                "known ones, within bounds",
                format!("{kind}, {codec}, {stored_len} of {raw_len}"),
            )),
        }
    }

    /// Whether packs of this version have blocks of this kind, and such blocks this name.
    fn check_kind_and_name(&self, version: u16) -> Result<(), Mismatch> {
        if self.kind.since() > version {
            return Err(Mismatch::new(
                "block kind",
                format!("one that version {version} has"),
                self.kind.code().to_string(),
            ));
        }
        let (used, unused) = self.name.as_bytes().split_at(self.kind.name_len());
        if unused.iter().any(|byte| *byte != 0) {
            let expected = hex(used) + &"00".repeat(unused.len());
            return Err(Mismatch::new("block name", expected, self.name.to_string()));
        }
        Ok(())
    }
}

/// The length of a block's bytes, as headers and manifests have it. Blocks are at most 64 MiB long.
pub(super) fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("blocks are bounded before they are appended")
}

/// The name that a header claims, whether or not the header verifies.
pub(super) fn claimed_name(bytes: &[u8; HEADER_LEN]) -> Checksum {
    let mut name = [0; 32];
    name.copy_from_slice(&bytes[field::NAME]);
    Checksum::from_bytes(name)
}

/// Whether a valid header may start with these bytes: a cheap question that almost nothing else
/// passes.
pub(super) fn is_plausible(bytes: &[u8; HEADER_LEN]) -> bool {
    Kind::of(bytes[field::KIND]).is_some() && bytes[field::CODEC] <= 1 && bytes[10..16] == [0; 6]
}

fn check(bytes: &[u8; HEADER_LEN], pack: u32, offset: u64) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(CHECK_KEY);
    hasher
        .update(&pack.to_le_bytes())
        .update(&offset.to_le_bytes())
        .update(&bytes[..field::CHECK.start]);
    let mut check = [0; 16];
    hasher.finalize_xof().fill(&mut check);
    check
}
