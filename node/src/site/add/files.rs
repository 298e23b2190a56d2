//! Files being read, by several threads.

use std::fs::{File, Metadata};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam::channel::{Receiver as Queue, Sender, unbounded};
use uor_asl::blocks::{Blocks, CHUNK_LEN_MAX, PutOptions};
use uor_index_format::id::ArtifactKey;
use uor_index_format::record::Payload;

use super::{AddError, Adding, Seen, Stamp, Sums, reading, storing};
use crate::cancel::Cancel;
use crate::clock::wall_ms;

/// While a file is awaited, progress is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the threads that read share.
pub(super) struct Shared<'a> {
    blocks: &'a Blocks,
    put: PutOptions,
    cancel: &'a Cancel,
    /// Bytes read so far, or known without reading.
    bytes: AtomicU64,
    /// Whether nobody waits for what is still queued.
    is_over: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(super) const fn new(blocks: &'a Blocks, put: PutOptions, cancel: &'a Cancel) -> Self {
        Self { blocks, put, cancel, bytes: AtomicU64::new(0), is_over: AtomicBool::new(false) }
    }
}

/// Threads that read files. Dropping this lets them end after the files they are at.
pub(super) struct Files<'scope> {
    jobs: Sender<Job>,
    queue: Queue<Job>,
    /// Where the thread that waits reads a file itself.
    buffer: Vec<u8>,
    shared: &'scope Shared<'scope>,
}

struct Job {
    path: PathBuf,
    /// The file's length in bytes, for all that is known.
    len: u64,
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
        Self { jobs, queue, buffer: Vec::new(), shared }
    }

    /// How many bytes were read so far, or known without reading.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn has_read(&self, bytes: u64) {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn begin(&self, path: PathBuf, len: u64) -> Receiver<Result<FileRead, AddError>> {
        let (answer, coming) = sync_channel(1);
        // Should every thread have panicked, the answer is missed where it is awaited.
        drop(self.jobs.send(Job { path, len, answer }));
        coming
    }

    /// Reads a queued file in place of waiting for one; says whether there was one. A long one is left to the others.
    fn help(&mut self) -> bool {
        let Ok(job) = self.queue.try_recv() else { return false };
        let is_short = job.len <= CHUNK_LEN_MAX as u64;
        if is_short {
            job.run(&mut self.buffer, self.shared);
        } else {
            drop(self.jobs.send(job));
        }
        is_short
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

fn work(queue: &Queue<Job>, shared: &Shared<'_>) {
    let mut buffer = Vec::new();
    for job in queue {
        if !shared.is_over.load(Ordering::Relaxed) {
            job.run(&mut buffer, shared);
        }
    }
}

impl Job {
    fn run(self, buffer: &mut Vec<u8>, shared: &Shared<'_>) {
        // Whoever has failed elsewhere does not wait for this file.
        drop(self.answer.send(read(&self.path, buffer, shared)));
    }
}

/// Puts a file into the blocks; `buffer` is of the thread that does it.
fn read(path: &Path, buffer: &mut Vec<u8>, shared: &Shared<'_>) -> Result<FileRead, AddError> {
    let read_ms = wall_ms();
    let mut file = File::open(path).map_err(reading(path))?;
    let metadata = file.metadata().map_err(reading(path))?;
    buffer.clear();
    if metadata.len() <= CHUNK_LEN_MAX as u64 {
        // All of it in one go, and a look for the end.
        buffer.reserve(usize::try_from(metadata.len()).unwrap_or_default() + 1);
        file.by_ref().take(CHUNK_LEN_MAX as u64).read_to_end(buffer).map_err(reading(path))?;
    }
    let mut told = 0;
    let mut on_progress = |bytes| {
        shared.bytes.fetch_add(bytes - told, Ordering::Relaxed);
        told = bytes;
    };
    // A file may have grown since.
    let mut bytes = shared.cancel.reader(buffer.as_slice().chain(&mut file));
    let put = shared.blocks.put_with(&shared.put, &mut bytes, &mut on_progress);
    let put = put.map_err(storing(&path.to_string_lossy()))?;
    let after = Stamp::of(&file.metadata().map_err(reading(path))?);
    let stamp = Stamp::of(&metadata).filter(|before| Some(*before) == after && before.len == put.len);
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
        known.map_or_else(|| Begun::Queued(self.files.begin(path, metadata.len())), Begun::Known)
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
            // The files that are queued are behind this one: whoever has to wait may as well read one of them.
            let answer = match coming.try_recv() {
                Err(TryRecvError::Empty) if self.files.help() => continue,
                Err(TryRecvError::Empty) => coming.recv_timeout(LOOK_EVERY),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(read) => return read,
            };
            match answer {
                Ok(read) => return read,
                Err(RecvTimeoutError::Timeout) => self.tell_bytes(self.files.bytes()),
                Err(RecvTimeoutError::Disconnected) => panic!("a thread that reads files has panicked"),
            }
        }
    }
}
