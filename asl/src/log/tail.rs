//! Appending: the last segment, and how it is closed.

use std::io;
use std::sync::Arc;

use super::closed;
use super::error::LogError;
use super::frame::{self, MARK_LEN, Role};
use super::growing::Writer;
use super::layout::{DIR, MAGIC, Options, VERSION, path};
use super::position::LogPosition;
use crate::disk::{Context, Disk, DiskFile, Mode};
use crate::file_header;

/// Appends of at least this share of the step in which zeros are written get none: they grow the
/// file by themselves.
const APPENDS_PER_STEP: usize = 8;

/// The disk is asked to begin writing whenever this many bytes wait for a sync.
const BEGIN_SYNC_BYTES: usize = 4 << 20;

/// The last segment, to be appended to.
pub(super) struct Tail {
    pub(super) number: u32,
    /// The format version in its header: a segment is finished in the version it was begun in.
    pub(super) version: u16,
    pub(super) file: Arc<dyn DiskFile>,
    /// Its valid frames, and the header before them.
    pub(super) bytes: Writer,
    /// Length of its file: up to here, appending overwrites.
    pub(super) allocated: usize,
    /// It ends with a seal: what is appended next begins another segment.
    pub(super) sealed: bool,
    pub(super) dirty: bool,
    /// Up to here the disk has at least begun to write.
    begun: usize,
    /// A mark may be half-written behind the last entry.
    pub(super) mark_failed: bool,
}

impl Tail {
    /// The last segment, whose file of `allocated` bytes begins with the valid `bytes`.
    pub(super) fn new(
        number: u32,
        version: u16,
        file: Arc<dyn DiskFile>,
        bytes: &[u8],
        allocated: usize,
        options: Options,
    ) -> Self {
        let begun = bytes.len();
        let bytes = Writer::new(bytes, options.segment_bytes as usize);
        Self {
            number,
            version,
            file,
            bytes,
            allocated,
            sealed: false,
            dirty: false,
            begun,
            mark_failed: false,
        }
    }

    /// Creates segment `number` with its first zeros, durably.
    pub(super) fn create(disk: &dyn Disk, number: u32, options: Options) -> Result<Self, LogError> {
        let name = path(number);
        let file = disk.open(&name, Mode::Write).during("create", &name)?;
        let header = file_header::encode(MAGIC, number, VERSION);
        let mut bytes = header.to_vec();
        bytes.resize(
            bytes
                .len()
                .next_multiple_of(options.preallocate_bytes as usize),
            0,
        );
        file.write_at(0, &bytes).during("write", &name)?;
        file.sync().during("sync", &name)?;
        disk.sync_dir(DIR).during("sync", DIR)?;
        Ok(Self::new(
            number,
            VERSION,
            file,
            &header,
            bytes.len(),
            options,
        ))
    }

    /// Where its valid frames end.
    pub(super) fn end(&self) -> usize {
        self.bytes.bytes().len()
    }

    pub(super) fn position(&self) -> LogPosition {
        LogPosition::at(self.number, self.end())
    }

    /// How many of these entries go into this segment. A segment without entries takes at least
    /// one.
    pub(super) fn fitting(&self, entries: &[(u8, &[u8])], options: Options) -> usize {
        if self.sealed {
            return 0;
        }
        let mut end = self.end();
        let fits = |(_, body): &&(u8, &[u8])| {
            let first = end == file_header::LEN;
            end += frame::frame_len(body.len());
            first || end + MARK_LEN <= options.segment_bytes as usize
        };
        entries.iter().take_while(fits).count()
    }

    /// Writes entries at the end, together with zeros for the next ones and always for a mark.
    pub(super) fn append(
        &mut self,
        entries: &[(u8, &[u8])],
        positions: &mut Vec<LogPosition>,
        options: Options,
    ) -> Result<(), LogError> {
        let start = self.end();
        let len: usize = entries
            .iter()
            .map(|(_, body)| frame::frame_len(body.len()))
            .sum();
        assert!(
            u32::try_from(start + len + MARK_LEN).is_ok(),
            "a segment is full long before its offsets do not fit 32 bits"
        );
        let mut position = self.position();
        self.bytes.reserve(len + MARK_LEN);
        let mut room = &mut self.bytes.spare()[..len];
        for (kind, body) in entries {
            let (out, rest) = room.split_at_mut(frame::frame_len(body.len()));
            frame::encode(position, Role::Entry, *kind, body, out);
            positions.push(position);
            position = position.plus(out.len());
            room = rest;
        }
        self.dirty = true;
        self.allocate(start + len, len, options)?;
        self.file
            .write_at(start as u64, &self.bytes.spare()[..len])
            .during("append to", &path(self.number))?;
        self.bytes.publish(len);
        let waiting = start + len - self.begun;
        if waiting >= BEGIN_SYNC_BYTES {
            self.file.begin_sync(self.begun as u64, waiting as u64);
            self.begun = start + len;
        }
        Ok(())
    }

    /// Writes zeros behind entries of `len` bytes that end at `end`, unless there is space for a
    /// mark.
    fn allocate(&mut self, end: usize, len: usize, options: Options) -> Result<(), LogError> {
        let needed = end + MARK_LEN;
        if needed <= self.allocated {
            return Ok(());
        }
        let step = options.preallocate_bytes as usize;
        let is_small = len * APPENDS_PER_STEP < step;
        let allocated = if is_small {
            needed.next_multiple_of(step)
        } else {
            needed
        };
        let zeros = vec![0; allocated - end];
        self.file
            .write_at(end as u64, &zeros)
            .during("reserve space in", &path(self.number))?;
        self.allocated = allocated;
        Ok(())
    }

    /// Makes it durable, and writes a mark that says so.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        if !self.dirty {
            return Ok(());
        }
        self.file.sync().during("sync", &path(self.number))?;
        self.dirty = false;
        self.begun = self.end();
        // The mark itself becomes durable with the next sync. Without it opening has more to do,
        // that is all; so failing to write it takes nothing back, but nothing may be appended after
        // what it left.
        self.mark_failed = self.write_mark().is_err();
        Ok(())
    }

    /// Writes a mark: everything before it is durable.
    pub(super) fn write_mark(&mut self) -> io::Result<()> {
        let mark = frame::encode_mark(self.position(), Role::Mark);
        self.file.write_at(self.end() as u64, &mark)?;
        self.bytes.reserve(MARK_LEN);
        self.bytes.spare()[..MARK_LEN].copy_from_slice(&mark);
        self.bytes.publish(MARK_LEN);
        Ok(())
    }

    /// Closes it, durably, unless it has been before.
    pub(super) fn close(&mut self) -> Result<(), LogError> {
        let name = path(self.number);
        let mut end = self.end();
        if !self.sealed {
            let checks = closed::checks_frame(self.number, self.version, self.bytes.bytes());
            if !checks.is_empty() {
                self.file
                    .write_at(end as u64, &checks)
                    .during("append page checks to", &name)?;
                end += checks.len();
            }
            // What a seal vouches for has to be durable first, another mark included.
            self.file.sync().during("sync", &name)?;
            let seal = LogPosition::at(self.number, end);
            self.file
                .write_at(end as u64, &frame::encode_mark(seal, Role::Seal))
                .during("seal", &name)?;
            end += MARK_LEN;
        }
        self.file
            .set_len(end as u64)
            .during("cut to its content", &name)?;
        self.file
            .sync()
            .during("sync", &name)
            .map_err(LogError::from)
    }
}
