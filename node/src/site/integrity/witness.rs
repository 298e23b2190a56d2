//! The witness: what a site has acknowledged, noted beside its log, so that a log or packs that got
//! lost are not taken for ones that never were; and where the data directory lay, so that a copy is
//! recognised.
//!
//! File `acknowledged` has two slots that are written in turns, each with a number that rises and a
//! check. A slot is written after each own commit has become durable, and not synced then: so the
//! witness costs a commit one write to the page cache, survives the end of the process, may lag
//! behind the log after a power failure, and is never ahead of it. It is synced when the site is
//! let go of. Then a copy of the newest slot goes to `blocks/acknowledged` as well, so that log and
//! witness do not vanish together.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use uor_asl::disk::{Disk, DiskError, DiskFile, Mode};
use uor_asl::store::Store;
use uor_index_format::id::{Checksum, CommitHash, FederationId, SiteId};
use uor_index_format::snapshot::Head;

use crate::site::directory::files::WITNESS_FILE;

/// Length of a slot in bytes: a page, so that the two have no block in common.
const SLOT_LEN: usize = 4096;
/// The copy beside the packs: one slot.
const COPY_FILE: &str = "blocks/acknowledged";
const TITLE: &str = "uor acknowledged 1";
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// What a site has acknowledged, and where that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Acknowledged {
    /// The federation.
    pub(in crate::site) federation: FederationId,
    /// The site's own domain.
    pub(in crate::site) domain: SiteId,
    /// Its last commit, in the log whether or not it counts; number 0 if there is none.
    pub(in crate::site) head: Head,
    /// The packs of that time.
    pub(in crate::site) packs: Packs,
    /// The directory of that time.
    pub(in crate::site) place: Place,
}

/// How far the packs reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::site) struct Packs {
    /// The highest number of a pack; 0 if there is none.
    pub(in crate::site) last: u32,
    /// So many bytes of that pack are durable.
    pub(in crate::site) len: u64,
}

/// What tells a data directory from a copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Place {
    /// Inode of the data directory.
    directory: u64,
    /// Inode of the witness.
    file: u64,
    /// When directory and witness were made, in nanoseconds since 1970, 0 where that is not known:
    /// an inode that was freed is soon given to another file.
    born: (u64, u64),
    /// Device of the directory. It is the same for as long as the machine runs.
    device: u64,
    /// Which run of the machine that was.
    boot: String,
}

