//! Files that come in order are stored while the stream is read, and need not wait in the spool.
//!
//! Whatever comes of them later, nothing is lost: what was stored is to the objects what contents
//! of an earlier snapshot are, and what does not come in order is kept beside it. Short files are
//! put by a few threads; a long one by the blocks' own, fed through a pipe that holds
//! [`PIPE_PIECES`] pieces. While one long file is finished, the next begins.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded};
use uor_asl::blocks::{Blocks, BlocksError, CHUNK_LEN_MAX};
use uor_zfs::contents::{Spool, Stored};

use super::contents::as_stored;
use super::spool::FileSpool;

/// Pieces of a long file that wait to be read, and their longest, in bytes.
const PIPE_PIECES: usize = 16;
const PIECE_LEN: usize = 1 << 20;
/// Long files that are put at the same time: while one is finished, the next begins.
const LONG_MAX: usize = 2;
/// Short files that wait.
const JOBS: usize = 4;
/// The longest hole that is stored as zeros, in bytes.
const HOLE_MAX: u64 = 16 << 20;

/// Contents that were stored while the stream came.
pub(super) struct Direct {
    pub(super) object: u64,
    pub(super) stored: Stored,
    /// How many bytes of them came with the stream; zeros follow.
    pub(super) taken: u64,
    pub(super) new_bytes: u64,
}

type Put = Result<Direct, BlocksError>;

/// Where blocks of a stream go: files that come in order into the store, all else into the spool.
pub(super) struct Incoming<'scope, 'env> {
    spool: FileSpool<'env>,
    intake: Intake<'scope, 'env>,
}

impl<'scope, 'env> Incoming<'scope, 'env> {
    pub(super) fn new(spool: FileSpool<'env>, scope: &'scope Scope<'scope, 'env>) -> Self {
        let intake = Intake::new(scope, spool.blocks);
        Self { spool, intake }
    }

    /// Waits for everything that is being stored: the spool, and what was stored.
    pub(super) fn finish(self) -> io::Result<(FileSpool<'env>, Vec<Direct>)> {
        Ok((self.spool, self.intake.finish()?))
    }
}

impl Spool for Incoming<'_, '_> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.spool.append(bytes)
    }

    fn offer(
        &mut self,
        object: u64,
        len: u64,
        offset: u64,
        block: &[u8],
    ) -> io::Result<Option<Range<u64>>> {
        self.intake.offer(object, len, offset, block)
    }

    fn read_at(&self, place: u64, out: &mut [u8]) -> io::Result<()> {
        self.spool.read_at(place, out)
    }

    fn read_stored(&self, stored: &Stored, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.spool.read_stored(stored, offset, out)
    }
}

/// A short file: object, how many bytes of it came, and all of its bytes.
type Job = (u64, u64, Vec<u8>);

/// What stores files that come in order.
struct Intake<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    blocks: &'env Blocks,
    jobs: Sender<Job>,
    workers: Vec<ScopedJoinHandle<'scope, Result<Vec<Direct>, BlocksError>>>,
    /// The file that is coming.
    current: Option<Current>,
    /// What puts long files; the last may still be coming.
    long: VecDeque<Long<'scope>>,
    done: Vec<Direct>,
    /// Files that came and have ended.
    closed: BTreeSet<u64>,
}

struct Current {
    object: u64,
    /// How long it is believed to be, and how much of it has come.
    len: u64,
    at: u64,
    to: Destination,
}

enum Destination {
    Short(Vec<u8>),
    Long(Feeder),
}

/// The writing end of a long file.
struct Feeder {
    sender: Sender<Option<Vec<u8>>>,
    /// Pieces that have been read, to be used again.
    used: Receiver<Vec<u8>>,
    /// What has not been sent yet.
    piece: Vec<u8>,
}

struct Long<'scope> {
    thread: ScopedJoinHandle<'scope, Put>,
    taken: u64,
}

