//! Every way to damage a store's files, against every way to look at it: the right answer or an
//! error that names the place, never another answer, a panic or a loop without end. Files that are
//! derived may be rewritten, and whatever becomes of packs, a store whose log is whole starts,
//! and keeps what is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod federation;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use uor_asl::disk::Mode;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::store::Store;
use uor_index_format::id::Checksum;

use damage::harm::{Cell, Harm, cells, kind};
use damage::look::{Look, readable};
use damage::sample::{Sample, open, open_knowing};

/// No cell takes longer, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of damage: of verifying (`V` a finding, `S` said when it is opened, `-` nothing), of
/// starting again (`S` as before, `M` mended, `R` refused by name) and of reading (`A` all answers,
/// `P` all but what is spoiled, which is an error that names the place, `E` an earlier state, `N`
/// not opened).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Verdicts([BTreeSet<char>; 3]);

impl Verdicts {
    /// It was not opened.
    fn refused(&mut self, mode: Mode) {
        let [verify, start, read] = &mut self.0;
        match mode {
            Mode::ReadOnly => drop((verify.insert('V'), read.insert('N'))),
            Mode::Write => drop(start.insert('R')),
        }
    }

    /// What a reader saw.
    fn read(&mut self, look: &Look<'_>) {
        let said = if look.is_told { 'S' } else { '-' };
        let answers = if look.is_refused { 'P' } else { 'A' };
        self.0[0].insert(if look.is_found { 'V' } else { said });
        self.0[2].insert(if look.is_earlier { 'E' } else { answers });
    }

    /// How a writer started.
    fn started(&mut self, store: &Store) {
        let opened = store.opened();
        let is_cut = opened.log.cut.is_some() || opened.blocks.cut.is_some();
        let is_rebuilt = !opened.blocks.rebuilt.is_empty() || !opened.blocks.mended.is_empty();
        let is_index_lost = opened
            .index
            .as_ref()
            .is_some_and(|stale| stale.file.is_some());
        let is_mended = is_cut || is_rebuilt || is_index_lost || !store.index_damage().is_empty();
        self.0[1].insert(if is_mended { 'M' } else { 'S' });
    }

    fn add(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(all, these)| all.extend(these));
    }
}

impl std::fmt::Display for Verdicts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self
            .0
            .each_ref()
            .map(|letters| letters.iter().collect::<String>());
        if words.iter().all(String::is_empty) {
            Ok(())
        } else {
            write!(out, "`{}`", words.join(" "))
        }
    }
}

/// Damages a copy and looks at it in every way; says whether anything was said to be wrong, and
/// what became of it.
fn look(sample: &Sample, cell: &Cell) -> (bool, Verdicts) {
    let mut look = Look {
        sample,
        cell,
        is_told: false,
        is_mended: false,
        is_found: false,
        is_refused: false,
        is_earlier: false,
    };
    let mut verdicts = Verdicts::default();
    let mut readable_before = BTreeSet::new();
    for mode in [Mode::ReadOnly, Mode::Write] {
        let disk = sample.disk.crash(0);
        cell.apply(&disk);
        look.is_mended = false;
        let store = match open(&disk, mode) {
            Ok(store) => store,
            Err(error) => {
                assert!(
                    !cell.is_in_blocks(),
                    "{cell}: packs keep a store from being opened: {error}"
                );
                look.told(&error);
                verdicts.refused(mode);
                continue;
            }
        };
        look.at(&store);
        match mode {
            Mode::ReadOnly => {
                verdicts.read(&look);
                readable_before = readable(sample, &store);
            }
            Mode::Write => {
                verdicts.started(&store);
                while store.maintain().unwrap() {}
                look.is_mended = true;
                drop(store);
                look_again(&mut look, &disk, &readable_before);
            }
        }
    }
    if cell.is_in(".pack") && matches!(cell.harm, Harm::Rewritten("as it was", _)) {
        stays_erased(sample, cell);
    }
    (look.is_told, verdicts)
}

