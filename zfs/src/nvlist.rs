//! Name-value lists in XDR, as far as extended attributes need them: names and byte arrays.

use crate::ByteOrder;

/// Type number of a byte array.
const BYTE_ARRAY: u32 = 10;
/// The largest number of pairs that are taken.
const PAIRS_MAX: usize = 65_536;

/// The byte arrays of a list, in its order; pairs of another type are left out. `None` if it is
/// damaged.
#[must_use]
pub fn byte_arrays(list: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    // Encoding 1 is XDR; version and flags follow.
    if list.first() != Some(&1) {
        return None;
    }
    let mut rest = list.get(12..)?;
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS_MAX {
        let size = word(rest, 0)?;
        if size == 0 {
            return (word(rest, 4)? == 0).then_some(pairs);
        }
        let (pair, after) = rest.split_at_checked(size)?;
        rest = after;
        if size < 20 || !size.is_multiple_of(4) {
            return None;
        }
        let name_len = word(pair, 8)?;
        let name = pair.get(12..)?.get(..name_len)?;
        let value_at = 12 + name_len.checked_next_multiple_of(4)?;
        let (kind, count) = (word(pair, value_at)?, word(pair, value_at + 4)?);
        if u32::try_from(kind) == Ok(BYTE_ARRAY) {
            let value = pair.get(value_at + 8..)?.get(..count)?;
            pairs.push((name.to_vec(), value.to_vec()));
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(ByteOrder::Big.u32(bytes, at)?).ok()
}