impl<'scope, 'env> Intake<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>, blocks: &'env Blocks) -> Self {
        let (jobs, queue) = bounded::<Job>(JOBS);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers = (0..threads).map(|_| {
            let queue = queue.clone();
            scope.spawn(move || {
                queue
                    .into_iter()
                    .map(|(object, taken, bytes)| put(blocks, object, taken, &mut &*bytes))
                    .collect()
            })
        });
        let workers = workers.collect();
        Self {
            scope,
            blocks,
            jobs,
            workers,
            current: None,
            long: VecDeque::new(),
            done: Vec::new(),
            closed: BTreeSet::new(),
        }
    }

    /// See [`Spool::offer`].
    fn offer(
        &mut self,
        object: u64,
        len: u64,
        offset: u64,
        block: &[u8],
    ) -> io::Result<Option<Range<u64>>> {
        if self.closed.contains(&object) {
            return Ok(None);
        }
        let current = self
            .current
            .as_ref()
            .filter(|current| current.object == object);
        let (at, len) = current.map_or((0, len), |current| (current.at, current.len));
        // Behind its end a file has zeros.
        let inside = usize::try_from(len.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(block.len());
        let (block, behind) = block.split_at(inside);
        let is_in_order = offset >= at && offset - at <= HOLE_MAX;
        if !is_in_order || block.is_empty() || behind.iter().any(|byte| *byte != 0) {
            return Ok(None);
        }
        if current.is_none() {
            self.close()?;
            self.open(object, len)?;
        }
        if let Some(current) = &mut self.current
            && current
                .zeros(offset - at)
                .and_then(|()| current.feed(block))
                .is_none()
        {
            return self.broken();
        }
        Ok(Some(at..offset + block.len() as u64))
    }

    fn open(&mut self, object: u64, len: u64) -> io::Result<()> {
        let to = if len <= CHUNK_LEN_MAX as u64 {
            Destination::Short(Vec::new())
        } else {
            while self.long.len() >= LONG_MAX {
                self.join_long()?;
            }
            let (sender, receiver) = bounded(PIPE_PIECES);
            let (home, used) = bounded(PIPE_PIECES);
            let blocks = self.blocks;
            let thread = self.scope.spawn(move || {
                let mut pipe = Pipe {
                    receiver,
                    home,
                    piece: Vec::new(),
                    at: 0,
                    ended: false,
                };
                put(blocks, object, 0, &mut pipe)
            });
            self.long.push_back(Long { thread, taken: 0 });
            Destination::Long(Feeder {
                sender,
                used,
                piece: Vec::with_capacity(PIECE_LEN),
            })
        };
        self.current = Some(Current {
            object,
            len,
            at: 0,
            to,
        });
        Ok(())
    }

    /// Ends the file that is coming.
    fn close(&mut self) -> io::Result<()> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        self.closed.insert(current.object);
        let (taken, rest) = (current.at, current.len - current.at);
        if rest <= HOLE_MAX && current.zeros(rest).is_none() {
            return self.broken();
        }
        match current.to {
            Destination::Short(bytes) => match self.jobs.send((current.object, taken, bytes)) {
                Ok(()) => Ok(()),
                // All of them have failed.
                Err(_) => self
                    .join_workers()
                    .and(Err(io::ErrorKind::BrokenPipe.into())),
            },
            Destination::Long(feeder) => {
                if let Some(long) = self.long.back_mut() {
                    long.taken = taken;
                }
                // If nobody reads any more, joining tells why.
                drop(
                    feeder
                        .sender
                        .send(Some(feeder.piece))
                        .and_then(|()| feeder.sender.send(None)),
                );
                Ok(())
            }
        }
    }

    /// Waits for the oldest long file.
    fn join_long(&mut self) -> io::Result<()> {
        let Some(Long { thread, taken }) = self.long.pop_front() else {
            return Ok(());
        };
        let put = thread
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
            .map_err(io::Error::other)?;
        self.done.push(Direct { taken, ..put });
        Ok(())
    }

    /// Nobody reads the file that is coming: whoever did knows why.
    fn broken<T>(&mut self) -> io::Result<T> {
        self.current = None;
        while !self.long.is_empty() {
            self.join_long()?;
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Waits for short files, of which no more may come.
    fn join_workers(&mut self) -> io::Result<()> {
        for worker in std::mem::take(&mut self.workers) {
            let put = worker
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(io::Error::other)?;
            self.done.extend(put);
        }
        Ok(())
    }

    /// Waits for everything, and says what was stored.
    fn finish(mut self) -> io::Result<Vec<Direct>> {
        self.close()?;
        while !self.long.is_empty() {
            self.join_long()?;
        }
        // Workers end when nobody can send them more.
        self.jobs = bounded(0).0;
        self.join_workers()?;
        Ok(self.done)
    }
}

impl Current {
    /// Takes the next bytes; `None` if nobody reads them.
    fn feed(&mut self, bytes: &[u8]) -> Option<()> {
        self.at += bytes.len() as u64;
        match &mut self.to {
            Destination::Short(all) => all.extend_from_slice(bytes),
            Destination::Long(feeder) => feeder.feed(bytes)?,
        }
        Some(())
    }

    fn zeros(&mut self, len: u64) -> Option<()> {
        let mut left = len;
        while left > 0 {
            let part = left.min(PIECE_LEN as u64);
            self.feed(&vec![0; usize::try_from(part).ok()?])?;
            left -= part;
        }
        Some(())
    }
}

impl Feeder {
    fn feed(&mut self, bytes: &[u8]) -> Option<()> {
        for bytes in bytes.chunks(PIECE_LEN) {
            if self.piece.len() + bytes.len() > PIECE_LEN {
                let mut next = self
                    .used
                    .try_recv()
                    .unwrap_or_else(|_| Vec::with_capacity(PIECE_LEN));
                next.clear();
                self.sender
                    .send(Some(std::mem::replace(&mut self.piece, next)))
                    .ok()?;
            }
            self.piece.extend_from_slice(bytes);
        }
        Some(())
    }
}

fn put(blocks: &Blocks, object: u64, taken: u64, bytes: &mut dyn Read) -> Put {
    let put = blocks.put(bytes, &mut |_| {})?;
    Ok(Direct {
        object,
        stored: as_stored(&put),
        taken,
        new_bytes: put.new_bytes,
    })
}

/// The reading end of a long file. Only what was ended on purpose ends; what breaks off is an
/// error.
struct Pipe {
    receiver: Receiver<Option<Vec<u8>>>,
    /// Where pieces go that have been read.
    home: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.receiver.recv() {
                Ok(Some(piece)) => {
                    drop(
                        self.home
                            .try_send(std::mem::replace(&mut self.piece, piece)),
                    );
                    self.at = 0;
                }
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let len = rest.len().min(out.len());
        if let (Some(out), Some(rest)) = (out.get_mut(..len), rest.get(..len)) {
            out.copy_from_slice(rest);
        }
        self.at += len;
        Ok(len)
    }
}
