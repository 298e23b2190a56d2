//! Blocks of a stream, waiting for its end in a file that has no name: whatever happens, nothing is
//! left of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use uor_asl::blocks::Blocks;
use uor_asl::disk::real::FILE_MODE;
use uor_index_format::id::Checksum;
use uor_zfs::contents::{Spool, Stored};

use crate::cancel::Cancel;

/// Short blocks are written together, in portions of this many bytes.
const PENDING_LEN: usize = 1 << 20;

/// A spool.
pub(super) struct FileSpool<'a> {
    file: File,
    /// Where the file ends.
    end: u64,
    /// What comes after that.
    pending: Vec<u8>,
    pub(super) blocks: &'a Blocks,
    cancel: &'a Cancel,
}

impl<'a> FileSpool<'a> {
    /// A spool in directory `dir`, beside the contents in `blocks`.
    pub(super) fn new(dir: &Path, blocks: &'a Blocks, cancel: &'a Cancel) -> io::Result<Self> {
        Ok(Self {
            file: nameless(dir)?,
            end: 0,
            pending: Vec::with_capacity(PENDING_LEN),
            blocks,
            cancel,
        })
    }
}

/// A file in `dir` that goes away when it is closed, also by a crash.
pub(super) fn nameless(dir: &Path) -> io::Result<File> {
    let mut number = 0;
    loop {
        let path = dir.join(format!(".import-{}-{number}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
        {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

impl Spool for FileSpool<'_> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let place = self.end + self.pending.len() as u64;
        if self.pending.len() + bytes.len() > PENDING_LEN {
            self.file.write_all_at(&self.pending, self.end)?;
            self.end = place;
            self.pending.clear();
        }
        if bytes.len() > PENDING_LEN {
            self.file.write_all_at(bytes, self.end)?;
            self.end += bytes.len() as u64;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(place)
    }

    fn read_at(&self, place: u64, out: &mut [u8]) -> io::Result<()> {
        self.cancel.check().map_err(io::Error::other)?;
        let written = usize::try_from(self.end.saturating_sub(place))
            .unwrap_or(usize::MAX)
            .min(out.len());
        let (in_file, in_memory) = out.split_at_mut(written);
        self.file.read_exact_at(in_file, place)?;
        if in_memory.is_empty() {
            return Ok(());
        }
        let from = usize::try_from(place.saturating_sub(self.end)).map_err(io::Error::other)?;
        let pending = self
            .pending
            .get(from..)
            .and_then(|rest| rest.get(..in_memory.len()));
        in_memory.copy_from_slice(pending.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read_stored(&self, stored: &Stored, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // What lies beyond the end of earlier contents is a hole.
        let end = offset
            .saturating_add(out.len() as u64)
            .min(stored.len)
            .max(offset);
        let checksum = Checksum::from_bytes(stored.name);
        let mut reader = self
            .blocks
            .read_range(checksum, offset..end)
            .map_err(io::Error::other)?;
        let len = usize::try_from(end - offset).map_err(io::Error::other)?;
        let (filled, hole) = out.split_at_mut(len);
        hole.fill(0);
        reader.read_exact(filled)
    }
}
