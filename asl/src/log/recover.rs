//! Opening a log: `FORMAT.md`, "Log: every way a crash can fall".

use std::io::ErrorKind;
use std::sync::Arc;

use super::closed;
use super::error::LogError;
use super::frame;
use super::growing::Writer;
use super::layout::{DIR, EXTENSION, Options, path};
use super::scan::{self, Scan};
use super::tail::Tail;
use super::view::LogView;
use crate::damage::Mismatch;
use crate::disk::{self, Context, Disk, DiskFile, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// How often a file may be cut by a writer beside, between being measured and being read.
const CUTS_MAX: u32 = 8;

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of entries in the last segment; the others are not looked at.
    pub entries_last: u64,
    /// Number of segment files.
    pub segments: u32,
    /// What was written but never synced, and is no whole entry: the torn tail.
    pub cut: Option<Cut>,
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The last segment's file.
    pub file: String,
    /// Where the valid frames end.
    pub offset: u64,
    /// How many bytes came after, not counting zeros at the end.
    pub bytes: u64,
    /// Where the writer saved those bytes before it cut them off; a reader leaves them in place.
    pub saved: Option<String>,
}

/// An opened log.
pub(super) struct Opened {
    pub(super) view: LogView,
    /// What is appended to; a reader has none.
    pub(super) tail: Option<Tail>,
    pub(super) recovery: Recovery,
}

pub(super) fn open(disk: &Arc<dyn Disk>, mode: Mode, options: Options) -> Result<Opened, LogError> {
    if mode == Mode::Write {
        disk::create_dir_durably(&**disk, DIR)?;
    }
    let last = match last_number(&**disk)? {
        Some(number) => Some(read_last(&**disk, number, mode)?),
        None => None,
    };
    let mut recovery = last.as_ref().map(Last::recovery).unwrap_or_default();
    let (number, bytes, tail) = match (last, mode) {
        (Some(last), Mode::Write) => {
            let tail = last.repair(&**disk, &mut recovery, options)?;
            (tail.number, tail.bytes.shared(), Some(tail))
        }
        (None, Mode::Write) => {
            let tail = Tail::create(&**disk, 1, options)?;
            (tail.number, tail.bytes.shared(), Some(tail))
        }
        (Some(last), Mode::ReadOnly) => {
            let valid = Writer::new(&last.bytes[..last.end()], 0);
            (last.number, valid.shared(), None)
        }
        (None, Mode::ReadOnly) => (1, Writer::new(&[], 0).shared(), None),
    };
    // To a reader, a segment whose creation was cut short is not there yet.
    let is_begun = !bytes.bytes().is_empty();
    recovery.segments = if is_begun { number } else { number - 1 };
    Ok(Opened {
        view: LogView::new(disk, number, bytes),
        tail,
        recovery,
    })
}

/// The number of the last segment; all before it are there.
fn last_number(disk: &dyn Disk) -> Result<Option<u32>, LogError> {
    let numbers = disk::list_numbered(disk, DIR, EXTENSION)?;
    let missing = (1..)
        .zip(&numbers)
        .find(|(expected, number)| expected != *number);
    match missing {
        Some((missing, _)) => Err(LogError::Missing {
            file: path(missing),
        }),
        None => Ok(numbers.last().copied()),
    }
}

/// The last segment's file.
struct Last {
    number: u32,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    content: Content,
}

/// What is in the last segment's file.
enum Content {
    /// Frames, in a segment of this version.
    Frames(Scan, u16),
    /// Its creation was cut short: nothing was ever appended to it.
    Unborn(Mismatch),
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
        let bytes = read_whole(&*file, number, mode, &mut cuts)?;
        let content = Content::of(number, &bytes)?;
        let end = content.end();
        match content.damage(number, &bytes) {
            None => {
                return Ok(Last {
                    number,
                    file,
                    bytes,
                    content,
                });
            }
            Some(mismatch) if damage_before == Some(end) => {
                return Err(LogError::damaged(number, end, mismatch));
            }
            Some(_) => damage_before = Some(end),
        }
    }
}

/// All bytes of a segment's file. A writer beside a reader may make it shorter while it is read:
/// one that closes the segment cuts it to its content, once, and one that opens it cuts its torn
/// tail; `cuts` counts these.
fn read_whole(
    file: &dyn DiskFile,
    number: u32,
    mode: Mode,
    cuts: &mut u32,
) -> Result<Vec<u8>, LogError> {
    let name = path(number);
    loop {
        let len = closed::check_size(number, file.len().during("measure", &name)?)?;
        let mut bytes = vec![0; len];
        let read = file.read_at(0, &mut bytes);
        let is_shorter = read
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof);
        if is_shorter && mode == Mode::ReadOnly && *cuts < CUTS_MAX {
            *cuts += 1;
            continue;
        }
        read.during("read", &name)?;
        return Ok(bytes);
    }
}

impl Content {
    fn of(number: u32, bytes: &[u8]) -> Result<Self, LogError> {
        Ok(match closed::version(number, bytes)? {
            Ok(version) => Self::Frames(scan::scan(number, bytes), version),
            Err(mismatch) => Self::Unborn(mismatch),
        })
    }

    /// Where the valid frames end.
    fn end(&self) -> usize {
        match self {
            Self::Frames(scan, _) => scan.end,
            Self::Unborn(_) => 0,
        }
    }

    /// Why durable bytes are not what was written; `None` if what is not valid was never durable.
    fn damage(&self, number: u32, bytes: &[u8]) -> Option<Mismatch> {
        match self {
            Self::Frames(scan, _) => {
                let mismatch = scan.stopped.as_ref()?;
                let behind = scan.end + scan::claimed_len(number, bytes, scan.end);
                scan::find_mark(number, bytes, behind).map(|_| mismatch.clone())
            }
            Self::Unborn(mismatch) => {
                let has_frames = scan::scan(number, bytes).end > file_header::LEN;
                let was_durable = has_frames || scan::find_mark(number, bytes, 0).is_some();
                was_durable.then(|| mismatch.clone())
            }
        }
    }
}

impl Last {
    /// Where its valid frames end.
    fn end(&self) -> usize {
        self.content.end()
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
