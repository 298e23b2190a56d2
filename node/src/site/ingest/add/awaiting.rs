//! Files being handed to the threads that read, and awaited.

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use uor_index_format::record::Payload;

use super::adding::{Adding, Sums};
use super::error::AddError;
use super::files::{Begun, FileRead};
use super::stat_cache::Stamp;
use crate::site::directory::private::may_be_key;

/// While a file is awaited, progress is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Adding<'_, '_> {
    /// Has a file read, unless it looks as it did when it was last read and its bytes are still
    /// here.
    pub(super) fn begin_file(&self, path: PathBuf, metadata: &Metadata, follow: bool) -> Begun {
        // What may be a key is looked at, whatever an earlier release thought of it.
        let known = Stamp::of(metadata)
            .filter(|stamp| !may_be_key(stamp.len))
            .and_then(|stamp| {
                let checksum = self
                    .cache
                    .find(&path, &stamp)
                    .filter(|it| self.site.store.blocks().has(*it))?;
                Some(Payload {
                    checksum,
                    len: stamp.len,
                })
            });
        known.map_or_else(
            || self.files.begin(path, metadata.len(), follow),
            Begun::Known,
        )
    }

    /// Waits for a file, whose bytes are then in the blocks.
    pub(super) fn end_file(&mut self, file: Begun, sums: &mut Sums) -> Result<Payload, AddError> {
        match file {
            Begun::Known(payload) => {
                self.files.has_read(payload.len);
                Ok(payload)
            }
            Begun::Queued(_, coming) => {
                let FileRead {
                    payload,
                    new_bytes,
                    seen,
                    changing,
                } = self.wait_for(&coming)?;
                sums.new_bytes += new_bytes;
                self.read.extend(seen);
                changing
                    .into_iter()
                    .for_each(|path| sums.changing.push(path));
                Ok(payload)
            }
        }
    }

    fn wait_for(
        &mut self,
        coming: &Receiver<Result<FileRead, AddError>>,
    ) -> Result<FileRead, AddError> {
        loop {
            // The files that are queued are behind this one: whoever has to wait may as well read
            // one of them.
            let answer = match coming.try_recv() {
                Err(TryRecvError::Empty) if self.files.help() => continue,
                Err(TryRecvError::Empty) => coming.recv_timeout(LOOK_EVERY),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(read) => return read,
            };
            match answer {
                Ok(read) => return read,
                Err(RecvTimeoutError::Timeout) => self.report_bytes(self.files.bytes()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("a thread that reads files has panicked")
                }
            }
        }
    }
}
