//! Read-only memory maps of sealed files: the only file of this crate with `unsafe` in it.

#![expect(unsafe_code, reason = "a memory map is sound only as long as nobody changes or cuts the file")]

use std::fs::File;
use std::io;

use super::Sealed;

/// Maps a whole sealed file.
pub(super) fn map_sealed(file: &File) -> io::Result<Sealed> {
    if file.metadata()?.len() == 0 {
        // An empty map is refused by some platforms.
        return Ok(Box::new(Vec::new()));
    }
    // SAFETY: callers pass only sealed files. This program writes and cuts a file before the next one of its kind is
    // created, which is what seals it, and never opens a sealed file to write again; the store's lock keeps other writers
    // out. Changing a sealed file behind the program's back is outside what is promised (`FORMAT.md`, "What is assumed of
    // the disk").
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Box::new(map))
}
