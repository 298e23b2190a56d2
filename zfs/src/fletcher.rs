//! Fletcher-4: the checksum of streams.

use crate::ByteOrder;

/// Four running sums over 32-bit words. It is no digest: anybody can make a stream that has the
/// right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fletcher4 {
    /// The sums, in the order in which they are written.
    pub sums: [u64; 4],
}

impl Fletcher4 {
    /// Adds bytes; a last word that is not whole is not counted.
    pub fn add(&mut self, order: ByteOrder, bytes: &[u8]) {
        match order {
            ByteOrder::Little => self.words(bytes, |word| word),
            ByteOrder::Big => self.words(bytes, u32::swap_bytes),
        }
    }

    #[inline]
    fn words(&mut self, bytes: &[u8], order: impl Fn(u32) -> u32) {
        let [mut a, mut b, mut c, mut d] = self.sums;
        let (words, _) = bytes.as_chunks::<4>();
        for word in words {
            a = a.wrapping_add(u64::from(order(u32::from_le_bytes(*word))));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.sums = [a, b, c, d];
    }

    /// The sums that are written at the start of `bytes`.
    #[must_use]
    pub fn read(order: ByteOrder, bytes: &[u8]) -> Option<Self> {
        let mut sums = [0; 4];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = order.u64(bytes, at * 8)?;
        }
        Some(Self { sums })
    }

    /// Whether no sum was given.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.sums == [0; 4]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_definition_however_the_bytes_come(
            words in prop::collection::vec(any::<u32>(), 0..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut expected = [0_u64; 4];
            for word in &words {
                let mut carried = u64::from(*word);
                for sum in &mut expected {
                    *sum = sum.wrapping_add(carried);
                    carried = *sum;
                }
            }
            let little: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let big: Vec<u8> = words.iter().flat_map(|word| word.swap_bytes().to_le_bytes()).collect();
            let cut = if words.is_empty() { 0 } else { cut.index(words.len()) * 4 };
            for (order, bytes) in [(ByteOrder::Little, little), (ByteOrder::Big, big)] {
                let mut sum = Fletcher4::default();
                sum.add(order, &bytes[..cut]);
                sum.add(order, &bytes[cut..]);
                prop_assert_eq!(sum.sums, expected);
            }
        }
    }
}
