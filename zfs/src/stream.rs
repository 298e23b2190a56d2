//! A stream as a line of records, verified on the way.
//!
//! A payload that was changed shows at the checksum of the next record. So what a record says
//! stands for certain only once END has been given out.

use std::io::{self, Read};

use crate::record::fields::{CHECKSUM_AT, Fields, name_of};
use crate::record::{BadField, Begin, HEADER_LEN, Header, StreamKind};
use crate::{ByteOrder, Fletcher4};

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// It could not be read.
    #[error("could not read the stream at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It begins like something else.
    #[error(
        "not a ZFS send stream: the first {bytes} bytes are no BEGIN record in either byte order"
    )]
    NotZfs {
        /// How many bytes were looked at.
        bytes: usize,
    },
    /// It ends too early.
    #[error("truncated at byte {offset}: it ends {place}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// Inside of what.
        place: &'static str,
    },
    /// A checksum is wrong.
    #[error(
        "damaged at or before byte {offset}: the checksum of record {record} ({kind}) is not that of the bytes so far"
    )]
    Checksum {
        /// Number of the record that has the checksum, from 0.
        record: u64,
        /// Its type.
        kind: &'static str,
        /// Where the record begins.
        offset: u64,
    },
    /// A newer ZFS made it.
    #[error("unsupported feature bit {bit}: the stream was made by a newer ZFS")]
    UnknownFeature {
        /// The lowest unknown bit.
        bit: u32,
    },
    /// A field cannot be what a sender means.
    #[error("bad record {record} ({kind}) at byte {offset}: {field} is {value}: {problem}")]
    Field {
        /// Number of the record, from 0.
        record: u64,
        /// Its type.
        kind: &'static str,
        /// Where it begins.
        offset: u64,
        /// The field.
        field: &'static str,
        /// What it says.
        value: u64,
        /// Why that cannot be.
        problem: &'static str,
    },
    /// A record where another has to be.
    #[error("bad record {record} ({kind}) at byte {offset}: {needed} has to be here")]
    OutOfPlace {
        /// Number of the record, from 0.
        record: u64,
        /// Its type.
        kind: &'static str,
        /// Where it begins.
        offset: u64,
        /// What has to be there.
        needed: &'static str,
    },
    /// Something follows.
    #[error("trailing data: the stream ends at byte {offset}, and more follows")]
    Trailing {
        /// Where it ends.
        offset: u64,
    },
}

/// One record, with its payload.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its number in the stream, from 0.
    pub number: u64,
    /// Where it begins, in bytes from the start of the stream.
    pub offset: u64,
    /// What it says.
    pub header: Header,
    /// Its payload, as it is in the stream; that of BEGIN, which lists properties, is passed over.
    pub payload: &'a [u8],
}

/// What may come next.
enum Place {
    /// The first BEGIN.
    Start,
    /// Records of a snapshot; `in_package` if it is one of several.
    Snapshot { in_package: bool },
    /// The END of a package's header.
    PackageHeader,
    /// The BEGIN of a package's next snapshot, or the last END.
    Between,
    /// Nothing.
    Over,
}

/// Reads the records of a stream.
pub struct StreamReader<R> {
    input: R,
    offset: u64,
    number: u64,
    sum: Fletcher4,
    place: Place,
    begin: Option<Begin>,
    payload: Vec<u8>,
}

/// Payloads are read in portions of this many bytes, so that what is allocated has arrived.
const PORTION_LEN: u64 = 1 << 20;

impl<R: Read> StreamReader<R> {
    /// A reader of `input`, which should be buffered.
    pub fn new(input: R) -> Self {
        let (sum, payload) = (Fletcher4::default(), Vec::new());
        Self {
            input,
            offset: 0,
            number: 0,
            sum,
            place: Place::Start,
            begin: None,
            payload,
        }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; `None` once the last END has been given and nothing follows it.
    ///
    /// # Errors
    /// [`StreamError`]; nothing can be read after one.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StreamError> {
        if matches!(self.place, Place::Over) {
            return self.finish();
        }
        let offset = self.offset;
        let mut bytes = [0; HEADER_LEN];
        let len = self.read_header(&mut bytes)?;
        if matches!(self.place, Place::Start)
            && (len < HEADER_LEN || Fields::order_of(&bytes).is_none())
        {
            return Err(self.not_a_start(&bytes, len));
        }
        if len < HEADER_LEN {
            let place = if len == 0 {
                "before its END record"
            } else {
                "inside a record header"
            };
            return Err(StreamError::Truncated {
                offset: self.offset,
                place,
            });
        }
        let order = match &self.begin {
            Some(begin) => begin.order,
            None => Fields::order_of(&bytes).unwrap_or(ByteOrder::Little),
        };
        let fields = Fields {
            bytes: &bytes,
            order,
        };
        let kind_number = fields.u32(0);
        let at = At {
            record: self.number,
            kind: name_of(kind_number).unwrap_or("unknown"),
            offset,
        };
        self.number += 1;
        let (header, payload_len) = if kind_number == 0 {
            self.begin_record(&fields, at)?
        } else {
            self.inner_record(&fields, &bytes, at)?
        };
        if matches!(header, Header::Begin(_)) {
            self.pass_over(payload_len, order)?;
        } else {
            self.read_payload(payload_len)?;
            self.sum.add(order, &self.payload);
        }
        Ok(Some(Record {
            number: at.record,
            offset,
            header,
            payload: &self.payload,
        }))
    }

