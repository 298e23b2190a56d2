//! Closed segments: not touched by opening the log, verified and mapped when they are first read;
//! `FORMAT.md`, "Closed segments".

use std::sync::{Arc, OnceLock};

use super::error::LogError;
use super::frame::{self, HEADER_LEN, MARK_LEN, Role};
use super::layout::{MAGIC, VERSION, path};
use super::position::LogPosition;
use super::scan;
use crate::damage::Mismatch;
use crate::disk::{Context, Disk, Mode, Sealed};
use crate::file_header;
use crate::pages::{self, PAGE, PageKey, Pages};

/// The first version whose closed segments carry page checks.
const VERSION_WITH_CHECKS: u16 = 2;

/// Length of a page's check in bytes.
const CHECK_LEN: usize = 8;

/// A segment that nobody appends to any more.
pub(super) struct Closed {
    number: u32,
    disk: Arc<dyn Disk>,
    pages: OnceLock<Pages>,
}

impl Closed {
    pub(super) fn new(disk: Arc<dyn Disk>, number: u32) -> Self {
        Self {
            number,
            disk,
            pages: OnceLock::new(),
        }
    }

    /// Its pages, without opening it for that.
    #[inline]
    pub(super) fn opened(&self) -> Option<&Pages> {
        self.pages.get()
    }

    /// Its pages. The first call maps the file and verifies its header, its seal and its page
    /// checks, or all of it if it has none.
    #[inline]
    pub(super) fn pages(&self) -> Result<&Pages, LogError> {
        match self.pages.get() {
            Some(pages) => Ok(pages),
            None => self.open(),
        }
    }

    #[cold]
    #[inline(never)]
    fn open(&self) -> Result<&Pages, LogError> {
        let (bytes, version) = map(&*self.disk, self.number)?;
        let pages = load(self.number, bytes, version)?;
        Ok(self.pages.get_or_init(|| pages))
    }
}

/// What the page checks of segment `number` depend on.
fn key(number: u32) -> PageKey {
    PageKey::new("uor-asl log pages", u64::from(number))
}

/// What ends a segment of `version` whose bytes so far are `bytes`, before its seal.
pub(super) fn checks_frame(number: u32, version: u16, bytes: &[u8]) -> Vec<u8> {
    if version < VERSION_WITH_CHECKS {
        return Vec::new();
    }
    let checks: Vec<u8> = pages::checks_of(&key(number), bytes)
        .iter()
        .flat_map(|check| check.to_le_bytes())
        .collect();
    let position = LogPosition::at(number, bytes.len());
    let mut out = vec![0; frame::frame_len(checks.len())];
    frame::encode(position, Role::Checks, 0, &checks, &mut out);
    out
}

/// Where the checks frame starts in a closed segment of `len` bytes: it is followed by the seal,
/// and has eight bytes for each page before it.
fn checks_start(len: usize) -> Option<usize> {
    let pages_and_checks = len.checked_sub(HEADER_LEN + MARK_LEN)?;
    let pages = pages_and_checks.div_ceil(PAGE + CHECK_LEN);
    pages_and_checks.checked_sub(pages * CHECK_LEN)
}

/// Maps a segment whose header is valid, and says its version.
pub(super) fn map(disk: &dyn Disk, number: u32) -> Result<(Sealed, u16), LogError> {
    let name = path(number);
    let file = disk.open(&name, Mode::ReadOnly).during("open", &name)?;
    check_size(number, file.len().during("measure", &name)?)?;
    let bytes = file.map_sealed().during("map", &name)?;
    let version =
        version(number, &bytes)?.map_err(|mismatch| LogError::damaged(number, 0, mismatch))?;
    Ok((bytes, version))
}

/// Verifies as much of a closed segment as its later reading does not.
pub(super) fn load(number: u32, bytes: Sealed, version: u16) -> Result<Pages, LogError> {
    let (len, checks) = if version < VERSION_WITH_CHECKS {
        // Before the frames: what they are found to be holds for what the checks are of.
        let checks = pages::checks_of(&key(number), &bytes);
        verify_frames(number, &bytes)?;
        (bytes.len(), checks)
    } else {
        stored_checks(number, &bytes)?
    };
    let pages = Pages::new(path(number), bytes, len, key(number), checks)?;
    pages.not_cut()?;
    Ok(pages)
}

/// How many bytes the checks of a closed segment are of, and the checks.
fn stored_checks(number: u32, bytes: &[u8]) -> Result<(usize, Vec<u64>), LogError> {
    let decode = |role, start: usize, end: usize| {
        let position = LogPosition::at(number, start);
        let found = frame::decode(position, bytes.get(start..end).unwrap_or_default())
            .map_err(|mismatch| LogError::damaged(number, start, mismatch))?;
        if found.role != role || found.len != end - start {
            let expected = format!("{role:?} of {} bytes", end - start);
            let found = format!("{:?} of {} bytes", found.role, found.len);
            let mismatch = Mismatch::new("end of segment", expected, found);
            return Err(LogError::damaged(number, start, mismatch));
        }
        Ok(found.body)
    };
    let seal = bytes.len().saturating_sub(MARK_LEN);
    decode(Role::Seal, seal, bytes.len())?;
    let start = checks_start(bytes.len()).unwrap_or(0);
    let checks = decode(Role::Checks, start, seal)?;
    let (checks, _) = checks.as_chunks::<CHECK_LEN>();
    Ok((
        start,
        checks
            .iter()
            .map(|check| u64::from_le_bytes(*check))
            .collect(),
    ))
}

/// A closed segment without page checks: all its frames are valid, and the last is a seal.
fn verify_frames(number: u32, bytes: &[u8]) -> Result<(), LogError> {
    let mut scan = scan::scan(number, bytes);
    match scan.stopped.take() {
        None if scan.sealed => Ok(()),
        None => {
            let mismatch = Mismatch::new("end of segment", "a seal", "the end of the file");
            Err(LogError::damaged(number, scan.end, mismatch))
        }
        Some(mismatch) => Err(LogError::damaged(number, scan.end, mismatch)),
    }
}

/// A segment's length, which has to fit an offset.
pub(super) fn check_size(number: u32, len: u64) -> Result<usize, LogError> {
    u32::try_from(len).map(|len| len as usize).map_err(|_| {
        let (expected, found) = (
            format!("less than {} bytes", u32::MAX),
            format!("{len} bytes"),
        );
        LogError::damaged(number, 0, Mismatch::new("file length", expected, found))
    })
}

/// The version in a segment's header, or why the header is not valid.
pub(super) fn version(number: u32, bytes: &[u8]) -> Result<Result<u16, Mismatch>, LogError> {
    match file_header::version(bytes, MAGIC, number, VERSION) {
        Ok(version) => Ok(Ok(version)),
        Err(file_header::Invalid::Version { found }) => Err(LogError::Newer {
            file: path(number),
            found,
            supported: VERSION,
        }),
        Err(file_header::Invalid::Damaged(mismatch)) => Ok(Err(mismatch)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_length_of_a_closed_segment_says_where_its_checks_are(words in 4..20_000_usize) {
            let len = words * 8;
            let checks = checks_frame(1, VERSION, &vec![0; len]);
            prop_assert_eq!(checks_start(len + checks.len() + MARK_LEN), Some(len));
        }
    }
}
