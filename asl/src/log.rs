//! The append log: opaque entries, in the order they were appended, each at a [`LogPosition`] that never changes.
//! Layout, and every way a crash can fall: `FORMAT.md`, "Log"; design §6.
//!
//! Invariants:
//! * an entry is durable once [`Log::sync`] has returned; entries are never reordered, and only unsynced ones can be lost;
//! * what was durable and cannot be read any more is an error that names the place, never a shorter log;
//! * after a failed write or sync nothing is appended until the log is opened again, which writes the entries that may not
//!   have reached the disk once more.

mod frame;
mod recover;
mod scan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use self::frame::BODY_LEN_MAX;
use self::frame::{HEADER_LEN, MARK_LEN, Role};
use crate::disk::{Context, Disk, DiskError, DiskFile, Mode, Sealed};
use crate::file_header;

const DIR: &str = "log";
const EXTENSION: &str = "log";
const MAGIC: [u8; 8] = *b"UORLOG\0\0";

/// So that offsets, one frame over it included, fit 32 bits with room to spare.
const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Number of the segment file, from 1.
    pub segment: u32,
    /// Byte offset of the frame in its file.
    pub offset: u32,
}

impl LogPosition {
    /// Before every entry.
    pub const START: Self = Self { segment: 1, offset: 32 };

    /// As one number.
    pub const fn to_u64(self) -> u64 {
        (self.segment as u64) << 32 | self.offset as u64
    }

    /// The position that [`LogPosition::to_u64`] gave.
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
    pub const fn from_u64(number: u64) -> Self {
        Self { segment: (number >> 32) as u32, offset: number as u32 }
    }

    /// Where the body of the frame here begins.
    #[must_use]
    pub const fn body(self) -> Self {
        Self { segment: self.segment, offset: self.offset + HEADER_LEN as u32 }
    }

    /// So many bytes on.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self { segment: self.segment, offset: self.offset + u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.segment) << 32 | u64::from(self.offset)).to_le_bytes()
    }
}

/// One entry as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: LogPosition,
    /// The kind it was appended with.
    pub kind: u8,
    /// The body it was appended with.
    pub body: Vec<u8>,
}

/// What was appended, for readers to take.
pub struct Appended {
    /// Where each entry is.
    pub positions: Vec<LogPosition>,
    bodies: Vec<(LogPosition, Arc<[u8]>)>,
}

/// The log's bytes.
#[derive(Clone, Default)]
pub struct LogView {
    bodies: std::collections::BTreeMap<LogPosition, Arc<[u8]>>,
    end: Option<LogPosition>,
}

impl LogView {
    /// Takes.
    pub fn take(&mut self, appended: Appended) {
        self.bodies.extend(appended.bodies);
    }

    /// Bytes.
    pub fn bytes(&self, at: LogPosition, len: usize) -> Result<&[u8], LogError> {
        let none = || LogError::NoEntry { segment: at.segment, offset: at.offset };
        let (start, body) = self.bodies.range(..=at).next_back().ok_or_else(none)?;
        let from = (at.offset - start.offset) as usize;
        body.get(from..from + len).ok_or_else(none)
    }

    /// Prefetch.
    pub fn prefetch(&self, _: LogPosition) {}

    /// End.
    pub fn end(&self) -> LogPosition {
        self.bodies
            .last_key_value()
            .map_or(LogPosition::START, |(at, body)| at.plus(body.len().next_multiple_of(frame::ALIGN)))
    }
}

/// Sizes that may differ between stores without changing the format.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment is closed when the next frame would make it longer than this many bytes; at most 1 GiB. A longer frame
    /// gets a segment of its own.
    pub segment_bytes: u32,
    /// Space is written with zeros in steps of this many bytes, so that most appends overwrite.
    pub preallocate_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, preallocate_bytes: 1 << 20 }
    }
}

