//! The end of the last pack: appending blocks, making them durable, closing a full pack and
//! beginning the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::BlocksError;
use super::frame::{ALIGN, HEADER_LEN, Header, Kind};
use super::pack::Pack;
use super::place::Place;
use crate::disk::Disk;
use crate::file_header;

/// The disk is asked to begin writing whenever this many bytes wait for a sync.
const BEGIN_LEN: u64 = 8 << 20;

/// The end of the last pack, to which blocks are appended.
pub(super) struct Tail {
    state: Mutex<State>,
    /// Told whenever a sync ends.
    synced: Condvar,
    pack_len_max: u64,
}

struct State {
    pack: Arc<Pack>,
    end: u64,
    /// Up to where the disk was asked to begin writing.
    begun: u64,
    /// Nothing more is appended to a pack of an older version.
    outdated: bool,
    dirty: bool,
    syncing: bool,
    /// Whether the pack must stay the last one for now.
    held: bool,
    poisoned: bool,
    /// How often the packs were opened again: what was appended before need not be there.
    generation: u64,
}

/// What is to be done before a block is appended, and about it.
pub(super) struct Append<'a> {
    pub(super) header: Header,
    pub(super) stored: &'a [u8],
    /// The places that it says are no more, if it is a record.
    pub(super) buries: &'a [Place],
    /// Whether the pack stays the last until it is let go.
    pub(super) hold: bool,
    /// As [`Tail::generation`], when what it rests on was appended or found; nothing if the packs
    /// are not opened again meanwhile.
    pub(super) generation: Option<u64>,
}

impl Tail {
    /// The end of `pack`, everything in which is durable.
    pub(super) fn new(pack: Arc<Pack>, end: u64, outdated: bool, pack_len_max: u64) -> Self {
        pack.begin_at(end);
        let state = State {
            pack,
            end,
            begun: end,
            outdated,
            dirty: false,
            syncing: false,
            held: false,
            poisoned: false,
            generation: 0,
        };
        Self {
            state: Mutex::new(state),
            synced: Condvar::new(),
            pack_len_max,
        }
    }

    /// Appends a block, unless `already` answers that it is not needed any more; tells `placed`
    /// where it is before anybody else can append. `begun` is told of a pack that was begun for it.
    pub(super) fn append(
        &self,
        disk: &Arc<dyn Disk>,
        block: &Append<'_>,
        already: impl FnOnce() -> bool,
        begun: impl FnOnce(Arc<Pack>),
        placed: impl FnOnce(Place),
    ) -> Result<u64, BlocksError> {
        let mut state = self.lock();
        state.check_since(block.generation)?;
        if already() {
            return Ok(0);
        }
        let len = block.header.block_len();
        let mut begun = Some(begun);
        while state.is_full(len, self.pack_len_max) {
            if state.syncing || state.held {
                // Nobody closes a pack while it is uncertain whether its sync succeeds, or while it
                // must stay the last.
                state = self
                    .synced
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.check_since(block.generation)?;
                continue;
            }
            state.attempt(|state| state.begin_next(disk))?;
            if let Some(begun) = begun.take() {
                begun(Arc::clone(&state.pack));
            }
        }
        assert!(
            state.end.is_multiple_of(ALIGN as u64),
            "blocks are padded, and what a walk found ends behind one"
        );
        state.dirty = true;
        let header = block.header.encode(state.pack.number, state.end);
        state.attempt(|state| state.pack.append(&header, block.stored))?;
        state.begin_sync();
        placed(Place {
            pack: state.pack.number,
            offset: state.end,
        });
        state.end += len;
        state.held |= block.hold;
        Ok(len)
    }

