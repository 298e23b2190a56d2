//! Closed files, read in place: every page is verified once, when it is first touched; `FORMAT.md`,
//! "Closed segments".
//!
//! Invariant: no byte is given out before the check of its page, and no later reading of the page
//! is waited for. A warm read costs a bit test.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread;

use crate::damage::{Damage, Mismatch};
use crate::disk::Sealed;
use crate::prefetch;

/// Length of a page in bytes; the last of a file may be shorter.
pub(crate) const PAGE: usize = 4096;

/// What a page's check depends on beside its bytes: so that a page does not pass for one of another
/// file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageKey([u8; 32]);

impl PageKey {
    /// The key of file `identity` among those that `role` names.
    pub(crate) fn new(role: &str, identity: u64) -> Self {
        let mut key = *blake3::hash(role.as_bytes()).as_bytes();
        mix(&mut key, 0, identity);
        Self(key)
    }

    /// The check of page number `page`.
    pub(crate) fn check(&self, page: usize, bytes: &[u8]) -> u64 {
        // Mixed into the key, not hashed before the bytes: a page is then exactly four chunks.
        let mut key = self.0;
        mix(&mut key, 8, page as u64);
        let [a, b, c, d, e, f, g, h, ..] = *blake3::keyed_hash(&key, bytes).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

fn mix(key: &mut [u8; 32], at: usize, number: u64) {
    key[at..]
        .iter_mut()
        .zip(number.to_le_bytes())
        .for_each(|(key, byte)| *key ^= byte);
}

/// Files of which each processor gets at least this much are checked by all of them at once.
const PAGES_PER_THREAD_MIN: usize = 256;

/// The check of every page of `bytes`.
pub(crate) fn checks_of(key: &PageKey, bytes: &[u8]) -> Vec<u64> {
    let pages = bytes.len().div_ceil(PAGE);
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(pages / PAGES_PER_THREAD_MIN)
        .max(1);
    let share = pages.div_ceil(threads).max(1);
    let mut checks = vec![0; pages];
    let fill = |(index, (checks, bytes)): (usize, (&mut [u64], &[u8]))| {
        let pages = (index * share..).zip(bytes.chunks(PAGE));
        checks
            .iter_mut()
            .zip(pages)
            .for_each(|(check, (page, bytes))| *check = key.check(page, bytes));
    };
    let mut shares = checks
        .chunks_mut(share)
        .zip(bytes.chunks(share * PAGE))
        .enumerate();
    let first = shares.next();
    thread::scope(|scope| {
        shares.for_each(|share| drop(scope.spawn(move || fill(share))));
        first.map(fill);
    });
    checks
}

/// The first bytes of a closed file, and the checks of their pages.
#[derive(Debug)]
pub(crate) struct Pages {
    file: String,
    bytes: Sealed,
    len: usize,
    key: PageKey,
    checks: Vec<u64>,
    /// A bit for each page that has been verified.
    seen: Vec<AtomicU64>,
}

impl Pages {
    /// The first `len` bytes of `file`, whose checks, with `key`, are `checks` (themselves verified
    /// by the caller).
    pub(crate) fn new(
        file: String,
        bytes: Sealed,
        len: usize,
        key: PageKey,
        checks: Vec<u64>,
    ) -> Result<Self, Damage> {
        if len > bytes.len() {
            let (expected, found) = (
                format!("at least {len} bytes"),
                format!("{} bytes", bytes.len()),
            );
            return Err(Mismatch::new("length", expected, found).at(file, 0));
        }
        if checks.len() != len.div_ceil(PAGE) {
            let (expected, found) = (len.div_ceil(PAGE).to_string(), checks.len().to_string());
            return Err(Mismatch::new("number of pages", expected, found).at(file, 0));
        }
        let seen = (0..checks.len().div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self {
            file,
            bytes,
            len,
            key,
            checks,
            seen,
        })
    }

    /// The file's path inside the store.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes of `range`, each page of it verified since the file was opened. A range that is
    /// not inside is damage too: what led here was not what was written.
    #[inline]
    pub(crate) fn get(&self, range: Range<usize>) -> Result<&[u8], Damage> {
        // A pair of registers, where a result with its error would go by memory and be waited for:
        // a tenth of a lookup.
        match self.get_seen(range.clone()) {
            Some(bytes) => Ok(bytes),
            None => self.get_unseen(range),
        }
    }

    /// The bytes of `range` if they lie in one page that was verified before: all that is short and
    /// warm.
    #[inline]
    pub(crate) fn get_seen(&self, range: Range<usize>) -> Option<&[u8]> {
        let bytes = self.bytes.get(..self.len)?.get(range.clone())?;
        let first = bytes.first()?;
        let page = range.start / PAGE;
        let is_seen = page == (range.end - 1) / PAGE && self.is_seen(page);
        (is_seen && self.is_whole_after(first)).then_some(bytes)
    }

    #[inline(never)]
    fn get_unseen(&self, range: Range<usize>) -> Result<&[u8], Damage> {
        let Some(bytes) = self
            .bytes
            .get(..self.len)
            .and_then(|bytes| bytes.get(range.clone()))
        else {
            return Err(self.outside(&range));
        };
        if bytes.is_empty() {
            return Ok(bytes);
        }
        for page in range.start / PAGE..(range.end - 1) / PAGE + 1 {
            match self.page(page).first() {
                Some(first) if self.is_seen(page) => {
                    if !self.is_whole_after(first) {
                        return Err(self.cut());
                    }
                }
                _ => self.verify(page)?,
            }
        }
        Ok(bytes)
    }

    /// Starts to load the bytes at `offset`; nothing happens outside the file.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        prefetch::prefetch(&self.bytes, offset);
    }

    /// Verifies every page, whether it has been before or not, and says which are damaged; calls
    /// `on_page` with the number of bytes after each.
    pub(crate) fn verify_all(&self, mut on_page: impl FnMut(usize)) -> Vec<Damage> {
        let mut damages = Vec::new();
        for page in 0..self.checks.len() {
            damages.extend(self.verify(page).err());
            on_page(self.page(page).len());
        }
        damages
    }

    /// All bytes of the file, those after the pages too, none of them verified: for who verifies
    /// them by other means, and asks [`Pages::not_cut`] afterwards.
    pub(crate) fn unverified(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn is_seen(&self, page: usize) -> bool {
        self.seen
            .get(page / 64)
            .is_some_and(|bits| bits.load(Ordering::Relaxed) >> (page % 64) & 1 == 1)
    }

    fn page(&self, page: usize) -> &[u8] {
        &self.bytes[page * PAGE..self.len.min((page + 1) * PAGE)]
    }

    fn verify(&self, page: usize) -> Result<(), Damage> {
        let (expected, found) = (self.checks[page], self.key.check(page, self.page(page)));
        self.not_cut()?;
        if expected != found {
            let (expected, found) = (
                format!("{:016x}", expected.swap_bytes()),
                format!("{:016x}", found.swap_bytes()),
            );
            let offset = (page * PAGE) as u64;
            return Err(Mismatch::new("page", expected, found).at(&self.file, offset));
        }
        self.seen[page / 64].fetch_or(1 << (page % 64), Ordering::Relaxed);
        Ok(())
    }

    /// Whether all that was read until now was the file's, a byte of it read last: so a page that
    /// the file has lost is noticed now.
    #[inline]
    fn is_whole_after(&self, byte: &u8) -> bool {
        std::hint::black_box(*byte);
        self.is_whole()
    }

    #[inline]
    fn is_whole(&self) -> bool {
        // Whoever saw zeros in place of a lost page sees the mark that was set before.
        fence(Ordering::Acquire);
        !self.bytes.is_cut()
    }

    /// Whether all that was read until now was the file's.
    pub(crate) fn not_cut(&self) -> Result<(), Damage> {
        if self.is_whole() {
            Ok(())
        } else {
            Err(self.cut())
        }
    }

    #[cold]
    #[inline(never)]
    fn cut(&self) -> Damage {
        let expected = format!("{} bytes, as when it was opened", self.bytes.len());
        let found = "fewer, or pages that the disk cannot read";
        Mismatch::new("length", expected, found).at(&self.file, 0)
    }

    #[cold]
    #[inline(never)]
    fn outside(&self, range: &Range<usize>) -> Damage {
        let expected = format!("inside {} bytes", self.len);
        let found = format!("{}..{}", range.start, range.end);
        Mismatch::new("range", expected, found).at(&self.file, range.start as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::real::RealDisk;
    use crate::disk::{Disk, Mode};

    fn sample(len: usize) -> Vec<u8> {
        (0..len)
            .map(|index| u8::try_from((index * 7 + index / 4096) % 251).unwrap())
            .collect()
    }

    fn pages(bytes: &[u8], key: PageKey, checks: &[u64]) -> Pages {
        Pages::new(
            "some/file".to_owned(),
            bytes.to_vec().into(),
            bytes.len(),
            key,
            checks.to_vec(),
        )
        .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_flipped_bit_is_found_by_whoever_touches_its_page_and_by_nobody_else(
            len in 1..20_000_usize, bit in any::<prop::sample::Index>(), start in any::<prop::sample::Index>(), length in 0..9000_usize,
        ) {
            let key = PageKey::new("test", 7);
            let bytes = sample(len);
            let checks = checks_of(&key, &bytes);
            let mut flipped = bytes.clone();
            let bit = bit.index(len * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            let start = start.index(len);
            let range = start..len.min(start + length);
            let touched = !range.is_empty() && range.start / PAGE <= bit / 8 / PAGE && bit / 8 / PAGE <= (range.end - 1) / PAGE;
            let pages = pages(&flipped, key, &checks);
            for _ in 0..2 {
                match pages.get(range.clone()) {
                    Ok(found) => prop_assert!(!touched && found == &bytes[range.clone()]),
                    Err(damage) => prop_assert!(touched && damage.offset == (bit / 8 / PAGE * PAGE) as u64),
                }
            }
            let mut seen = 0;
            prop_assert_eq!(pages.verify_all(|bytes| seen += bytes).len(), 1);
            prop_assert_eq!(seen, len);
        }
    }

    #[test]
    fn ranges_outside_are_errors() {
        let key = PageKey::new("test", 1);
        let bytes = sample(8192);
        let pages = pages(&bytes, key, &checks_of(&key, &bytes));
        assert_eq!(pages.get(8192..8192).unwrap(), b"");
        assert_eq!(pages.get(0..8192).unwrap(), bytes);
        let backwards = Range { start: 5, end: 4 };
        for range in [
            8191..8193,
            8193..8193,
            usize::MAX - 1..usize::MAX,
            backwards,
        ] {
            assert_eq!(pages.get(range).unwrap_err().what, "range");
        }
        pages.prefetch(0);
        pages.prefetch(usize::MAX);
    }

    #[test]
    fn a_page_passes_only_in_its_own_place() {
        let key = PageKey::new("test", 1);
        let bytes = [sample(4096), sample(4096)].concat();
        let checks = checks_of(&key, &bytes);
        assert_ne!(checks[0], checks[1], "other place");
        for other in [PageKey::new("test", 2), PageKey::new("tesu", 1)] {
            assert_eq!(pages(&bytes, other, &checks).verify_all(|_| {}).len(), 2);
        }
        assert_eq!(
            checks_of(&PageKey::new("test", 1), b"uor"),
            [16_886_279_191_218_787_099]
        );
    }

    #[test]
    fn long_files_have_the_checks_of_their_pages() {
        let key = PageKey::new("test", 1);
        for pages in [1, PAGES_PER_THREAD_MIN * 2, PAGES_PER_THREAD_MIN * 5 + 1] {
            let bytes = sample(pages * PAGE - 9);
            let alone: Vec<u64> = bytes
                .chunks(PAGE)
                .enumerate()
                .map(|(page, bytes)| key.check(page, bytes))
                .collect();
            assert_eq!(checks_of(&key, &bytes), alone);
        }
        assert!(checks_of(&key, &[]).is_empty());
    }

    #[test]
    fn lengths_must_fit() {
        let key = PageKey::new("test", 1);
        let new = |len, checks| Pages::new("file".to_owned(), sample(100).into(), len, key, checks);
        assert_eq!(new(101, vec![0]).unwrap_err().what, "length");
        assert_eq!(new(100, vec![]).unwrap_err().what, "number of pages");
        assert_eq!(new(100, vec![0]).unwrap().len(), 100);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_cut_under_the_pages_is_named_by_every_reader() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
        let bytes = sample(4 * PAGE);
        let file = disk.open("file", Mode::Write).unwrap();
        file.write_at(0, &bytes).unwrap();
        let key = PageKey::new("test", 1);
        let map = file.map_sealed().unwrap();
        let pages = Pages::new(
            "file".to_owned(),
            map,
            bytes.len(),
            key,
            checks_of(&key, &bytes),
        )
        .unwrap();
        assert_eq!(
            pages.get(2 * PAGE..2 * PAGE + 9).unwrap(),
            &bytes[2 * PAGE..2 * PAGE + 9]
        );
        file.set_len(PAGE as u64).unwrap();
        std::thread::scope(|scope| {
            for page in [2, 3, 2, 3] {
                let pages = &pages;
                scope.spawn(move || {
                    let damage = pages.get(page * PAGE..page * PAGE + 9).unwrap_err();
                    assert_eq!((damage.file.as_str(), damage.what), ("file", "length"));
                });
            }
        });
    }
}
