//! Reading every byte of the packs and of their index, on several threads, to say what is damaged
//! and which payloads that concerns. Nothing is modified, and nothing stops at the first damage.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::block::{Found, read_block, read_places, read_stored};
use super::damage::BlockDamage;
use super::error::BlocksError;
use super::frame::{HEADER_LEN, Kind};
use super::handle::Blocks;
use super::index::Index;
use super::list::List;
use super::manifest::Manifest;
use super::pack::Pack;
use super::place::{Location, Place};
use super::scan::{self, End, Walk};
use super::tail::Tail;
use uor_index_format::codec::hex;
use uor_index_format::id::Checksum;

/// What reading every byte found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Number of payloads, damaged ones included.
    pub payloads: u64,
    /// Number of blocks read.
    pub blocks: u64,
    /// Bytes of packs read.
    pub bytes: u64,
    /// Damaged places, by file and offset, those that were passed over at opening included. A chunk
    /// that is missing altogether counts as damage of its manifest.
    pub damages: Vec<BlockDamage>,
}

/// What is done with a block, beside its header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Its contents are verified.
    Contents,
    /// It was erased: it holds zeros.
    Zeros,
    /// Nothing reads it.
    Padding,
}

type Verdict = Result<(Location, Option<BlockDamage>), BlocksError>;

/// What has been found out so far.
struct Progress<'a> {
    on_progress: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    total: u64,
    verified: Verified,
    manifests: Vec<Location>,
    /// Names of damaged chunks, and where their damage is in the list.
    damaged: BTreeMap<Checksum, usize>,
}