    /// Closes the pack of this number, if it is still the last, and begins the next, of which
    /// `begun` is told.
    pub(super) fn close(
        &self,
        disk: &Arc<dyn Disk>,
        number: u32,
        begun: impl FnOnce(Arc<Pack>),
    ) -> Result<(), BlocksError> {
        let mut state = self.lock();
        while state.syncing || state.held {
            state = self
                .synced
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.check()?;
        if state.pack.number == number {
            state.attempt(|state| state.begin_next(disk))?;
            begun(Arc::clone(&state.pack));
        }
        Ok(())
    }

    /// Whether a write or sync has failed.
    pub(super) fn is_poisoned(&self) -> bool {
        self.lock().poisoned
    }

    /// How often the packs were opened again.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Goes on behind what was found on the disk after a write or sync had failed.
    pub(super) fn replace(&self, opened: Self) {
        let mut state = self.lock();
        while state.syncing {
            state = self
                .synced
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let opened = opened
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        *state = State {
            generation: state.generation + 1,
            ..opened
        };
        self.synced.notify_all();
    }

    /// The length that packs are closed at, in bytes.
    pub(super) fn pack_len_max(&self) -> u64 {
        self.pack_len_max
    }

    /// Lets the pack be closed again.
    pub(super) fn release(&self) {
        self.lock().held = false;
        self.synced.notify_all();
    }

    /// Where the next block goes, unless it begins a pack.
    pub(super) fn end(&self) -> Result<Place, BlocksError> {
        let state = self.lock();
        state.check()?;
        Ok(Place {
            pack: state.pack.number,
            offset: state.end,
        })
    }

    /// As [`Tail::end`], whatever has happened before.
    pub(super) fn written(&self) -> Place {
        let state = self.lock();
        Place {
            pack: state.pack.number,
            offset: state.end,
        }
    }

    /// Does what modifies the disk apart from appending; if it fails, nothing modifies the disk
    /// again.
    pub(super) fn attempt(
        &self,
        action: impl FnOnce() -> Result<(), BlocksError>,
    ) -> Result<(), BlocksError> {
        self.lock().check()?;
        let result = action();
        self.lock().poisoned |= result.is_err();
        result
    }

    /// Makes everything appended so far durable; free if it already is.
    pub(super) fn sync(&self) -> Result<(), BlocksError> {
        let mut state = self.lock();
        while state.syncing {
            state = self
                .synced
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.check()?;
        if !state.dirty {
            return Ok(());
        }
        state.attempt(|state| state.pack.flush())?;
        state.dirty = false;
        state.syncing = true;
        let (pack, durable) = (Arc::clone(&state.pack), state.end);
        drop(state);
        let result = pack.sync();
        let mut state = self.lock();
        state.syncing = false;
        self.synced.notify_all();
        state.attempt(|_| result)?;
        // Without the mark opening has more to do, that is all; so failing to write it takes
        // nothing back.
        let mark = Header::mark(Kind::Mark, durable).encode(state.pack.number, state.end);
        let written = state.attempt(|state| {
            state.pack.append(&mark, &[])?;
            state.pack.flush()
        });
        if written.is_ok() {
            state.end += HEADER_LEN as u64;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), BlocksError> {
        if self.poisoned {
            Err(BlocksError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// As [`State::check`]; and that the packs were not opened again since, if a generation is
    /// given.
    fn check_since(&self, generation: Option<u64>) -> Result<(), BlocksError> {
        let is_older = generation.is_some_and(|generation| generation != self.generation);
        if is_older {
            Err(BlocksError::Poisoned)
        } else {
            self.check()
        }
    }

    /// Does what modifies the disk; if it fails, nothing modifies the disk again.
    fn attempt(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), BlocksError>,
    ) -> Result<(), BlocksError> {
        let result = action(self);
        self.poisoned |= result.is_err();
        result
    }

    /// Has the disk begin early what a sync would otherwise wait for.
    fn begin_sync(&mut self) {
        let written = self.pack.written();
        if written >= self.begun + BEGIN_LEN {
            self.pack.file.begin_sync(self.begun, written - self.begun);
            self.begun = written;
        }
    }

    fn is_full(&self, len: u64, len_max: u64) -> bool {
        // What is only a header may exceed: it can be written while the pack must stay the last.
        let exceeds = self.end + len > len_max && len > HEADER_LEN as u64;
        self.outdated || (exceeds && self.end > file_header::LEN as u64)
    }

    fn begin_next(&mut self, disk: &Arc<dyn Disk>) -> Result<(), BlocksError> {
        // What a mark or seal vouches for has to be durable first, another mark included.
        self.pack.flush()?;
        self.pack.sync()?;
        self.pack.append(
            &Header::mark(Kind::Seal, self.end).encode(self.pack.number, self.end),
            &[],
        )?;
        self.pack.flush()?;
        self.pack.sync()?;
        self.pack = Arc::new(Pack::create(disk, self.pack.number + 1)?);
        self.outdated = false;
        self.end = file_header::LEN as u64;
        self.begun = self.end;
        self.pack.begin_at(self.end);
        self.dirty = false;
        Ok(())
    }
}
