//! Read-only memory maps of sealed files.

#![expect(
    unsafe_code,
    reason = "a memory map is sound only as long as nobody changes the file"
)]

use std::fs::File;
use std::io;
use std::ops::Deref;

#[cfg(target_os = "linux")]
use super::sigbus::Guard;
use super::{Sealed, SealedBytes};

/// A mapped file.
#[derive(Debug)]
pub(super) struct Map {
    /// Dropped before the map: it must not guard what is not there.
    #[cfg(target_os = "linux")]
    guard: Guard,
    map: memmap2::Mmap,
}

impl Map {
    /// Whether some of it could not be read and reads as zeros.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.guard.is_cut();
        #[cfg(not(target_os = "linux"))]
        false
    }
}

impl Deref for Map {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a whole sealed file.
pub(super) fn map_sealed(file: &File) -> io::Result<Sealed> {
    if file.metadata()?.len() == 0 {
        // An empty map is refused by some platforms.
        return Ok(Vec::new().into());
    }
    // SAFETY: callers pass only sealed files. This program writes and cuts a file before the next
    // one of its kind is created, which is what seals it, and never opens a sealed file to write
    // again; the store's lock keeps other writers out. A sealed file that is changed behind the
    // program's back shows as bytes that fail their check, one that is cut as zeros (`sigbus.rs`).
    let map = unsafe { memmap2::Mmap::map(file)? };
    #[cfg(target_os = "linux")]
    let guard = {
        let start = map.as_ptr() as usize;
        Guard::new(start..start + map.len())?
    };
    Ok(Sealed(SealedBytes::Mapped(Map {
        #[cfg(target_os = "linux")]
        guard,
        map,
    })))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_cut_under_its_map_reads_as_zeros_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut");
        File::create(&path)
            .unwrap()
            .write_all(&[7; 3 * 4096])
            .unwrap();
        let other = dir.path().join("whole");
        File::create(&other).unwrap().write_all(&[8; 4096]).unwrap();
        let whole = map_sealed(&File::open(&other).unwrap()).unwrap();
        for _ in 0..3 {
            let map = map_sealed(&File::open(&path).unwrap()).unwrap();
            assert_eq!((map[0], map[8192], map.is_cut()), (7, 7, false));
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(4096).unwrap();
            assert_eq!((map[0], map.is_cut()), (7, false));
            assert_eq!(
                (map[8192], map[4096], map[0], map.is_cut()),
                (0, 0, 7, true)
            );
            file.set_len(0).unwrap();
            (&file).write_all(&[7; 3 * 4096]).unwrap();
        }
        assert_eq!((whole[0], whole.is_cut()), (8, false));
    }
}
