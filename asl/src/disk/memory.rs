//! A disk in memory for simulation: it knows what has been synced and what has not, loses power on
//! purpose, and fails when told to. Everything it does follows from the calls made and the seeds
//! given.
//!
//! The model: contents and length of a file are durable after [`DiskFile::sync`], a name after
//! [`Disk::sync_dir`] of its directory. At [`MemoryDisk::crash`] each unsynced write is kept,
//! dropped, cut at any byte, or kept in some of its 512-byte sectors only; unsynced writes do not
//! wait for each other. Unsynced changes of names survive as a prefix, as on a journalling file
//! system. A failed sync loses writes for good although they can still be read, as Linux does it.

mod chance;
mod file;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::chance::Chance;
use self::file::{Change, File, PAGE};
use self::names::{NameChange, Node, parent, parents};
use super::{Disk, DiskFile, LockGuard, Mode, Sealed};

/// What an operation can be made to fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`: a write or sync that the device refuses.
    Io,
    /// `ENOSPC`: the disk is full.
    NoSpace,
}

/// A simulated disk; clones share the same contents.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, Node>,
    names_synced: BTreeMap<String, Node>,
    names_pending: Vec<NameChange>,
    locks: BTreeSet<String>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    /// How many bytes fit, if it matters.
    capacity: Option<u64>,
}

