//! What files looked like when they were last read, so that those that have not changed are not
//! read again.
//!
//! A file is taken for unchanged if length, both times, inode and device are what they were, and
//! both times lay well before the moment at which it was read: a change in the same tick of the
//! file system's clock would leave no trace in them. So the cache may be wrong only towards reading
//! again. (Who writes to a file through a mapping, or sets the system's clock back to the very
//! nanosecond, can deceive it, like every tool that goes by these.)
//!
//! The file `seen` is derived and belongs to nobody: if it is absent, damaged or of another
//! version, every file is read.
//!
//! ```text
//! magic (4) · version u16 · count u32 · entries, ascending by path · BLAKE3 of everything before (32)
//! entry: path digest (16) · length u64 · mtime i64 ns · ctime i64 ns · inode u64 · device u64 · read at u64 ms · checksum (32)
//! ```

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use uor_asl::disk::{Disk, DiskError, read_all, replace};
use uor_index_format::DecodeError;
use uor_index_format::codec::{Reader, Writer};
use uor_index_format::id::Checksum;

const FILE: &str = "seen";
const MAGIC: [u8; 4] = *b"UORF";
const VERSION: u16 = 2;
/// What version 1 begins with: snapshots do too, which is why it has changed. All else is as in
/// version 2.
const MAGIC_V1: [u8; 4] = *b"UORS";
const VERSION_V1: u16 = 1;
const ENTRY_LEN: usize = 16 + 6 * 8 + 32;
/// Most files that are remembered, those read last: some 100 MB.
const ENTRIES_MAX: u32 = 1 << 20;
/// How long before it was read a file must have come to rest: longer than the tick of any file
/// system.
const SETTLED_MS: i64 = 2_000;
/// As long as the tick of a file system that tells parts of a second.
const TICK_MS: i64 = 20;

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::site) struct Stamp {
    /// Length in bytes.
    pub(in crate::site) len: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    device: u64,
}

impl Stamp {
    /// The stamp of a file; none if its times are beyond the year 2262.
    pub(in crate::site) fn of(metadata: &Metadata) -> Option<Self> {
        let ns = |seconds: i64, ns: i64| seconds.checked_mul(1_000_000_000)?.checked_add(ns);
        Some(Self {
            len: metadata.len(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec())?,
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec())?,
            inode: metadata.ino(),
            device: metadata.dev(),
        })
    }

    /// Whether a change from that moment on would make a difference: it would not in the tick of
    /// the last one.
    pub(super) fn would_show_change(&self, from_ms: u64) -> bool {
        let is_coarse = self.mtime_ns % 1_000_000_000 == 0 && self.ctime_ns % 1_000_000_000 == 0;
        let tick_ms = if is_coarse { SETTLED_MS } else { TICK_MS };
        // No one sets this time but the system.
        let changed_ms = self.ctime_ns / 1_000_000;
        i64::try_from(from_ms).is_ok_and(|from_ms| changed_ms.saturating_add(tick_ms) < from_ms)
    }

    /// Whether the file had come to rest at that moment.
    fn is_settled(&self, at_ms: u64) -> bool {
        let latest_ms = self.mtime_ns.max(self.ctime_ns) / 1_000_000;
        i64::try_from(at_ms).is_ok_and(|at_ms| latest_ms.saturating_add(SETTLED_MS) < at_ms)
    }
}

/// A file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    path: [u8; 16],
    stamp: Stamp,
    read_ms: u64,
    checksum: Checksum,
}

impl Seen {
    /// A file that looked like this from the moment at which reading it began until it ended.
    pub(in crate::site) fn new(
        path: &Path,
        stamp: Stamp,
        read_ms: u64,
        checksum: Checksum,
    ) -> Self {
        Self {
            path: digest(path),
            stamp,
            read_ms,
            checksum,
        }
    }
}

/// Every path has a digest of its own, for all that anybody will ever see; and the inode has to be
/// right beside it.
fn digest(path: &Path) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Checksum::of(path.as_os_str().as_bytes()).as_bytes()[..16]);
    digest
}

/// Files that were read, ascending by path digest.
#[derive(Debug, Default)]
pub(super) struct StatCache {
    files: Vec<Seen>,
}

impl StatCache {
    /// What was remembered, if it is there and sound.
    pub(super) fn load(disk: &dyn Disk) -> Self {
        let bytes = read_all(disk, FILE).unwrap_or_default();
        Self::decode(&bytes).unwrap_or_default()
    }