    fn begin_record(&mut self, fields: &Fields<'_>, at: At) -> Result<(Header, u64), StreamError> {
        let in_package = match self.place {
            Place::Start => false,
            Place::Between => true,
            _ => return Err(at.out_of_place("a record of the snapshot that has begun, or its END")),
        };
        let begin = fields.begin().map_err(|bad| at.field(bad))?;
        if let Some(bit) = begin.unknown_feature() {
            return Err(StreamError::UnknownFeature { bit });
        }
        self.place = match begin.kind {
            StreamKind::Package if in_package => {
                return Err(at.out_of_place("a single snapshot inside the package"));
            }
            StreamKind::Package => Place::PackageHeader,
            StreamKind::Single => Place::Snapshot { in_package },
        };
        self.sum = Fletcher4::default();
        self.sum.add(fields.order, fields.bytes);
        let payload_len = begin.payload_len.into();
        self.begin = Some(begin.clone());
        Ok((Header::Begin(begin), payload_len))
    }

    fn inner_record(
        &mut self,
        fields: &Fields<'_>,
        bytes: &[u8; HEADER_LEN],
        at: At,
    ) -> Result<(Header, u64), StreamError> {
        let before = self.sum;
        let (head, tail) = bytes.split_at(CHECKSUM_AT);
        let stated = Fletcher4::read(fields.order, tail).unwrap_or_default();
        let is_end = fields.u32(0) == 5;
        if matches!(self.place, Place::Between) {
            if !is_end {
                return Err(at.out_of_place("the next snapshot of the package, or its last END"));
            }
            let sum = Fletcher4::read(fields.order, bytes.get(8..).unwrap_or_default())
                .unwrap_or_default();
            if !sum.is_absent() {
                return Err(at.checksum());
            }
            self.place = Place::Over;
            return Ok((Header::End, 0));
        }
        self.sum.add(fields.order, head);
        if !stated.is_absent() && stated != self.sum {
            return Err(at.checksum());
        }
        self.sum.add(fields.order, tail);
        if is_end
            && Fletcher4::read(fields.order, bytes.get(8..).unwrap_or_default()) != Some(before)
        {
            return Err(at.checksum());
        }
        let Some(begin) = &self.begin else {
            return Err(at.out_of_place("BEGIN"));
        };
        let in_package = match self.place {
            Place::Snapshot { in_package } => in_package,
            Place::PackageHeader if is_end => true,
            _ => return Err(at.out_of_place("the END of the package's header")),
        };
        let record = fields.record(begin).map_err(|bad| at.field(bad))?;
        if is_end {
            self.place = if in_package {
                Place::Between
            } else {
                Place::Over
            };
        }
        Ok(record)
    }

    /// Why the first header is none.
    fn not_a_start(&self, bytes: &[u8; HEADER_LEN], len: usize) -> StreamError {
        let begins_well = len >= 16 && Fields::order_of(bytes).is_some();
        if begins_well || len == 0 {
            StreamError::Truncated {
                offset: self.offset,
                place: "inside the first record header",
            }
        } else {
            StreamError::NotZfs { bytes: len }
        }
    }

    /// Nothing may follow.
    fn finish(&mut self) -> Result<Option<Record<'_>>, StreamError> {
        let mut byte = [0; 1];
        match self.fill(&mut byte)? {
            0 => Ok(None),
            _ => Err(StreamError::Trailing {
                offset: self.offset - 1,
            }),
        }
    }

    fn read_header(&mut self, bytes: &mut [u8; HEADER_LEN]) -> Result<usize, StreamError> {
        self.fill(bytes)
    }

    /// Reads until `bytes` are full or the input ends.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, StreamError> {
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(read) => {
                    len += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(StreamError::Read {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        Ok(len)
    }

    fn read_payload(&mut self, len: u64) -> Result<(), StreamError> {
        self.payload.clear();
        let mut left = len;
        while left > 0 {
            left -= self.read_portion(left)?;
        }
        Ok(())
    }

    /// Reads a payload only for its checksum.
    fn pass_over(&mut self, len: u64, order: ByteOrder) -> Result<(), StreamError> {
        let mut left = len;
        while left > 0 {
            self.payload.clear();
            left -= self.read_portion(left)?;
            self.sum.add(order, &self.payload);
        }
        self.payload.clear();
        Ok(())
    }

    /// Reads the next portion of a payload of which `left` bytes are to come.
    fn read_portion(&mut self, left: u64) -> Result<u64, StreamError> {
        let portion = left.min(PORTION_LEN);
        let read = self
            .input
            .by_ref()
            .take(portion)
            .read_to_end(&mut self.payload);
        let read = read.map_err(|source| StreamError::Read {
            offset: self.offset,
            source,
        })? as u64;
        self.offset += read;
        if read < portion {
            return Err(StreamError::Truncated {
                offset: self.offset,
                place: "inside a payload",
            });
        }
        Ok(portion)
    }
}

/// Where a record is, for errors about it.
#[derive(Clone, Copy)]
struct At {
    record: u64,
    kind: &'static str,
    offset: u64,
}

impl At {
    fn field(self, bad: BadField) -> StreamError {
        let Self {
            record,
            kind,
            offset,
        } = self;
        let BadField {
            field,
            value,
            problem,
        } = bad;
        StreamError::Field {
            record,
            kind,
            offset,
            field,
            value,
            problem,
        }
    }

    fn checksum(self) -> StreamError {
        let Self {
            record,
            kind,
            offset,
        } = self;
        StreamError::Checksum {
            record,
            kind,
            offset,
        }
    }

    fn out_of_place(self, needed: &'static str) -> StreamError {
        let Self {
            record,
            kind,
            offset,
        } = self;
        StreamError::OutOfPlace {
            record,
            kind,
            offset,
            needed,
        }
    }
}
