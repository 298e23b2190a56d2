//! Opening packs: `FORMAT.md`, "Blocks: every way a crash can fall".
//!
//! Only headers are read, except behind the offset that the last mark calls durable: there a block may be torn behind a
//! sound header, so its contents are verified too.

use std::sync::{Arc, RwLock};

use super::frame::{self, HEADER_LEN, Header, Invalid, Kind};
use super::pack::{Pack, Tail};
use super::pins::PinBoard;
use super::read::read_block;
use super::{BlockDamage, Blocks, BlocksError, Cut, DIR, EXTENSION, Index, Location, MAGIC, Options, Recovery};
use crate::disk::{self, Context, Disk, Mode};
use crate::file_header;
use uor_index_format::id::Checksum;

/// How much of a pack is read at once.
const WINDOW_LEN: usize = 64 << 10;

/// What the headers of a pack say.
struct Walk {
    blocks: Vec<Location>,
    /// Where the valid blocks end.
    end: u64,
    /// Everything before this offset was durable when the last mark was written.
    durable: u64,
    /// Whether the last valid block is a seal.
    sealed: bool,
    damages: Vec<BlockDamage>,
    /// Why no block starts at `end`, if the file does not end there.
    stopped: Option<BlockDamage>,
}

pub(super) fn open(disk: Arc<dyn Disk>, mode: Mode, options: Options) -> Result<(Blocks, Recovery), BlocksError> {
    if mode == Mode::Write {
        disk::create_dir_durably(&*disk, DIR)?;
    }
    let numbers = disk::list_numbered(&*disk, DIR, EXTENSION)?;
    if let Some((missing, _)) = (1..).zip(&numbers).find(|(expected, number)| expected != *number) {
        return Err(BlocksError::MissingPack { file: Pack::path(missing) });
    }
    let mut recovery = Recovery::default();
    let mut index = Index::default();
    let mut end = 0;
    for number in &numbers {
        let last = Some(number) == numbers.last();
        // Closed packs are never opened to write.
        let pack = Arc::new(Pack::open(&*disk, *number, if last { mode } else { Mode::ReadOnly })?);
        let mut walk = walk(&pack, last)?;
        if last {
            verify_tail(&pack, &mut walk)?;
            recovery.cut = cut(&pack, &walk)?;
        } else if !walk.sealed && walk.damages.is_empty() {
            let (expected, found) = ("a seal".to_owned(), "the end of the file".to_owned());
            walk.damages.push(Invalid { what: "end of pack", expected, found }.damage(&pack, walk.end, None));
        }
        if mode == Mode::Write {
            if let Some(damage) = walk.damages.into_iter().next() {
                return Err(BlocksError::Damaged(damage));
            }
            walk.damages = Vec::new();
            end = if last { repair(&*disk, &pack, &walk)? } else { 0 };
        }
        recovery.damages.append(&mut walk.damages);
        walk.blocks.into_iter().for_each(|location| index.insert(location));
        index.packs.push(pack);
    }
    if mode == Mode::Write && index.packs.is_empty() {
        index.packs.push(Arc::new(Pack::create(&*disk, 1)?));
        end = file_header::LEN as u64;
    }
    recovery.packs = u32::try_from(index.packs.len()).unwrap_or(u32::MAX);
    recovery.payloads = index.payloads().len() as u64;
    let last = index.packs.last().filter(|_| mode == Mode::Write);
    let tail = last.map(|pack| Tail::new(Arc::clone(pack), end, options.pack_bytes));
    let damages = recovery.damages.clone();
    let (index, pins, threads) = (RwLock::new(index), PinBoard::default(), options.threads());
    Ok((Blocks { disk, index, tail, damages, pins, threads }, recovery))
}

/// Walks the headers of a pack. In the last pack, what is invalid with no mark behind it ends the walk; everything else
/// that is invalid is damage, and is passed over.
fn walk(pack: &Arc<Pack>, last: bool) -> Result<Walk, BlocksError> {
    let mut window = Window::new(pack, pack.len()?);
    let mut walk = Walk { blocks: Vec::new(), end: 0, durable: 0, sealed: false, damages: Vec::new(), stopped: None };
    let mut invalid = verify_file_header(pack, &mut window)?;
    if invalid.is_none() {
        walk.end = file_header::LEN as u64;
    }
    while walk.end < window.len || invalid.is_some() {
        let Some(why) = invalid.take() else {
            match window.header(walk.end)? {
                Ok(header) => walk.step(pack, header),
                Err(why) => invalid = Some(why),
            }
            continue;
        };
        let damage = why.damage(pack, walk.end, window.claimed_name(walk.end)?);
        if last && !was_durable(&mut window, walk.end)? {
            walk.stopped = Some(damage);
            return Ok(walk);
        }
        // A writer may have completed this block since it was read.
        window.refresh(pack.len()?);
        if walk.end > 0 && window.header(walk.end)?.is_ok() {
            continue;
        }
        walk.damages.push(damage);
        walk.end = find(&mut window, walk.end + 1, |_| true)?.map_or(window.len, |(offset, _)| offset);
    }
    Ok(walk)
}

/// Whether what is invalid at `offset` had been durable: a mark vouches for it, or, for the file header, any block does.
fn was_durable(window: &mut Window<'_>, offset: u64) -> Result<bool, BlocksError> {
    let first_block = offset == 0 && window.header(file_header::LEN as u64)?.is_ok();
    Ok(first_block || find(window, offset, |header| header.durable() > Some(offset))?.is_some())
}

impl Walk {
    fn step(&mut self, pack: &Pack, header: Header) {
        match header.durable() {
            Some(durable) => self.durable = self.durable.max(durable.min(self.end)),
            None => self.blocks.push(Location { pack: pack.number, offset: self.end, header }),
        }
        self.sealed = header.kind == Kind::Seal;
        self.end += header.block_len();
    }
}

