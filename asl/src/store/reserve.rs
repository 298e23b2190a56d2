//! A reserve of space: a file whose space is given back while something is removed, erased or
//! collected, or the store is opened, on a disk that is otherwise full. What frees space needs some
//! first. `FORMAT.md`, "Reserve".

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::disk::{Disk, Mode};

/// Where it lies in the data directory.
pub const FILE: &str = "reserve";
/// How much is written at once, and what the reserve's length is a multiple of, unless it is
/// shorter.
const PIECE_LEN: u64 = 256 << 10;

/// The reserve of an open store.
#[derive(Default)]
pub(super) struct Reserve {
    /// How long it is to be, in bytes.
    len_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many have asked for room.
    rooms: u32,
    /// How long it was when it was given back.
    released_len: u64,
}

/// While this is held, the space of the reserve may be used.
pub(super) struct Room<'a> {
    reserve: &'a Reserve,
    disk: &'a dyn Disk,
}

impl Reserve {
    /// A reserve of a store opened to be written, of `len_max` bytes, or as many as can be had:
    /// half of what is free at most, but as many as were released when that was opened.
    pub(super) fn keep(disk: &dyn Disk, len_max: u64, released_len: u64) -> Self {
        let reserve = Self {
            len_max,
            state: Mutex::default(),
        };
        reserve.fill(disk, released_len);
        reserve
    }

    /// Makes room for something that frees space, where little is left.
    pub(super) fn make_room<'a>(&'a self, disk: &'a dyn Disk) -> Room<'a> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ample = free_space(disk).is_some_and(|free| free / 4 >= self.len_max);
        if self.len_max > 0 && !is_ample {
            state.released_len = state.released_len.max(release(disk));
        }
        state.rooms += 1;
        Room {
            reserve: self,
            disk,
        }
    }

    /// Makes the reserve as long as it is to be: at least as it was, and no longer than half of
    /// what is free. Where that fails it stays shorter: whoever needs it finds what there is.
    fn fill(&self, disk: &dyn Disk, len_min: u64) {
        if self.len_max == 0 {
            return;
        }
        let half = free_space(disk).map_or(self.len_max, |free| free / 2);
        let len = self.len_max.min(half.max(len_min));
        let _ = fill(disk, len);
    }
}

/// Gives the space of the reserve back; says how long it was.
pub(super) fn release(disk: &dyn Disk) -> u64 {
    let len = disk
        .open(FILE, Mode::ReadOnly)
        .and_then(|file| file.len())
        .unwrap_or(0);
    if len > 0 && disk.remove(FILE).is_err() {
        0
    } else {
        len
    }
}

fn fill(disk: &dyn Disk, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let file = disk.open(FILE, Mode::Write)?;
    let mut at = file.len()?;
    while at < len {
        let piece_len = PIECE_LEN.min(len - at);
        if let Err(error) = file.write_at(at, &noise(at, piece_len)) {
            // What was written of the piece is left to others.
            file.set_len(at)?;
            return Err(error);
        }
        at += piece_len;
    }
    Ok(())
}

/// Bytes that no file system compresses away or has already.
fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    blake3::Hasher::new()
        .update(b"uor reserve")
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn free_space(disk: &dyn Disk) -> Option<u64> {
    disk.free_space().ok().flatten()
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self
            .reserve
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.rooms -= 1;
        if state.rooms == 0 {
            let len_min = std::mem::take(&mut state.released_len);
            self.reserve.fill(self.disk, len_min);
        }
    }
}
