//! Real files: `uor add` beside programs that keep files too.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use uor_replay_tests::random::Random;

use crate::archives::{self, Archive, Place};
use crate::clock::{median, timed};
use crate::files;
use crate::report::{MACHINE, Report};
use crate::system::Result;

/// Every work of this module.
pub(crate) const WORKS: &[&str] = &[
    "read-and-hash",
    "read-hash-write",
    "add-random",
    "add-text",
    "add-tree",
    "readd-tree",
    "readd-random",
    "edit",
    "edit-bytes",
    "add-random-bytes",
    "add-text-bytes",
    "add-tree-bytes",
];

const REPOSITORIES: &str = "repositories";
const RANDOM: &str = "random";
const TEXT: &str = "text";
const TREE: &str = "tree";
const FILES_PER_DIR: u64 = 100;
/// Small files are shorter than this; half as long on average.
const SMALL_BYTES: u64 = 8 << 10;
const WORDS: u64 = 4096;
const BUFFER_BYTES: usize = 1 << 20;
const REPEATS: usize = 3;

/// How much there is to add.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Length of each of the two large files.
    pub(crate) large_bytes: u64,
    /// Files of the tree.
    pub(crate) files: u64,
}

/// What is measured, by whom, and where it is told.
struct Trees<'a> {
    dir: &'a Path,
    sources: &'a Path,
    sizes: Sizes,
    wants: &'a dyn Fn(&str) -> bool,
    report: &'a mut Report,
}

/// Makes the sources, then has every program add them.
pub(crate) fn measure(
    sizes: Sizes,
    program: PathBuf,
    dir: &Path,
    wants: &dyn Fn(&str) -> bool,
    wants_system: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    let sources = files::fresh(&dir.join("sources"))?;
    files::fresh(&dir.join(REPOSITORIES))?;
    make_large(&sources.join(RANDOM), sizes.large_bytes, noise)?;
    make_large(&sources.join(TEXT), sizes.large_bytes, text)?;
    make_tree(&sources.join(TREE), sizes.files)?;
    let mut trees = Trees {
        dir,
        sources: &sources,
        sizes,
        wants,
        report,
    };
    trees.limits()?;
    for archive in archives::all(program)
        .iter()
        .filter(|archive| wants_system(archive.name()))
    {
        trees.random(archive.as_ref())?;
        trees.text(archive.as_ref())?;
        trees.tree(archive.as_ref())?;
    }
    fs::remove_dir_all(dir.join(REPOSITORIES))?;
    Ok(fs::remove_dir_all(&sources)?)
}

/// Builds our program as it is released, and says where it is.
pub(crate) fn build_uor() -> Result<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let arguments = [
        "build",
        "--release",
        "--package",
        "uor-tools",
        "--bin",
        "uor",
        "--manifest-path",
        manifest,
    ];
    if !Command::new(env!("CARGO"))
        .args(arguments)
        .status()?
        .success()
    {
        return Err("could not build uor".into());
    }
    let here = std::env::current_exe()?;
    let release = here
        .parent()
        .and_then(Path::parent)
        .ok_or("this program lies nowhere")?;
    Ok(release.join("uor"))
}

impl<'a> Trees<'a> {
    fn wants_any(&self, works: &[&str]) -> bool {
        works.iter().any(|work| (self.wants)(work))
    }

    fn tell(&mut self, work: &str, system: &str, source: &str, value: f64) -> Result<()> {
        if !(self.wants)(work) {
            return Ok(());
        }
        let Sizes { large_bytes, files } = self.sizes;
        let note = if source == TREE {
            format!("{files} files")
        } else {
            format!("{} MiB", large_bytes >> 20)
        };
        self.report.add(work, system, value, note)
    }

    /// What adding a large file cannot do without: reading and hashing it; and writing it, if it
    /// does not compress.
    fn limits(&mut self) -> Result<()> {
        let source = self.sources.join(RANDOM);
        let seconds = |work: &dyn Fn() -> Result<()>| -> Result<f64> {
            let repeat = || {
                rustix::fs::sync();
                let (done, duration) = timed(work);
                done.map(|()| duration.as_secs_f64())
            };
            Ok(median(
                (0..REPEATS).map(|_| repeat()).collect::<Result<_>>()?,
            ))
        };
        digest(&source)?;
        let read = seconds(&|| digest(&source).map(drop))?;
        self.tell("read-and-hash", MACHINE, RANDOM, read)?;
        let copy = self.dir.join("copy");
        let written = seconds(&|| copy_and_hash(&source, &copy))?;
        fs::remove_file(copy)?;
        self.tell("read-hash-write", MACHINE, RANDOM, written)
    }

