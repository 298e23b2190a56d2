//! Asking the index. A run that turns out to be damaged is replaced by what the headers of its
//! packs say.

use std::sync::Arc;

use super::block::{Found, read_places};
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::handle::Blocks;
use super::index::Index;
use super::scan::{self, End};
use crate::damage::Damage;
use uor_index_format::id::Checksum;

impl Blocks {
    /// Whether this payload is here (whether its bytes are sound is known only when they are read).
    #[must_use]
    pub fn has(&self, checksum: Checksum) -> bool {
        self.ask(|index| index.payload(checksum))
            .is_ok_and(|found| found.is_some())
    }

    /// Digests of all payloads, ascending.
    #[must_use]
    pub fn payloads(&self) -> Vec<Checksum> {
        self.ask(Index::payloads).unwrap_or_default()
    }

    /// Asks the index; a run that turns out to be damaged is replaced by what the headers of its
    /// packs say.
    pub(super) fn ask<T>(
        &self,
        question: impl Fn(&Index) -> Result<T, Damage>,
    ) -> Result<T, BlocksError> {
        loop {
            let damage = match question(&self.index()) {
                Ok(answer) => return Ok(answer),
                Err(damage) => damage,
            };
            self.do_without(damage)?;
        }
    }

    /// Puts what the headers of its packs say in the place of a run that is damaged.
    pub(super) fn do_without(&self, damage: Damage) -> Result<(), BlocksError> {
        let Some(run) = self
            .index()
            .runs
            .iter()
            .find(|run| run.path == damage.file)
            .cloned()
        else {
            return Ok(());
        };
        let packs: Vec<_> = self
            .index()
            .packs
            .range(run.packs.0..=run.packs.1)
            .map(|(_, pack)| pack.clone())
            .collect();
        let mut damages = vec![BlockDamage::from(damage)];
        let mut walks = Vec::new();
        for pack in packs {
            let mut walk = scan::walk(&pack, End::Closed)?;
            let mut places = Vec::new();
            for at in walk.blocks.iter().filter(|at| at.header.kind.is_record()) {
                match read_places(&Found {
                    pack: Arc::clone(&pack),
                    at: *at,
                }) {
                    Ok(found) => places.extend(found),
                    Err(BlocksError::Damaged(damage)) => walk.damages.push(damage),
                    Err(error) => return Err(error),
                }
            }
            let is_damaged = !walk.damages.is_empty();
            damages.append(&mut walk.damages);
            walks.push((pack.number, walk.blocks, places, is_damaged));
        }
        let mut index = self.index_mut();
        if !index.runs.iter().any(|other| other.path == run.path) {
            return Ok(());
        }
        index.runs.retain(|other| other.path != run.path);
        for (number, blocks, places, is_damaged) in walks {
            blocks.into_iter().for_each(|at| index.insert(at));
            index.record(number, places);
            index.damaged_packs.extend(is_damaged.then_some(number));
        }
        drop(index);
        self.damages().extend(damages);
        Ok(())
    }
}