impl MemoryDisk {
    /// An empty disk that never fails until told to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many modifying operations (open to write, write, sync, set length, rename, remove, make
    /// directory, sync directory) have been attempted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the modifying operation number `operation` (the first is 0) fail.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Lets no more than `capacity` bytes be on the disk: what would need more fails as on a full
    /// disk, each time, and leaves what fits. `None` takes the bound away.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock().capacity = capacity;
    }

    /// How many bytes the files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Flips one bit of a file, in what is live and in what is durable. Says whether there is such
    /// a bit.
    #[must_use]
    pub fn flip_bit(&self, path: &str, bit: u64) -> bool {
        let flip = |bytes: &mut Vec<u8>| {
            let byte = usize::try_from(bit / 8)
                .ok()
                .and_then(|index| bytes.get_mut(index));
            byte.is_some_and(|byte| {
                *byte ^= 1 << (bit % 8);
                true
            })
        };
        let mut state = self.lock();
        state.file_mut(path).is_some_and(|file| {
            flip(&mut file.synced);
            flip(&mut file.live)
        })
    }

    /// The live bytes of a file.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().file_mut(path).map(|file| file.live.clone())
    }

    /// Paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let state = self.lock();
        let files = state
            .names
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Makes everything durable, as the kernel does by itself after some time.
    pub fn settle(&self) {
        let mut state = self.lock();
        state.names_pending.clear();
        state.names_synced = state.names.clone();
        state.files.values_mut().for_each(File::settle);
    }

    /// The disk as a power loss at this moment may leave it; which of the possible ones, `seed`
    /// decides. This disk is not changed.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let state = self.lock();
        let mut names = state.names_synced.clone();
        let kept = chance.below(state.names_pending.len() + 1);
        for change in &state.names_pending[..kept] {
            change.apply(&mut names);
        }
        let reachable =
            |path: &str| parents(path).all(|parent| names.get(parent) == Some(&Node::Directory));
        let names: BTreeMap<_, _> = names
            .iter()
            .filter(|(path, _)| reachable(path))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let files = state.files.iter().map(|(id, file)| {
            let bytes = file.after_crash(&mut chance);
            (
                *id,
                File {
                    live: bytes.clone(),
                    synced: bytes,
                    pending: Vec::new(),
                    holes: file.holes.clone(),
                },
            )
        });
        let (files, capacity) = (files.collect(), state.capacity);
        let survived = State {
            files,
            names_synced: names.clone(),
            names,
            capacity,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(survived)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a modifying operation and says whether it fails.
    fn step(&mut self) -> Option<Fault> {
        let fault = self.faults.remove(&self.operations);
        self.operations += 1;
        fault
    }

    fn attempt(&mut self) -> io::Result<()> {
        self.step().map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_pending.push(change);
    }

    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::Directory => None,
            Node::File(id) => self.files.get(id),
        });
        files
            .map(|file| (file.live.len() - file.holes_len()) as u64)
            .sum()
    }

    /// How many of `len` bytes at `offset` of a file fit on the disk.
    fn fitting(&self, id: u64, offset: usize, len: usize) -> usize {
        let (Some(capacity), Some(file)) = (self.capacity, self.files.get(&id)) else {
            return len;
        };
        let free = usize::try_from(capacity.saturating_sub(self.used())).unwrap_or(usize::MAX);
        let filled = file
            .holes
            .range(offset / PAGE..(offset + len).div_ceil(PAGE))
            .count()
            * PAGE;
        let grown = (offset + len).saturating_sub(file.live.len());
        if grown + filled <= free {
            len
        } else {
            len.saturating_sub(grown + filled - free)
        }
    }

    fn file_mut(&mut self, path: &str) -> Option<&mut File> {
        match self.names.get(path) {
            Some(Node::File(id)) => self.files.get_mut(id),
            _ => None,
        }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::other("injected input/output error"),
            Self::NoSpace => io::Error::new(
                io::ErrorKind::StorageFull,
                "injected: no space left on device",
            ),
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if mode == Mode::Write {
            state.attempt()?;
        }
        let id = match (state.names.get(path), mode) {
            (Some(Node::File(id)), _) => *id,
            (Some(Node::Directory), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (None, Mode::ReadOnly) => return Err(io::ErrorKind::NotFound.into()),
            (None, Mode::Write) => {
                if parents(path).any(|parent| state.names.get(parent) != Some(&Node::Directory)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let id = state.files.last_key_value().map_or(0, |(id, _)| id + 1);
                state.files.insert(id, File::default());
                state.change_name(NameChange::Add(path.to_owned(), Node::File(id)));
                id
            }
        };
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            id,
            mode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.attempt()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.attempt()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        if !dir.is_empty() && state.names.get(dir) != Some(&Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| parent(path) == dir);
        Ok(inside
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(path.is_empty() || self.lock().names.contains_key(path))
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.attempt()?;
        for path in parents(dir).chain([dir]) {
            match state.names.get(path) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => state.change_name(NameChange::Add(path.to_owned(), Node::Directory)),
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.attempt()?;
        let pending = std::mem::take(&mut state.names_pending);
        for change in pending {
            if parent(change.path()) == dir {
                change.apply(&mut state.names_synced);
            } else {
                state.names_pending.push(change);
            }
        }
        Ok(())
    }

    fn free_space(&self) -> io::Result<Option<u64>> {
        let state = self.lock();
        Ok(state
            .capacity
            .map(|capacity| capacity.saturating_sub(state.used())))
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<LockGuard>> {
        let taken = self.lock().locks.insert(path.to_owned());
        Ok(taken.then(|| {
            Box::new(MemoryLock {
                disk: self.clone(),
                path: path.to_owned(),
            }) as LockGuard
        }))
    }
}

struct MemoryLock {
    disk: MemoryDisk,
    path: String,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    mode: Mode,
}

impl MemoryFile {
    fn with<T>(&self, action: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        let file = state
            .files
            .get_mut(&self.id)
            .ok_or(io::ErrorKind::NotFound)?;
        action(file)
    }

    /// Like `with` for an operation that modifies: counted, refused on a file opened to be read,
    /// and may fail; `failed` then says what a failure does all the same.
    fn modify(
        &self,
        action: impl FnOnce(&mut File),
        failed: impl FnOnce(&mut File, &mut Chance),
    ) -> io::Result<()> {
        if self.mode == Mode::ReadOnly {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.disk.lock();
        let mut chance = Chance(state.operations);
        let fault = state.step();
        let file = state
            .files
            .get_mut(&self.id)
            .ok_or(io::ErrorKind::NotFound)?;
        match fault {
            None => {
                action(file);
                Ok(())
            }
            Some(fault) => {
                failed(file, &mut chance);
                Err(fault.error())
            }
        }
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.live.len() as u64))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = index(offset)?;
        self.with(|file| {
            let end = start
                .checked_add(bytes.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let found = file
                .live
                .get(start..end)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = index(offset)?;
        let write = |bytes: &[u8]| Change::Write {
            offset,
            bytes: bytes.to_vec(),
        };
        let fitting = self.disk.lock().fitting(self.id, offset, bytes.len());
        if fitting < bytes.len() && self.mode == Mode::Write {
            self.modify(|file| file.change(write(&bytes[..fitting])), |_, _| {})?;
            return Err(Fault::NoSpace.error());
        }
        self.modify(
            |file| file.change(write(bytes)),
            |file, chance| {
                let kept = chance.below(bytes.len() + 1);
                file.change(write(&bytes[..kept]));
            },
        )
    }

    fn sync(&self) -> io::Result<()> {
        self.modify(File::settle, |file, chance| {
            file.pending.retain(|_| chance.below(2) == 0)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = index(len)?;
        self.modify(|file| file.change(Change::SetLen(len)), |_, _| {})
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let end = offset.saturating_add(len).min(self.len()?);
        let (start, end) = (index(offset)?.div_ceil(PAGE), index(end)? / PAGE);
        if start < end {
            let zeros = Change::Write {
                offset: start * PAGE,
                bytes: vec![0; (end - start) * PAGE],
            };
            let punch = |file: &mut File| {
                file.change(zeros);
                file.holes.extend(start..end);
            };
            self.modify(punch, |_, _| {})?;
        }
        Ok(true)
    }

    fn map_sealed(&self) -> io::Result<Sealed> {
        self.with(|file| Ok(file.live.clone().into()))
    }
}
