//! Putting payloads: cut, named, compressed where it pays, appended once.

use std::io::Read;

use super::chunker::Chunker;
use super::compress::compress_block;
use super::error::BlocksError;
use super::frame::{Kind, len_of};
use super::handle::Blocks;
use super::layout::CHUNK_LEN_MAX;
use super::manifest::Chunk;
use super::pins::Pins;
use super::pipeline::{self, Appended};
use super::put::{Cutting, Put, PutOptions, PutStats, check_len};
use uor_index_format::id::Checksum;

impl Blocks {
    /// Stores what `source` gives until its end, in bounded memory; `on_progress` is told after
    /// every chunk how many bytes have been read.
    ///
    /// # Errors
    /// [`BlocksError::Source`]; [`BlocksError::TooLarge`]; [`BlocksError::Poisoned`];
    /// [`BlocksError::ReadOnly`]; [`BlocksError::Disk`]. In each case no payload was added.
    pub fn put(
        &self,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        self.put_with(&PutOptions::default(), source, on_progress)
    }

    /// Stores these bytes.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<PutStats, BlocksError> {
        self.put(&mut &*bytes, &mut |_| {})
    }

    /// Stores what `source` gives until its end if its digest is `expected`.
    ///
    /// # Errors
    /// [`BlocksError::WrongChecksum`], or as [`Blocks::put`]. In each case no payload was added.
    pub fn put_verified(
        &self,
        expected: Checksum,
        source: &mut dyn Read,
    ) -> Result<PutStats, BlocksError> {
        self.put_with(
            &PutOptions {
                expected: Some(expected),
                ..PutOptions::default()
            },
            source,
            &mut |_| {},
        )
    }

    /// Stores what `source` gives until its end, as `options` say.
    ///
    /// # Errors
    /// As [`Blocks::put`]; [`BlocksError::WrongChecksum`].
    pub fn put_with(
        &self,
        options: &PutOptions,
        source: &mut dyn Read,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<PutStats, BlocksError> {
        let generation = self.tail()?.generation();
        let len_max = options.len_max.unwrap_or(u64::MAX);
        // One byte more shows that it is longer.
        let source: &mut dyn Read = &mut source.take(len_max.saturating_add(1));
        let mut head = Vec::new();
        let read = source.take(CHUNK_LEN_MAX as u64 + 1).read_to_end(&mut head);
        read.map_err(|source| BlocksError::Source { source })?;
        check_len(head.len() as u64, len_max)?;
        let put = Put {
            blocks: self,
            options,
            generation,
            pins: Pins::new(&self.pins),
        };
        let stats = if head.len() <= CHUNK_LEN_MAX {
            put.whole(&head)?
        } else {
            put.chunked(&mut Cutting {
                cutter: Chunker::new(head, source),
                len: 0,
                len_max,
                on_progress,
            })?
        };
        on_progress(stats.len);
        Ok(stats)
    }
}

impl Put<'_> {
    /// Puts a payload that is one block.
    fn whole(&self, bytes: &[u8]) -> Result<PutStats, BlocksError> {
        let checksum = Checksum::of(bytes);
        self.check_digest(checksum)?;
        self.pins.pin_payload(checksum);
        let only = Chunk {
            digest: checksum,
            len: len_of(bytes),
        };
        let new_bytes = if self.is_here(checksum, &[only])? {
            0
        } else if self.has_chunk(checksum)? {
            // The bytes are there, as a part of something longer.
            self.append_manifest(checksum, vec![only])?
        } else {
            let (header, stored) = compress_block(Kind::Whole, checksum, bytes)?;
            self.append(header, &stored)?
        };
        Ok(PutStats {
            checksum,
            len: u64::from(only.len),
            new_bytes,
        })
    }

    /// Puts a payload of several chunks.
    fn chunked(&self, cutting: &mut Cutting<'_>) -> Result<PutStats, BlocksError> {
        let pipeline::Outcome { checksum, appended } = match self.blocks.threads {
            0 | 1 => pipeline::inline(self, cutting)?,
            threads => pipeline::parallel(self, threads, cutting)?,
        };
        self.check_digest(checksum)?;
        self.pins.pin_payload(checksum);
        let Appended {
            chunks,
            len,
            mut new_bytes,
        } = appended;
        if !self.is_here(checksum, &chunks)? {
            new_bytes += self.append_manifest(checksum, chunks)?;
        }
        Ok(PutStats {
            checksum,
            len,
            new_bytes,
        })
    }
}
