//! Reading a segment from its start: where its valid frames end, and whether what comes after is a
//! torn tail or damage.
//!
//! A write that was never synced may have reached the disk in any part and any order, so an invalid
//! frame proves nothing by itself. A mark behind it does: marks are written only after everything
//! before them was durable.

use super::frame::{self, MARK_LEN, Role};
use super::position::LogPosition;
use crate::damage::Mismatch;
use crate::file_header;

/// What the bytes of a segment hold.
#[derive(Debug)]
pub(super) struct Scan {
    /// Number of valid entries.
    pub(super) entries: u64,
    /// Where the valid frames end.
    pub(super) end: usize,
    /// Everything before this offset was durable when the last mark was written.
    pub(super) durable: usize,
    /// Whether the last valid frame is a seal.
    pub(super) sealed: bool,
    /// Why no frame starts at `end`; `None` where only zeros follow.
    pub(super) stopped: Option<Mismatch>,
}

/// Walks the frames of segment `segment`, whose file header has been verified.
pub(super) fn scan(segment: u32, bytes: &[u8]) -> Scan {
    let mut scan = Scan {
        entries: 0,
        end: file_header::LEN,
        durable: 0,
        sealed: false,
        stopped: None,
    };
    loop {
        let rest = bytes.get(scan.end..).unwrap_or_default();
        match frame::decode(LogPosition::at(segment, scan.end), rest) {
            Ok(found) => {
                match found.role {
                    Role::Entry => scan.entries += 1,
                    Role::Mark | Role::Seal => scan.durable = scan.end,
                    Role::Checks => {}
                }
                scan.sealed = found.role == Role::Seal;
                scan.end += found.len;
            }
            Err(mismatch) => {
                scan.stopped = (content_len(rest) > 0).then_some(mismatch);
                return scan;
            }
        }
    }
}

/// The offset of the first mark at or after `from`.
pub(super) fn find_mark(segment: u32, bytes: &[u8], from: usize) -> Option<usize> {
    let starts = (from.next_multiple_of(frame::ALIGN)..bytes.len()).step_by(frame::ALIGN);
    starts
        .take_while(|start| start + MARK_LEN <= bytes.len())
        .find(|start| {
            let candidate = &bytes[*start..*start + MARK_LEN];
            // A mark has an empty body and role 1 or 2; almost nothing else passes this, so almost
            // nothing is hashed.
            candidate[..5] == [0; 5] && [1, 2].contains(&candidate[5]) && {
                let position = LogPosition::at(segment, *start);
                frame::decode(position, candidate)
                    .is_ok_and(|found| [Role::Mark, Role::Seal].contains(&found.role))
            }
        })
}

/// The length of the frame whose header is valid at `start`, or 0: its body is no place to look for
/// marks.
pub(super) fn claimed_len(segment: u32, bytes: &[u8], start: usize) -> usize {
    let position = LogPosition::at(segment, start);
    let header = frame::decode_header(position, bytes.get(start..).unwrap_or_default());
    header.map_or(0, |header| header.frame_len())
}

/// Length without the zeros at the end, which is preallocated space.
pub(super) fn content_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}