impl Options {
    /// With these sizes where they are possible, else the nearest that are.
    fn bounded(self) -> Self {
        Self {
            segment_bytes: self.segment_bytes.min(SEGMENT_BYTES_MAX),
            preallocate_bytes: self.preallocate_bytes.clamp(1, SEGMENT_BYTES_MAX),
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of entries in the log.
    pub entries: u64,
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

/// Why the log could not be opened, read or appended to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file of a newer format.
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Newer {
        /// The file's path inside the store.
        file: String,
        /// The version the file states.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
    /// Bytes that had been durable are not what was written.
    #[error("{file} is damaged at offset {offset}: {what} expected {expected}, found {found}")]
    Damaged {
        /// The file's path inside the store.
        file: String,
        /// Where the frame (or the file header, at 0) starts.
        offset: u64,
        /// Which check failed.
        what: &'static str,
        /// What should be there: a digest in hex, or words.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A segment between others, or before them, is not there.
    #[error("{file} is missing, though a later segment exists")]
    Missing {
        /// The missing file's path inside the store.
        file: String,
    },
    /// The log ends before this position.
    #[error("the log has no entry at offset {offset} of segment {segment}")]
    NoEntry {
        /// Segment asked for.
        segment: u32,
        /// Offset asked for.
        offset: u32,
    },
    /// An entry longer than a frame may be; nothing was appended.
    #[error("an entry of {len} bytes is longer than {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// An earlier write or sync failed: what is on the disk is known only after opening the log again.
    #[error("the log takes no entries since a write or sync failed; open it again")]
    Poisoned,
    /// The log was opened to be read.
    #[error("the log was opened to be read")]
    ReadOnly,
}

/// An open log. Threads share it: reading does not wait for appending.
pub struct Log {
    disk: Arc<dyn Disk>,
    mode: Mode,
    options: Options,
    segments: RwLock<Vec<Segment>>,
    tail: Mutex<Tail>,
}

#[derive(Clone)]
struct Segment {
    number: u32,
    file: Arc<dyn DiskFile>,
    /// Where its valid frames end.
    end: usize,
}

/// The state of the last segment, which only appending changes.
struct Tail {
    /// Length of its file: up to here, appending overwrites.
    allocated: usize,
    dirty: bool,
    poisoned: bool,
    /// A mark may be half-written behind the last entry.
    mark_failed: bool,
}

impl Log {
    /// Opens the log on `disk`; see [`Log::open_with`].
    ///
    /// # Errors
    /// As [`Log::open_with`].
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<(Self, Recovery), LogError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the log in directory `log` of `disk`, verifying every frame. A writer creates the log if there is none,
    /// cuts a torn tail (after saving its bytes beside it), and makes every entry durable that is not known to be. A
    /// reader changes nothing, sees a valid prefix while a writer is at work, and an empty log if there is none.
    ///
    /// # Errors
    /// [`LogError::Damaged`] or [`LogError::Missing`] if durable entries cannot be read; [`LogError::Newer`];
    /// [`LogError::Disk`].
    pub fn open_with(disk: Arc<dyn Disk>, mode: Mode, options: Options) -> Result<(Self, Recovery), LogError> {
        recover::open(disk, mode, options.bounded())
    }

    /// All entries, oldest first, up to the end of the log as it is now.
    pub fn entries(&self) -> Entries {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner).clone();
        Entries { segments, at: 0, bytes: None, offset: file_header::LEN }
    }

    /// View.
    pub fn view(&self) -> LogView {
        let bodies =
            self.entries().map(|entry| entry.unwrap()).map(|entry| (entry.position.body(), Arc::from(entry.body)));
        LogView { bodies: bodies.collect(), end: None }
    }

    /// From.
    pub fn entries_from(&self, from: LogPosition) -> Result<Entries, LogError> {
        let mut entries = self.entries();
        entries.at = from.segment as usize - 1;
        entries.offset = from.offset as usize;
        Ok(entries)
    }

    /// The entry at `position`.
    ///
    /// # Errors
    /// [`LogError::NoEntry`] past the end of the log; [`LogError::Damaged`] if no entry verifies there.
    pub fn read(&self, position: LogPosition) -> Result<Entry, LogError> {
        let LogPosition { segment: number, offset } = position;
        let absent = LogError::NoEntry { segment: number, offset };
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let Some(segment) = index.and_then(|index| segments.get(index)).cloned() else {
            return Err(absent);
        };
        drop(segments);
        let start = offset as usize;
        if start + HEADER_LEN > segment.end {
            return Err(absent);
        }
        let damaged = |invalid| damaged(number, start, invalid);
        let mut bytes = segment.read(start, HEADER_LEN)?;
        let header = frame::decode_header(position, &bytes).map_err(damaged)?;
        if header.role != Role::Entry || start + header.frame_len() > segment.end {
            return Err(absent);
        }
        bytes.extend(segment.read(start + HEADER_LEN, header.frame_len() - HEADER_LEN)?);
        let found = frame::decode(position, &bytes).map_err(damaged)?;
        Ok(Entry { position, kind: found.kind, body: found.body.to_vec() })
    }

    /// Appends entries of a kind and a body each, in this order, and says where they are. They are durable after the next
    /// [`Log::sync`]; until then any of them, but only from some entry on, can be lost.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] with nothing appended; [`LogError::Poisoned`]; [`LogError::ReadOnly`]; [`LogError::Disk`],
    /// after which the log is poisoned and any number of the entries may be there when it is opened again.
    pub fn append_batch(&self, entries: &[(u8, &[u8])]) -> Result<Appended, LogError> {
        if let Some((_, body)) = entries.iter().find(|(_, body)| body.len() > BODY_LEN_MAX) {
            return Err(LogError::TooLarge { len: body.len(), max: BODY_LEN_MAX });
        }
        let positions = self.with_tail(|tail| self.append_to(tail, entries))?;
        let bodies = positions.iter().zip(entries).map(|(at, (_, body))| (at.body(), Arc::from(*body))).collect();
        Ok(Appended { positions, bodies })
    }

    /// Makes everything appended so far durable; free if it already is.
    ///
    /// # Errors
    /// [`LogError::Poisoned`]; [`LogError::ReadOnly`]; [`LogError::Disk`], after which the log is poisoned.
    pub fn sync(&self) -> Result<(), LogError> {
        self.with_tail(|tail| self.sync_tail(tail))
    }

    /// Runs what modifies the log; if it fails, nothing modifies the log again.
    fn with_tail<T>(&self, action: impl FnOnce(&mut Tail) -> Result<T, LogError>) -> Result<T, LogError> {
        if self.mode == Mode::ReadOnly {
            return Err(LogError::ReadOnly);
        }
        let mut tail = lock(&self.tail);
        if tail.poisoned {
            return Err(LogError::Poisoned);
        }
        tail.poisoned = true;
        let result = action(&mut tail)?;
        tail.poisoned = tail.mark_failed;
        Ok(result)
    }

    fn append_to(&self, tail: &mut Tail, entries: &[(u8, &[u8])]) -> Result<Vec<LogPosition>, LogError> {
        let mut positions = Vec::with_capacity(entries.len());
        let mut segment = self.last();
        let mut frames = Vec::new();
        for (kind, body) in entries {
            let used = segment.end + frames.len();
            let full = used + frame::frame_len(body.len()) + MARK_LEN > self.options.segment_bytes as usize;
            if full && used > file_header::LEN {
                self.write_frames(tail, &segment, std::mem::take(&mut frames))?;
                segment = self.next_segment(tail)?;
            }
            let offset = offset_in_segment(segment.end + frames.len());
            let position = LogPosition { segment: segment.number, offset };
            frame::encode(position, Role::Entry, *kind, body, &mut frames);
            positions.push(position);
        }
        self.write_frames(tail, &segment, frames)?;
        Ok(positions)
    }

    /// Writes frames at the end of the last segment, together with zeros for the next ones and always for a mark.
    fn write_frames(&self, tail: &mut Tail, segment: &Segment, mut bytes: Vec<u8>) -> Result<(), LogError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = segment.end + bytes.len();
        if end + MARK_LEN > tail.allocated {
            tail.allocated = (end + MARK_LEN).next_multiple_of(self.options.preallocate_bytes as usize);
            bytes.resize(tail.allocated - segment.end, 0);
        }
        tail.dirty = true;
        segment.file.write_at(segment.end as u64, &bytes).during("append to", &path(segment.number))?;
        self.set_end(end);
        Ok(())
    }

    fn sync_tail(&self, tail: &mut Tail) -> Result<(), LogError> {
        if !tail.dirty {
            return Ok(());
        }
        let segment = self.last();
        segment.file.sync().during("sync", &path(segment.number))?;
        tail.dirty = false;
        // The mark itself becomes durable with the next sync. Without it opening has more to do, that is all; so failing to
        // write it takes nothing back, but nothing may be appended after what it left.
        match segment.file.write_at(segment.end as u64, &segment.mark(Role::Mark)) {
            Ok(()) => self.set_end(segment.end + MARK_LEN),
            Err(_) => tail.mark_failed = true,
        }
        Ok(())
    }

    /// Closes the last segment, durably, and creates the next.
    fn next_segment(&self, tail: &mut Tail) -> Result<Segment, LogError> {
        let last = self.last();
        let name = path(last.number);
        let end = last.end + MARK_LEN;
        // What a mark or seal vouches for has to be durable first, another mark included.
        last.file.sync().during("sync", &name)?;
        last.file.write_at(last.end as u64, &last.mark(Role::Seal)).during("seal", &name)?;
        last.file.set_len(end as u64).during("cut to its content", &name)?;
        last.file.sync().during("sync", &name)?;
        self.set_end(end);
        let (segment, allocated) = create_segment(&*self.disk, last.number + 1, self.options)?;
        tail.allocated = allocated;
        tail.dirty = false;
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment.clone());
        Ok(segment)
    }

    fn last(&self) -> Segment {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.last().cloned().expect("a log opened to be written has a segment")
    }

    fn set_end(&self, end: usize) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = segments.last_mut() {
            segment.end = end;
        }
    }
}

