//! Files being read, by several threads.

use std::fs::{File, Metadata};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam::channel::{Receiver as Queue, Sender, unbounded};
use uor_asl::blocks::Blocks;
use uor_index_format::id::ArtifactKey;
use uor_index_format::record::Payload;

use super::{AddError, Adding, Seen, Stamp, Sums, reading, storing};
use crate::clock::wall_ms;

/// While a file is awaited, progress is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the threads that read share.
pub(super) struct Shared<'a> {
    blocks: &'a Blocks,
    /// Bytes read so far, or known without reading.
    bytes: AtomicU64,
    /// Whether nobody waits for what is still queued.
    is_over: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(super) const fn new(blocks: &'a Blocks) -> Self {
        Self { blocks, bytes: AtomicU64::new(0), is_over: AtomicBool::new(false) }
    }
}

/// Threads that read files. Dropping this lets them end after the files they are at.
pub(super) struct Files<'scope> {
    jobs: Sender<Job>,
    shared: &'scope Shared<'scope>,
}

struct Job {
    path: PathBuf,
    answer: SyncSender<Result<FileRead, AddError>>,
}

/// A file whose bytes are in the blocks.
pub(super) struct FileRead {
    payload: Payload,
    new_bytes: u64,
    seen: Option<Seen>,
}

/// A file whose bytes are in the blocks, or will be.
pub(super) enum Begun {
    /// It is known, and was not read.
    Known(Payload),
    /// A thread reads it.
    Queued(Receiver<Result<FileRead, AddError>>),
}

impl<'scope> Files<'scope> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, '_>,
        shared: &'scope Shared<'scope>,
        readers: Option<NonZeroUsize>,
    ) -> Self {
        let (jobs, queue) = unbounded::<Job>();
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        for _ in 0..readers.unwrap_or(cores).get() {
            let queue = queue.clone();
            scope.spawn(move || work(&queue, shared));
        }
        Self { jobs, shared }
    }

    /// How many bytes were read so far, or known without reading.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn has_read(&self, bytes: u64) {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn begin(&self, path: PathBuf) -> Receiver<Result<FileRead, AddError>> {
        let (answer, coming) = sync_channel(1);
        // Should every thread have panicked, the answer is missed where it is awaited.
        drop(self.jobs.send(Job { path, answer }));
        coming
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

fn work(queue: &Queue<Job>, shared: &Shared<'_>) {
    for job in queue {
        if !shared.is_over.load(Ordering::Relaxed) {
            // Whoever has failed elsewhere does not wait for this file.
            drop(job.answer.send(read(&job.path, shared)));
        }
    }
}

fn read(path: &Path, shared: &Shared<'_>) -> Result<FileRead, AddError> {
    let read_ms = wall_ms();
    let mut file = File::open(path).map_err(reading(path))?;
    let before = Stamp::of(&file.metadata().map_err(reading(path))?);
    let mut told = 0;
    let mut on_progress = |bytes| {
        shared.bytes.fetch_add(bytes - told, Ordering::Relaxed);
        told = bytes;
    };
    let put = shared.blocks.put(&mut file, &mut on_progress).map_err(storing(&path.to_string_lossy()))?;
    let after = Stamp::of(&file.metadata().map_err(reading(path))?);
    let stamp = before.filter(|before| Some(*before) == after && before.len == put.len);
    let seen = stamp.map(|stamp| Seen::new(path, stamp, read_ms, put.checksum));
    Ok(FileRead { payload: Payload { checksum: put.checksum, len: put.len }, new_bytes: put.new_bytes, seen })
}

impl Adding<'_, '_> {
    /// Has a file read, unless it looks as it did when it was last read and its bytes are still here.
    pub(super) fn begin_file(&self, path: PathBuf, metadata: &Metadata) -> Begun {
        let known = Stamp::of(metadata).and_then(|stamp| {
            let checksum = self.cache.find(&path, &stamp).filter(|it| self.site.store.blocks().has(*it))?;
            Some(Payload { checksum, len: stamp.len })
        });
        known.map_or_else(|| Begun::Queued(self.files.begin(path)), Begun::Known)
    }

    /// Waits for a file and notes it: its key, and its length.
    pub(super) fn end_file(&mut self, file: Begun, sums: &mut Sums) -> Result<(ArtifactKey, u64), AddError> {
        let payload = match file {
            Begun::Known(payload) => {
                self.files.has_read(payload.len);
                payload
            }
            Begun::Queued(coming) => {
                let FileRead { payload, new_bytes, seen } = self.wait_for(&coming)?;
                sums.new_bytes += new_bytes;
                self.read.extend(seen);
                payload
            }
        };
        Ok((self.file_added(payload, sums)?, payload.len))
    }

    fn wait_for(&mut self, coming: &Receiver<Result<FileRead, AddError>>) -> Result<FileRead, AddError> {
        loop {
            match coming.recv_timeout(LOOK_EVERY) {
                Ok(read) => return read,
                Err(RecvTimeoutError::Timeout) => self.tell_bytes(self.files.bytes()),
                Err(RecvTimeoutError::Disconnected) => panic!("a thread that reads files has panicked"),
            }
        }
    }
}
