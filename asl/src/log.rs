//! The append log: opaque entries, in the order they were appended, each at a [`LogPosition`] that
//! never changes. Layout, and every way a crash can fall: `FORMAT.md`, "Log".
//!
//! To be read in this order: `position`, `layout`, `error`, `frame` (the unit of the log),
//! `growing` and `tail` (appending to the last segment), `closed` (the others), `view` (reading);
//! `scan` and `recover` (opening); `verify`, `salvage`. [`Log`] puts them together.
//!
//! Invariants:
//! * an entry is durable once [`Log::sync`] has returned; entries are never reordered, and only
//!   unsynced ones can be lost;
//! * what was durable and cannot be read any more is an error that names the place, never a shorter
//!   log;
//! * after a failed write or sync nothing is appended until the log is opened again, which writes
//!   the entries that may not have reached the disk once more.

mod closed;
mod error;
mod frame;
mod growing;
mod layout;
mod position;
mod recover;
mod salvage;
mod scan;
mod tail;
mod verify;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use self::error::LogError;
pub use self::frame::BODY_LEN_MAX;
pub(crate) use self::frame::MARK_LEN;
pub use self::layout::Options;
pub use self::position::{ENTRY_HEADER_LEN, LogPosition};
use self::recover::Opened;
pub use self::recover::{Cut, Recovery};
pub use self::salvage::Salvaged;
pub(crate) use self::salvage::{damaged_segments, rewrite_segment};
use self::tail::Tail;
pub use self::verify::LogVerified;
#[cfg(test)]
pub(crate) use self::view::READS;
pub use self::view::{Appended, Entries, Entry, LogView};
use crate::disk::{Disk, Mode};

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
    /// A write or sync failed, or one is under way.
    poisoned: bool,
}

impl Appending {
    fn new(tail: Tail) -> Self {
        Self {
            tail,
            poisoned: false,
        }
    }
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
        let options = options.bounded();
        let Opened {
            view,
            tail,
            recovery,
        } = recover::open(&disk, mode, options)?;
        let log = Self {
            disk,
            options,
            view: RwLock::new(view),
            tail: tail.map(Appending::new).map(Mutex::new),
        };
        Ok((log, recovery))
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
        let Opened {
            view,
            tail,
            recovery,
        } = recover::open(&self.disk, Mode::Write, self.options)?;
        *appending = Appending::new(tail.expect("a writer has a tail"));
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
        view.advance(&self.disk, tail.number, tail.bytes.shared());
        view.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
