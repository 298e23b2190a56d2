//! Opening a store to read it, beside a writer that goes on meanwhile.
//!
//! What a reader has found by name may be gone when it opens it: the writer has merged runs, put
//! another checkpoint in place or cut a file. Then the reader begins again with what is there now,
//! a bounded number of times.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::attempt::Attempt;
use super::checkpoint::{self, Stamp};
use super::error::StoreError;
use super::handle::Store;
use super::options::Options;
use crate::disk::{Disk, Mode};

/// Most attempts of a reader. A writer would have to seal or merge between any two of
/// them.
pub(super) const ATTEMPTS_MAX: u32 = 16;

/// What is there, by name: whoever sees the same twice was not disturbed.
#[derive(PartialEq, Eq)]
struct Stand {
    stamp: Option<Stamp>,
    names: Vec<Vec<String>>,
}

impl Stand {
    fn of(disk: &dyn Disk) -> Result<Self, StoreError> {
        let names = ["index", "log", "blocks"].map(|dir| disk.list(dir).unwrap_or_default());
        Ok(Self {
            stamp: checkpoint::stamp(disk)?,
            names: names.into(),
        })
    }
}

/// Opens the store on `disk` to be read.
///
/// # Errors
/// As [`Store::open`].
pub(super) fn open(disk: &Arc<dyn Disk>, options: Options) -> Result<Store, StoreError> {
    let mut attempts = 1;
    loop {
        let before = Stand::of(disk.as_ref())?;
        let attempt = Attempt {
            before: before.stamp,
            is_last: attempts == ATTEMPTS_MAX,
        };
        let is_last = attempt.is_last;
        match Store::open_once(Arc::clone(disk), Mode::ReadOnly, options, 0, &attempt) {
            Ok(Some(store)) => return Ok(store),
            Ok(None) => {}
            Err(error) if !is_of_a_moment(&error) => return Err(error),
            Err(error) => {
                let is_moving = Stand::of(disk.as_ref())? != before;
                if is_moving && is_last {
                    return Err(StoreError::Restless {
                        attempts,
                        source: Box::new(error),
                    });
                }
                // Once more even where nothing seems to have moved: a file may have been cut under
                // its name.
                if !is_moving && attempts > 1 {
                    return Err(error);
                }
            }
        }
        attempts += 1;
    }
}

/// Whether a file was not there, or ended too early: as it may for a moment beside a writer.
fn is_of_a_moment(error: &StoreError) -> bool {
    let causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |error| {
        (*error).source()
    });
    let mut kinds = causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    kinds.any(|kind| matches!(kind, ErrorKind::NotFound | ErrorKind::UnexpectedEof))
}
