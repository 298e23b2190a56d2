//! Every way to damage a store's files, against every way to look at it: the right answer or an error that names the place,
//! never another answer, a panic or a loop without end. Files that are derived may be written anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::num::NonZeroU32;
use std::ops::{ControlFlow, Range};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use uor_asl::disk::memory::MemoryDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::state::{Filter, Version};
use uor_asl::store::{Options, Store, StoreError};
use uor_asl::verify::{Finding, Verified};
use uor_asl::{blocks, log};
use uor_index_format::id::{CanonicalId, Checksum, SiteId, StateRoot};
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Kind, Payload, Record};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;

use federation::{Federation, SITES, Step, key, mix};

/// Goes on with what reports its progress.
const fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The site whose store this is.
const OWN: usize = SITES - 1;

/// Payloads that are shadowed, and then collected.
const FREED: Range<u64> = 4..7;

/// No cell takes longer, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Small files, so that there are several of each kind.
fn small() -> Options {
    Options {
        shards: NonZeroU32::new(2).unwrap(),
        head_records_max: 12,
        log: log::Options { segment_bytes: 6000, preallocate_bytes: 512 },
        blocks: blocks::Options { pack_bytes: 4000, threads: 1 },
        ..Options::default()
    }
}

fn open(disk: &MemoryDisk, mode: Mode) -> Result<Store, StoreError> {
    Store::open_with(Arc::new(disk.clone()), mode, small())
}

/// Bytes that do not compress.
fn noise(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 300 + usize::try_from(number * 57 % 700).unwrap()];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

// What a store is asked, and what it should answer.

/// Everything that a store says of itself.
#[derive(Debug, Clone, PartialEq)]
struct Facts {
    head: Snapshot,
    root: StateRoot,
    commits: BTreeMap<(SiteId, u64), Vec<u8>>,
    members: BTreeSet<SiteId>,
    entries: Vec<Entry>,
    versions: Vec<Version>,
    conflicts: Vec<CanonicalId>,
    artifacts: u64,
    erased: BTreeMap<Checksum, u64>,
    payloads: BTreeMap<Checksum, Vec<u8>>,
}

impl Facts {
    fn of(store: &Store, erased: &BTreeMap<Checksum, Vec<u8>>) -> Self {
        let view = store.view();
        let (state, head) = (view.state(), view.head());
        let commits = view.commits().map(Result::unwrap).map(|commit| (commit.domain, commit.number));
        let bytes = |(domain, number): (SiteId, u64)| store.commit_bytes(&domain, number).unwrap().unwrap();
        let payloads = store.blocks().payloads().into_iter();
        Self {
            head: head.clone(),
            root: state.root(),
            commits: commits.map(|named| (named, bytes(named))).collect(),
            members: view.members().clone(),
            entries: state.entries(head, &Filter::ALL).map(Result::unwrap).collect(),
            versions: state.all_versions(head).map(Result::unwrap).collect(),
            conflicts: state.conflicts(head).unwrap().into_iter().map(|conflict| conflict.id).collect(),
            artifacts: state.count_records(&Filter::kind(Kind::Artifact)).unwrap(),
            erased: erased.keys().filter_map(|checksum| Some((*checksum, view.erased(checksum)?))).collect(),
            payloads: payloads.map(|name| (name, store.blocks().read_all(name, 1 << 20).unwrap())).collect(),
        }
    }
}

/// A store with several files of each kind, and what it was at every step.
struct Sample {
    disk: MemoryDisk,
    /// After each step; the last is what the files say.
    moments: Vec<Facts>,
    /// The files after each step.
    files: Vec<BTreeMap<String, Vec<u8>>>,
    /// Payloads that were erased, with their bytes.
    erased: BTreeMap<Checksum, Vec<u8>>,
    /// What changed between the moment in the middle and the last.
    changed: BTreeSet<CanonicalId>,
}

