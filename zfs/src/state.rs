//! What is kept of a snapshot so that the next increment can be applied: everything about its
//! objects but the bytes of files, which are stored under names of their own.
//!
//! ```text
//! magic "UORZ" · version u16 · guid u64 · count of objects u64 · objects, ascending by number
//! object: number u64 · kind u8 · bonus kind u8 · slots u8 · order u8 (0 little, 1 big) · block length u32
//!         · bonus length u32 · bonus · spill length u32 · spill
//!         · contents: 0, or 1 · length u64 · bytes, or 2 · length u64 · BLAKE3 (32)
//! ```
//!
//! All numbers are little-endian. There is one encoding of a set of objects whose contents have
//! been stored: contents that are no file's, and at most [`INLINE_LEN_MAX`] long, stand in the
//! state, all others under their names.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::ByteOrder;
use crate::contents::{Spool, Stored};
use crate::objects::{Object, ObjectError, ObjectSet};
use crate::record::{BLOCK_LEN_MAX, CONTENT_LEN_MAX, OBJECT_MAX, SLOTS_MAX};

const MAGIC: [u8; 4] = *b"UORZ";
const VERSION: u16 = 1;
/// The longest contents that stand in the state, in bytes.
pub const INLINE_LEN_MAX: u64 = 128 << 10;
/// Bytes are copied in portions of this many.
const PORTION_LEN: usize = 64 << 10;

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It could not be read.
    #[error("could not read the state of the earlier snapshot")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("this is no state of a ZFS snapshot")]
    Magic,
    /// It is of a newer version.
    #[error("the state has version {found}, this program reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u16,
    },
    /// A field cannot be.
    #[error("the state is damaged: {field} of object {object} is wrong")]
    Field {
        /// The object.
        object: u64,
        /// The field.
        field: &'static str,
    },
    /// A block could not be kept.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Whether an object's contents of `len` bytes are stored under a name of their own.
#[must_use]
pub fn is_stored_apart(object: &Object, len: u64) -> bool {
    len > 0 && (object.is_plain() || len > INLINE_LEN_MAX)
}

/// Writes the state of the snapshot `guid`. `stored` says where the contents are of every object
/// that [`is_stored_apart`].
///
/// # Errors
/// What reading or writing said.
pub fn encode(
    guid: u64,
    set: &ObjectSet,
    stored: &BTreeMap<u64, Stored>,
    spool: &dyn Spool,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&guid.to_le_bytes())?;
    out.write_all(&(set.objects().count() as u64).to_le_bytes())?;
    for (number, object) in set.objects() {
        let byte = |value: u32| u8::try_from(value).unwrap_or_default();
        out.write_all(&number.to_le_bytes())?;
        let order = u8::from(object.order == ByteOrder::Big);
        out.write_all(&[
            byte(object.kind),
            byte(object.bonus_kind),
            object.slots,
            order,
        ])?;
        out.write_all(&object.block_len.to_le_bytes())?;
        write_bytes(out, &object.bonus)?;
        write_bytes(out, &set.spill(number, spool)?)?;
        match stored.get(&number) {
            Some(Stored { name, len }) => {
                out.write_all(&[2])?;
                out.write_all(&len.to_le_bytes())?;
                out.write_all(name)?;
            }
            None => write_inline(out, number, object, set, spool)?,
        }
    }
    Ok(())
}

fn write_bytes(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(
        &u32::try_from(bytes.len())
            .map_err(io::Error::other)?
            .to_le_bytes(),
    )?;
    out.write_all(bytes)
}

fn write_inline(
    out: &mut dyn Write,
    number: u64,
    object: &Object,
    set: &ObjectSet,
    spool: &dyn Spool,
) -> io::Result<()> {
    let len = if object.is_plain() {
        0
    } else {
        set.end(number)
    };
    if len == 0 {
        return out.write_all(&[0]);
    }
    let mut bytes = vec![0; usize::try_from(len.min(INLINE_LEN_MAX)).map_err(io::Error::other)?];
    set.read_at(number, 0, &mut bytes, spool)?;
    out.write_all(&[1])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(&bytes)
}

