//! The append log: opaque entries, in the order they were appended, each at a [`LogPosition`] that
//! never changes. Layout, and every way a crash can fall: `FORMAT.md`, "Log"; design §6.
//!
//! Invariants:
//! * an entry is durable once [`Log::sync`] has returned; entries are never reordered, and only
//!   unsynced ones can be lost;
//! * what was durable and cannot be read any more is an error that names the place, never a shorter
//!   log;
//! * after a failed write or sync nothing is appended until the log is opened again, which writes
//!   the entries that may not have reached the disk once more.

mod closed;
mod frame;
mod growing;
mod recover;
mod salvage;
mod scan;
mod tail;
mod verify;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use self::closed::Closed;
pub use self::frame::BODY_LEN_MAX;
pub use self::salvage::Salvaged;
pub(crate) use self::salvage::{damaged as damaged_segments, rewrite as rewrite_segment};
use self::tail::Tail;
pub use self::verify::LogVerified;
#[cfg(test)]
pub(crate) use self::view::READS;
pub use self::view::{Entries, LogView};
use crate::damage::{Damage, Mismatch};
use crate::disk::{Disk, DiskError, Mode};

/// How many bytes of an entry's frame are before its body.
pub const ENTRY_HEADER_LEN: u32 = 32;
const _: () = assert!(
    ENTRY_HEADER_LEN as usize == frame::HEADER_LEN,
    "one length, two types"
);

/// How long the mark is that is written behind every sync.
pub(crate) const MARK_LEN: usize = frame::MARK_LEN;

const DIR: &str = "log";
const EXTENSION: &str = "log";
const MAGIC: [u8; 8] = *b"UORLOG\0\0";

/// The newest version of segments that this program reads, and the one it writes.
const VERSION: u16 = 2;

/// So that offsets, one frame over it included, fit 32 bits with room to spare.
const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// A byte of the log: where an entry's frame starts, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Number of the segment file, from 1.
    pub segment: u32,
    /// Byte offset in its file.
    pub offset: u32,
}

impl LogPosition {
    /// Where the first entry of a log starts.
    pub const START: Self = Self {
        segment: 1,
        offset: 32,
    };

    /// Where the body of the entry at this position starts.
    #[must_use]
    pub fn body(self) -> Self {
        Self {
            offset: self.offset.saturating_add(ENTRY_HEADER_LEN),
            ..self
        }
    }

