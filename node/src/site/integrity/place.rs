//! Where a data directory lies, so that a copy of it is recognised.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::site::directory::files::WITNESS_FILE;

const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// What tells a data directory from a copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Inode of the data directory.
    pub(super) directory: u64,
    /// Inode of the witness.
    pub(super) file: u64,
    /// When directory and witness were made, in nanoseconds since 1970, 0 where that is not known:
    /// an inode that was freed is soon given to another file.
    pub(super) born: (u64, u64),
    /// Device of the directory. It is the same for as long as the machine runs.
    pub(super) device: u64,
    /// Which run of the machine that was.
    pub(super) boot: String,
}

impl Place {
    /// Where the directory and its witness lie now.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let (directory, file) = (fs::metadata(dir)?, fs::metadata(dir.join(WITNESS_FILE))?);
        // A system that does not say gives every run the same name, and devices are compared then.
        let boot = fs::read_to_string(BOOT_FILE).unwrap_or_default();
        let boot = boot
            .trim()
            .chars()
            .filter(char::is_ascii_graphic)
            .take(64)
            .collect();
        let born = (born(&directory), born(&file));
        Ok(Self {
            directory: directory.ino(),
            file: file.ino(),
            born,
            device: directory.dev(),
            boot,
        })
    }

    /// Whether what was noted at one place is now met at another: the directory, or the file in it,
    /// was copied. Devices may have other numbers after the machine was started again.
    pub(super) fn is_left_by(&self, now: &Self) -> bool {
        let is_same = |before: u64, now: u64| before == 0 || now == 0 || before == now;
        let same_birth = is_same(self.born.0, now.born.0) && is_same(self.born.1, now.born.1);
        let same_file = (self.directory, self.file) == (now.directory, now.file) && same_birth;
        !same_file || (self.boot == now.boot && self.device != now.device)
    }
}

fn born(metadata: &fs::Metadata) -> u64 {
    let since_1970 = metadata
        .created()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_1970
        .and_then(|time| u64::try_from(time.as_nanos()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
impl Place {
    /// One with the longest text.
    pub(super) fn sample() -> Self {
        Self {
            directory: u64::MAX,
            file: u64::MAX,
            born: (1, 2),
            device: u64::MAX,
            boot: "b".repeat(64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_left_with_another_inode_and_not_with_a_reboot() {
        let here = Place::sample();
        let rebooted = Place {
            boot: "c".to_owned(),
            device: 7,
            ..here.clone()
        };
        assert!(!here.is_left_by(&here) && !here.is_left_by(&rebooted));
        let (copied, replaced) = (
            Place {
                directory: 1,
                ..here.clone()
            },
            Place {
                file: 1,
                ..here.clone()
            },
        );
        let elsewhere = Place {
            device: 7,
            ..here.clone()
        };
        // The inode of what was removed is given again.
        let reused = Place {
            born: (1, 3),
            ..here.clone()
        };
        assert!(
            here.is_left_by(&reused)
                && !here.is_left_by(&Place {
                    born: (0, 0),
                    ..here.clone()
                })
        );
        assert!(
            [copied, replaced, elsewhere]
                .iter()
                .all(|other| here.is_left_by(other))
        );
    }
}