impl Blocks {
    /// Reads every byte of the packs, and once more, in their order, those of payloads of several
    /// chunks, whose digest says whether the manifest is right. `on_progress` is told how many
    /// bytes have been verified, and how many there are.
    ///
    /// # Errors
    /// [`BlocksError::Disk`]; damage is not an error here but the answer.
    pub fn verify(&self, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, BlocksError> {
        self.verify_while(&mut |read, total| {
            on_progress(read, total);
            ControlFlow::Continue(())
        })
    }

    /// As [`Blocks::verify`]; `on_progress` may break off.
    ///
    /// # Errors
    /// [`BlocksError::Cancelled`] if it did; [`BlocksError::Disk`].
    pub fn verify_while(
        &self,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Verified, BlocksError> {
        let ends = self.ends()?;
        let total = ends.iter().map(|(_, end)| end).sum::<u64>() + self.listed_len()?;
        let verified = Verified {
            damages: self.verify_index()?,
            ..Verified::default()
        };
        let (manifests, damaged) = (Vec::new(), BTreeMap::new());
        let mut progress = Progress {
            on_progress,
            total,
            verified,
            manifests,
            damaged,
        };
        let under_way = ends
            .last()
            .map(|(pack, end)| erasures_under_way(pack, *end))
            .transpose()?
            .unwrap_or_default();
        let erased = self.erased_places(&under_way)?;
        thread::scope(|scope| {
            // As many blocks are in memory at once.
            let (to_verify, verifying) = bounded::<(Found, Task)>(self.threads);
            let (to_report, verdicts) = unbounded::<Verdict>();
            for _ in 0..self.threads {
                let (verifying, to_report) = (verifying.clone(), to_report.clone());
                scope.spawn(move || verify_blocks(&verifying, &to_report));
            }
            drop((verifying, to_report));
            let last = ends.last().map(|(pack, _)| pack.number);
            // A reader may have met a pack that was only just begun.
            for (pack, end) in ends.iter().filter(|(_, end)| *end > 0) {
                let walk = scan::walk_to(pack, *end, End::Closed)?;
                if !walk.sealed && walk.damages.is_empty() && Some(pack.number) != last {
                    let unsealed = walk.unsealed(pack);
                    if !progress.verified.damages.contains(&unsealed) {
                        progress.verified.damages.push(unsealed);
                    }
                }
                self.verify_pack(pack, walk, &erased, &to_verify, &verdicts, &mut progress)?;
            }
            drop(to_verify);
            verdicts
                .iter()
                .try_for_each(|verdict| self.report_block(verdict?, &mut progress))
        })?;
        self.finish(progress)
    }

    /// How many bytes there are in payloads of several chunks, which are read once more to prove
    /// their manifests.
    fn listed_len(&self) -> Result<u64, BlocksError> {
        let mut len = 0;
        for name in self.ask(Index::payloads)? {
            let found = self.ask(|index| index.payload(name))?;
            let Some(found) = found.filter(|found| found.at.header.kind == Kind::Manifest) else {
                continue;
            };
            match self.manifest(&found) {
                Ok(manifest) => len += manifest.len,
                Err(BlocksError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len)
    }

    /// All packs, and where what was written in them ends.
    fn ends(&self) -> Result<Vec<(Arc<Pack>, u64)>, BlocksError> {
        let packs: Vec<_> = self.index().packs.values().cloned().collect();
        let last = packs.last().map(|pack| pack.number);
        let tail = self.tail.as_ref().map(Tail::written);
        let end = |pack: &Pack| match tail {
            Some(place) if place.pack == pack.number => Ok(place.offset),
            None if Some(pack.number) == last => Ok(self.end),
            _ => pack.len(),
        };
        packs
            .iter()
            .map(|pack| Ok((pack.clone(), end(pack)?)))
            .collect()
    }

    /// Verifies the list of packs and the runs, each page of them.
    fn verify_index(&self) -> Result<Vec<BlockDamage>, BlocksError> {
        let runs = self.index().runs.clone();
        for run in runs {
            for damage in run.verify() {
                self.do_without(damage)?;
            }
        }
        let mut damages = self.damages().clone();
        match List::read(&*self.disk) {
            Err(BlocksError::Damaged(damage)) if !damages.contains(&damage) => damages.push(damage),
            Ok(_) | Err(BlocksError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(damages)
    }

    /// Where records say that bytes were overwritten, but for these.
    fn erased_places(&self, under_way: &BTreeSet<Place>) -> Result<BTreeSet<Place>, BlocksError> {
        let mut places = BTreeSet::new();
        for at in self
            .ask(Index::erasures)?
            .into_iter()
            .filter(|at| !under_way.contains(&at.place))
        {
            let Some(found) = self.index().locate(&at) else {
                continue;
            };
            match read_places(&found) {
                Ok(found) => places.extend(found),
                Err(BlocksError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(places)
    }

    fn verify_pack(
        &self,
        pack: &Arc<Pack>,
        walk: Walk,
        erased: &BTreeSet<Place>,
        to_verify: &Sender<(Found, Task)>,
        verdicts: &Receiver<Verdict>,
        progress: &mut Progress<'_>,
    ) -> Result<(), BlocksError> {
        let mut blocks_len = 0;
        for at in walk.blocks {
            blocks_len += at.header.block_len();
            let task = match at.header.kind {
                Kind::Zeroed => continue,
                Kind::Erased | Kind::Dropped => Task::Contents,
                _ if self.ask(|index| index.is_used(&at))? => Task::Contents,
                _ if erased.contains(&at.place) && !self.ask(|index| index.is_there(&at))? => {
                    Task::Zeros
                }
                _ => Task::Padding,
            };
            if at.header.kind == Kind::Manifest && task == Task::Contents {
                progress.manifests.push(at);
            }
            // The threads end only when nothing more is sent.
            let _ = to_verify.send((
                Found {
                    pack: Arc::clone(pack),
                    at,
                },
                task,
            ));
            verdicts
                .try_iter()
                .try_for_each(|verdict| self.report_block(verdict?, progress))?;
        }
        progress.tell(walk.end.saturating_sub(blocks_len))?;
        let known: BTreeSet<(String, u64)> = progress
            .verified
            .damages
            .iter()
            .map(|damage| (damage.at.file.clone(), damage.at.offset))
            .collect();
        let new = walk
            .damages
            .into_iter()
            .filter(|damage| !known.contains(&(damage.at.file.clone(), damage.at.offset)));
        progress.verified.damages.extend(new);
        Ok(())
    }

    fn report_block(
        &self,
        (at, damage): (Location, Option<BlockDamage>),
        progress: &mut Progress<'_>,
    ) -> Result<(), BlocksError> {
        progress.verified.blocks += 1;
        if let Some(damage) = damage {
            if damage.at.what != "padding" {
                self.index_mut().note_damage(at.place);
                progress
                    .damaged
                    .insert(at.header.name, progress.verified.damages.len());
            }
            progress.verified.damages.push(damage);
        }
        progress.tell(at.header.block_len())
    }

    /// Says which payloads are concerned, which chunks are missing, and which manifests are wrong.
    fn finish(&self, progress: Progress<'_>) -> Result<Verified, BlocksError> {
        let Progress {
            on_progress,
            total,
            mut verified,
            manifests,
            damaged,
        } = progress;
        let mut whole = Vec::new();
        for at in manifests {
            let Some(found) = self.index().locate(&at) else {
                continue;
            };
            let manifest = match self.manifest(&found) {
                Ok(manifest) => manifest,
                Err(BlocksError::Damaged(_)) => continue,
                Err(error) => return Err(error),
            };
            if self.has_all(&found, &manifest, &damaged, &mut verified)? {
                whole.push((found, manifest));
            }
        }
        verified
            .damages
            .extend(self.prove_all(&whole, verified.bytes, total, on_progress)?);
        for damage in &mut verified.damages {
            let payload = damage.block.filter(|block| self.has(*block));
            damage.payloads = damage
                .payloads
                .drain(..)
                .chain(payload)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
        }
        verified
            .damages
            .sort_by(|a, b| (&a.at.file, a.at.offset).cmp(&(&b.at.file, b.at.offset)));
        verified.payloads = self.ask(Index::payloads)?.len() as u64;
        Ok(verified)
    }

    /// Whether all chunks of a manifest are here and sound; notes which are not.
    fn has_all(
        &self,
        found: &Found,
        manifest: &Manifest,
        damaged: &BTreeMap<Checksum, usize>,
        verified: &mut Verified,
    ) -> Result<bool, BlocksError> {
        let mut has_all = true;
        for chunk in &manifest.chunks {
            if let Some(position) = damaged.get(&chunk.digest) {
                verified.damages[*position].payloads.push(manifest.payload);
                has_all = false;
                continue;
            }
            let len = self
                .ask(|index| index.chunk(chunk.digest))?
                .map(|found| found.at.header.raw_len);
            if len != Some(chunk.len) {
                let what = len.map_or("nothing".to_owned(), |len| format!("{len} bytes"));
                let expected = format!("{} bytes of {}", chunk.len, chunk.digest);
                verified.damages.push(found.damage("chunk", expected, what));
                has_all = false;
            }
        }
        Ok(has_all)
    }

    /// Reads all payloads of several chunks, several at once, and says which have another digest
    /// than their manifest names.
    fn prove_all(
        &self,
        manifests: &[(Found, Manifest)],
        verified: u64,
        total: u64,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Vec<BlockDamage>, BlocksError> {
        let next = AtomicUsize::new(0);
        let (to_report, verdicts) = unbounded();
        let (to_report, next) = (&to_report, &next);
        thread::scope(|scope| {
            for _ in 0..self.threads.min(manifests.len()) {
                scope.spawn(move || {
                    while let Some((found, manifest)) =
                        manifests.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let digest = self.digest(manifest.payload, &manifest.chunks);
                        let proven = digest.and_then(|digest| self.settle(found, digest));
                        // Where the caller has given up, it does not wait for an answer.
                        let _ = to_report.send((manifest.len, proven));
                    }
                });
            }
            let mut read = verified;
            let mut damages = Vec::new();
            for (len, proven) in verdicts.iter().take(manifests.len()) {
                match proven {
                    Ok(()) => {}
                    Err(BlocksError::Damaged(damage)) => damages.push(damage),
                    Err(error) => {
                        next.store(manifests.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
                read += len;
                if on_progress(read.min(total), total).is_break() {
                    next.store(manifests.len(), Ordering::Relaxed);
                    return Err(BlocksError::Cancelled);
                }
            }
            Ok(damages)
        })
    }
}

/// Erasures in the last pack that are not known to be done: by a writer who is at it, or by the
/// next one.
fn erasures_under_way(last: &Arc<Pack>, end: u64) -> Result<BTreeSet<Place>, BlocksError> {
    let mut under_way = BTreeMap::new();
    if end > 0 {
        for at in scan::walk_to(last, end, End::Closed)?.blocks {
            match at.header.kind {
                Kind::Erased => drop(under_way.insert(at.header.name, at.place)),
                Kind::Zeroed => drop(under_way.remove(&at.header.name)),
                _ => {}
            }
        }
    }
    Ok(under_way.into_values().collect())
}

impl Progress<'_> {
    fn tell(&mut self, bytes: u64) -> Result<(), BlocksError> {
        self.verified.bytes += bytes;
        let wish = (self.on_progress)(self.verified.bytes, self.total);
        if wish.is_break() {
            Err(BlocksError::Cancelled)
        } else {
            Ok(())
        }
    }
}

fn verify_blocks(blocks: &Receiver<(Found, Task)>, to_report: &Sender<Verdict>) {
    for (found, task) in blocks {
        let verdict = verify_block(&found, task).map(|damage| (found.at, damage));
        // Where the caller has given up, it does not wait for an answer.
        let _ = to_report.send(verdict);
    }
}

/// Verifies contents and padding of a block whose header is sound.
fn verify_block(found: &Found, task: Task) -> Result<Option<BlockDamage>, BlocksError> {
    let Location { place, header } = found.at;
    let contents = match task {
        Task::Contents => read_block(found).map(|_| None),
        Task::Padding => Ok(None),
        Task::Zeros => {
            let is_zero = read_stored(found)?.iter().all(|byte| *byte == 0);
            Ok((!is_zero).then(|| found.damage("erased contents", "zeros", "something else")))
        }
    };
    match contents {
        Ok(None) => {}
        Ok(damage) => return Ok(damage),
        Err(BlocksError::Damaged(damage)) => return Ok(Some(damage)),
        Err(error) => return Err(error),
    }
    let end = HEADER_LEN as u64 + u64::from(header.stored_len);
    let padding_len =
        usize::try_from(header.block_len() - end).expect("padding is shorter than the alignment");
    let padding = found.pack.read(place.offset + end, padding_len)?;
    let clean = padding.iter().all(|byte| *byte == 0);
    Ok((!clean).then(|| found.damage("padding", hex(&vec![0; padding_len]), hex(&padding))))
}