impl Sample {
    fn new() -> Self {
        let steps: Vec<Step> = (0..30).map(|seed| Step::from_seed(mix(seed))).collect();
        let federation = Federation::build(ConflictRule::First, &steps);
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        Store::create(&shared, federation.id()).unwrap();
        let store = open(&disk, Mode::Write).unwrap();
        let erased = [3, 9].map(|number| (Checksum::of(&noise(number)), noise(number))).into();
        let (moments, files) = (Vec::new(), Vec::new());
        let mut this = Self { disk, moments, files, erased, changed: BTreeSet::new() };
        let artifact = |number: u64| Record::artifact(None, Payload::of(&noise(number)));
        let commit = |record: Record| store.commit(&key(OWN), vec![record], 0).unwrap();
        for commits in federation.commits().chunks(4) {
            store.merge(commits.to_vec()).unwrap();
            this.note(&store);
        }
        for number in 0..24 {
            store.blocks().put_bytes(&noise(number)).unwrap();
            commit(artifact(number));
            match number {
                12 => drop(store.erase(Checksum::of(&noise(3)), 1003).unwrap()),
                14 => drop(FREED.map(|number| commit(Record::tombstone(artifact(number).id()))).collect::<Vec<_>>()),
                15 => {
                    store.collect(&[], &BTreeSet::new(), false, 0, &mut go_on).unwrap();
                }
                _ => {}
            }
            this.note(&store);
        }
        store.erase(Checksum::of(&noise(9)), 1009).unwrap();
        this.note(&store);
        let (middle, last) = (&this.moments[this.moments.len() / 2].head, store.view().head().clone());
        this.changed = store.changed_ids(middle, &last).unwrap();
        let checkpoint = |files: &BTreeMap<String, Vec<u8>>| files["index/checkpoint"].clone();
        let before = &this.files[this.files.len() - 3];
        assert_eq!(checkpoint(this.now()), checkpoint(before), "the log goes on behind the checkpoint");
        assert!(this.last().entries.iter().any(|entry| entry.conflict));
        this.disk.settle();
        let count = |part: &str| this.now().keys().filter(|path| path.contains(part)).count();
        assert!(count(".log") > 3 && count(".pack") > 3 && count(".commits") > 3, "{:?}", this.now().keys());
        assert!(count("-00000.run") > 1 && count("index/blocks-") > 0, "{:?}", this.now().keys());
        this
    }

    fn note(&mut self, store: &Store) {
        self.moments.push(Facts::of(store, &self.erased));
        let files = self.disk.paths().into_iter();
        self.files.push(files.map(|path| (path.clone(), self.disk.contents(&path).unwrap())).collect());
    }

    fn last(&self) -> &Facts {
        self.moments.last().unwrap()
    }

    fn middle(&self) -> &Facts {
        &self.moments[self.moments.len() / 2]
    }

    fn now(&self) -> &BTreeMap<String, Vec<u8>> {
        self.files.last().unwrap()
    }

    /// Where payloads lie that were freed.
    fn dead(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let find = |payload: Vec<u8>| {
            let start = bytes.windows(payload.len()).position(|window| window == payload)?;
            Some(start..start + payload.len())
        };
        FREED.map(noise).filter_map(find).collect()
    }

    /// What a file was before: when it was new, and before it was last changed.
    fn stale(&self, path: &str) -> Vec<Vec<u8>> {
        let before = self.files.iter().filter_map(|files| files.get(path)).filter(|bytes| *bytes != &self.now()[path]);
        let mut before: Vec<Vec<u8>> = before.cloned().collect();
        before.dedup();
        before.drain(1.min(before.len())..before.len().saturating_sub(1).max(1.min(before.len())));
        before
    }
}

// Damage.

#[derive(Debug, Clone, PartialEq, Eq)]
enum Harm {
    Flip(usize),
    Missing,
    Swapped(String),
    /// Shorter, longer, or as it was before.
    Rewritten(&'static str, Vec<u8>),
}

#[derive(Debug, Clone)]
struct Cell {
    path: String,
    harm: Harm,
    /// Whether the file is the last of its kind, and still written.
    is_last: bool,
    /// Whether it falls into bytes of a payload that was freed, in a pack that stays.
    is_in_dead_bytes: bool,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.harm {
            Harm::Rewritten(what, bytes) => write!(out, "{}: {what}, {} bytes", self.path, bytes.len()),
            harm => write!(out, "{}: {harm:?}", self.path),
        }
    }
}

impl Cell {
    fn is_in(&self, part: &str) -> bool {
        self.path.contains(part)
    }

    /// The last of its kind ends earlier than it did: what a crash before the last sync would leave as well.
    fn ends_earlier(&self) -> bool {
        self.is_last && !matches!(self.harm, Harm::Flip(_) | Harm::Swapped(_))
    }

