//! Walking the headers of a pack.

use std::sync::Arc;

use super::damage::BlockDamage;
use super::error::BlocksError;
use super::frame::{self, HEADER_LEN, Header, Kind};
use super::layout::{MAGIC, VERSION};
use super::pack::Pack;
use super::place::{Location, Place};
use crate::damage::Mismatch;
use crate::file_header;
use uor_index_format::id::Checksum;

/// How much of a pack is read at once.
const WINDOW_LEN: usize = 64 << 10;

/// What the headers of a pack say.
#[derive(Default)]
pub(super) struct Walk {
    /// The number of the pack.
    pub(super) pack: u32,
    /// The version of the pack.
    pub(super) version: u16,
    /// All blocks but marks and seals.
    pub(super) blocks: Vec<Location>,
    /// Where the valid blocks end.
    pub(super) end: u64,
    /// Everything before this offset was durable when the last mark was written.
    pub(super) durable: u64,
    /// Whether the last valid block is a seal.
    pub(super) sealed: bool,
    pub(super) damages: Vec<BlockDamage>,
    /// Why no block starts at `end`, if the file does not end there.
    pub(super) stopped: Option<BlockDamage>,
}

/// Walks the headers of a pack. In the last pack, what is invalid with no mark behind it ends the
/// walk; everything else that is invalid is damage, and is passed over.
pub(super) fn walk(pack: &Arc<Pack>, end: End) -> Result<Walk, BlocksError> {
    walk_to(pack, pack.len()?, end)
}

/// How a pack may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a seal.
    Closed,
    /// Anywhere behind its header.
    Open,
    /// Anywhere: nobody relied on it yet.
    Unlisted,
}

/// As [`walk`], of the first `len` bytes.
pub(super) fn walk_to(pack: &Arc<Pack>, len: u64, end: End) -> Result<Walk, BlocksError> {
    let mut window = Window::new(pack, len);
    let mut walk = Walk {
        pack: pack.number,
        ..Walk::default()
    };
    let mut invalid = match verify_file_header(pack, &mut window)? {
        Ok(version) => {
            (walk.version, walk.end) = (version, file_header::LEN as u64);
            window.version = version;
            None
        }
        Err(invalid) => Some(invalid),
    };
    while walk.end < window.len || invalid.is_some() {
        let Some(why) = invalid.take() else {
            match window.header(walk.end)? {
                Ok(header) => walk.step(pack, header),
                Err(why) => invalid = Some(why),
            }
            continue;
        };
        let claimed = window.claimed_name(walk.end)?;
        let damage = BlockDamage::of(claimed, why.at(&pack.path, walk.end));
        let may_tear = end == End::Unlisted || (end == End::Open && walk.end > 0);
        if may_tear && !was_durable(&mut window, walk.end)? {
            walk.stopped = Some(damage);
            return Ok(walk);
        }
        // A writer may have completed this block since it was read.
        window.refresh(pack.len()?);
        if walk.end > 0 && window.header(walk.end)?.is_ok() {
            continue;
        }
        walk.damages.push(damage);
        walk.end =
            find(&mut window, walk.end + 1, |_| true)?.map_or(window.len, |(offset, _)| offset);
    }
    Ok(walk)
}

/// Whether what is invalid at `offset` had been durable: a mark vouches for it, or, for the file
/// header, any block does.
fn was_durable(window: &mut Window<'_>, offset: u64) -> Result<bool, BlocksError> {
    let first_block = offset == 0 && window.header(file_header::LEN as u64)?.is_ok();
    Ok(first_block || find(window, offset, |header| header.durable() > Some(offset))?.is_some())
}

impl Walk {
    /// That a pack which is closed does not end with a seal.
    pub(super) fn unsealed(&self, pack: &Pack) -> BlockDamage {
        let mismatch = Mismatch::new("end of pack", "a seal", "the end of the file");
        mismatch.at(&pack.path, self.end).into()
    }

    fn step(&mut self, pack: &Pack, header: Header) {
        match header.durable() {
            Some(durable) => self.durable = self.durable.max(durable.min(self.end)),
            None => self.blocks.push(Location {
                place: Place {
                    pack: pack.number,
                    offset: self.end,
                },
                header,
            }),
        }
        self.sealed = header.kind == Kind::Seal;
        self.end += header.block_len();
    }
}

/// The version of a pack, if its file header is sound.
pub(super) fn version(pack: &Pack) -> Result<Option<u16>, BlocksError> {
    let mut window = Window::new(pack, file_header::LEN as u64);
    Ok(verify_file_header(pack, &mut window)?.ok())
}

/// The header of the block at this offset, if it is valid and its block inside the file.
pub(super) fn header_at(pack: &Pack, offset: u64) -> Result<Result<Header, Mismatch>, BlocksError> {
    Window::new(pack, pack.len()?).header(offset)
}

fn verify_file_header(
    pack: &Pack,
    window: &mut Window<'_>,
) -> Result<Result<u16, Mismatch>, BlocksError> {
    let bytes = window.bytes(0, file_header::LEN)?;
    match file_header::version(bytes, MAGIC, pack.number, VERSION) {
        Ok(version) => Ok(Ok(version)),
        Err(file_header::Invalid::Version { found }) => Err(BlocksError::Newer {
            file: pack.path.clone(),
            found,
            supported: VERSION,
        }),
        Err(file_header::Invalid::Damaged(mismatch)) => Ok(Err(mismatch)),
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
        let plausible = window
            .bytes(offset, HEADER_LEN)?
            .first_chunk()
            .is_some_and(frame::is_plausible);
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

/// A view of a pack that is read forwards in large pieces.
struct Window<'a> {
    pack: &'a Pack,
    /// The version of the pack; the newest, as long as it is not known.
    version: u16,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(pack: &'a Pack, len: u64) -> Self {
        Self {
            pack,
            version: VERSION,
            len,
            start: 0,
            bytes: Vec::new(),
        }
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
        let inside =
            offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            self.bytes = self.pack.read(offset, left.min(WINDOW_LEN))?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).expect("it is inside what was read");
        Ok(&self.bytes[at..at + len])
    }

    /// The header at `offset`, if it is valid and its block inside the file.
    fn header(&mut self, offset: u64) -> Result<Result<Header, Mismatch>, BlocksError> {
        let (file_len, number, version) = (self.len, self.pack.number, self.version);
        let bytes = self.bytes(offset, HEADER_LEN)?;
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            let (expected, found) = (
                format!("{HEADER_LEN} bytes"),
                format!("{} bytes", bytes.len()),
            );
            return Ok(Err(Mismatch::new("header length", expected, found)));
        };
        let header = match Header::decode(bytes, number, offset, version) {
            Ok(header) => header,
            Err(mismatch) => return Ok(Err(mismatch)),
        };
        let end = offset + header.block_len();
        if end > file_len {
            let (expected, found) = (format!("file of {end} bytes"), format!("{file_len} bytes"));
            return Ok(Err(Mismatch::new("block length", expected, found)));
        }
        Ok(Ok(header))
    }

    fn claimed_name(&mut self, offset: u64) -> Result<Option<Checksum>, BlocksError> {
        if offset == 0 {
            return Ok(None);
        }
        Ok(self
            .bytes(offset, HEADER_LEN)?
            .first_chunk()
            .map(frame::claimed_name))
    }
}