/// The entries of a log, oldest first.
pub struct Entries {
    segments: Vec<Segment>,
    /// Index of the segment being read.
    at: usize,
    /// Its bytes, once read.
    bytes: Option<Sealed>,
    /// Where its next frame starts.
    offset: usize,
}

impl Entries {
    fn step(&mut self) -> Result<Option<Entry>, LogError> {
        while let Some(segment) = self.segments.get(self.at) {
            if self.offset >= segment.end {
                self.at += 1;
                self.bytes = None;
                self.offset = file_header::LEN;
                continue;
            }
            let sealed = self.at + 1 < self.segments.len();
            let bytes = match self.bytes.take() {
                Some(bytes) => bytes,
                None if sealed => segment.file.map_sealed().during("map", &path(segment.number))?,
                None => segment.read(0, segment.end)?.into(),
            };
            let bytes = self.bytes.insert(bytes);
            let position = LogPosition { segment: segment.number, offset: offset_in_segment(self.offset) };
            let rest = bytes.get(self.offset..).unwrap_or_default();
            let found =
                frame::decode(position, rest).map_err(|invalid| damaged(segment.number, self.offset, invalid))?;
            self.offset += found.len;
            if found.role == Role::Entry {
                return Ok(Some(Entry { position, kind: found.kind, body: found.body.to_vec() }));
            }
        }
        Ok(None)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            self.at = self.segments.len();
        }
        step
    }
}