    /// Remembers these files too.
    pub(super) fn save(mut self, files: Vec<Seen>, disk: &dyn Disk) -> Result<(), DiskError> {
        self.files.extend(files);
        // The sort is stable: what was read last comes last, and stands.
        self.files.sort_by_key(|seen| seen.path);
        let mut latest: Vec<Seen> = Vec::with_capacity(self.files.len());
        for seen in self.files {
            match latest.last_mut().filter(|last| last.path == seen.path) {
                Some(last) => *last = seen,
                None => latest.push(seen),
            }
        }
        let surplus = latest.len().saturating_sub(ENTRIES_MAX as usize);
        if surplus > 0 {
            latest.sort_by_key(|seen| seen.read_ms);
            latest.drain(..surplus);
            latest.sort_by_key(|seen| seen.path);
        }
        replace(disk, FILE, &Self { files: latest }.encode())
    }

    /// The checksum of the file at `path`, if it looks as it did when it was last read.
    pub(in crate::site) fn find(&self, path: &Path, stamp: &Stamp) -> Option<Checksum> {
        let digest = digest(path);
        let at = self
            .files
            .binary_search_by_key(&digest, |seen| seen.path)
            .ok()?;
        let seen = self.files.get(at)?;
        (seen.stamp == *stamp && stamp.is_settled(seen.read_ms)).then_some(seen.checksum)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.count(self.files.len());
        for Seen {
            path,
            stamp,
            read_ms,
            checksum,
        } in &self.files
        {
            writer.raw(path).u64(stamp.len);
            writer
                .u64(stamp.mtime_ns.cast_unsigned())
                .u64(stamp.ctime_ns.cast_unsigned());
            writer
                .u64(stamp.inode)
                .u64(stamp.device)
                .u64(*read_ms)
                .raw(checksum.as_bytes());
        }
        let mut bytes = writer.into_bytes();
        let check = Checksum::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, check) = bytes.split_last_chunk::<{ Checksum::LEN }>()?;
        if Checksum::of(content) != Checksum::from_bytes(*check) {
            return None;
        }
        let mut reader = Reader::new(content);
        let (magic, version) = if content.starts_with(&MAGIC_V1) {
            (MAGIC_V1, VERSION_V1)
        } else {
            (MAGIC, VERSION)
        };
        if reader.header("cache of files", magic, version).ok()? != version {
            return None;
        }
        let count = reader.count("files", ENTRIES_MAX, ENTRY_LEN).ok()?;
        let files = (0..count)
            .map(|_| read_seen(&mut reader))
            .collect::<Result<Vec<Seen>, _>>()
            .ok()?;
        reader.finish("cache of files").ok()?;
        files
            .is_sorted_by_key(|seen| seen.path)
            .then_some(Self { files })
    }
}

