//! Frames, the units of the log; `FORMAT.md`, "Frame".
//!
//! Invariants: a frame verifies only at the segment and offset it was written for. Decoding trusts
//! nothing: no input panics, and none allocates.

use super::position::{ENTRY_HEADER_LEN, LogPosition};
use crate::damage::Mismatch;
use uor_index_format::codec::hex;

/// Byte ranges of a frame's header; the body follows, padded with zeros to a multiple of [`ALIGN`].
mod field {
    use std::ops::Range;

    pub(super) const BODY_LEN: Range<usize> = 0..4;
    pub(super) const KIND: usize = 4;
    pub(super) const ROLE: usize = 5;
    // 6..8 reserved, zero.
    pub(super) const HEADER_CHECK: Range<usize> = 8..16;
    pub(super) const BODY_CHECK: Range<usize> = 16..32;
}

/// Length of a frame's header in bytes.
pub(super) const HEADER_LEN: usize = 32;
const _: () = assert!(
    field::BODY_CHECK.end == HEADER_LEN && HEADER_LEN == ENTRY_HEADER_LEN as usize,
    "no gap, no padding; one length, two types"
);

/// Frames start at multiples of this.
pub(super) const ALIGN: usize = 8;

/// The longest body a frame may have, in bytes.
pub const BODY_LEN_MAX: usize = 64 << 20;

/// Length of a mark or seal: a header alone.
pub(crate) const MARK_LEN: usize = HEADER_LEN;

const HEADER_KEY: &[u8; 32] = b"uor-asl log frame header check 1";
const BODY_KEY: &[u8; 32] = b"uor-asl log frame body check v 1";

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It carries a body of the log's user.
    Entry,
    /// It carries nothing, and says that everything before it was durable when it was written.
    Mark,
    /// A mark that ends a segment: the next entry is in the next segment.
    Seal,
    /// It carries the page checks of everything before it in its segment.
    Checks,
}

impl Role {
    fn to_byte(self) -> u8 {
        match self {
            Self::Entry => 0,
            Self::Mark => 1,
            Self::Seal => 2,
            Self::Checks => 3,
        }
    }
}

/// A frame that verified, borrowed from the bytes of its segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded<'a> {
    pub(super) role: Role,
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    /// Length with header and padding.
    pub(super) len: usize,
}

/// A header that verified; the body is still to be checked.
pub(super) struct Header {
    pub(super) role: Role,
    pub(super) body_len: usize,
    kind: u8,
    head: [u8; 8],
    body_check: [u8; 16],
}

impl Header {
    /// Length of the whole frame, with header and padding.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.body_len)
    }
}

/// Length of a frame whose body has `body_len` bytes.
pub(super) fn frame_len(body_len: usize) -> usize {
    HEADER_LEN + body_len.next_multiple_of(ALIGN)
}

/// Writes the frame for `position` to `out`, which has the length of the frame. The body is at most
/// [`BODY_LEN_MAX`] long.
pub(super) fn encode(position: LogPosition, role: Role, kind: u8, body: &[u8], out: &mut [u8]) {
    let body_len = u32::try_from(body.len()).expect("the caller bounds the body");
    let mut head = [0; 8];
    head[field::BODY_LEN].copy_from_slice(&body_len.to_le_bytes());
    head[field::KIND] = kind;
    head[field::ROLE] = role.to_byte();
    let body_end = HEADER_LEN + body.len();
    out[HEADER_LEN..body_end].copy_from_slice(body);
    out[body_end..].fill(0);
    // What is hashed before the body stands before it for a moment, where its check goes: so one
    // call hashes it all.
    out[field::BODY_CHECK].copy_from_slice(&prefix(position, head));
    let body_check: [u8; 16] = truncated(blake3::keyed_hash(
        BODY_KEY,
        &out[field::BODY_CHECK.start..body_end],
    ));
    out[..8].copy_from_slice(&head);
    out[field::HEADER_CHECK].copy_from_slice(&header_check(position, head, body_check));
    out[field::BODY_CHECK].copy_from_slice(&body_check);
}

/// The mark or seal for `position`.
pub(super) fn encode_mark(position: LogPosition, role: Role) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    encode(position, role, 0, &[], &mut mark);
    mark
}

/// The frame at the start of `bytes`, which were read at `position` and may go on after it.
pub(super) fn decode(position: LogPosition, bytes: &[u8]) -> Result<Decoded<'_>, Mismatch> {
    let header = decode_header(position, bytes)?;
    let len = header.frame_len();
    let Some(rest) = bytes.get(HEADER_LEN..len) else {
        let (expected, found) = (format!("{len} bytes"), format!("{} bytes", bytes.len()));
        return Err(Mismatch::new("frame length", expected, found));
    };
    let (body, padding) = rest.split_at(header.body_len);
    let found = body_check(position, header.head, body);
    if found != header.body_check {
        return Err(Mismatch::new("body", hex(&header.body_check), hex(&found)));
    }
    if padding.iter().any(|byte| *byte != 0) {
        let zeros = vec![0; padding.len()];
        return Err(Mismatch::new("padding", hex(&zeros), hex(padding)));
    }
    Ok(Decoded {
        role: header.role,
        kind: header.kind,
        body,
        len,
    })
}

/// The header at the start of `bytes`, which were read at `position`.
pub(super) fn decode_header(position: LogPosition, bytes: &[u8]) -> Result<Header, Mismatch> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        let (expected, found) = (
            format!("{HEADER_LEN} bytes"),
            format!("{} bytes", bytes.len()),
        );
        return Err(Mismatch::new("header length", expected, found));
    };
    let mut head = [0; 8];
    head.copy_from_slice(&header[..8]);
    let mut stored_body_check = [0; 16];
    stored_body_check.copy_from_slice(&header[field::BODY_CHECK]);
    let expected = &header[field::HEADER_CHECK];
    let found = header_check(position, head, stored_body_check);
    if found != expected {
        return Err(Mismatch::new("header", hex(expected), hex(&found)));
    }
    let body_len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let role = match (header[field::ROLE], body_len) {
        (0, 0..=BODY_LEN_MAX) => Role::Entry,
        (1, 0) => Role::Mark,
        (2, 0) => Role::Seal,
        (3, 0..=BODY_LEN_MAX) => Role::Checks,
        (role, _) => {
            let expected = format!("0 or 3 with at most {BODY_LEN_MAX} bytes, 1 or 2 with none");
            let found = format!("{role} with {body_len} bytes");
            return Err(Mismatch::new("role and length", expected, found));
        }
    };
    Ok(Header {
        role,
        body_len,
        kind: header[field::KIND],
        head,
        body_check: stored_body_check,
    })
}

fn header_check(position: LogPosition, head: [u8; 8], body_check: [u8; 16]) -> [u8; 8] {
    let mut hashed = [0; 32];
    hashed[..16].copy_from_slice(&prefix(position, head));
    hashed[16..].copy_from_slice(&body_check);
    truncated(blake3::keyed_hash(HEADER_KEY, &hashed))
}

fn body_check(position: LogPosition, head: [u8; 8], body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(BODY_KEY);
    truncated(
        hasher
            .update(&prefix(position, head))
            .update(body)
            .finalize(),
    )
}

/// What every check begins with.
fn prefix(position: LogPosition, head: [u8; 8]) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&position.to_bytes());
    prefix[8..].copy_from_slice(&head);
    prefix
}

fn truncated<const LEN: usize>(hash: blake3::Hash) -> [u8; LEN] {
    let mut check = [0; LEN];
    check.copy_from_slice(&hash.as_bytes()[..LEN]);
    check
}