    /// Whether it falls into the index of records: no answer is lost by it, and it is mended.
    fn is_in_index(&self) -> bool {
        self.path.starts_with("index/") && !self.is_in("blocks-")
    }

    /// Whether nothing in the store can tell that this happened; no answer depends on it then.
    fn cannot_be_told(&self) -> bool {
        let is_longer = matches!(self.harm, Harm::Rewritten("longer", _));
        let is_older = matches!(self.harm, Harm::Missing | Harm::Rewritten("as it was", _));
        // An older list or checkpoint is what a crash leaves as well; rows behind those that count mean nothing.
        self.ends_earlier()
            || matches!(self.harm, Harm::Rewritten("untouched", _))
            || self.is_in_dead_bytes
            || (is_older && (self.is_in("packs.list") || self.is_in("checkpoint")))
            || (is_longer && self.is_in(".commits"))
    }

    fn apply(&self, disk: &MemoryDisk) {
        match &self.harm {
            Harm::Flip(bit) => assert!(disk.flip_bit(&self.path, *bit as u64)),
            Harm::Missing => disk.remove(&self.path).unwrap(),
            Harm::Swapped(other) => {
                let bytes = [&self.path, other].map(|path| disk.contents(path).unwrap());
                put(disk, &self.path, &bytes[1]);
                put(disk, other, &bytes[0]);
            }
            Harm::Rewritten(_, bytes) => put(disk, &self.path, bytes),
        }
        disk.settle();
    }
}

fn put(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Mode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
}

/// The kind of a file.
fn kind(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap();
    if name.starts_with("blocks-") { "blocks-" } else { name.rsplit('.').next().unwrap() }
}

/// Everything that can happen to the files.
fn cells(sample: &Sample) -> Vec<Cell> {
    let files = sample.now();
    let mut cells = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| *path != "lock") {
        let of_kind: Vec<&String> = files.keys().filter(|other| kind(other) == kind(path)).collect();
        let is_last = ["log", "pack"].contains(&kind(path)) && of_kind.last() == Some(&path);
        let dead = sample.dead(bytes);
        let is_dead =
            |harm: &Harm| matches!(harm, Harm::Flip(bit) if dead.iter().any(|dead| dead.contains(&(bit / 8))));
        let mut add = |harm| {
            cells.push(Cell { path: path.clone(), is_last, is_in_dead_bytes: is_dead(&harm), harm });
        };
        let (len, seed) = (bytes.len(), mix(Checksum::of(path.as_bytes()).as_bytes()[0].into()));
        let header = [0, 4, 9, 12, 20, 33, 50, 70];
        let body = (0..8).map(|index| usize::try_from(mix(seed + index) % len as u64).unwrap());
        let tail = [1, 9, 20, 33, 60, 70].map(|back| len.saturating_sub(back));
        let places: BTreeSet<usize> = header.into_iter().chain(body).chain(tail).filter(|place| *place < len).collect();
        places
            .into_iter()
            .for_each(|place| add(Harm::Flip(place * 8 + usize::try_from(mix(seed ^ place as u64) % 8).unwrap())));
        add(Harm::Missing);
        of_kind.iter().filter(|other| ***other > *path).for_each(|other| add(Harm::Swapped((*other).clone())));
        let shorter: BTreeSet<usize> =
            [0, 1, 31, 32, len / 3, len / 2 / 8 * 8, len - 32.min(len), len - 8.min(len), len - 1].into();
        shorter.into_iter().for_each(|len| add(Harm::Rewritten("shorter", bytes[..len].to_vec())));
        for more in [vec![0; 8], vec![0; 5000], vec![0xaa; 64], bytes[..len.min(200)].to_vec()] {
            add(Harm::Rewritten("longer", [&bytes[..], &more].concat()));
        }
        sample.stale(path).into_iter().for_each(|stale| add(Harm::Rewritten("as it was", stale)));
    }
    cells
}

// Looking.

/// Holds what is seen against what should be.
struct Look<'a> {
    sample: &'a Sample,
    cell: &'a Cell,
    /// Whether anything said that something is wrong.
    is_told: bool,
    /// Whether a writer has been at it.
    is_mended: bool,
    /// Whether verification found something.
    is_found: bool,
    /// Whether an answer was an error.
    is_refused: bool,
    /// Whether the store shows an earlier state.
    is_earlier: bool,
}

