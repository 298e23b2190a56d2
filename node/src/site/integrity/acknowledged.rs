//! What a site has acknowledged, as it is written down beside its log.
//!
//! File `acknowledged` has two slots that are written in turns, each with a number that rises and a
//! check; whoever reads takes the newest slot that is whole. A copy of it lies in
//! `blocks/acknowledged`, so that log and witness do not vanish together.

use std::io;
use std::path::Path;

use uor_asl::disk::{Disk, DiskError, Mode};
use uor_asl::store::Store;
use uor_index_format::id::{Checksum, CommitHash, FederationId, SiteId};
use uor_index_format::snapshot::Head;

use super::packs::Packs;
use super::place::Place;
use crate::site::directory::files::WITNESS_FILE;

/// Length of a slot in bytes: a page, so that the two have no block in common.
pub(super) const SLOT_LEN: usize = 4096;
/// The copy beside the packs: one slot.
pub(super) const COPY_FILE: &str = "blocks/acknowledged";
const TITLE: &str = "uor acknowledged 1";

/// What a site has acknowledged, and where that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// The federation.
    pub(super) federation: FederationId,
    /// The site's own domain.
    pub(super) domain: SiteId,
    /// Its last commit, in the log whether or not it is accepted; number 0 if there is none.
    pub(super) head: Head,
    /// The packs of that time.
    pub(super) packs: Packs,
    /// The directory of that time.
    pub(super) place: Place,
}

impl Acknowledged {
    /// What a store says of itself, with the packs and the place given.
    pub(super) fn of(store: &Store, domain: SiteId, packs: Packs, place: Place) -> Self {
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
    pub(super) fn read(disk: &dyn Disk) -> Result<Option<Self>, DiskError> {
        Ok(read_newest(disk)?.map(|(_, acknowledged)| acknowledged))
    }

    /// Whether it was written at another place than where it is met now.
    pub(super) fn is_copied(&self, dir: &Path) -> bool {
        Place::of(dir).is_ok_and(|now| self.place.is_left_by(&now))
    }

    pub(super) fn encode(&self, sequence: u64) -> Vec<u8> {
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

/// The last commit of a domain in a store's log, be it that it is not accepted.
fn own_head(store: &Store, domain: &SiteId) -> Head {
    let view = store.view();
    let counted = view.head().frontier.get(domain).copied();
    let head = counted.unwrap_or(Head {
        number: 0,
        hash: CommitHash::NONE,
    });
    match view.unaccepted_head(domain) {
        Some(number) if number > head.number => Head {
            number,
            hash: CommitHash::NONE,
        },
        _ => head,
    }
}

pub(super) fn read_newest(disk: &dyn Disk) -> Result<Option<(u64, Acknowledged)>, DiskError> {
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
            place: Place::sample(),
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
}
