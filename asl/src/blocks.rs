//! Payloads, named by their digest, in append-only packs. A payload of up to 4 MiB is one block; a
//! longer one is cut by its content into chunks that payloads share, with a manifest that lists
//! them. Layout, and every way a crash can fall: `FORMAT.md`, "Blocks".
//!
//! To be read in this order: `place`, `layout`, `damage`, `error`, `recovery` (what is said);
//! `frame` (a block's header), `manifest`, `record`, `pack` and `block` (one file, and one block in
//! it), `list` (which packs there are), `tail` (appending); `run` and `index` (where every block
//! is); `pins` and `handle`, the open packs. The rest is what is done with them: `write` puts
//! (`put`, `chunker`, `compress`, `pipeline`), `read` and `lookup` read, `seal` writes runs,
//! `erase`, `collect` and `give_up` free space, `lost` and `verify` deal with damage; `recover`
//! opens (`present`, `scan`, `repair`), `reopen` does so again after a failure.
//!
//! Invariants:
//! * what is read has the digest it was asked by, or reading fails and names file, offset and both
//!   digests;
//! * a payload is visible only when all of it has been written and its digest is the one it was
//!   promised to have;
//! * a payload is durable once [`Blocks::sync`] has returned, which a commit that names it has to
//!   wait for;
//! * after a failed write or sync nothing is put until the packs are opened again.

mod block;
mod chunker;
mod collect;
mod compress;
mod damage;
mod erase;
mod error;
mod frame;
mod give_up;
mod handle;
mod index;
mod layout;
mod list;
mod lookup;
mod lost;
mod manifest;
mod pack;
mod pins;
mod pipeline;
mod place;
mod present;
mod put;
mod read;
mod record;
mod recover;
mod recovery;
mod reopen;
mod repair;
mod run;
mod scan;
mod seal;
mod tail;
mod verify;
mod write;

pub use self::collect::Collected;
pub use self::damage::BlockDamage;
pub use self::erase::Erased;
pub use self::error::BlocksError;
pub use self::handle::Blocks;
pub use self::layout::{CHUNK_LEN_MAX, Options, THREADS_MAX};
pub use self::manifest::Chunk;
pub use self::put::{PutOptions, PutStats};
pub use self::read::PayloadReader;
pub use self::recovery::{Cut, Recovery};
pub use self::verify::Verified;