impl Look<'_> {
    /// An error names a place.
    fn told(&mut self, error: &(dyn Error + 'static)) {
        let said: Vec<String> = causes(error).collect();
        let names =
            ["log/", "index/", "blocks/", "segment ", "file `store`", "commit table", "payload ", "no store here"];
        assert!(names.iter().any(|name| said.iter().any(|said| said.contains(name))), "{}: {said:?}", self.cell);
        assert!(!self.cell.is_in_index(), "{}: a damaged index costs no answer: {said:?}", self.cell);
        self.is_told = true;
        self.is_refused = true;
    }

    fn is<T: PartialEq + std::fmt::Debug, E: Error + 'static>(
        &mut self,
        what: &str,
        found: Result<T, E>,
        expected: &T,
    ) {
        match found {
            Ok(found) => assert!(found == *expected, "{}: {what} is {found:?}, not {expected:?}", self.cell),
            Err(error) => self.told(&error),
        }
    }

    /// All are there and right up to the first that cannot be read; what follows that may lack it.
    fn are<T: PartialEq + std::fmt::Debug, E: Error + 'static>(
        &mut self,
        what: &str,
        found: impl Iterator<Item = Result<T, E>>,
        expected: &[T],
    ) {
        let (mut right, mut wrong) = (Vec::new(), 0);
        for (number, found) in found.enumerate() {
            match found {
                Ok(found) if wrong == 0 => right.push(found),
                Ok(_) => {}
                Err(error) => {
                    wrong += 1;
                    self.told(&error);
                }
            }
            assert!(number <= 2 * self.sample.last().versions.len(), "{}: {what} have no end", self.cell);
        }
        let is_right = if wrong == 0 { right == expected } else { expected.starts_with(&right) };
        assert!(is_right, "{}: {what} are {right:?}, not {expected:?}", self.cell);
    }

    fn at(&mut self, store: &Store) {
        let opened = store.opened();
        let is_cut = opened.log.cut.is_some() || opened.blocks.cut.is_some();
        let is_passed_over = !opened.blocks.damages.is_empty();
        self.is_told |= is_cut || is_passed_over || opened.index.is_some() || !opened.blocks.rebuilt.is_empty();
        self.is_told |= opened.cut.is_some();
        let view = store.view();
        let head = view.head().clone();
        let moment =
            self.sample.moments.iter().rev().find(|moment| moment.head == head && moment.root == view.state().root());
        if moment.is_none() && opened.cut.is_some() {
            drop(view);
            return self.beginning(store);
        }
        let moment = moment.unwrap_or_else(|| panic!("{}: a state that never was: {head:?}", self.cell));
        let is_whole = moment.head == self.sample.last().head;
        self.is_earlier |= !is_whole;
        assert!(is_whole || (self.cell.is_in(".log") && self.cell.ends_earlier()), "{}: an older state", self.cell);
        drop(view);
        self.state(store, moment);
        if is_whole {
            self.past(store);
        }
        let verified = match store.verify(&mut |_| {}) {
            Ok(verified) => verified,
            Err(error) => return self.told(&error),
        };
        self.is_found = !verified.findings.is_empty() || !verified.torn.is_empty();
        self.is_told |= self.is_found;
        self.is_told |= !store.index_damage().is_empty();
        if self.cell.is_in_index() && store.mode() == Mode::ReadOnly && !self.is_mended && !self.cell.cannot_be_told() {
            self.is_named(&verified);
        }
        self.payloads(store, moment, &verified, is_passed_over);
    }

    /// Verification names the file, and nothing else than the index.
    fn is_named(&self, verified: &Verified) {
        let files: Vec<Option<&str>> = verified.findings.iter().map(Finding::index_file).collect();
        let is_named = match &self.cell.harm {
            Harm::Swapped(other) => files.contains(&Some(&self.cell.path)) || files.contains(&Some(other)),
            // A checkpoint may be right, and name what is not there any more.
            _ => files.contains(&Some(&self.cell.path)),
        };
        assert!(is_named, "{}: not named in {:?}", self.cell, verified.findings);
        assert!(files.iter().all(Option::is_some), "{}: {:?}", self.cell, verified.findings);
    }

    /// A log that lost its last segments may end within what was written at once. A reader that was told so sees the
    /// beginning of each domain's commits, and nothing else.
    fn beginning(&mut self, store: &Store) {
        assert!(self.is_told && store.mode() == Mode::ReadOnly, "{}: it is not told", self.cell);
        assert!(self.cell.is_in(".log") && self.cell.ends_earlier(), "{}: an older state", self.cell);
        let frontier = store.view().head().frontier.clone();
        for (domain, head) in frontier {
            for number in 1..=head.number {
                let bytes = self.sample.last().commits[&(domain, number)].clone();
                self.is("a commit", store.commit_bytes(&domain, number), &Some(bytes));
            }
        }
    }

    /// What is visible, and from which commits.
    fn state(&mut self, store: &Store, moment: &Facts) {
        let view = store.view();
        let (state, head) = (view.state(), view.head());
        let names: Vec<(SiteId, u64)> = moment.commits.keys().copied().collect();
        self.are("commits", view.commits().map(|commit| commit.map(|commit| (commit.domain, commit.number))), &names);
        for ((domain, number), bytes) in &moment.commits {
            self.is("a commit", store.commit_bytes(domain, *number), &Some(bytes.clone()));
        }
        assert_eq!(*view.members(), moment.members, "{}", self.cell);
        assert_eq!(view.uncounted(), 0, "{}", self.cell);
        self.are("entries", state.entries(head, &Filter::ALL), &moment.entries);
        self.are("versions", state.all_versions(head), &moment.versions);
        for entry in &moment.entries {
            self.is("an entry", state.entry(&entry.id, head), &Some(*entry));
            let versions = moment.versions.iter().filter(|version| version.place.id == entry.id).cloned().collect();
            self.is("versions of an id", state.versions(&entry.id, head), &versions);
            self.is("ids", state.ids_with_prefix(&entry.id.to_string()[..40], 9), &vec![entry.id]);
        }
        let conflicts = state.conflicts(head).map(|all| all.into_iter().map(|conflict| conflict.id).collect());
        self.is("conflicts", conflicts, &moment.conflicts);
        self.is("artifacts", state.count_records(&Filter::kind(Kind::Artifact)), &moment.artifacts);
    }

    /// What was visible at an older snapshot, and what has changed since.
    fn past(&mut self, store: &Store) {
        let (view, middle) = (store.view(), self.sample.middle());
        self.is("the older root", view.state().root_at(&middle.head), &middle.root);
        self.are("older entries", view.state().entries(&middle.head, &Filter::ALL), &middle.entries);
        if store.mode() == Mode::ReadOnly {
            self.is("the older root", store.replay(&middle.head).map(|replayed| replayed.root), &middle.root);
        }
        self.is("what changed", store.changed_ids(&middle.head, view.head()), &self.sample.changed);
    }

    fn payloads(&mut self, store: &Store, moment: &Facts, verified: &Verified, is_passed_over: bool) {
        let (cell, blocks, view) = (self.cell, store.blocks(), store.view());
        // The end of the last pack may be gone; a reader passes over what is damaged.
        let may_differ = is_passed_over || (cell.is_in(".pack") && cell.ends_earlier());
        for (checksum, bytes) in &self.sample.last().payloads {
            match blocks.read_all(*checksum, 1 << 20) {
                Ok(read) => assert!(read == *bytes, "{cell}: wrong bytes"),
                Err(error) => {
                    assert!(may_differ || blocks.has(*checksum), "{cell}: {checksum} is lost: {error}");
                    self.told(&error);
                }
            }
        }
        // Before its erasure a payload's pack held it.
        let is_older = matches!(cell.harm, Harm::Rewritten("as it was", _)) && cell.is_in(".pack");
        for (checksum, bytes) in &self.sample.erased {
            let is_erased = view.erased(checksum).is_some();
            let may_lack = cell.is_in(".log") && cell.ends_earlier();
            let is_right = is_erased == moment.erased.contains_key(checksum) || (may_lack && !is_erased);
            assert!(is_right, "{cell}: {checksum}");
            match blocks.read_all(*checksum, 1 << 20) {
                Ok(read) => assert!(read == *bytes && is_older && may_differ, "{cell}: erased, and here"),
                Err(_) => assert!(may_differ || !is_erased || blocks.erased(*checksum), "{cell}: not erased"),
            }
        }
        let here: BTreeSet<Checksum> = blocks.payloads().into_iter().collect();
        let expected: BTreeSet<Checksum> = self.sample.last().payloads.keys().copied().collect();
        assert!(may_differ || here == expected, "{cell}: other payloads are here");
        for entry in moment.entries.iter().filter(|entry| matches!(entry.kind, Kind::Artifact | Kind::Receipt)) {
            let Some(checksum) = entry.checksum.filter(|checksum| !blocks.has(*checksum)) else { continue };
            let is_said = verified.missing.contains(&entry.id) || verified.erased.contains(&entry.id);
            let is_said = is_said || !verified.findings.is_empty();
            assert!(is_said, "{cell}: {checksum} is absent, and nobody says so");
            assert!(may_differ || is_erased_or_wanted(store, &checksum), "{cell}: {checksum} is not wanted");
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string)
}

