//! Giving up: whoever asked for something long may stop wanting it.
//!
//! A [`Cancel`] is handed to what takes long. It is looked at between steps, while input is
//! awaited, and at the latest right before anything is committed: what has not been committed when
//! it is set never will be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// How often a [`Cancel`] is looked at while nothing arrives.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Whether something is still wanted; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// It is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled before it was done")]
pub struct Cancelled;

impl Cancel {
    /// Says that it is not wanted any more, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is not wanted any more.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Goes on only if it is still wanted.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// A stream that ends with an error once it is not wanted any more: looked at before every
    /// read.
    pub const fn reader<R: Read>(&self, inner: R) -> Checked<'_, R> {
        Checked {
            inner,
            cancel: self,
        }
    }

    /// An open file, pipe or terminal that can be given up while nothing arrives.
    pub fn awaiting(&self, file: File) -> Awaiting {
        Awaiting {
            file,
            cancel: self.clone(),
        }
    }

    /// Opens a file to be read. A named pipe does not wait for its writer here, but where it is
    /// read.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(&self, path: &Path) -> io::Result<Awaiting> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        Ok(self.awaiting(
            OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?,
        ))
    }

    /// Reads a file or a pipe to its end, if that comes within `len_max` bytes.
    ///
    /// # Errors
    /// Whatever the system says, or that it is longer.
    pub fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?
            .take(len_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > len_max {
            let problem = format!("it is longer than {len_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        Ok(bytes)
    }
}

/// A stream that is read as long as it is wanted.
pub struct Checked<'a, R> {
    inner: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.read(bytes)
    }
}

/// A file that is awaited as long as it is wanted.
pub struct Awaiting {
    file: File,
    cancel: Cancel,
}

impl Awaiting {
    /// The file.
    pub const fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Awaiting {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            match poll(
                &mut [PollFd::new(&self.file, PollFlags::IN)],
                Some(&LOOK_EVERY),
            ) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match rustix::io::read(self.file.as_fd(), &mut *bytes) {
                // Somebody else was quicker, or a signal came.
                Err(Errno::AGAIN | Errno::INTR) => {}
                read => return Ok(read?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_awaited_can_be_given_up() {
        let (reader, writer) = io::pipe().unwrap();
        let cancel = Cancel::default();
        let mut awaiting = cancel.awaiting(File::from(OwnedFd::from(reader)));
        let waiting = thread::spawn(move || awaiting.read(&mut [0; 8]).unwrap_err().to_string());
        cancel.cancel();
        assert_eq!(waiting.join().unwrap(), Cancelled.to_string());
        drop(writer);
    }

    #[test]
    fn what_arrives_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut awaiting = Cancel::default().awaiting(File::from(OwnedFd::from(reader)));
        writer.write_all(b"text").unwrap();
        drop(writer);
        let mut read = String::new();
        awaiting.read_to_string(&mut read).unwrap();
        assert_eq!(read, "text");
    }

    #[test]
    fn no_more_is_read_than_may_be() {
        let path = Path::new("/dev/zero");
        let error = Cancel::default().read(path, 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(
            Cancel::default()
                .read(Path::new("/dev/null"), 0)
                .unwrap()
                .is_empty()
        );
    }
}