fn read_seen(reader: &mut Reader<'_>) -> Result<Seen, DecodeError> {
    let path = reader.array("path digest")?;
    let stamp = Stamp {
        len: reader.u64("length")?,
        mtime_ns: reader.u64("mtime")?.cast_signed(),
        ctime_ns: reader.u64("ctime")?.cast_signed(),
        inode: reader.u64("inode")?,
        device: reader.u64("device")?,
    };
    let read_ms = reader.u64("read at")?;
    Ok(Seen {
        path,
        stamp,
        read_ms,
        checksum: Checksum::from_bytes(reader.array("checksum")?),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uor_asl::disk::memory::MemoryDisk;

    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn stamp() -> impl Strategy<Value = Stamp> {
        let time = 0..HOUR_NS;
        (any::<u64>(), time.clone(), time, 0..4_u64, 0..2_u64).prop_map(
            |(len, mtime_ns, ctime_ns, inode, device)| Stamp {
                len,
                mtime_ns,
                ctime_ns,
                inode,
                device,
            },
        )
    }

    /// When everything that happens in these tests is long past.
    const LATER_MS: u64 = 10_000_000;

    fn seen(number: u8, stamp: Stamp, read_ms: u64) -> Seen {
        Seen::new(&path(number), stamp, read_ms, Checksum::of(&[number]))
    }

    fn path(number: u8) -> std::path::PathBuf {
        format!("/{number}").into()
    }

    #[test]
    fn the_first_version_is_read() {
        let stamp = Stamp {
            len: 7,
            mtime_ns: -1,
            ctime_ns: 2,
            inode: 3,
            device: 4,
        };
        let cache = StatCache {
            files: vec![seen(1, stamp, LATER_MS)],
        };
        let mut bytes = cache.encode();
        assert_eq!(bytes[..6], *b"UORF\x02\0");
        assert_eq!(bytes.len(), 10 + ENTRY_LEN + 32);
        bytes.truncate(bytes.len() - 32);
        bytes[..6].copy_from_slice(b"UORS\x01\0");
        let check = Checksum::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        assert_eq!(
            StatCache::decode(&bytes).map(|cache| cache.files),
            Some(cache.files)
        );
    }

    proptest! {
        #[test]
        fn what_is_saved_is_found_and_what_was_read_last_stands(
            rounds in prop::collection::vec(prop::collection::vec((any::<u8>(), stamp()), 0..20), 1..5),
        ) {
            let disk = Arc::new(MemoryDisk::new());
            let mut model = std::collections::BTreeMap::new();
            for files in rounds {
                model.extend(files.iter().copied());
                let files = files.into_iter().map(|(number, stamp)| seen(number, stamp, LATER_MS)).collect();
                StatCache::load(disk.as_ref()).save(files, disk.as_ref()).unwrap();
            }
            let cache = StatCache::load(disk.as_ref());
            for number in 0..=255 {
                let found = model.get(&number).and_then(|stamp| cache.find(&path(number), stamp));
                prop_assert_eq!(found, model.get(&number).map(|_| Checksum::of(&[number])));
            }
        }

        #[test]
        fn any_difference_means_reading_again(was in stamp(), is in stamp()) {
            let cache = StatCache { files: vec![seen(1, was, LATER_MS)] };
            for changed in [
                Stamp { len: is.len, ..was },
                Stamp { mtime_ns: is.mtime_ns, ..was },
                Stamp { ctime_ns: is.ctime_ns, ..was },
                Stamp { inode: is.inode, ..was },
                Stamp { device: is.device, ..was },
            ] {
                prop_assert_eq!(cache.find(&path(1), &changed).is_some(), changed == was);
            }
            prop_assert_eq!(cache.find(&path(2), &was), None);
        }

        #[test]
        fn a_file_that_had_not_come_to_rest_is_read_again(stamp in stamp(), rest_ms in -5_000..10_000_i64) {
            let latest_ms = stamp.mtime_ns.max(stamp.ctime_ns) / 1_000_000;
            let read_ms = u64::try_from(latest_ms + rest_ms).unwrap_or_default();
            let cache = StatCache { files: vec![seen(1, stamp, read_ms)] };
            prop_assert_eq!(cache.find(&path(1), &stamp).is_some(), rest_ms > SETTLED_MS);
        }

        #[test]
        fn a_change_would_show_only_after_the_tick_of_the_last(
            stamp in stamp(), is_coarse in any::<bool>(), rest_ms in -5_000..10_000_i64,
        ) {
            let whole = |ns: i64| if is_coarse { ns - ns % 1_000_000_000 } else { ns | 1 };
            let stamp = Stamp { mtime_ns: whole(stamp.mtime_ns), ctime_ns: whole(stamp.ctime_ns), ..stamp };
            let read_ms = stamp.ctime_ns / 1_000_000 + rest_ms;
            let tick_ms = if is_coarse { SETTLED_MS } else { TICK_MS };
            let shows = u64::try_from(read_ms).is_ok_and(|read_ms| stamp.would_show_change(read_ms));
            prop_assert_eq!(shows, read_ms >= 0 && rest_ms > tick_ms);
        }

        #[test]
        fn a_flipped_or_cut_cache_is_none(files in prop::collection::vec(stamp(), 0..5), at in any::<prop::sample::Index>()) {
            let files = (0..).zip(files).map(|(number, stamp)| seen(number, stamp, LATER_MS)).collect();
            let disk = MemoryDisk::new();
            StatCache::default().save(files, &disk).unwrap();
            let mut bytes = read_all(&disk, FILE).unwrap();
            prop_assert!(StatCache::decode(&bytes).is_some());
            prop_assert!(StatCache::decode(&bytes[..at.index(bytes.len())]).is_none());
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(StatCache::decode(&bytes).is_none());
        }
    }
}
