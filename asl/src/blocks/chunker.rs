//! Cutting a stream into chunks by its content, in a few large buffers that are used again and
//! again: what is read but not yet stored never takes more memory than they do.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded};
use fastcdc::v2020::FastCDC;

use super::layout::{CHUNK_LEN_AVERAGE, CHUNK_LEN_MAX, CHUNK_LEN_MIN};

const BUFFER_LEN: usize = 16 << 20;
const BUFFERS: usize = 4;
const _: () = assert!(
    BUFFER_LEN > 2 * CHUNK_LEN_MAX,
    "a buffer holds at least one chunk that is cut for good"
);

/// The bytes of one chunk. Its buffer is used again once nobody holds a piece of it.
#[derive(Clone)]
pub(super) struct Piece {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer.bytes[self.range.clone()]
    }
}

struct Buffer {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Fails only when nobody reads any more.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// The chunks of a stream, in order.
pub(super) struct Chunker<'a> {
    source: &'a mut dyn Read,
    free: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
    buffer: Arc<Buffer>,
    /// How much of the buffer has been cut.
    at: usize,
    ended: bool,
}

impl<'a> Chunker<'a> {
    /// Cuts what `source` gives after `head`, which was read from it.
    pub(super) fn new(head: Vec<u8>, source: &'a mut dyn Read) -> Self {
        let (home, free) = bounded(BUFFERS);
        for _ in 1..BUFFERS {
            // There is room for all of them.
            let _ = home.try_send(Vec::new());
        }
        let buffer = Arc::new(Buffer {
            bytes: head,
            home: home.clone(),
        });
        Self {
            source,
            free,
            home,
            buffer,
            at: 0,
            ended: false,
        }
    }

    /// The next chunk, at the latest once a buffer is free; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let rest = &self.buffer.bytes[self.at..];
            if rest.is_empty() && self.ended {
                return Ok(None);
            }
            let cut = FastCDC::new(rest, CHUNK_LEN_MIN, CHUNK_LEN_AVERAGE, CHUNK_LEN_MAX).next();
            // Where the bytes merely end, the chunk may go on; and before the average length, how
            // far they go decides which cut is taken.
            let cut = cut.filter(|cut| {
                let is_cut = rest.len() >= CHUNK_LEN_AVERAGE && cut.length < rest.len();
                self.ended || is_cut || cut.length == CHUNK_LEN_MAX
            });
            if let Some(cut) = cut {
                let range = self.at..self.at + cut.length;
                self.at = range.end;
                return Ok(Some(Piece {
                    buffer: Arc::clone(&self.buffer),
                    range,
                }));
            }
            self.read()?;
        }
    }

    /// Reads on, into another buffer if this one is in use.
    fn read(&mut self) -> io::Result<()> {
        let Ok(mut bytes) = self.free.recv() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        bytes.clear();
        bytes.reserve_exact(BUFFER_LEN);
        bytes.extend_from_slice(&self.buffer.bytes[self.at..]);
        let room = (BUFFER_LEN - bytes.len()) as u64;
        let count = self.source.take(room).read_to_end(&mut bytes)?;
        self.ended = (count as u64) < room;
        self.buffer = Arc::new(Buffer {
            bytes,
            home: self.home.clone(),
        });
        self.at = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::StreamCDC;

    use super::*;

    /// Gives what it has in portions of any size.
    struct Portions<'a>(&'a [u8], usize);

    impl Read for Portions<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 * 7 % 100_003 + 1;
            let count = out.len().min(self.0.len()).min(self.1);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn chunks_are_those_of_the_library_however_the_bytes_come() {
        let mut noise = vec![0; 40 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let flat = vec![0; 40 << 20];
        let mixed = [&noise[..9 << 20], &flat[..21 << 20], &noise[..3_000_001]].concat();
        for (bytes, head_len) in [
            (&noise, 5_000_000),
            (&flat, 4_194_305),
            (&mixed, 4_194_305),
            (&mixed, 0),
        ] {
            let library: Vec<usize> =
                StreamCDC::new(&**bytes, CHUNK_LEN_MIN, CHUNK_LEN_AVERAGE, CHUNK_LEN_MAX)
                    .map(|chunk| chunk.unwrap().length)
                    .collect();
            let mut rest = Portions(&bytes[head_len..], 1);
            let mut cutter = Chunker::new(bytes[..head_len].to_vec(), &mut rest);
            let (mut lengths, mut at) = (Vec::new(), 0);
            while let Some(piece) = cutter.next().unwrap() {
                let len = piece.bytes().len();
                assert!(piece.bytes() == &bytes[at..at + len]);
                at += len;
                lengths.push(len);
            }
            assert_eq!(lengths, library);
        }
    }
}
