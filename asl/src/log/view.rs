//! Reading: what a [`LogView`] shows never changes, and takes no lock.

use std::sync::Arc;

use super::closed::Closed;
use super::error::LogError;
use super::frame::{self, HEADER_LEN, Role};
use super::growing::Growing;
use super::position::LogPosition;
use crate::disk::Disk;
use crate::file_header;
use crate::prefetch;

#[cfg(test)]
thread_local! {
    /// How often this thread has read in a log, for tests of how much work something is.
    pub(crate) static READS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
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

/// What appending gives.
#[derive(Clone)]
pub struct Appended {
    /// Where the entries are, in the order they were given.
    pub positions: Vec<LogPosition>,
    /// The log with them.
    pub(super) view: LogView,
}

/// The log as it was at some moment. Cheap to clone.
#[derive(Clone)]
pub struct LogView {
    /// All segments but the last: that of number `n` at `n - 1`.
    pub(super) closed: Arc<Vec<Arc<Closed>>>,
    /// The last segment, in memory, perhaps grown since.
    pub(super) last: Arc<Growing>,
    /// Where its frames ended at that moment.
    pub(super) end: LogPosition,
}

impl LogView {
    /// The log whose last segment is number `number` and holds the bytes of `last`.
    pub(super) fn new(disk: &Arc<dyn Disk>, number: u32, last: Arc<Growing>) -> Self {
        let closed = (1..number).map(|number| Arc::new(Closed::new(Arc::clone(disk), number)));
        let end = last.bytes().len().max(file_header::LEN);
        Self {
            closed: Arc::new(closed.collect()),
            last,
            end: LogPosition::at(number, end),
        }
    }

    /// Shows the last segment, of number `number`, up to where it ends now; those between it and
    /// the one before have been closed.
    pub(super) fn advance(&mut self, disk: &Arc<dyn Disk>, number: u32, last: Arc<Growing>) {
        if self.end.segment < number {
            let closed = self.end.segment..number;
            let closed = closed.map(|number| Arc::new(Closed::new(Arc::clone(disk), number)));
            self.closed = Arc::new(self.closed.iter().cloned().chain(closed).collect());
        }
        self.end = LogPosition::at(number, last.bytes().len());
        self.last = last;
    }

    /// Shows what was appended too.
    pub fn take(&mut self, appended: Appended) {
        if self.end < appended.view.end {
            *self = appended.view;
        }
    }

    /// Where the valid frames end: what is appended next comes here, or later.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// `len` bytes from `position` on, as they are in the segment's file. In a closed segment each
    /// page is verified when it is first touched.
    ///
    /// # Errors
    /// [`LogError::NoEntry`] if they are not all before [`LogView::end`] and in one segment;
    /// [`LogError::Damaged`]; [`LogError::Disk`] or [`LogError::Newer`] when a segment is touched
    /// for the first time.
    #[inline]
    pub fn bytes(&self, position: LogPosition, len: usize) -> Result<&[u8], LogError> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        let start = position.offset as usize;
        let range = start..start.saturating_add(len);
        if position.segment == self.end.segment {
            let bytes = self.last.bytes().get(range.clone());
            return bytes
                .filter(|_| range.end <= self.end.offset as usize)
                .ok_or_else(|| LogError::no_entry(position));
        }
        let pages = self.closed(position)?.pages()?;
        if range.end > pages.len() {
            return Err(LogError::no_entry(position));
        }
        Ok(pages.get(range)?)
    }

    /// Starts to load the bytes at `position`, if they are in memory or mapped.
    #[inline]
    pub fn prefetch(&self, position: LogPosition) {
        let offset = position.offset as usize;
        if position.segment == self.end.segment {
            prefetch::prefetch(self.last.bytes(), offset);
        } else if let Some(pages) = self
            .closed(position)
            .ok()
            .and_then(|closed| closed.opened())
        {
            pages.prefetch(offset);
            // A record is hardly ever in one cache line.
            pages.prefetch(offset + 64);
        }
    }

    /// The entry at `position`, copied.
    ///
    /// # Errors
    /// As [`LogView::bytes`]; [`LogError::Damaged`] where no entry was appended.
    pub fn read(&self, position: LogPosition) -> Result<Entry, LogError> {
        let damaged =
            |mismatch| LogError::damaged(position.segment, position.offset as usize, mismatch);
        let header =
            frame::decode_header(position, self.bytes(position, HEADER_LEN)?).map_err(damaged)?;
        if header.role != Role::Entry {
            return Err(LogError::no_entry(position));
        }
        let found =
            frame::decode(position, self.bytes(position, header.frame_len())?).map_err(damaged)?;
        Ok(Entry {
            position,
            kind: found.kind,
            body: found.body.to_vec(),
        })
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> Entries {
        Entries {
            view: self.clone(),
            at: LogPosition::START,
        }
    }

    /// The entries from `position` on, which is where a frame starts or the log ends.
    ///
    /// # Errors
    /// [`LogError::NoEntry`] behind the end; [`LogError::NoFrame`] where no frame starts, or a
    /// damaged one; [`LogError::Disk`], [`LogError::Damaged`] or [`LogError::Newer`] if the segment
    /// cannot be read at all.
    pub fn entries_from(&self, position: LogPosition) -> Result<Entries, LogError> {
        let LogPosition { segment, offset } = position;
        if position > self.end || segment == 0 {
            return Err(LogError::no_entry(position));
        }
        let bytes = self.segment(segment)?;
        let start = offset as usize;
        let rest = bytes
            .get(start..)
            .ok_or_else(|| LogError::no_entry(position))?;
        if start != bytes.len() && position != self.end {
            frame::decode_header(position, rest)
                .map_err(|_| LogError::NoFrame { segment, offset })?;
        }
        Ok(Entries {
            view: self.clone(),
            at: position,
        })
    }

    #[inline]
    fn closed(&self, position: LogPosition) -> Result<&Closed, LogError> {
        let index = (position.segment as usize).wrapping_sub(1);
        self.closed
            .get(index)
            .map(Arc::as_ref)
            .ok_or_else(|| LogError::no_entry(position))
    }

    /// The bytes of a segment, unverified where it is closed.
    fn segment(&self, segment: u32) -> Result<&[u8], LogError> {
        if segment == self.end.segment {
            let bytes = self.last.bytes();
            return Ok(&bytes[..bytes.len().min(self.end.offset as usize)]);
        }
        Ok(self
            .closed(LogPosition { segment, offset: 0 })?
            .pages()?
            .unverified())
    }

    fn not_cut(&self, segment: u32) -> Result<(), LogError> {
        let pages = self
            .closed
            .get((segment as usize).wrapping_sub(1))
            .and_then(|closed| closed.opened());
        Ok(pages.map_or(Ok(()), |pages| pages.not_cut())?)
    }
}

/// Entries of a log, oldest first, each verified; after an error there are no more.
pub struct Entries {
    view: LogView,
    /// Where the next frame starts.
    at: LogPosition,
}

impl Entries {
    fn step(&mut self) -> Result<Option<Entry>, LogError> {
        while self.at < self.view.end {
            let position = self.at;
            let LogPosition { segment, offset } = position;
            let bytes = self.view.segment(segment)?;
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            if rest.is_empty() {
                self.at = LogPosition::at(segment + 1, file_header::LEN);
                continue;
            }
            let found = frame::decode(position, rest);
            let found = found.map(|found| (found.len, found.role, found.kind, found.body.to_vec()));
            self.view.not_cut(segment)?;
            let (len, role, kind, body) =
                found.map_err(|mismatch| LogError::damaged(segment, offset as usize, mismatch))?;
            self.at = LogPosition::at(segment, offset as usize + len);
            if role == Role::Entry {
                return Ok(Some(Entry {
                    position,
                    kind,
                    body,
                }));
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
            self.at = self.view.end;
        }
        step
    }
}
