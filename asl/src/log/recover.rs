//! Opening a log: `FORMAT.md`, "Log: every way a crash can fall".

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, RwLock};

use super::closed::{self, Closed};
use super::growing::Writer;
use super::scan::{self, Scan};
use super::tail::Tail;
use super::view::LogView;
use super::{
    Appending, Cut, DIR, EXTENSION, Log, LogError, LogPosition, Options, Recovery, damaged, frame,
    path,
};
use crate::damage::Mismatch;
use crate::disk::{self, Context, Disk, DiskFile, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// So many times a file may be cut by a writer beside, between being measured and being read.
const CUTS_MAX: u32 = 8;

/// What is in the last segment's file.
enum Content {
    Frames(Scan, u16),
    /// Its creation was cut short: nothing was ever appended to it.
    Unborn(Mismatch),
}

/// The last segment's file.
struct Last {
    number: u32,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    content: Content,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    mode: Mode,
    options: Options,
) -> Result<(Log, Recovery), LogError> {
    if mode == Mode::Write {
        disk::create_dir_durably(&*disk, DIR)?;
    }
    let numbers = disk::list_numbered(&*disk, DIR, EXTENSION)?;
    if let Some(missing) = (1..)
        .zip(&numbers)
        .find(|(expected, number)| expected != *number)
    {
        return Err(LogError::Missing {
            file: path(missing.0),
        });
    }
    let last = numbers
        .last()
        .map(|number| read_last(&*disk, *number, mode))
        .transpose()?;
    let mut recovery = last.as_ref().map(Last::recovery).unwrap_or_default();
    let (number, bytes, tail) = match (last, mode) {
        (last, Mode::Write) => {
            let tail = match last {
                Some(last) => last.repair(&*disk, &mut recovery, options)?,
                None => Tail::create(&*disk, 1, options)?,
            };
            (
                tail.number,
                tail.bytes.shared(),
                Some(Mutex::new(Appending {
                    tail,
                    poisoned: false,
                })),
            )
        }
        (Some(last), Mode::ReadOnly) => (
            last.number,
            Writer::new(&last.bytes[..last.end()], 0).shared(),
            None,
        ),
        (None, Mode::ReadOnly) => (1, Writer::new(&[], 0).shared(), None),
    };
    recovery.segments = if bytes.bytes().is_empty() {
        number - 1
    } else {
        number
    };
    let end = bytes.bytes().len().max(file_header::LEN);
    let closed = (1..number)
        .map(|number| Arc::new(Closed::new(Arc::clone(&disk), number)))
        .collect();
    let end = LogPosition {
        segment: number,
        offset: super::offset_in_segment(end),
    };
    let view = LogView {
        closed: Arc::new(closed),
        last: bytes,
        end,
    };
    Ok((
        Log {
            disk,
            options,
            view: RwLock::new(view),
            tail,
        },
        recovery,
    ))
}

/// Reads the last segment, to which a writer may be appending. An invalid frame before a mark is
/// damage, and so is an invalid file header before a frame; but only if it is still there when the
/// file is read again.
fn read_last(disk: &dyn Disk, number: u32, mode: Mode) -> Result<Last, LogError> {
    let name = path(number);
    let file = disk.open(&name, mode).during("open", &name)?;
    let mut damage_before: Option<usize> = None;
    let mut cuts = 0;
    loop {
        let len = closed::check_size(number, file.len().during("measure", &name)?)?;
        let mut bytes = vec![0; len];
        match file.read_at(0, &mut bytes) {
            // A writer that closes the segment cuts it to its content, once, and one that opens it
            // cuts its torn tail.
            Err(error)
                if error.kind() == ErrorKind::UnexpectedEof
                    && mode == Mode::ReadOnly
                    && cuts < CUTS_MAX =>
            {
                cuts += 1;
                continue;
            }
            read => read.during("read", &name)?,
        }
        let (content, end) = match closed::version(number, &bytes)? {
            Ok(version) => {
                let scan = scan::scan(number, &bytes);
                let end = scan.end;
                (Content::Frames(scan, version), end)
            }
            Err(invalid) => (Content::Unborn(invalid), 0),
        };
        let proven = match &content {
            Content::Frames(Scan { stopped: None, .. }, _) => None,
            Content::Frames(
                Scan {
                    stopped: Some(invalid),
                    ..
                },
                _,
            ) => {
                let claimed = scan::claimed_len(number, &bytes, end);
                scan::find_mark(number, &bytes, end + claimed).map(|_| invalid.clone())
            }
            Content::Unborn(invalid) => {
                let is_begun = scan::scan(number, &bytes).end > file_header::LEN;
                (is_begun || scan::find_mark(number, &bytes, 0).is_some()).then(|| invalid.clone())
            }
        };
        match proven {
            None => {
                return Ok(Last {
                    number,
                    file,
                    bytes,
                    content,
                });
            }
            Some(invalid) if damage_before == Some(end) => {
                return Err(damaged(number, end, invalid));
            }
            Some(_) => damage_before = Some(end),
        }
    }
}

impl Last {
    /// Where its valid frames end.
    fn end(&self) -> usize {
        match &self.content {
            Content::Frames(scan, _) => scan.end,
            Content::Unborn(_) => 0,
        }
    }

    fn recovery(&self) -> Recovery {
        let (entries_last, torn) = match &self.content {
            Content::Frames(scan, _) => (scan.entries, scan.stopped.is_some()),
            Content::Unborn(_) => (0, scan::content_len(&self.bytes) > 0),
        };
        let cut = torn.then(|| Cut {
            file: path(self.number),
            offset: self.end() as u64,
            bytes: (scan::content_len(&self.bytes) - self.end()) as u64,
            saved: None,
        });
        Recovery {
            entries_last,
            segments: 0,
            cut,
        }
    }

    /// Makes it one that can be appended to: saves and cuts the torn tail, and writes what may not
    /// be durable once more. A kernel that failed to sync may still show bytes it has given up
    /// writing.
    fn repair(
        self,
        disk: &dyn Disk,
        recovery: &mut Recovery,
        options: Options,
    ) -> Result<Tail, LogError> {
        let end = self.end();
        let Self {
            number,
            file,
            bytes,
            content,
        } = self;
        let name = path(number);
        let mut allocated = bytes.len();
        if let Some(cut) = &mut recovery.cut {
            cut.saved = Some(save(
                disk,
                number,
                end,
                &bytes[end..scan::content_len(&bytes)],
            )?);
            file.set_len(end as u64)
                .during("cut the torn tail of", &name)?;
            file.sync().during("sync", &name)?;
            allocated = end;
        }
        let Content::Frames(scan, version) = content else {
            return Tail::create(disk, number, options);
        };
        // From the last mark on, and with it: it may be one of those bytes.
        let unsure = &bytes[scan.durable..scan.end];
        file.write_at(scan.durable as u64, unsure)
            .during("rewrite", &name)?;
        let ends_marked = scan.durable > 0 && unsure.len() == frame::MARK_LEN;
        let mut tail = Tail::new(
            number,
            version,
            file,
            &bytes[..scan.end],
            allocated,
            options,
        );
        tail.sealed = scan.sealed;
        if !ends_marked {
            tail.file.sync().during("sync", &name)?;
            disk.sync_dir(DIR).during("sync", DIR)?;
            tail.write_mark().during("write", &name)?;
            tail.allocated = tail.allocated.max(tail.end());
        }
        Ok(tail)
    }
}

/// Copies torn bytes to a file beside the segment; its name follows from the bytes, so doing it
/// twice is doing it once.
fn save(disk: &dyn Disk, segment: u32, offset: usize, torn: &[u8]) -> Result<String, LogError> {
    let name = format!(
        "{DIR}/cut-{segment:08}-{offset}-{}.bin",
        Checksum::of(torn).short()
    );
    let file = disk.open(&name, Mode::Write).during("create", &name)?;
    file.write_at(0, torn).during("write", &name)?;
    file.sync().during("sync", &name)?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    Ok(name)
}