/// Verifies the contents of blocks that may not be durable; the first that is torn ends the pack.
fn verify_tail(pack: &Arc<Pack>, walk: &mut Walk) -> Result<(), BlocksError> {
    let first = walk.blocks.partition_point(|location| location.offset < walk.durable);
    for position in first..walk.blocks.len() {
        match read_block(pack, &walk.blocks[position]) {
            Ok(_) => {}
            Err(BlocksError::Damaged(damage)) => {
                walk.end = walk.blocks[position].offset;
                walk.blocks.truncate(position);
                walk.stopped = Some(damage);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut(pack: &Pack, walk: &Walk) -> Result<Option<Cut>, BlocksError> {
    let bytes = pack.len()?.saturating_sub(walk.end);
    let torn = walk.stopped.is_some() && bytes > 0;
    Ok(torn.then(|| Cut { file: pack.path.clone(), offset: walk.end, bytes }))
}

/// Makes the last pack one that can be appended to, and says where it ends: cuts the torn tail, and writes what may not be
/// durable once more. A kernel that failed to sync may still show bytes it has given up writing.
fn repair(disk: &dyn Disk, pack: &Arc<Pack>, walk: &Walk) -> Result<u64, BlocksError> {
    if walk.stopped.is_some() {
        pack.file.set_len(walk.end).during("cut the torn tail of", &pack.path)?;
        pack.sync()?;
    }
    if walk.end == 0 {
        Pack::create(disk, pack.number)?;
        return Ok(file_header::LEN as u64);
    }
    let mut offset = walk.durable;
    while offset < walk.end {
        let len = usize::try_from(walk.end - offset).unwrap_or(usize::MAX).min(super::CHUNK_LEN_MAX);
        pack.write(offset, &pack.read(offset, len)?)?;
        offset += len as u64;
    }
    let only_marks = walk.durable > 0 && walk.blocks.last().is_none_or(|block| block.offset < walk.durable);
    if only_marks {
        return Ok(walk.end);
    }
    pack.sync()?;
    disk.sync_dir(DIR).during("sync", DIR)?;
    pack.write(walk.end, &Header::mark(Kind::Mark, walk.end).encode(pack.number, walk.end))?;
    Ok(walk.end + HEADER_LEN as u64)
}

fn verify_file_header(pack: &Pack, window: &mut Window<'_>) -> Result<Option<Invalid>, BlocksError> {
    let bytes = window.bytes(0, file_header::LEN)?;
    match file_header::verify(bytes, MAGIC, pack.number) {
        Ok(()) => Ok(None),
        Err(file_header::Invalid::Version { found }) => {
            Err(BlocksError::Newer { file: pack.path.clone(), found, supported: file_header::VERSION })
        }
        Err(file_header::Invalid::Damaged { expected, found }) => {
            Ok(Some(Invalid { what: "file header", expected, found }))
        }
    }
}

/// The first valid header at or after `from` that is `wanted`.
fn find(
    window: &mut Window<'_>,
    from: u64,
    wanted: impl Fn(&Header) -> bool,
) -> Result<Option<(u64, Header)>, BlocksError> {
    let mut offset = from.next_multiple_of(frame::ALIGN as u64);
    while offset + HEADER_LEN as u64 <= window.len {
        let plausible = window.bytes(offset, HEADER_LEN)?.first_chunk().is_some_and(frame::is_plausible);
        if plausible
            && let Ok(header) = window.header(offset)?
            && wanted(&header)
        {
            return Ok(Some((offset, header)));
        }
        offset += frame::ALIGN as u64;
    }
    Ok(None)
}

impl Invalid {
    fn damage(self, pack: &Pack, offset: u64, block: Option<Checksum>) -> BlockDamage {
        let Self { what, expected, found } = self;
        BlockDamage { file: pack.path.clone(), offset, block, what, expected, found, payloads: Vec::new() }
    }
}

/// A view of a pack that is read forwards in large pieces.
struct Window<'a> {
    pack: &'a Pack,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(pack: &'a Pack, len: u64) -> Self {
        Self { pack, len, start: 0, bytes: Vec::new() }
    }

    /// Forgets what was read, of a file that is now `len` bytes long.
    fn refresh(&mut self, len: u64) {
        (self.len, self.bytes) = (len, Vec::new());
    }

    /// `len` bytes from `offset`, or fewer at the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], BlocksError> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        if len == 0 {
            return Ok(&[]);
        }
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            self.bytes = self.pack.read(offset, left.min(WINDOW_LEN))?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(&self.bytes[at..at + len])
    }

    /// The header at `offset`, if it is valid and its block inside the file.
    fn header(&mut self, offset: u64) -> Result<Result<Header, Invalid>, BlocksError> {
        let (file_len, number) = (self.len, self.pack.number);
        let bytes = self.bytes(offset, HEADER_LEN)?;
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            let (expected, found) = (format!("{HEADER_LEN} bytes"), format!("{} bytes", bytes.len()));
            return Ok(Err(Invalid { what: "header length", expected, found }));
        };
        let header = match Header::decode(bytes, number, offset) {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let end = offset + header.block_len();
        if end > file_len {
            let (expected, found) = (format!("file of {end} bytes"), format!("{file_len} bytes"));
            return Ok(Err(Invalid { what: "block length", expected, found }));
        }
        Ok(Ok(header))
    }

    fn claimed_name(&mut self, offset: u64) -> Result<Option<Checksum>, BlocksError> {
        if offset == 0 {
            return Ok(None);
        }
        Ok(self.bytes(offset, HEADER_LEN)?.first_chunk().map(frame::claimed_name))
    }
}