    fn place(&self, archive: &dyn Archive, name: &'static str) -> Result<Place<'a>> {
        let repository = files::fresh(&self.dir.join(REPOSITORIES))?.join(archive.name());
        let place = Place {
            repository,
            sources: self.sources,
            name,
        };
        archive.init(&place)?;
        Ok(place)
    }

    /// Adds with warm sources and nothing left to be written of what went before; answers seconds
    /// and bytes on disk.
    fn add(&self, archive: &dyn Archive, place: &Place<'_>, nth: u32) -> Result<(f64, u64)> {
        digest(&self.sources.join(place.name))?;
        rustix::fs::sync();
        let before = files::bytes_on_disk(&place.repository)?;
        let (added, duration) = timed(|| archive.add(place, nth));
        added?;
        let after = files::bytes_on_disk(&place.repository)?;
        Ok((duration.as_secs_f64(), after.saturating_sub(before)))
    }

    /// Has the program give back what it was given.
    fn check(&self, archive: &dyn Archive, place: &Place<'_>, nth: u32) -> Result<()> {
        let out = files::fresh(&self.dir.join("out"))?;
        archive.extract(place, nth, &out)?;
        let is_same = digest(&out.join(place.name))? == digest(&self.sources.join(place.name))?;
        fs::remove_dir_all(out)?;
        if is_same {
            Ok(())
        } else {
            Err(format!("{} gave back something else", archive.name()).into())
        }
    }

    fn random(&mut self, archive: &dyn Archive) -> Result<()> {
        if !self.wants_any(&[
            "add-random",
            "add-random-bytes",
            "readd-random",
            "edit",
            "edit-bytes",
        ]) {
            return Ok(());
        }
        let place = self.place(archive, RANDOM)?;
        let (first, bytes) = self.add(archive, &place, 1)?;
        self.check(archive, &place, 1)?;
        let (again, _) = self.add(archive, &place, 2)?;
        let source = self.sources.join(RANDOM);
        flip_middle_byte(&source)?;
        let (edited, edited_bytes) = self.add(archive, &place, 3)?;
        self.check(archive, &place, 3)?;
        // Back to what it was, for the next program.
        flip_middle_byte(&source)?;
        let name = archive.name();
        self.tell("add-random", name, RANDOM, first)?;
        self.tell("add-random-bytes", name, RANDOM, bytes as f64)?;
        self.tell("readd-random", name, RANDOM, again)?;
        self.tell("edit", name, RANDOM, edited)?;
        self.tell("edit-bytes", name, RANDOM, edited_bytes as f64)
    }

    fn text(&mut self, archive: &dyn Archive) -> Result<()> {
        if !self.wants_any(&["add-text", "add-text-bytes"]) {
            return Ok(());
        }
        let place = self.place(archive, TEXT)?;
        let (seconds, bytes) = self.add(archive, &place, 1)?;
        self.check(archive, &place, 1)?;
        self.tell("add-text", archive.name(), TEXT, seconds)?;
        self.tell("add-text-bytes", archive.name(), TEXT, bytes as f64)
    }

    fn tree(&mut self, archive: &dyn Archive) -> Result<()> {
        if !self.wants_any(&["add-tree", "add-tree-bytes", "readd-tree"]) {
            return Ok(());
        }
        let place = self.place(archive, TREE)?;
        let (first, bytes) = self.add(archive, &place, 1)?;
        self.check(archive, &place, 1)?;
        let (again, _) = self.add(archive, &place, 2)?;
        self.tell("add-tree", archive.name(), TREE, first)?;
        self.tell("add-tree-bytes", archive.name(), TREE, bytes as f64)?;
        self.tell("readd-tree", archive.name(), TREE, again)
    }
}

/// The digest of a file, or of a directory's files with their names.
fn digest(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hash_into(path, &mut hasher)?;
    Ok(hasher.finalize())
}

fn hash_into(path: &Path, hasher: &mut blake3::Hasher) -> Result<()> {
    if path.is_dir() {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        return names.iter().try_for_each(|name| {
            hasher.update(name.as_encoded_bytes());
            hash_into(&path.join(name), hasher)
        });
    }
    let (mut file, mut buffer) = (File::open(path)?, vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            len => hasher.update(&buffer[..len]),
        };
    }
}

fn copy_and_hash(source: &Path, copy: &Path) -> Result<()> {
    let (mut from, mut to) = (File::open(source)?, File::create(copy)?);
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; BUFFER_BYTES]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(to.sync_all()?),
            len => {
                hasher.update(&buffer[..len]);
                to.write_all(&buffer[..len])?;
            }
        }
    }
}

fn flip_middle_byte(path: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (at, mut byte) = (file.metadata()?.len() / 2, [0]);
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 0xff;
    Ok(file.write_all_at(&byte, at)?)
}

fn make_large(path: &Path, len: u64, fill: fn(&mut Random, u64) -> Vec<u8>) -> Result<()> {
    let (mut random, mut file) = (Random::new(21), File::create(path)?);
    let part = BUFFER_BYTES as u64;
    for at in (0..len).step_by(BUFFER_BYTES) {
        file.write_all(&fill(&mut random, part.min(len - at)))?;
    }
    Ok(())
}

/// Every other file is text; the others do not compress.
fn make_tree(root: &Path, count: u64) -> Result<()> {
    let mut random = Random::new(22);
    for number in 0..count {
        let dir = root.join(format!("dir-{:03}", number / FILES_PER_DIR));
        if number % FILES_PER_DIR == 0 {
            fs::create_dir_all(&dir)?;
        }
        let len = random.below(SMALL_BYTES);
        let fill = if number % 2 == 0 { text } else { noise };
        fs::write(
            dir.join(format!("file-{number:05}")),
            fill(&mut random, len),
        )?;
    }
    Ok(())
}

fn noise(random: &mut Random, len: u64) -> Vec<u8> {
    let words = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    words
        .take(usize::try_from(len).unwrap_or(usize::MAX))
        .collect()
}

/// Words of a small language, the first of which are the most frequent.
fn text(random: &mut Random, len: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        let rank = random.below(WORDS) * random.below(WORDS) / WORDS;
        let mut letters = Random::new(rank);
        let letter_count = 2 + letters.below(8);
        bytes.extend((0..letter_count).map(|_| b"etaoinshrdlucmfwypvbgkjqxz"[letters.index(26)]));
        bytes.push(if random.percent(8) { b'\n' } else { b' ' });
    }
    bytes.truncate(len);
    bytes
}