fn is_erased_or_wanted(store: &Store, checksum: &Checksum) -> bool {
    let view = store.view();
    view.wanted().contains_key(checksum) || view.erased(checksum).is_some() || store.blocks().erased(*checksum)
}

/// What became of damage: of verifying (`V` a finding, `S` said when it is opened, `-` nothing), of starting again (`S` as
/// before, `M` mended, `R` refused by name) and of reading (`A` all answers, `P` all but what is spoiled, which is an error that
/// names the place, `E` an earlier state, `N` not opened).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Verdicts([BTreeSet<char>; 3]);

impl Verdicts {
    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, these)| all.extend(these));
    }
}

impl std::fmt::Display for Verdicts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.0.each_ref().map(|letters| letters.iter().collect::<String>());
        if words.iter().all(String::is_empty) { Ok(()) } else { write!(out, "`{}`", words.join(" ")) }
    }
}

/// Damages a copy and looks at it in every way; says whether anything was said to be wrong, and what became of it.
fn look(sample: &Sample, cell: &Cell) -> (bool, Verdicts) {
    let mut look =
        Look { sample, cell, is_told: false, is_mended: false, is_found: false, is_refused: false, is_earlier: false };
    let mut verdicts = Verdicts::default();
    let [verify, start, read] = &mut verdicts.0;
    for mode in [Mode::ReadOnly, Mode::Write] {
        let disk = sample.disk.crash(0);
        cell.apply(&disk);
        look.is_mended = false;
        match open(&disk, mode) {
            Ok(store) => {
                let opened = store.opened();
                let is_mended = opened.index.is_some() || opened.log.cut.is_some() || opened.blocks.cut.is_some();
                let is_mended = is_mended || !opened.blocks.rebuilt.is_empty();
                look.at(&store);
                if mode == Mode::ReadOnly {
                    let said = if look.is_told { 'S' } else { '-' };
                    verify.insert(if look.is_found { 'V' } else { said });
                    let answers = if look.is_earlier {
                        'E'
                    } else if look.is_refused {
                        'P'
                    } else {
                        'A'
                    };
                    read.insert(answers);
                } else {
                    let is_mended = is_mended || !store.index_damage().is_empty();
                    start.insert(if is_mended { 'M' } else { 'S' });
                    while store.maintain().unwrap() {}
                    look.is_mended = true;
                    drop(store);
                    // What the writer has mended or written anew is no worse.
                    match open(&disk, Mode::ReadOnly) {
                        Ok(store) => look.at(&store),
                        Err(error) => look.told(&error),
                    }
                }
            }
            Err(error) => {
                look.told(&error);
                if mode == Mode::ReadOnly {
                    verify.insert('V');
                    read.insert('N');
                } else {
                    start.insert('R');
                }
            }
        }
    }
    (look.is_told, verdicts)
}