impl Place {
    /// Where the directory and its witness lie now.
    fn of(dir: &Path) -> io::Result<Self> {
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
    fn is_left_by(&self, now: &Self) -> bool {
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

impl Packs {
    /// The packs in a data directory, as their names and lengths say.
    pub(in crate::site) fn of(disk: &dyn Disk) -> Result<Self, DiskError> {
        let failed = |source| DiskError {
            action: "look at",
            path: "blocks".to_owned(),
            source,
        };
        if !disk.exists("blocks").map_err(failed)? {
            return Ok(Self::default());
        }
        let number = |name: &String| name.strip_suffix(".pack")?.parse::<u32>().ok();
        let Some(last) = disk
            .list("blocks")
            .map_err(failed)?
            .iter()
            .filter_map(number)
            .max()
        else {
            return Ok(Self::default());
        };
        let path = format!("blocks/{last:08}.pack");
        let len = disk.open(&path, Mode::ReadOnly).and_then(|file| file.len());
        Ok(Self {
            last,
            len: len.map_err(|source| DiskError {
                action: "measure",
                path,
                source,
            })?,
        })
    }

    /// Whether packs that reached this far do so no longer: the last one is never removed, and
    /// never cut.
    pub(in crate::site) const fn are_cut_to(self, now: Self) -> bool {
        now.last < self.last || (now.last == self.last && now.len < self.len)
    }
}

impl Acknowledged {
    /// What a store says of itself, with the packs and the place given.
    fn of(store: &Store, domain: SiteId, packs: Packs, place: Place) -> Self {
        Self {
            federation: store.federation(),
            domain,
            head: own_head(store, &domain),
            packs,
            place,
        }
    }

    /// What the witness in a data directory says; `None` if there is none, or none that can be
    /// read.
    pub(in crate::site) fn read(disk: &dyn Disk) -> Result<Option<Self>, DiskError> {
        Ok(read_newest(disk)?.map(|(_, acknowledged)| acknowledged))
    }

    /// Whether it was written at another place than where it is met now.
    pub(in crate::site) fn is_copied(&self, dir: &Path) -> bool {
        Place::of(dir).is_ok_and(|now| self.place.is_left_by(&now))
    }

    fn encode(&self, sequence: u64) -> Vec<u8> {
        let Self {
            federation,
            domain,
            head,
            packs,
            place,
        } = self;
        let Place {
            directory,
            file,
            born,
            device,
            boot,
        } = place;
        let text = format!(
            "{TITLE}\nsequence {sequence}\nfederation {federation}\ndomain {domain}\nnumber {}\nhash {}\npacks {} {}\n\
             directory {directory} {}\nfile {file} {}\ndevice {device}\nboot {boot}\n",
            head.number, head.hash, packs.last, packs.len, born.0, born.1
        );
        let mut bytes = format!("{text}check {}\n", Checksum::of(text.as_bytes())).into_bytes();
        assert!(bytes.len() <= SLOT_LEN, "a slot has room for all its lines");
        bytes.resize(SLOT_LEN, b'\n');
        bytes
    }

    /// The sequence number and content of a slot, if it is whole.
    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let text = std::str::from_utf8(slot).ok()?;
        let (said, check) = text.split_at_checked(text.find("check ")?)?;
        if check.trim_end() != format!("check {}", Checksum::of(said.as_bytes())) {
            return None;
        }
        let mut lines = said.lines();
        (lines.next() == Some(TITLE)).then_some(())?;
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let sequence = value("sequence")?.parse().ok()?;
        let (federation, domain) = (
            value("federation")?.parse().ok()?,
            value("domain")?.parse().ok()?,
        );
        let (number, hash) = (
            value("number")?.parse().ok()?,
            value("hash")?.parse::<CommitHash>().ok()?,
        );
        let (last, len) = value("packs")?.split_once(' ')?;
        let packs = Packs {
            last: last.parse().ok()?,
            len: len.parse().ok()?,
        };
        let mut file = |key: &str| -> Option<(u64, u64)> {
            let (inode, born) = value(key)?.split_once(' ')?;
            Some((inode.parse().ok()?, born.parse().ok()?))
        };
        let ((directory, directory_born), (file, file_born)) = (file("directory")?, file("file")?);
        let place = Place {
            directory,
            file,
            born: (directory_born, file_born),
            device: value("device")?.parse().ok()?,
            boot: value("boot")?.to_owned(),
        };
        Some((
            sequence,
            Self {
                federation,
                domain,
                head: Head { number, hash },
                packs,
                place,
            },
        ))
    }
}

/// The last commit of a domain in a store's log, be it that it does not count.
fn own_head(store: &Store, domain: &SiteId) -> Head {
    let view = store.view();
    let counted = view.head().frontier.get(domain).copied();
    let head = counted.unwrap_or(Head {
        number: 0,
        hash: CommitHash::NONE,
    });
    match view.uncounted_head(domain) {
        Some(number) if number > head.number => Head {
            number,
            hash: CommitHash::NONE,
        },
        _ => head,
    }
}

fn read_newest(disk: &dyn Disk) -> Result<Option<(u64, Acknowledged)>, DiskError> {
    let found = read_file(disk, WITNESS_FILE)?
        .into_iter()
        .chain(read_file(disk, COPY_FILE)?);
    Ok(found.max_by_key(|(sequence, _)| *sequence))
}

fn read_file(disk: &dyn Disk, path: &str) -> Result<Option<(u64, Acknowledged)>, DiskError> {
    let failed = |source| DiskError {
        action: "read",
        path: path.to_owned(),
        source,
    };
    if !disk.exists(path).map_err(failed)? {
        return Ok(None);
    }
    let file = disk.open(path, Mode::ReadOnly).map_err(failed)?;
    let mut slot = vec![0; SLOT_LEN];
    let mut newest: Option<(u64, Acknowledged)> = None;
    for offset in [0, SLOT_LEN as u64] {
        match file.read_at(offset, &mut slot) {
            Ok(()) => {}
            // It was being made when the machine stopped.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(failed(error)),
        }
        newest = newest
            .into_iter()
            .chain(Acknowledged::decode(&slot))
            .max_by_key(|(sequence, _)| *sequence);
    }
    Ok(newest)
}

impl Noted {
    /// Puts the copy in place. It is not synced, and one that cannot be written lags: the file it
    /// is a copy of counts.
    fn write_copy(&self, disk: &dyn Disk) {
        let bytes = self.last.encode(self.sequence);
        drop(
            disk.open(COPY_FILE, Mode::Write)
                .and_then(|file| file.write_at(0, &bytes)),
        );
    }
}

/// The witness of a site that is open to be written.
pub(in crate::site) struct Witness {
    file: Arc<dyn DiskFile>,
    state: Mutex<Noted>,
}

struct Noted {
    sequence: u64,
    last: Acknowledged,
    is_synced: bool,
}

impl Witness {
    /// Takes up the witness of a data directory, or makes one. `here_now` is false for a copy that
    /// has to keep saying so: it goes on naming the place that it was copied from.
    pub(in crate::site) fn open(
        dir: &Path,
        disk: &dyn Disk,
        store: &Store,
        domain: SiteId,
        here_now: bool,
    ) -> Result<Self, DiskError> {
        let failed = |action| {
            move |source| DiskError {
                action,
                path: WITNESS_FILE.to_owned(),
                source,
            }
        };
        let before = read_newest(disk)?;
        let file = disk
            .open(WITNESS_FILE, Mode::Write)
            .map_err(failed("open"))?;
        let place = match &before {
            Some((_, before)) if !here_now => before.place.clone(),
            _ => Place::of(dir).map_err(failed("look at"))?,
        };
        let (sequence, is_new) = (
            before.as_ref().map_or(0, |(sequence, _)| *sequence),
            before.is_none(),
        );
        let now = Acknowledged::of(store, domain, Packs::of(disk)?, place);
        let is_same = before.is_some_and(|(_, before)| before == now);
        let state = Mutex::new(Noted {
            sequence,
            last: now.clone(),
            is_synced: true,
        });
        let this = Self { file, state };
        if !is_same {
            let mut state = this.state();
            this.write(&mut state, now)?;
            state.write_copy(disk);
            if is_new {
                this.file.sync().map_err(failed("sync"))?;
                disk.sync_dir("").map_err(failed("sync the directory of"))?;
                state.is_synced = true;
            }
        }
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, Noted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut Noted, now: Acknowledged) -> Result<(), DiskError> {
        let sequence = state.sequence + 1;
        let offset = (sequence % 2) * SLOT_LEN as u64;
        self.file
            .write_at(offset, &now.encode(sequence))
            .map_err(|source| DiskError {
                action: "write",
                path: WITNESS_FILE.to_owned(),
                source,
            })?;
        *state = Noted {
            sequence,
            last: now,
            is_synced: false,
        };
        Ok(())
    }

    /// Notes a commit of the own domain that is durable.
    pub(in crate::site) fn note(&self, head: Head) -> Result<(), DiskError> {
        let mut state = self.state();
        if head.number <= state.last.head.number {
            return Ok(());
        }
        let now = Acknowledged {
            head,
            ..state.last.clone()
        };
        self.write(&mut state, now)
    }

    /// Notes everything that a store holds, whose blocks are durable, and makes that durable; with
    /// `place`, also that the data directory is where it is.
    pub(in crate::site) fn settle(
        &self,
        disk: &dyn Disk,
        store: &Store,
        place: Option<&Path>,
    ) -> Result<(), DiskError> {
        let failed = |action| {
            move |source| DiskError {
                action,
                path: WITNESS_FILE.to_owned(),
                source,
            }
        };
        let mut state = self.state();
        let place = place
            .map(Place::of)
            .transpose()
            .map_err(failed("look at"))?;
        let place = place.unwrap_or_else(|| state.last.place.clone());
        let now = Acknowledged::of(store, state.last.domain, Packs::of(disk)?, place);
        if now != state.last {
            self.write(&mut state, now)?;
        }
        state.write_copy(disk);
        if !state.is_synced {
            self.file.sync().map_err(failed("sync"))?;
            state.is_synced = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Acknowledged {
        Acknowledged {
            federation: FederationId::from_bytes([1; 32]),
            domain: SiteId::from_bytes([2; 32]),
            head: Head {
                number: u64::MAX,
                hash: CommitHash::from_bytes([3; 32]),
            },
            packs: Packs {
                last: u32::MAX,
                len: u64::MAX,
            },
            place: Place {
                directory: u64::MAX,
                file: u64::MAX,
                born: (1, 2),
                device: u64::MAX,
                boot: "b".repeat(64),
            },
        }
    }

    #[test]
    fn a_slot_is_read_as_it_was_written_and_no_other_byte_passes() {
        let slot = sample().encode(u64::MAX);
        assert_eq!(Acknowledged::decode(&slot), Some((u64::MAX, sample())));
        let said = slot
            .iter()
            .rposition(|byte| *byte != b'\n')
            .expect("it says something")
            + 1;
        for at in 0..said {
            let mut broken = slot.clone();
            broken[at] ^= 1;
            assert_eq!(Acknowledged::decode(&broken), None, "byte {at}");
        }
        for len in 0..said {
            assert_eq!(Acknowledged::decode(&slot[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn the_layout_is_what_the_page_says() {
        let text = String::from_utf8(sample().encode(7)).expect("it is text");
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let said = &text[..text.find("check ").expect("it ends in a check")];
        let (boot, max) = ("b".repeat(64), u64::MAX);
        let expected = [
            "uor acknowledged 1".to_owned(),
            "sequence 7".to_owned(),
            format!("federation {}", "01".repeat(32)),
            format!("domain {}", "02".repeat(32)),
            format!("number {max}"),
            format!("hash {}", "03".repeat(32)),
            format!("packs {} {max}", u32::MAX),
            format!("directory {max} 1"),
            format!("file {max} 2"),
            format!("device {max}"),
            format!("boot {boot}"),
            format!("check {}", Checksum::of(said.as_bytes())),
        ];
        assert_eq!(
            (text.len(), lines),
            (SLOT_LEN, expected.iter().map(String::as_str).collect())
        );
    }

    #[test]
    fn a_place_is_left_with_another_inode_and_not_with_a_reboot() {
        let here = sample().place;
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

    #[test]
    fn packs_are_cut_if_the_last_is_gone_or_shorter() {
        let packs = |last, len| Packs { last, len };
        assert!(packs(2, 10).are_cut_to(packs(1, 99)) && packs(2, 10).are_cut_to(packs(2, 9)));
        assert!(!packs(2, 10).are_cut_to(packs(2, 10)) && !packs(2, 10).are_cut_to(packs(3, 0)));
    }
}