/// Reads a state: the objects, and the GUID of their snapshot. Blocks go to the spool.
///
/// # Errors
/// [`StateError`].
pub fn decode(input: &mut dyn Read, spool: &mut dyn Spool) -> Result<(u64, ObjectSet), StateError> {
    let mut input = Input(input);
    if input.array()? != MAGIC {
        return Err(StateError::Magic);
    }
    let found = u16::from_le_bytes(input.array()?);
    if found > VERSION {
        return Err(StateError::Newer { found });
    }
    let guid = input.u64()?;
    let count = input.u64()?;
    let mut set = ObjectSet::default();
    let mut last = None;
    for _ in 0..count {
        let number = input.u64()?;
        let damaged = |field| StateError::Field {
            object: number,
            field,
        };
        if number >= OBJECT_MAX || last.is_some_and(|last| last >= number) {
            return Err(damaged("the number"));
        }
        last = Some(number);
        input.object(number, &mut set, spool)?;
    }
    match input.0.read(&mut [0])? {
        0 => Ok((guid, set)),
        _ => Err(StateError::Field {
            object: last.unwrap_or_default(),
            field: "what follows the last object",
        }),
    }
}

struct Input<'a>(&'a mut dyn Read);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// As many bytes as come, at most `len`: what is allocated has arrived.
    fn bytes(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut left = len;
        while left > 0 {
            let portion = left.min(PORTION_LEN as u64);
            let read = self.0.take(portion).read_to_end(&mut bytes)? as u64;
            if read < portion {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
        }
        Ok(bytes)
    }

    fn object(
        &mut self,
        number: u64,
        set: &mut ObjectSet,
        spool: &mut dyn Spool,
    ) -> Result<(), StateError> {
        let damaged = |field| StateError::Field {
            object: number,
            field,
        };
        let [kind, bonus_kind, slots, order] = self.array()?;
        let order = match order {
            0 => ByteOrder::Little,
            1 => ByteOrder::Big,
            _ => return Err(damaged("the byte order")),
        };
        let block_len = self.u32()?;
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(damaged("the number of slots"));
        }
        if block_len == 0 || u64::from(block_len) > BLOCK_LEN_MAX {
            return Err(damaged("the block length"));
        }
        let bonus_len = self.u32()?;
        if bonus_len > u32::from(slots) * 512 - 192 {
            return Err(damaged("the length of the bonus buffer"));
        }
        let bonus = self.bytes(bonus_len.into())?.into();
        let (kind, bonus_kind) = (kind.into(), bonus_kind.into());
        let mut object = Object {
            kind,
            bonus_kind,
            slots,
            block_len,
            order,
            bonus,
            spill_len: 0,
            base: None,
        };
        let spill_len = u64::from(self.u32()?);
        if spill_len > BLOCK_LEN_MAX {
            return Err(damaged("the length of the spill block"));
        }
        let spill = self.bytes(spill_len)?;
        let contents = self
            .contents(&mut object)
            .map_err(|error| error.unwrap_or(damaged("the contents")))?;
        set.restore(number, object);
        if spill_len > 0 {
            set.keep_spill(number, spill_len, &spill, spool)?;
        }
        if !contents.is_empty() {
            set.keep(number, 0..contents.len() as u64, &contents, spool)?;
        }
        Ok(())
    }

    /// Contents that stand in the state; of others, `object` learns where they are.
    fn contents(&mut self, object: &mut Object) -> Result<Vec<u8>, Option<StateError>> {
        let read = |error: io::Error| Some(StateError::Read(error));
        match self.array().map_err(read)? {
            [0] => Ok(Vec::new()),
            [1] => match self.u64().map_err(read)? {
                len @ 1..=INLINE_LEN_MAX if !object.is_plain() => self.bytes(len).map_err(read),
                _ => Err(None),
            },
            [2] => match self.u64().map_err(read)? {
                len @ 1..=CONTENT_LEN_MAX if is_stored_apart(object, len) => {
                    object.base = Some(Stored {
                        name: self.array().map_err(read)?,
                        len,
                    });
                    Ok(Vec::new())
                }
                _ => Err(None),
            },
            _ => Err(None),
        }
    }
}