    /// So many bytes on.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            offset: self.offset.saturating_add(bytes),
            ..self
        }
    }

    /// As one number, which ascends as positions do.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// The position that [`LogPosition::to_u64`] gave.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
    pub const fn from_u64(number: u64) -> Self {
        Self {
            segment: (number >> 32) as u32,
            offset: number as u32,
        }
    }

    fn to_bytes(self) -> [u8; 8] {
        self.to_u64().to_le_bytes()
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

/// Sizes that may differ between stores without changing the format.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment is closed when the next frame would make it longer than this many bytes; at most 1
    /// GiB. A longer frame gets a segment of its own. What closes a segment comes on top.
    pub segment_bytes: u32,
    /// Space is written with zeros in steps of this many bytes, so that most small appends
    /// overwrite.
    pub preallocate_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            preallocate_bytes: 1 << 20,
        }
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
    #[error(transparent)]
    Damaged(#[from] Damage),
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
    /// A place at which no frame starts, or a damaged one.
    #[error("no entry of the log starts at offset {offset} of segment {segment}")]
    NoFrame {
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
    /// An earlier write or sync failed: what is on the disk is known only after opening the log
    /// again.
    #[error("the log takes no entries since a write or sync failed; open it again")]
    Poisoned,
    /// The log was opened to be read.
    #[error("the log was opened to be read")]
    ReadOnly,
}

/// What appending gives.
#[derive(Clone)]
pub struct Appended {
    /// Where the entries are, in the order they were given.
    pub positions: Vec<LogPosition>,
    /// The log with them.
    view: LogView,
}

/// An open log. Threads share it: reading does not wait for appending.
pub struct Log {
    disk: Arc<dyn Disk>,
    options: Options,
    view: RwLock<LogView>,
    /// `None` where it was opened to be read.
    tail: Option<Mutex<Appending>>,
}

struct Appending {
    tail: Tail,
    poisoned: bool,
}

impl Log {
    /// Opens the log on `disk`; see [`Log::open_with`].
    ///
    /// # Errors
    /// As [`Log::open_with`].
    pub fn open(disk: Arc<dyn Disk>, mode: Mode) -> Result<(Self, Recovery), LogError> {
        Self::open_with(disk, mode, Options::default())
    }

    /// Opens the log in directory `log` of `disk`, verifying every frame of the last segment; the
    /// others are verified when they are read. A writer creates the log if there is none, cuts a
    /// torn tail (after saving its bytes beside it), and makes every entry durable that is not
    /// known to be. A reader changes nothing, sees a valid prefix while a writer is at work, and an
    /// empty log if there is none.
    ///
    /// # Errors
    /// [`LogError::Damaged`] or [`LogError::Missing`] if durable entries cannot be read;
    /// [`LogError::Newer`]; [`LogError::Disk`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        mode: Mode,
        options: Options,
    ) -> Result<(Self, Recovery), LogError> {
        recover::open(disk, mode, options.bounded())
    }

    /// Whether a write or sync has failed, so that nothing is appended until the log is opened
    /// again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| lock(tail).poisoned)
    }

    /// Opens the log again, if a write or sync has failed. Nothing that was in memory is believed:
    /// what the failed write left is found on the disk as at any opening. Entries that were
    /// appended and not durable may be there or not.
    ///
    /// # Errors
    /// As [`Log::open_with`]; nothing is appended then, as before. [`LogError::ReadOnly`].
    pub fn reopen(&self) -> Result<Option<Recovery>, LogError> {
        let mut appending = lock(self.tail.as_ref().ok_or(LogError::ReadOnly)?);
        if !appending.poisoned {
            return Ok(None);
        }
        let (opened, recovery) = recover::open(Arc::clone(&self.disk), Mode::Write, self.options)?;
        let view = opened.view();
        let tail = opened.tail.ok_or(LogError::ReadOnly)?;
        *appending = tail.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        Ok(Some(recovery))
    }

    /// The log as it is now.
    #[must_use]
    pub fn view(&self) -> LogView {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All entries, oldest first, up to the end of the log as it is now.
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.view().entries()
    }

    /// The entries from `position` on, up to the end of the log as it is now; see
    /// [`LogView::entries_from`].
    ///
    /// # Errors
    /// As [`LogView::entries_from`].
    pub fn entries_from(&self, position: LogPosition) -> Result<Entries, LogError> {
        self.view().entries_from(position)
    }

    /// The entry at `position`.
    ///
    /// # Errors
    /// As [`LogView::read`].
    pub fn read(&self, position: LogPosition) -> Result<Entry, LogError> {
        self.view().read(position)
    }

    /// Reads everything, in parallel, and verifies every check there is; `on_bytes` is told of each
    /// number of bytes that is done, from several threads.
    #[must_use]
    pub fn verify(&self, on_bytes: &(dyn Fn(u64) + Sync)) -> LogVerified {
        verify::verify(&*self.disk, &self.view(), on_bytes)
    }

    /// Appends entries of a kind and a body each, in this order, and says where they are. They are
    /// durable after the next [`Log::sync`]; until then any of them, but only from some entry on,
    /// can be lost.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] with nothing appended; [`LogError::Poisoned`];
    /// [`LogError::ReadOnly`]; [`LogError::Disk`], after which the log is poisoned and any number
    /// of the entries may be there when it is opened again.
    pub fn append_batch(&self, entries: &[(u8, &[u8])]) -> Result<Appended, LogError> {
        if let Some((_, body)) = entries.iter().find(|(_, body)| body.len() > BODY_LEN_MAX) {
            return Err(LogError::TooLarge {
                len: body.len(),
                max: BODY_LEN_MAX,
            });
        }
        self.with_tail(|tail| {
            let mut positions = Vec::with_capacity(entries.len());
            let mut rest = entries;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(tail.fitting(rest, self.options));
                if now.is_empty() {
                    tail.close()?;
                    *tail = Tail::create(&*self.disk, tail.number + 1, self.options)?;
                } else {
                    tail.append(now, &mut positions, self.options)?;
                }
                rest = later;
            }
            Ok(Appended {
                positions,
                view: self.publish(tail),
            })
        })
    }

    /// Makes everything appended so far durable; free if it already is.
    ///
    /// # Errors
    /// [`LogError::Poisoned`]; [`LogError::ReadOnly`]; [`LogError::Disk`], after which the log is
    /// poisoned.
    pub fn sync(&self) -> Result<(), LogError> {
        self.with_tail(|tail| {
            tail.sync()?;
            self.publish(tail);
            Ok(())
        })
    }

    /// Runs what modifies the log; if it fails, nothing modifies the log again.
    fn with_tail<T>(
        &self,
        action: impl FnOnce(&mut Tail) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut appending = lock(self.tail.as_ref().ok_or(LogError::ReadOnly)?);
        if appending.poisoned {
            return Err(LogError::Poisoned);
        }
        appending.poisoned = true;
        let result = action(&mut appending.tail)?;
        appending.poisoned = appending.tail.mark_failed;
        Ok(result)
    }

    /// Shows the tail as it is now to whoever looks from now on.
    fn publish(&self, tail: &Tail) -> LogView {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.end.segment < tail.number {
            let closed = view.end.segment..tail.number;
            let closed = closed.map(|number| Arc::new(Closed::new(Arc::clone(&self.disk), number)));
            let all = view.closed.iter().cloned().chain(closed).collect();
            view.closed = Arc::new(all);
        }
        view.last = tail.bytes.shared();
        view.end = tail.position();
        view.clone()
    }
}

fn path(segment: u32) -> String {
    format!("{DIR}/{segment:08}.{EXTENSION}")
}

/// Offsets fit: opening refuses segments of 4 GiB, and appending closes them long before.
fn offset_in_segment(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn damaged(segment: u32, offset: usize, mismatch: Mismatch) -> LogError {
    mismatch.at(path(segment), offset as u64).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
