//! Rewriting the damaged segments of a log out of what of them is still valid; `FORMAT.md`,
//! "Salvage".
//!
//! This is no part of opening a log, which refuses durable bytes that are damaged. Whoever asks for
//! it knows that entries go missing, and how to get them back. The bytes as they were found are
//! kept beside.

use super::closed;
use super::error::LogError;
use super::frame::{self, BODY_LEN_MAX, Role};
use super::layout::{DIR, EXTENSION, MAGIC, VERSION, path};
use super::position::LogPosition;
use super::scan;
use super::verify::{next_frame, verify_closed};
use crate::disk::{self, Disk};
use crate::file_header;
use uor_index_format::id::Checksum;

/// A segment that was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Its file.
    pub file: String,
    /// Where its bytes are kept as they were found; nothing if the file was missing.
    pub kept: Option<String>,
    /// How many entries were taken over.
    pub entries: u64,
}

/// Numbers of the segments of which bytes are damaged or missing, or that hold an entry which
/// `is_dropped` names by its kind and body. What a crash leaves at the end of the last is no
/// damage.
///
/// # Errors
/// [`LogError::Newer`]; [`LogError::Disk`].
pub(crate) fn damaged_segments(
    disk: &dyn Disk,
    is_dropped: &dyn Fn(u8, &[u8]) -> bool,
) -> Result<Vec<u32>, LogError> {
    let numbers = disk::list_numbered(disk, DIR, EXTENSION)?;
    let last = numbers.last().copied().unwrap_or(0);
    let mut found = Vec::new();
    for number in 1..=last {
        let bytes = read(disk, number)?;
        let is_damaged = match &bytes {
            None => true,
            Some(bytes) if number == last => is_last_damaged(number, bytes)?,
            Some(_) => !verify_closed(disk, number, &|_| {}).damages.is_empty(),
        };
        let holds_dropped = || {
            entries(number, bytes.as_deref())
                .iter()
                .any(|(kind, body)| is_dropped(*kind, body))
        };
        if is_damaged || holds_dropped() {
            found.push(number);
        }
    }
    Ok(found)
}

/// Rewrites a segment, as a closed one, out of its valid entries but for those that `is_dropped`
/// names. The caller sees to it that nobody has the log open, and that no index names places in
/// this segment.
///
/// # Errors
/// [`LogError::Disk`]; the segment is as it was then, or new.
pub(crate) fn rewrite_segment(
    disk: &dyn Disk,
    number: u32,
    is_dropped: &dyn Fn(u8, &[u8]) -> bool,
) -> Result<Salvaged, LogError> {
    let found = read(disk, number)?;
    let mut kept = None;
    if let Some(bytes) = &found {
        let name = format!(
            "{DIR}/damaged-{number:08}-{}.bin",
            &Checksum::of(bytes).to_string()[..8]
        );
        disk::replace(disk, &name, bytes)?;
        kept = Some(name);
    }
    let mut entries = entries(number, found.as_deref());
    entries.retain(|(kind, body)| !is_dropped(*kind, body));
    disk::replace(disk, &path(number), &closed_segment(number, &entries))?;
    Ok(Salvaged {
        file: path(number),
        kept,
        entries: entries.len() as u64,
    })
}

fn read(disk: &dyn Disk, number: u32) -> Result<Option<Vec<u8>>, LogError> {
    let name = path(number);
    if !disk.exists(&name).map_err(|source| disk::DiskError {
        action: "look for",
        path: name.clone(),
        source,
    })? {
        return Ok(None);
    }
    Ok(Some(disk::read_all(disk, &name)?))
}

/// Whether a durable frame of the last segment is invalid, or its header is and something was
/// appended.
fn is_last_damaged(number: u32, bytes: &[u8]) -> Result<bool, LogError> {
    if closed::version(number, bytes)?.is_err() {
        return Ok(
            !entries(number, Some(bytes)).is_empty() || scan::find_mark(number, bytes, 0).is_some()
        );
    }
    let scan = scan::scan(number, bytes);
    let from = scan.end + scan::claimed_len(number, bytes, scan.end);
    Ok(scan.stopped.is_some() && scan::find_mark(number, bytes, from).is_some())
}

/// The valid entries in the bytes of a segment.
fn entries(number: u32, bytes: Option<&[u8]>) -> Vec<(u8, &[u8])> {
    let bytes = bytes.unwrap_or_default();
    let (mut entries, mut at) = (Vec::new(), file_header::LEN);
    while at < bytes.len() {
        match frame::decode(LogPosition::at(number, at), &bytes[at..]) {
            Ok(found) => {
                if found.role == Role::Entry {
                    entries.push((found.kind, found.body));
                }
                at += found.len;
            }
            Err(_) => at = next_frame(number, bytes, at),
        }
    }
    entries
}

/// The bytes of a closed segment with these entries.
fn closed_segment(number: u32, entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = file_header::encode(MAGIC, number, VERSION).to_vec();
    for (kind, body) in entries {
        assert!(body.len() <= BODY_LEN_MAX, "it was in a frame before");
        let start = bytes.len();
        bytes.resize(start + frame::frame_len(body.len()), 0);
        let position = LogPosition::at(number, start);
        frame::encode(position, Role::Entry, *kind, body, &mut bytes[start..]);
    }
    bytes.extend(closed::checks_frame(number, VERSION, &bytes));
    let seal = LogPosition::at(number, bytes.len());
    bytes.extend_from_slice(&frame::encode_mark(seal, Role::Seal));
    bytes
}