impl Segment {
    /// The mark or seal to write at its end.
    fn mark(&self, role: Role) -> Vec<u8> {
        let position = LogPosition { segment: self.number, offset: offset_in_segment(self.end) };
        frame::encode_mark(position, role)
    }

    fn read(&self, offset: usize, len: usize) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; len];
        self.file.read_at(offset as u64, &mut bytes).during("read", &path(self.number))?;
        Ok(bytes)
    }
}

/// Creates segment `number` with its first zeros, durably, and says how long its file is.
fn create_segment(disk: &dyn Disk, number: u32, options: Options) -> Result<(Segment, usize), LogError> {
    let name = path(number);
    let file = disk.open(&name, Mode::Write).during("create", &name)?;
    let mut bytes = file_header::encode(MAGIC, number).to_vec();
    bytes.resize(bytes.len().next_multiple_of(options.preallocate_bytes as usize), 0);
    file.write_at(0, &bytes).during("write", &name)?;
    file.sync().during("sync", &name)?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    Ok((Segment { number, file, end: file_header::LEN }, bytes.len()))
}

fn path(segment: u32) -> String {
    format!("{DIR}/{segment:08}.{EXTENSION}")
}

/// Offsets fit: opening refuses segments of 4 GiB, and appending closes them long before.
fn offset_in_segment(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn damaged(segment: u32, offset: usize, invalid: frame::Invalid) -> LogError {
    let frame::Invalid { what, expected, found } = invalid;
    LogError::Damaged { file: path(segment), offset: offset as u64, what, expected, found }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
