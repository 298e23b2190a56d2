//! The chunks of one long payload, one after the other or several at once.
//!
//! In parallel, the caller's thread reads and cuts, one thread hashes everything in order, some
//! name and compress chunks, and one appends them, in the payload's order, so that packs do not
//! depend on who was faster. The buffers of the cutter bound what is under way.

use std::collections::BTreeMap;
use std::thread;

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::chunker::Piece;
use super::error::BlocksError;
use super::manifest::{CHUNK_COUNT_MAX, Chunk};
use super::put::{Cutting, Prepared, Put};
use uor_index_format::id::Checksum;

/// What the chunks of a payload amount to.
pub(super) struct Outcome {
    pub(super) checksum: Checksum,
    pub(super) appended: Appended,
}

/// The chunks that are in the packs.
#[derive(Default)]
pub(super) struct Appended {
    pub(super) chunks: Vec<Chunk>,
    pub(super) len: u64,
    pub(super) new_bytes: u64,
}

type Numbered<T> = (usize, T);

/// Everything in this thread.
pub(super) fn inline(put: &Put<'_>, cutting: &mut Cutting<'_>) -> Result<Outcome, BlocksError> {
    let mut hasher = blake3::Hasher::new();
    let mut appended = Appended::default();
    while let Some(piece) = cutting.next()? {
        hasher.update(piece.bytes());
        appended.append(put, put.prepare(piece)?)?;
    }
    Ok(Outcome {
        checksum: finish(&hasher),
        appended,
    })
}

/// With as many threads that name and compress.
pub(super) fn parallel(
    put: &Put<'_>,
    threads: usize,
    cutting: &mut Cutting<'_>,
) -> Result<Outcome, BlocksError> {
    // Whatever is in the channels holds a piece of the cutter's buffers.
    let (to_hash, hashing) = unbounded::<Piece>();
    let (to_prepare, preparing) = unbounded::<Numbered<Piece>>();
    let (to_append, appending) = unbounded();
    thread::scope(|scope| {
        let hasher = scope.spawn(move || {
            let mut hasher = blake3::Hasher::new();
            for piece in hashing {
                hasher.update(piece.bytes());
            }
            finish(&hasher)
        });
        for _ in 0..threads {
            let (preparing, to_append) = (preparing.clone(), to_append.clone());
            scope.spawn(move || prepare(put, &preparing, &to_append));
        }
        drop((preparing, to_append));
        let appender = scope.spawn(move || append(put, &appending));

        let cut = hand_out(cutting, to_hash, to_prepare);
        // Where a thread panicked, so does this one.
        let appended = appender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let checksum = hasher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        cut?;
        Ok(Outcome {
            checksum,
            appended: appended?,
        })
    })
}

fn hand_out(
    cutting: &mut Cutting<'_>,
    to_hash: Sender<Piece>,
    to_prepare: Sender<Numbered<Piece>>,
) -> Result<(), BlocksError> {
    let mut number = 0;
    while let Some(piece) = cutting.next()? {
        let is_hashing = to_hash.send(piece.clone()).is_ok();
        if !is_hashing || to_prepare.send((number, piece)).is_err() {
            // Appending has failed, and will say why.
            return Ok(());
        }
        number += 1;
    }
    Ok(())
}

fn prepare(
    put: &Put<'_>,
    pieces: &Receiver<Numbered<Piece>>,
    to_append: &Sender<Numbered<Result<Prepared, BlocksError>>>,
) {
    for (number, piece) in pieces {
        if to_append.send((number, put.prepare(piece))).is_err() {
            return;
        }
    }
}

fn append(
    put: &Put<'_>,
    prepared: &Receiver<Numbered<Result<Prepared, BlocksError>>>,
) -> Result<Appended, BlocksError> {
    let mut appended = Appended::default();
    let mut early = BTreeMap::new();
    for (number, chunk) in prepared {
        early.insert(number, chunk);
        while let Some(next) = early.remove(&appended.chunks.len()) {
            appended.append(put, next?)?;
        }
    }
    Ok(appended)
}

impl Appended {
    fn append(&mut self, put: &Put<'_>, prepared: Prepared) -> Result<(), BlocksError> {
        let max = self.len;
        self.len += u64::from(prepared.chunk.len);
        if self.chunks.len() == CHUNK_COUNT_MAX {
            return Err(BlocksError::TooLarge { len: self.len, max });
        }
        self.chunks.push(prepared.chunk);
        self.new_bytes += put.append_prepared(&prepared)?;
        Ok(())
    }
}

fn finish(hasher: &blake3::Hasher) -> Checksum {
    Checksum::from_bytes(*hasher.finalize().as_bytes())
}
