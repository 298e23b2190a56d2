//! The objects of one snapshot, and what records do to them: the rules of a receiver.
//!
//! An object number is not identity: a freed number is used again, and a sender then tells only how
//! the contents differ. So what an OBJECT record leaves in place and what it drops decides whether
//! an increment is right.

mod object;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

pub use self::object::{BONUS_SA, BONUS_ZNODE, KIND_DIRECTORY, KIND_FILE, KIND_VOLUME, Object};
use crate::contents::{Extents, Segment, Source, Spool, Stored};
use crate::decompress::{DecompressError, decompress};
use crate::record::{
    Begin, EmbeddedHeader, Header, ObjectHeader, Refusal, SpillHeader, WriteHeader,
};
use crate::stream::Record;

/// A spill block lies behind everything that can be contents.
const SPILL_AT: u64 = 1 << 63;

/// Why a record cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It is about an object that is not there.
    #[error(
        "bad record {record} ({kind}) at byte {offset}: unknown object {object}: no OBJECT record has declared it"
    )]
    UnknownObject {
        /// Number of the record, from 0.
        record: u64,
        /// Its type.
        kind: &'static str,
        /// Where it begins.
        offset: u64,
        /// The object.
        object: u64,
    },
    /// Its payload cannot be opened.
    #[error("bad record {record} at byte {offset}: the payload for object {object} is damaged")]
    Payload {
        /// Number of the record, from 0.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// The object.
        object: u64,
        /// What is wrong.
        #[source]
        source: DecompressError,
    },
    /// It is a spill block of an object that cannot have one.
    #[error(
        "bad record {record} (WRITE_EMBEDDED) at byte {offset}: a spill block for object {object}, which has no attributes"
    )]
    NoAttributes {
        /// Number of the record, from 0.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// The object.
        object: u64,
    },
    /// The stream is of a kind that is not imported.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The payload could not be kept.
    #[error("could not keep a block of the stream")]
    Spool(#[from] io::Error),
}

/// The objects of a snapshot.
#[derive(Debug, Default)]
pub struct ObjectSet {
    objects: BTreeMap<u64, Object>,
    extents: Extents,
    /// Blocks are decompressed here.
    block: Vec<u8>,
}