/// What the table of verdicts calls a file, and what happened to it.
fn class_of(cell: &Cell, len: usize) -> Option<(&'static str, &'static str)> {
    let file = match kind(&cell.path) {
        "log" if cell.is_last => "`log/….log`, the last",
        "log" => "`log/….log`, closed",
        "pack" if cell.is_last => "`blocks/….pack`, the last",
        "pack" => "`blocks/….pack`, closed",
        "blocks-" => "`index/blocks-….run`",
        "run" => "`index/….run`",
        "commits" => "`index/….commits`",
        "checkpoint" => "`index/checkpoint`",
        "list" => "`blocks/packs.list`",
        "store" => "`store`",
        other => panic!("a file of no known kind: {other}"),
    };
    let harm = match &cell.harm {
        Harm::Flip(bit) if *bit < 8 * 64 => HARMS[0],
        Harm::Flip(bit) if bit / 8 + 80 > len => HARMS[2],
        Harm::Flip(_) => HARMS[1],
        Harm::Rewritten("shorter", _) => HARMS[3],
        Harm::Missing => HARMS[4],
        Harm::Rewritten("as it was", _) => HARMS[5],
        Harm::Swapped(_) => HARMS[6],
        Harm::Rewritten(..) => return None,
    };
    Some((file, harm))
}

