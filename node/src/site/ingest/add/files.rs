//! Files being read, by several threads.
//!
//! A file that changes while it is read would be stored as it never was. So what it looks like is
//! compared before and after; if that differs it is read again, and then refused. What a change
//! within the tick of the file system's clock leaves no trace of is found by reading a file twice
//! that had changed just before. (A writer through a mapping leaves a trace only when it first
//! touches a page: like every tool that goes by these, this one may be deceived by it.)

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use crossbeam::channel::{Receiver as Queue, Sender, unbounded};
use uor_asl::blocks::{CHUNK_LEN_MAX, PutOptions};
use uor_index_format::record::Payload;

use super::error::{AddError, reading, storing};
use super::left_out::Obstacle;
use super::stat_cache::{Seen, Stamp};
use crate::clock::wall_ms;
use crate::site::directory::listing;
use crate::site::directory::private::open_file;
use crate::site::handle::Site;
use crate::site::text;

/// A file that has changed while it was read is read again so often.
const CHANGES_MAX: u32 = 1;

/// What the threads that read share.
pub(super) struct Shared<'a> {
    site: &'a Site,
    put: PutOptions,
    /// Stores a file that keeps changing.
    allows_changing: bool,
    /// Bytes read so far, or known without reading.
    bytes: AtomicU64,
    /// Whether nobody waits for what is still queued.
    is_over: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(super) const fn new(site: &'a Site, put: PutOptions, allows_changing: bool) -> Self {
        Self {
            site,
            put,
            allows_changing,
            bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
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
    /// Whether a symlink is followed.
    follow: bool,
    answer: SyncSender<Result<FileRead, AddError>>,
}

/// A file whose bytes are in the blocks.
pub(super) struct FileRead {
    pub(super) payload: Payload,
    pub(super) new_bytes: u64,
    pub(super) seen: Option<Seen>,
    /// Its path, if it was changing all the while.
    pub(super) changing: Option<String>,
}

/// A file whose bytes are in the blocks, or will be.
pub(super) enum Begun {
    /// It is known, and was not read.
    Known(Payload),
    /// A thread reads it: how long it was, and what comes of it.
    Queued(u64, Receiver<Result<FileRead, AddError>>),
}

impl Begun {
    /// The length in bytes, for all that is known.
    pub(super) const fn len(&self) -> u64 {
        match self {
            Self::Known(payload) => payload.len,
            Self::Queued(len, _) => *len,
        }
    }
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
        Self {
            jobs,
            queue,
            buffer: Vec::new(),
            shared,
        }
    }

    /// How many bytes were read so far, or known without reading.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn has_read(&self, bytes: u64) {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, path: PathBuf, len: u64, follow: bool) -> Begun {
        let (answer, coming) = sync_channel(1);
        // Should every thread have panicked, the answer is missed where it is awaited.
        drop(self.jobs.send(Job {
            path,
            len,
            follow,
            answer,
        }));
        Begun::Queued(len, coming)
    }

    /// Reads a queued file in place of waiting for one; says whether there was one. A long one is
    /// left to the others.
    pub(super) fn help(&mut self) -> bool {
        let Ok(job) = self.queue.try_recv() else {
            return false;
        };
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
        drop(self.answer.send(self.read(buffer, shared)));
    }

    /// Puts the file into the blocks; `buffer` is of the thread that does it.
    fn read(&self, buffer: &mut Vec<u8>, shared: &Shared<'_>) -> Result<FileRead, AddError> {
        let mut reported = 0;
        // What is read again is no progress.
        let mut on_progress = |bytes: u64| {
            shared
                .bytes
                .fetch_add(bytes.saturating_sub(reported), Ordering::Relaxed);
            reported = reported.max(bytes);
        };
        let (attempt, is_changing) =
            until_it_rests(|| self.attempt(buffer, shared, &mut on_progress))?;
        let Attempt {
            payload,
            new_bytes,
            stamp,
            read_ms,
            ..
        } = attempt;
        if is_changing && !shared.allows_changing {
            return Err(AddError::Changing {
                path: self.path.clone(),
            });
        }
        let changing = is_changing.then(|| text::text_of(self.path.as_os_str().as_bytes()));
        let seen = stamp.filter(|_| !is_changing);
        let seen = seen.map(|stamp| Seen::new(&self.path, stamp, read_ms, payload.checksum));
        Ok(FileRead {
            payload,
            new_bytes,
            seen,
            changing,
        })
    }

    fn attempt(
        &self,
        buffer: &mut Vec<u8>,
        shared: &Shared<'_>,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Attempt, AddError> {
        let path = self.path.as_path();
        let read_ms = wall_ms();
        let mut file = open_file(path, self.follow).map_err(reading(path))?;
        let before = file.metadata().map_err(reading(path))?;
        if !before.is_file() {
            return Err(AddError::Special {
                path: path.to_owned(),
                reason: Obstacle::of_special(&before),
            });
        }
        read_if_short(&mut file, before.len(), buffer).map_err(reading(path))?;
        if shared.site.is_key(buffer, Some((path, &before))) {
            return Err(AddError::Key {
                path: path.to_owned(),
            });
        }
        // A file may have grown since.
        let mut bytes = shared
            .site
            .cancel
            .reader(buffer.as_slice().chain(&mut file));
        let put = shared
            .site
            .store
            .blocks()
            .put_with(&shared.put, &mut bytes, on_progress);
        let put = put.map_err(storing(&path.to_string_lossy()))?;
        let after = file.metadata().map_err(reading(path))?;
        let payload = Payload {
            checksum: put.checksum,
            len: put.len,
        };
        let has_changed = before.len() != put.len || !listing::is_same(&before, &after);
        let stamp = Stamp::of(&before).filter(|_| !has_changed);
        let would_show = stamp.is_some_and(|stamp| stamp.would_show_change(read_ms));
        Ok(Attempt {
            payload,
            new_bytes: put.new_bytes,
            stamp,
            read_ms,
            has_changed,
            would_show,
        })
    }
}

