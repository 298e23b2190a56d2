//! How far the packs of payloads reach. Nothing in a store shows that they were cut: a crash could
//! leave the same.

use uor_asl::disk::{Disk, DiskError, Mode};

/// How far the packs reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Packs {
    /// The highest number of a pack; 0 if there is none.
    pub(super) last: u32,
    /// How many bytes of that pack are durable.
    pub(super) len: u64,
}

impl Packs {
    /// The packs in a data directory, as their names and lengths say.
    pub(super) fn of(disk: &dyn Disk) -> Result<Self, DiskError> {
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
    pub(super) const fn are_cut_to(self, now: Self) -> bool {
        now.last < self.last || (now.last == self.last && now.len < self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_cut_if_the_last_is_gone_or_shorter() {
        let packs = |last, len| Packs { last, len };
        assert!(packs(2, 10).are_cut_to(packs(1, 99)) && packs(2, 10).are_cut_to(packs(2, 9)));
        assert!(!packs(2, 10).are_cut_to(packs(2, 10)) && !packs(2, 10).are_cut_to(packs(3, 0)));
    }
}
