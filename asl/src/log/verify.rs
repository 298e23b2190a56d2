//! Proving a log from its bytes up: every check of every segment, in parallel, without stopping at
//! what is found.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::closed;
use super::error::LogError;
use super::frame::{self, ALIGN, Role};
use super::layout::path;
use super::position::LogPosition;
use super::view::LogView;
use crate::damage::{Damage, Mismatch};
use crate::disk::{Context, Disk, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// Progress is said about this often.
const STEP_BYTES: usize = 1 << 20;

/// What verifying the log found.
#[derive(Debug, Default)]
pub struct LogVerified {
    /// Valid entries.
    pub entries: u64,
    /// Segments that were read.
    pub segments: u32,
    /// Bytes that were read.
    pub bytes: u64,
    /// Everything that is not as it was written or could not be read, by segment and offset. A
    /// flipped bit may be in more than one of them: where it spoils a frame and where it spoils a
    /// page.
    pub damages: Vec<LogError>,
}

/// What one segment holds.
#[derive(Default)]
pub(super) struct Found {
    entries: u64,
    bytes: u64,
    pub(super) damages: Vec<LogError>,
}

pub(super) fn verify(
    disk: &dyn Disk,
    view: &LogView,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> LogVerified {
    let next = AtomicU32::new(1);
    let all = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > view.end.segment {
                return;
            }
            let found = if number < view.end.segment {
                verify_closed(disk, number, on_bytes)
            } else {
                verify_last(disk, view, on_bytes)
            };
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, found));
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(number, _)| *number);
    let mut verified = LogVerified {
        segments: view.end.segment,
        ..LogVerified::default()
    };
    for (_, found) in all {
        verified.entries += found.entries;
        verified.bytes += found.bytes;
        verified.damages.extend(found.damages);
    }
    verified
}

pub(super) fn verify_closed(
    disk: &dyn Disk,
    number: u32,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> Found {
    let (bytes, version) = match closed::map(disk, number) {
        Ok(mapped) => mapped,
        Err(error) => {
            return Found {
                damages: vec![error],
                ..Found::default()
            };
        }
    };
    let mut found = walk(number, &bytes, on_bytes);
    match closed::load(number, bytes, version) {
        Ok(pages) => found
            .damages
            .extend(pages.verify_all(|_| {}).into_iter().map(LogError::from)),
        Err(error)
            if found
                .damages
                .iter()
                .any(|damage| place(damage) == place(&error)) => {}
        Err(error) => found.damages.push(error),
    }
    found.damages.sort_by_key(place);
    found
}

/// The last segment, up to where its valid frames end.
fn verify_last(disk: &dyn Disk, view: &LogView, on_bytes: &(dyn Fn(u64) + Sync)) -> Found {
    let LogPosition {
        segment: number,
        offset: end,
    } = view.end;
    if view.last.bytes().is_empty() {
        return Found::default();
    }
    let read = || -> Result<Vec<u8>, LogError> {
        let name = path(number);
        let file = disk.open(&name, Mode::ReadOnly).during("open", &name)?;
        let mut bytes = vec![0; end as usize];
        file.read_at(0, &mut bytes).during("read", &name)?;
        closed::version(number, &bytes)?
            .map_err(|mismatch| LogError::damaged(number, 0, mismatch))?;
        Ok(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) => {
            return Found {
                damages: vec![error],
                ..Found::default()
            };
        }
    };
    let mut found = walk(number, &bytes, on_bytes);
    let in_memory = &view.last.bytes()[..end as usize];
    if let (true, Some(at)) = (
        found.damages.is_empty(),
        in_memory
            .iter()
            .zip(&bytes)
            .position(|(one, other)| one != other),
    ) {
        let mismatch = Mismatch::new(
            "contents since it was opened",
            Checksum::of(in_memory).to_string(),
            Checksum::of(&bytes).to_string(),
        );
        found.damages.push(LogError::damaged(number, at, mismatch));
    }
    found
}

/// Verifies all frames of a segment whose header is valid, going on behind damage where a frame
/// starts again.
fn walk(number: u32, bytes: &[u8], on_bytes: &(dyn Fn(u64) + Sync)) -> Found {
    let mut found = Found {
        bytes: bytes.len() as u64,
        ..Found::default()
    };
    let (mut at, mut told) = (file_header::LEN, 0);
    while at < bytes.len() {
        let position = LogPosition::at(number, at);
        match frame::decode(position, &bytes[at..]) {
            Ok(frame) => {
                found.entries += u64::from(frame.role == Role::Entry);
                at += frame.len;
            }
            Err(mismatch) => {
                found.damages.push(LogError::damaged(number, at, mismatch));
                at = next_frame(number, bytes, at);
            }
        }
        if at - told >= STEP_BYTES {
            on_bytes((at - told) as u64);
            told = at;
        }
    }
    if at != bytes.len() {
        let mismatch = Mismatch::new(
            "end of segment",
            format!("a frame that ends at {}", bytes.len()),
            format!("one that ends at {at}"),
        );
        found.damages.push(LogError::damaged(number, at, mismatch));
    }
    on_bytes((bytes.len() - told) as u64);
    found
}

/// Where a frame starts behind the one at `at`, whose body or header is not valid.
pub(super) fn next_frame(number: u32, bytes: &[u8], at: usize) -> usize {
    let header = |at: usize| {
        let position = LogPosition::at(number, at);
        frame::decode_header(position, &bytes[at..]).ok()
    };
    let claimed = header(at).map_or(ALIGN, |header| header.frame_len());
    let from = if at + claimed <= bytes.len() {
        at + claimed
    } else {
        at + ALIGN
    };
    (from..bytes.len())
        .step_by(ALIGN)
        .find(|at| header(*at).is_some())
        .unwrap_or(bytes.len())
}

fn place(error: &LogError) -> Option<u64> {
    match error {
        LogError::Damaged(Damage { offset, .. }) => Some(*offset),
        _ => None,
    }
}
