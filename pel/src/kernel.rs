//! The byte kernels: operations that need no module. None copies an input, so none is bounded by
//! memory.

use std::io;
use std::sync::Arc;

use uor_index_format::receipt::FailureKind;

use crate::blob::{Blob, Rope, checksum};

/// `pel.bytes.concat/1`; fails as out of range where the sum is beyond 2⁶⁴ bytes.
pub fn concat(inputs: Vec<Arc<dyn Blob>>) -> Result<Rope, FailureKind> {
    let mut rope = Rope::default();
    for input in inputs {
        let size = input.size();
        rope.push(input, 0..size).ok_or(FailureKind::OutOfRange)?;
    }
    Ok(rope)
}

/// Parameters of `pel.bytes.slice/1`.
pub fn slice_params(offset: u64, len: u64) -> Vec<u8> {
    [offset.to_le_bytes(), len.to_le_bytes()].concat()
}

/// `pel.bytes.slice/1`; fails as out of range unless all the bytes are there.
pub fn slice(input: Arc<dyn Blob>, params: &[u8]) -> Result<Rope, FailureKind> {
    let (offset, len) = params.split_first_chunk().ok_or(FailureKind::OutOfRange)?;
    let offset = u64::from_le_bytes(*offset);
    let len = u64::from_le_bytes(len.try_into().map_err(|_| FailureKind::OutOfRange)?);
    let end = offset.checked_add(len).ok_or(FailureKind::OutOfRange)?;
    let mut rope = Rope::default();
    rope.push(input, offset..end)
        .ok_or(FailureKind::OutOfRange)?;
    Ok(rope)
}

/// `pel.bytes.hash/1`: the digest in lower-case hex and a newline.
pub fn hash(input: &dyn Blob) -> io::Result<Vec<u8>> {
    Ok(format!("{}\n", checksum(input)?).into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blob::{first_difference, to_vec};

    fn blob(bytes: &[u8]) -> Arc<dyn Blob> {
        Arc::new(bytes.to_vec())
    }

    #[test]
    fn hash_is_what_b3sum_prints() {
        let digest = hash(&b"".to_vec()).expect("memory is readable");
        assert_eq!(
            digest,
            b"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\n"
        );
    }

    proptest! {
        #[test]
        fn concat_is_concatenation(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8)) {
            let rope = concat(parts.iter().map(|part| blob(part)).collect()).expect("it is short");
            prop_assert_eq!(to_vec(&rope, u64::MAX).expect("readable"), parts.concat());
        }

        #[test]
        fn slice_of_concat_is_the_range_or_out_of_range(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            offset in prop_oneof![0_u64..200, Just(u64::MAX)],
            len in prop_oneof![0_u64..200, Just(u64::MAX)],
        ) {
            let rope = concat(parts.iter().map(|part| blob(part)).collect()).expect("it is short");
            let whole = parts.concat();
            let range = || whole.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(len).ok()?);
            let sliced = slice(Arc::new(rope), &slice_params(offset, len));
            match range() {
                Some(expected) => {
                    let sliced = sliced.expect("the range is inside");
                    prop_assert_eq!(to_vec(&sliced, u64::MAX).expect("readable"), expected);
                }
                None => prop_assert_eq!(sliced.err(), Some(FailureKind::OutOfRange)),
            }
        }

        #[test]
        fn the_first_difference_is_the_first(
            bytes in proptest::collection::vec(any::<u8>(), 1..300_000),
            at in any::<proptest::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let at = at.index(bytes.len());
            let mut other = bytes.clone();
            if cut { other.truncate(at) } else { other[at] ^= 1 }
            prop_assert_eq!(first_difference(&bytes, &other).expect("readable"), Some(at as u64));
            prop_assert_eq!(first_difference(&other, &bytes).expect("readable"), Some(at as u64));
            prop_assert_eq!(first_difference(&bytes, &bytes.clone()).expect("readable"), None);
        }
    }
}
