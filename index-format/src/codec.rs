//! Reading and writing little-endian fields; every other module's bytes pass through here.
//!
//! Decoding trusts nothing: no input panics, and none allocates out of proportion to its length. A
//! length or count is compared with what the input still holds before anything is reserved for it.

/// Why bytes were refused. `offset` counts from the start of the structure that was being decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("{field} at offset {offset} is cut short: {have} of {need} bytes")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// Bytes the field needs.
        need: usize,
        /// Bytes that were left.
        have: usize,
    },
    /// A length or count is above the bound the format sets.
    #[error("{field} at offset {offset} is {value}, above the limit of {max}")]
    TooLarge {
        /// The field that was being read.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// The value that was read.
        value: u64,
        /// The largest value the format allows.
        max: u64,
    },
    /// A field holds something the format does not allow.
    #[error("{field} at offset {offset}: {problem}")]
    Invalid {
        /// The field that was being read.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The structure was written by a newer release.
    #[error(
        "{field} has format version {found}; this release reads up to version {supported}: upgrade uor"
    )]
    NewerVersion {
        /// The structure.
        field: &'static str,
        /// Version found in the bytes.
        found: u16,
        /// Newest version this release reads.
        supported: u16,
    },
    /// Bytes are left over after the structure ended.
    #[error("{extra} bytes follow the end of {field} at offset {offset}")]
    Trailing {
        /// The structure that ended.
        field: &'static str,
        /// Where it ended.
        offset: usize,
        /// How many bytes follow.
        extra: usize,
    },
}

/// A cursor over untrusted bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// How many bytes have been consumed.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Takes exactly `len` bytes.
    pub fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(DecodeError::Truncated {
                field,
                offset: self.offset,
                need: len,
                have: rest.len(),
            });
        };
        self.offset += len;
        Ok(taken)
    }

    /// Takes a fixed-size array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// Takes one byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Takes a 16-bit integer.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Takes a 32-bit integer.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Takes a 64-bit integer.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Takes a count of items that each occupy at least `item_len_min` bytes, and checks that they
    /// can be there.
    pub fn count(
        &mut self,
        field: &'static str,
        max: u32,
        item_len_min: usize,
    ) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let value = self.u32(field)?;
        if value > max {
            return Err(DecodeError::TooLarge {
                field,
                offset,
                value: value.into(),
                max: max.into(),
            });
        }
        let count = value as usize;
        let need = count.saturating_mul(item_len_min);
        if need > self.remaining() {
            return Err(DecodeError::Truncated {
                field,
                offset,
                need,
                have: self.remaining(),
            });
        }
        Ok(count)
    }

    /// Takes a byte string behind a 32-bit length of at most `max`.
    pub fn bytes(&mut self, field: &'static str, max: u32) -> Result<&'a [u8], DecodeError> {
        let len = self.count(field, max, 1)?;
        self.take(field, len)
    }

    /// Takes a UTF-8 string behind a 32-bit length of at most `max` bytes.
    pub fn string(&mut self, field: &'static str, max: u32) -> Result<&'a str, DecodeError> {
        let offset = self.offset;
        let bytes = self.bytes(field, max)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid {
            field,
            offset,
            problem: "not valid UTF-8",
        })
    }

    /// Takes a magic number and a version, and refuses others than `magic` and anything above
    /// `supported`.
    pub fn header(
        &mut self,
        field: &'static str,
        magic: [u8; 4],
        supported: u16,
    ) -> Result<u16, DecodeError> {
        let offset = self.offset;
        if self.array::<4>(field)? != magic {
            return Err(DecodeError::Invalid {
                field,
                offset,
                problem: "wrong magic number",
            });
        }
        let found = self.u16(field)?;
        match found {
            0 => Err(DecodeError::Invalid {
                field,
                offset,
                problem: "version 0 does not exist",
            }),
            _ if found > supported => Err(DecodeError::NewerVersion {
                field,
                found,
                supported,
            }),
            _ => Ok(found),
        }
    }

    /// Takes bytes that the format keeps at zero.
    pub fn reserved<const N: usize>(&mut self, field: &'static str) -> Result<(), DecodeError> {
        let offset = self.offset;
        match self.array::<N>(field)? {
            zeros if zeros == [0; N] => Ok(()),
            _ => Err(DecodeError::Invalid {
                field,
                offset,
                problem: "reserved bytes must be zero",
            }),
        }
    }

    /// A refusal of the field that was just read, which began at `offset`.
    pub const fn invalid(field: &'static str, offset: usize, problem: &'static str) -> DecodeError {
        DecodeError::Invalid {
            field,
            offset,
            problem,
        }
    }

    /// Ends the structure: nothing may follow.
    pub const fn finish(self, field: &'static str) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing {
                field,
                offset: self.offset,
                extra,
            }),
        }
    }
}

/// Builds a structure field by field.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts empty.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Starts empty, with room for this many bytes.
    pub fn with_capacity(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    /// Starts with a magic number and a version.
    pub fn with_header(magic: [u8; 4], version: u16) -> Self {
        let mut writer = Self::new();
        writer.raw(&magic).u16(version);
        writer
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Appends a 16-bit integer.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a 32-bit integer.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a 64-bit integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a count or length. Every constructor bounds its collections far below 2³², so
    /// saturation is never reached by a value that can be built.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Appends a byte string behind its 32-bit length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    /// The finished bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads hexadecimal of either case; `None` for an odd length or a foreign character.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |character: u8| {
        char::from(character)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    text.len().is_multiple_of(2).then_some(())?;
    text.as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?))
        .collect()
}

/// Whether a character, shown, does something other than be seen: control characters, what ends
/// lines, what turns the direction of writing, and what has no width. Names come from other sites,
/// and are shown on terminals, where they could hide or rearrange what is around them, or look like
/// another name.
pub fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