/// Reads a file whole if it is one chunk at most; of a longer one nothing.
fn read_if_short(file: &mut File, len: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    if len > CHUNK_LEN_MAX as u64 {
        return Ok(());
    }
    // All of it in one go, and a look for the end.
    buffer.reserve(usize::try_from(len).expect("a chunk fits into memory") + 1);
    file.take(CHUNK_LEN_MAX as u64).read_to_end(buffer)?;
    Ok(())
}

/// A file that was read once.
struct Attempt {
    payload: Payload,
    new_bytes: u64,
    /// What the file looked like before and after.
    stamp: Option<Stamp>,
    read_ms: u64,
    /// Whether it looked otherwise afterwards.
    has_changed: bool,
    /// Whether a change would have made it look otherwise.
    would_show: bool,
}

/// Reads until a file is known not to have changed meanwhile; says whether that could not be had.
/// What was changed once is read once more; what is not known to have changed is taken if two
/// readings agree.
fn until_it_rests(
    mut read: impl FnMut() -> Result<Attempt, AddError>,
) -> Result<(Attempt, bool), AddError> {
    let (mut before, mut changes, mut new_bytes) = (None, 0, 0);
    loop {
        let mut attempt = read()?;
        new_bytes += attempt.new_bytes;
        attempt.new_bytes = new_bytes;
        let checksum = Some(attempt.payload.checksum);
        if !attempt.has_changed && (attempt.would_show || before == checksum) {
            return Ok((attempt, false));
        }
        changes += u32::from(attempt.has_changed || (before.is_some() && before != checksum));
        if changes > CHANGES_MAX {
            return Ok((attempt, true));
        }
        before = checksum;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use uor_index_format::id::Checksum;

    use super::*;

    /// What one reading found: the content, whether the file looked otherwise afterwards, and
    /// whether it would have.
    type Found = (u8, bool, bool);

    fn rests(found: &[Found]) -> (Option<(u8, bool)>, usize) {
        let at = Cell::new(0);
        let result = until_it_rests(|| {
            let (content, has_changed, would_show) = *found
                .get(at.get())
                .ok_or(AddError::Key { path: "".into() })?;
            at.set(at.get() + 1);
            let payload = Payload {
                checksum: Checksum::of(&[content]),
                len: 1,
            };
            Ok(Attempt {
                payload,
                new_bytes: 1,
                stamp: None,
                read_ms: 0,
                has_changed,
                would_show,
            })
        });
        let content = |attempt: &Attempt| {
            (0..=255).find(|byte| Checksum::of(&[*byte]) == attempt.payload.checksum)
        };
        (
            result
                .ok()
                .map(|(attempt, is_changing)| (content(&attempt).unwrap(), is_changing)),
            at.get(),
        )
    }

    #[test]
    fn what_changed_is_read_again_and_then_given_up() {
        assert_eq!(rests(&[(1, false, true)]), (Some((1, false)), 1));
        assert_eq!(
            rests(&[(1, true, true), (2, false, true)]),
            (Some((2, false)), 2)
        );
        assert_eq!(
            rests(&[(1, true, true), (2, true, true), (3, false, true)]),
            (Some((2, true)), 2)
        );
        // What would not show is read until two readings agree.
        assert_eq!(
            rests(&[(1, false, false), (1, false, false)]),
            (Some((1, false)), 2)
        );
        assert_eq!(
            rests(&[(1, false, false), (2, false, false), (2, false, false)]),
            (Some((2, false)), 3)
        );
        assert_eq!(
            rests(&[(1, false, false), (2, false, false), (3, false, true)]),
            (Some((3, false)), 3)
        );
        assert_eq!(
            rests(&[(1, true, false), (2, true, false)]),
            (Some((2, true)), 2)
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_was_not_changing_and_it_always_ends(
            found in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>()), 6..7),
        ) {
            let (result, readings) = rests(&found);
            let (content, is_changing) = result.expect("six readings are always enough");
            let last = found[readings - 1];
            prop_assert_eq!(content, last.0);
            if !is_changing {
                let agrees = readings > 1 && found[readings - 2].0 == last.0;
                prop_assert!(!last.1 && (last.2 || agrees));
            }
        }
    }
}