const HARMS: [&str; 7] = ["header", "middle", "end", "cut short", "gone", "from an older backup", "another's"];

/// Holds the table in `FORMAT.md` against what was seen; `UPDATE_GOLDEN=1` writes it.
fn check_table(seen: &Seen) {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/FORMAT.md");
    let files: BTreeSet<&str> = seen.keys().map(|(file, _)| *file).collect();
    let mut table = format!("| file | {} |\n|{}\n", HARMS.join(" | "), " --- |".repeat(1 + HARMS.len()));
    for file in files {
        let cells = HARMS.map(|harm| seen.get(&(file, harm)).map(ToString::to_string).unwrap_or_default());
        table.push_str(&format!("| {file} | {} |\n", cells.join(" | ")));
    }
    let page = std::fs::read_to_string(PATH).unwrap();
    let (before, rest) = page.split_once("<!-- damage -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- end of damage -->").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let new = format!("{before}<!-- damage -->\n{table}<!-- end of damage -->{after}");
        std::fs::write(PATH, new).unwrap();
    } else {
        assert_eq!(written, table, "UPDATE_GOLDEN=1 writes the table into FORMAT.md: read the difference");
    }
}

/// Looks at some of the cells; says which failed. `tell` hears where it begins and where it ends.
fn look_at(sample: &Sample, cells: &[Cell], tell: &Sender<(String, bool)>) -> (Vec<String>, Seen) {
    let (mut failed, mut seen) = (Vec::new(), Seen::new());
    for cell in cells {
        tell.send((cell.to_string(), true)).unwrap();
        match catch_unwind(|| look(sample, cell)) {
            Ok((is_told, _)) if !is_told && !cell.cannot_be_told() => failed.push(format!("{cell}: nobody noticed")),
            Ok((_, verdicts)) => {
                let class = class_of(cell, sample.now()[&cell.path].len());
                class.into_iter().for_each(|class| seen.entry(class).or_default().add(&verdicts));
            }
            Err(_) => failed.push(format!("{cell}: see above")),
        }
        tell.send((cell.to_string(), false)).unwrap();
    }
    (failed, seen)
}

/// What became of the damage of each kind.
type Seen = BTreeMap<(&'static str, &'static str), Verdicts>;

#[test]
fn every_damage_is_named_or_changes_no_answer() {
    let (sample, (tell, told)) = (Arc::new(Sample::new()), channel());
    let untouched = Harm::Rewritten("untouched", sample.now()["index/checkpoint"].clone());
    let path = "index/checkpoint".to_owned();
    let untouched = Cell { path, harm: untouched, is_last: false, is_in_dead_bytes: false };
    assert!(!look(&sample, &untouched).0, "nothing is wrong with it");
    let cells = cells(&sample);
    assert!(cells.len() > 800, "{}", cells.len());
    // In threads of their own, so that a loop without end is a failure that says where.
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let looking: Vec<_> = cells
        .chunks(cells.len().div_ceil(threads))
        .map(|cells| {
            let (sample, cells, tell) = (sample.clone(), cells.to_vec(), tell.clone());
            thread::spawn(move || look_at(&sample, &cells, &tell))
        })
        .collect();
    drop(tell);
    let mut at_work = BTreeSet::new();
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok((cell, true)) => drop(at_work.insert(cell)),
            Ok((cell, false)) => drop(at_work.remove(&cell)),
            Err(RecvTimeoutError::Timeout) => panic!("it never ends: {at_work:?}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let (mut failed, mut seen) = (Vec::new(), Seen::new());
    for (more, these) in looking.into_iter().map(|thread| thread.join().unwrap()) {
        failed.extend(more);
        these.iter().for_each(|(class, verdicts)| seen.entry(*class).or_default().add(verdicts));
    }
    assert!(failed.is_empty(), "{} of {} cells:\n{}", failed.len(), cells.len(), failed.join("\n"));
    check_table(&seen);
}
