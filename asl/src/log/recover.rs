//! Opening a log: `FORMAT.md`, "Log: every way a crash can fall".

use std::sync::{Arc, Mutex, RwLock};

use super::scan::{self, Scan};
use super::{
    Cut, DIR, EXTENSION, Log, LogError, MAGIC, Options, Recovery, Role, Segment, Tail, create_segment, damaged, frame,
    path,
};
use crate::disk::{self, Context, Disk, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// What is in a segment's file.
enum Content {
    Frames(Scan),
    /// The last segment, whose creation was cut short: nothing was ever appended to it.
    Unborn(frame::Invalid),
}

pub(super) fn open(disk: Arc<dyn Disk>, mode: Mode, options: Options) -> Result<(Log, Recovery), LogError> {
    if mode == Mode::Write {
        disk::create_dir_durably(&*disk, DIR)?;
    }
    let numbers = disk::list_numbered(&*disk, DIR, EXTENSION)?;
    if let Some(missing) = (1..).zip(&numbers).find(|(expected, number)| expected != *number) {
        return Err(LogError::Missing { file: path(missing.0) });
    }
    let mut recovery = Recovery::default();
    let mut segments = Vec::with_capacity(numbers.len());
    let mut allocated = 0;
    for number in &numbers {
        let last = Some(number) == numbers.last();
        let name = path(*number);
        // Sealed segments are never opened to write.
        let file = disk.open(&name, if last { mode } else { Mode::ReadOnly }).during("open", &name)?;
        let mut segment = Segment { number: *number, file, end: 0 };
        if last {
            let (bytes, content) = read_last(&segment)?;
            allocated = bytes.len();
            segment.end = match &content {
                Content::Frames(scan) => scan.end,
                Content::Unborn(_) => 0,
            };
            recovery.cut = torn_tail(&segment, &bytes, &content);
            if let Content::Frames(scan) = &content {
                recovery.entries += scan.entries;
            }
            if mode == Mode::Write {
                (segment, allocated) = repair(&*disk, segment, &bytes, &content, &mut recovery, options)?;
            } else if segment.end == 0 {
                continue;
            }
        } else {
            let scan = read_sealed(&segment)?;
            segment.end = scan.end;
            recovery.entries += scan.entries;
        }
        segments.push(segment);
    }
    if mode == Mode::Write && segments.is_empty() {
        let (segment, len) = create_segment(&*disk, 1, options)?;
        segments.push(segment);
        allocated = len;
    }
    recovery.segments = u32::try_from(segments.len()).unwrap_or(u32::MAX);
    let tail = Tail { allocated, dirty: false, poisoned: false, mark_failed: false };
    let log = Log { disk, mode, options, segments: RwLock::new(segments), tail: Mutex::new(tail) };
    Ok((log, recovery))
}

/// A segment that was closed holds valid frames, the last of which is a seal.
fn read_sealed(segment: &Segment) -> Result<Scan, LogError> {
    check_size(segment)?;
    let bytes = segment.file.map_sealed().during("map", &path(segment.number))?;
    verify_header(segment.number, &bytes)?.map_err(|invalid| damaged(segment.number, 0, invalid))?;
    let mut scan = scan::scan(segment.number, &bytes);
    match scan.stopped.take() {
        None if scan.sealed => Ok(scan),
        None => {
            let (expected, found) = ("a seal".to_owned(), "the end of the file".to_owned());
            Err(damaged(segment.number, scan.end, frame::Invalid { what: "end of segment", expected, found }))
        }
        Some(invalid) => Err(damaged(segment.number, scan.end, invalid)),
    }
}

/// Reads the last segment, to which a writer may be appending. An invalid frame before a mark is damage, and so is an
/// invalid file header before a frame; but only if it is still there when the file is read again.
fn read_last(segment: &Segment) -> Result<(Vec<u8>, Content), LogError> {
    let mut damage_before: Option<usize> = None;
    loop {
        let len = check_size(segment)?;
        let bytes = segment.read(0, len)?;
        let header = verify_header(segment.number, &bytes)?;
        let (content, end) = match header {
            Ok(()) => {
                let scan = scan::scan(segment.number, &bytes);
                let end = scan.end;
                (Content::Frames(scan), end)
            }
            Err(invalid) => (Content::Unborn(invalid), 0),
        };
        let (invalid, proof) = match &content {
            Content::Frames(Scan { stopped: None, .. }) => return Ok((bytes, content)),
            Content::Frames(Scan { stopped: Some(invalid), .. }) => {
                let claimed = scan::claimed_len(segment.number, &bytes, end);
                (invalid, scan::find_mark(segment.number, &bytes, end + claimed).is_some())
            }
            Content::Unborn(invalid) => (invalid, scan::scan(segment.number, &bytes).end > file_header::LEN),
        };
        if !proof {
            return Ok((bytes, content));
        }
        if damage_before == Some(end) {
            return Err(damaged(segment.number, end, invalid.clone()));
        }
        damage_before = Some(end);
    }
}

fn check_size(segment: &Segment) -> Result<usize, LogError> {
    let len = segment.file.len().during("measure", &path(segment.number))?;
    u32::try_from(len).map(|len| len as usize).map_err(|_| LogError::Damaged {
        file: path(segment.number),
        offset: 0,
        what: "file length",
        expected: format!("less than {} bytes", u32::MAX),
        found: format!("{len} bytes"),
    })
}

fn verify_header(number: u32, bytes: &[u8]) -> Result<Result<(), frame::Invalid>, LogError> {
    match file_header::verify(bytes, MAGIC, number) {
        Ok(()) => Ok(Ok(())),
        Err(file_header::Invalid::Version { found }) => {
            Err(LogError::Newer { file: path(number), found, supported: file_header::VERSION })
        }
        Err(file_header::Invalid::Damaged { expected, found }) => {
            Ok(Err(frame::Invalid { what: "file header", expected, found }))
        }
    }
}

fn torn_tail(segment: &Segment, bytes: &[u8], content: &Content) -> Option<Cut> {
    let stopped = match content {
        Content::Frames(scan) => scan.stopped.is_some(),
        Content::Unborn(_) => scan::content_len(bytes) > 0,
    };
    stopped.then(|| Cut {
        file: path(segment.number),
        offset: segment.end as u64,
        bytes: (scan::content_len(bytes) - segment.end) as u64,
        saved: None,
    })
}

/// Makes the last segment one that can be appended to: saves and cuts the torn tail, and writes what may not be durable
/// once more. A kernel that failed to sync may still show bytes it has given up writing.
fn repair(
    disk: &dyn Disk,
    mut segment: Segment,
    bytes: &[u8],
    content: &Content,
    recovery: &mut Recovery,
    options: Options,
) -> Result<(Segment, usize), LogError> {
    let name = path(segment.number);
    let mut allocated = bytes.len();
    if let Some(cut) = &mut recovery.cut {
        let start = segment.end;
        let torn = &bytes[start..scan::content_len(bytes)];
        cut.saved = Some(save(disk, segment.number, start, torn)?);
        segment.file.set_len(start as u64).during("cut the torn tail of", &name)?;
        segment.file.sync().during("sync", &name)?;
        allocated = start;
    }
    let Content::Frames(scan) = content else {
        return create_segment(disk, segment.number, options);
    };
    // From the last mark on, and with it: it may be one of those bytes.
    let unsure = &bytes[scan.durable..scan.end];
    segment.file.write_at(scan.durable as u64, unsure).during("rewrite", &name)?;
    let ends_marked = scan.durable > 0 && unsure.len() == frame::MARK_LEN;
    if !ends_marked {
        segment.file.sync().during("sync", &name)?;
        disk.sync_dir(DIR).during("sync", DIR)?;
        segment.file.write_at(scan.end as u64, &segment.mark(Role::Mark)).during("write", &name)?;
        segment.end += frame::MARK_LEN;
        allocated = allocated.max(segment.end);
    }
    Ok((segment, allocated))
}

/// Copies torn bytes to a file beside the segment; its name follows from the bytes, so doing it twice is doing it once.
fn save(disk: &dyn Disk, segment: u32, offset: usize, torn: &[u8]) -> Result<String, LogError> {
    let name = format!("{DIR}/cut-{segment:08}-{offset}-{}.bin", Checksum::of(torn).short());
    let file = disk.open(&name, Mode::Write).during("create", &name)?;
    file.write_at(0, torn).during("write", &name)?;
    file.sync().during("sync", &name)?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    Ok(name)
}
