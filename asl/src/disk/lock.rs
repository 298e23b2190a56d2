//! A lock on a file that ends with its guard.

use std::fs::{File, TryLockError};
use std::io;

/// A lock on a whole file, for one holder on this machine at a time.
///
/// Dropping it unlocks the file. Closing the file alone is not enough: a process that another
/// thread is just starting has the file open too until it runs its program, and with it the lock.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks a file; `None` if somebody else has.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_take(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Where this fails the lock ends as soon as nobody has the file open.
        drop(self.0.unlock());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::FileLock;

    #[test]
    fn a_lock_ends_with_its_guard_whatever_other_threads_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let take = || FileLock::try_take(file.reopen().unwrap()).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    take().expect("nobody has it");
                }
            });
            for _ in 0..200 {
                assert!(Command::new("true").status().unwrap().success());
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let taken = take();
        assert!(taken.is_some() && take().is_none());
    }
}