/// What a writer has mended or rewritten is no worse: what could be read still can, and what is
/// put back is found.
fn look_again(look: &mut Look<'_>, disk: &MemoryDisk, readable_before: &BTreeSet<Checksum>) {
    let (sample, cell) = (look.sample, look.cell);
    match open(disk, Mode::ReadOnly) {
        Ok(store) => {
            look.at(&store);
            assert!(
                readable(sample, &store).is_superset(readable_before),
                "{cell}: starting destroyed something"
            );
        }
        Err(error) => look.told(&error),
    }
    if cell.is_in(".pack") {
        cell.undo(sample, disk);
        let all: BTreeSet<Checksum> = sample.last().payloads.keys().copied().collect();
        for mode in [Mode::ReadOnly, Mode::Write] {
            assert_eq!(
                readable(sample, &open(disk, mode).unwrap()),
                all,
                "{cell}: what was put back is not found"
            );
        }
    }
}

/// What was erased does not come out of an older pack where it is known that the packs were cut.
fn stays_erased(sample: &Sample, cell: &Cell) {
    let disk = sample.disk.crash(0);
    cell.apply(&disk);
    for mode in [Mode::ReadOnly, Mode::Write] {
        let store = open_knowing(&disk, mode).unwrap();
        for checksum in sample.last().erased.keys() {
            assert!(!store.blocks().has(*checksum), "{cell}: erased, and here");
            assert!(
                store.blocks().erased(*checksum),
                "{cell}: it is not known to be erased"
            );
        }
    }
    // A writer has erased it again: from now on the packs say so.
    let store = open(&disk, Mode::ReadOnly).unwrap();
    assert!(
        sample
            .last()
            .erased
            .keys()
            .all(|checksum| !store.blocks().has(*checksum)),
        "{cell}: erased, and here"
    );
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

const HARMS: [&str; 7] = [
    "header",
    "middle",
    "end",
    "cut short",
    "gone",
    "from an older backup",
    "another's",
];

/// Holds the table in `FORMAT.md` against what was seen; `UPDATE_GOLDEN=1` writes it.
fn check_table(seen: &Seen) {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/FORMAT.md");
    let files: BTreeSet<&str> = seen.keys().map(|(file, _)| *file).collect();
    let mut table = format!(
        "| file | {} |\n|{}\n",
        HARMS.join(" | "),
        " --- |".repeat(1 + HARMS.len())
    );
    for file in files {
        let cells = HARMS.map(|harm| {
            seen.get(&(file, harm))
                .map(ToString::to_string)
                .unwrap_or_default()
        });
        table.push_str(&format!("| {file} | {} |\n", cells.join(" | ")));
    }
    let page = std::fs::read_to_string(PATH).unwrap();
    let (before, rest) = page.split_once("<!-- damage -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- end of damage -->").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let new = format!("{before}<!-- damage -->\n{table}<!-- end of damage -->{after}");
        std::fs::write(PATH, new).unwrap();
    } else {
        assert_eq!(
            written, table,
            "UPDATE_GOLDEN=1 writes the table into FORMAT.md: read the difference"
        );
    }
}

/// Looks at some of the cells; says which failed. `tell` hears where it begins and where it ends.
fn look_at(sample: &Sample, cells: &[Cell], tell: &Sender<(String, bool)>) -> (Vec<String>, Seen) {
    let (mut failed, mut seen) = (Vec::new(), Seen::new());
    for cell in cells {
        tell.send((cell.to_string(), true)).unwrap();
        match catch_unwind(|| look(sample, cell)) {
            Ok((is_told, _)) if !is_told && !cell.cannot_be_told() => {
                failed.push(format!("{cell}: nobody noticed"))
            }
            Ok((_, verdicts)) => {
                let class = class_of(cell, sample.now()[&cell.path].len());
                class
                    .into_iter()
                    .for_each(|class| seen.entry(class).or_default().add(&verdicts));
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
    let untouched = Cell {
        path,
        harm: untouched,
        is_last: false,
        is_in_dead_bytes: false,
    };
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
        these
            .iter()
            .for_each(|(class, verdicts)| seen.entry(*class).or_default().add(verdicts));
    }
    assert!(
        failed.is_empty(),
        "{} of {} cells:\n{}",
        failed.len(),
        cells.len(),
        failed.join("\n")
    );
    check_table(&seen);
}