impl ObjectSet {
    /// The objects, ascending by number.
    pub fn objects(&self) -> impl Iterator<Item = (u64, &Object)> {
        self.objects
            .iter()
            .map(|(number, object)| (*number, object))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Object> {
        self.objects.get(&number)
    }

    /// Where an object's contents are, from the start up to `len` bytes, holes too.
    pub fn segments(&self, number: u64, len: u64) -> impl Iterator<Item = Segment> {
        self.extents.segments(number, 0..len)
    }

    /// Where an object's last block ends.
    #[must_use]
    pub fn end(&self, number: u64) -> u64 {
        self.extents.end(number, SPILL_AT)
    }

    /// How many bytes of an object's contents are no hole.
    #[must_use]
    pub fn filled(&self, number: u64) -> u64 {
        self.extents.filled(number, SPILL_AT)
    }

    /// The contents an object had at the earlier snapshot, if they are still these and `len` bytes
    /// long.
    #[must_use]
    pub fn unchanged(&self, number: u64, len: u64) -> Option<Stored> {
        let base = self
            .objects
            .get(&number)?
            .base
            .filter(|base| base.len == len)?;
        self.segments(number, len)
            .all(|segment| segment.source == Some(Source::Base))
            .then_some(base)
    }

    /// Fills `out` with contents from `offset` on.
    ///
    /// # Errors
    /// What reading said.
    pub fn read_at(
        &self,
        number: u64,
        offset: u64,
        out: &mut [u8],
        spool: &dyn Spool,
    ) -> io::Result<()> {
        let base = self.objects.get(&number).and_then(|object| object.base);
        let range = offset..offset.saturating_add(out.len() as u64);
        let mut out = out;
        for Segment { range, source } in self.extents.segments(number, range) {
            let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let (part, rest) = out
                .split_at_mut_checked(len)
                .ok_or(io::ErrorKind::InvalidInput)?;
            match (source, &base) {
                (None, _) => part.fill(0),
                (Some(Source::Spool(place)), _) => spool.read_at(place, part)?,
                (Some(Source::Base), Some(base)) => spool.read_stored(base, range.start, part)?,
                (Some(Source::Base), None) => return Err(io::ErrorKind::NotFound.into()),
            }
            out = rest;
        }
        Ok(())
    }

    /// An object's spill block, empty if it has none.
    ///
    /// # Errors
    /// What reading said.
    pub fn spill(&self, number: u64, spool: &dyn Spool) -> io::Result<Vec<u8>> {
        let len = self
            .objects
            .get(&number)
            .map_or(0, |object| object.spill_len);
        let mut spill = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        if len > 0 {
            self.read_at(number, SPILL_AT, &mut spill, spool)?;
        }
        Ok(spill)
    }

    /// Applies a record of a stream that `begin` began, and says which object's contents it is
    /// about.
    ///
    /// # Errors
    /// [`ObjectError`]; the objects then mean nothing any more.
    pub fn apply(
        &mut self,
        begin: &Begin,
        record: &Record<'_>,
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        match &record.header {
            Header::Begin(_) | Header::End => Ok(()),
            Header::Object(header) => self.declare(begin, header, record.payload),
            Header::FreeObjects { first, count } => {
                self.remove(*first..first.saturating_add(*count));
                Ok(())
            }
            Header::Write(header) => self.write(header, record, spool),
            Header::Free {
                object,
                offset,
                end,
            } => {
                self.known(record, "FREE", *object)?;
                let end = end.unwrap_or(SPILL_AT).min(SPILL_AT);
                self.extents.punch(*object, (*offset).min(end)..end);
                Ok(())
            }
            Header::Spill(header) => self.spill_record(header, record, spool),
            Header::WriteEmbedded(header) => self.embedded(header, record, spool),
            Header::WriteByRef => Err(Refusal::Deduplicated.into()),
            Header::ObjectRange => Err(Refusal::Raw.into()),
            Header::Redact => Err(Refusal::Redacted.into()),
        }
    }

    fn declare(
        &mut self,
        begin: &Begin,
        header: &ObjectHeader,
        payload: &[u8],
    ) -> Result<(), ObjectError> {
        if header.raw_bonus_len > 0 {
            return Err(Refusal::Raw.into());
        }
        let number = header.object;
        let bonus_len = usize::try_from(header.bonus_len).unwrap_or(usize::MAX);
        let mut new = Object {
            kind: header.kind,
            bonus_kind: header.bonus_kind,
            slots: header.slots,
            block_len: header.block_len,
            order: begin.order,
            bonus: payload.get(..bonus_len).unwrap_or_default().into(),
            spill_len: 0,
            base: None,
        };
        if let Some(old) = self.objects.get(&number) {
            if new.drops_contents_of(old) {
                self.extents.punch(number, 0..SPILL_AT);
            } else {
                new.base = old.base;
            }
            let keeps_spill = new.slots == old.slots && (header.has_spill || !begin.tells_spills());
            if keeps_spill {
                new.spill_len = old.spill_len;
            } else {
                self.extents.punch(number, SPILL_AT..u64::MAX);
            }
        }
        self.remove(number + 1..number + u64::from(header.slots));
        self.objects.insert(number, new);
        Ok(())
    }

    fn remove(&mut self, numbers: Range<u64>) {
        // Ranges are of any length; what is in them is not.
        while !numbers.is_empty()
            && let Some((&number, _)) = self.objects.range(numbers.clone()).next()
        {
            self.objects.remove(&number);
            self.extents.punch(number, 0..u64::MAX);
        }
    }

    fn known(
        &self,
        record: &Record<'_>,
        kind: &'static str,
        object: u64,
    ) -> Result<&Object, ObjectError> {
        let unknown = ObjectError::UnknownObject {
            record: record.number,
            kind,
            offset: record.offset,
            object,
        };
        self.objects.get(&object).ok_or(unknown)
    }

    fn write(
        &mut self,
        header: &WriteHeader,
        record: &Record<'_>,
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        self.known(record, "WRITE", header.object)?;
        let range = header.offset..header.offset + header.len;
        if header.compression == 0 {
            return self.keep(header.object, range, record.payload, spool);
        }
        let mut block = std::mem::take(&mut self.block);
        open(
            record,
            header.object,
            header.compression,
            header.len,
            &mut block,
        )?;
        self.keep(header.object, range, &block, spool)?;
        self.block = block;
        Ok(())
    }

    fn embedded(
        &mut self,
        header: &EmbeddedHeader,
        record: &Record<'_>,
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        let object = self.known(record, "WRITE_EMBEDDED", header.object)?;
        if header.is_spill() && object.bonus_kind != BONUS_SA {
            let (record, offset, object) = (record.number, record.offset, header.object);
            return Err(ObjectError::NoAttributes {
                record,
                offset,
                object,
            });
        }
        let mut block = std::mem::take(&mut self.block);
        let payload = record
            .payload
            .get(..usize::try_from(header.payload_len).unwrap_or(usize::MAX));
        let inner = Record {
            payload: payload.unwrap_or_default(),
            header: Header::End,
            ..*record
        };
        open(
            &inner,
            header.object,
            header.compression,
            header.logical_len.into(),
            &mut block,
        )?;
        block.resize(usize::try_from(header.len).unwrap_or(usize::MAX), 0);
        if header.is_spill() {
            self.keep_spill(header.object, header.len, &block, spool)?;
        } else {
            self.keep(
                header.object,
                header.offset..header.offset + header.len,
                &block,
                spool,
            )?;
        }
        self.block = block;
        Ok(())
    }

    fn spill_record(
        &mut self,
        header: &SpillHeader,
        record: &Record<'_>,
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        let object = self.known(record, "SPILL", header.object)?;
        if header.is_unmodified && object.spill_len > 0 {
            return Ok(());
        }
        if header.compressed_len == 0 {
            return self.keep_spill(header.object, header.len, record.payload, spool);
        }
        let mut block = std::mem::take(&mut self.block);
        open(
            record,
            header.object,
            header.compression,
            header.len,
            &mut block,
        )?;
        self.keep_spill(header.object, header.len, &block, spool)?;
        self.block = block;
        Ok(())
    }

    pub(crate) fn keep_spill(
        &mut self,
        number: u64,
        len: u64,
        block: &[u8],
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        self.extents.punch(number, SPILL_AT..u64::MAX);
        self.keep(number, SPILL_AT..SPILL_AT + len, block, spool)?;
        if let Some(object) = self.objects.get_mut(&number) {
            object.spill_len = u32::try_from(len).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// Keeps a block; one of zeros is a hole.
    pub(crate) fn keep(
        &mut self,
        number: u64,
        range: Range<u64>,
        block: &[u8],
        spool: &mut dyn Spool,
    ) -> Result<(), ObjectError> {
        if is_zero(block) {
            self.extents.punch(number, range);
            return Ok(());
        }
        let new = self
            .objects
            .get(&number)
            .filter(|object| object.is_plain() && object.base.is_none());
        if let Some(len) = new.and_then(Object::len_hint)
            && let Some(taken) = spool.offer(number, len, range.start, block)?
        {
            self.extents.punch(number, range.clone());
            self.fill(number, taken);
            return Ok(());
        }
        let place = spool.append(block)?;
        self.extents.put(number, range, Source::Spool(place));
        Ok(())
    }

    /// Takes for stored what is a hole in a range.
    fn fill(&mut self, number: u64, range: Range<u64>) {
        let holes: Vec<_> = self
            .extents
            .segments(number, range)
            .filter(|segment| segment.source.is_none())
            .collect();
        for hole in holes {
            self.extents.put(number, hole.range, Source::Base);
        }
    }

    /// Says where contents are stored that were taken when they were offered; zeros follow them up
    /// to `stored.len`.
    pub fn adopt(&mut self, number: u64, stored: Stored, taken: u64) {
        if let Some(object) = self.objects.get_mut(&number) {
            object.base = Some(stored);
            self.fill(number, taken..stored.len);
        }
    }

    /// Takes in an object as it was at an earlier snapshot.
    pub(crate) fn restore(&mut self, number: u64, object: Object) {
        if let Some(base) = object.base {
            self.extents.put(number, 0..base.len, Source::Base);
        }
        self.objects.insert(number, object);
    }
}

/// Decompresses a record's payload into `block`.
fn open(
    record: &Record<'_>,
    object: u64,
    method: u8,
    len: u64,
    block: &mut Vec<u8>,
) -> Result<(), ObjectError> {
    block.clear();
    block.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
    let (number, offset) = (record.number, record.offset);
    decompress(method, record.payload, block).map_err(|source| ObjectError::Payload {
        record: number,
        offset,
        object,
        source,
    })
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<64>();
    words.iter().all(|word| word == &[0; 64]) && rest.iter().all(|byte| *byte == 0)
}
