//! Adding in parallel is adding, and what has not changed is not read again.

use std::fs::{self, File, FileTimes};
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use uor_index_format::id::Checksum;
use uor_node::site::{AddError, AddEvent, AddOptions, Added, Progress, Site, Source};

use crate::support::{Scratch, add, add_with, noise};

/// A node of a directory tree.
#[derive(Debug, Clone)]
enum Node {
    File { seed: u64, len: usize },
    Symlink(String),
    Directory(Vec<Node>),
}

fn node() -> impl Strategy<Value = Node> {
    // Few seeds, so that files repeat; some files of more than one chunk.
    let len = prop_oneof![8 => 0..2_000_usize, 1 => 4_200_000..6_000_000_usize];
    let file = (0..6_u64, len).prop_map(|(seed, len)| Node::File { seed, len });
    let leaf = prop_oneof![6 => file, 1 => "[a-z]{1,8}".prop_map(Node::Symlink)];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(Node::Directory)
    })
}

fn make(path: &Path, node: &Node) {
    match node {
        Node::File { seed, len } => fs::write(path, noise(*seed, *len)).unwrap(),
        Node::Symlink(target) => symlink(target, path).unwrap(),
        Node::Directory(inner) => {
            fs::create_dir(path).unwrap();
            inner
                .iter()
                .enumerate()
                .for_each(|(at, node)| make(&path.join(at.to_string()), node));
        }
    }
}

/// Every record of the last commits, commit by commit.
fn records(site: &Site) -> Vec<Vec<String>> {
    let commits = site.log(None, None).unwrap();
    let commits = commits.iter().skip(1).map(|commit| {
        let commit = site
            .store()
            .read_commit(&commit.domain, commit.number)
            .unwrap()
            .unwrap();
        commit
            .records()
            .iter()
            .map(|record| record.id().to_string())
            .collect()
    });
    commits.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_number_of_readers_adds_the_same(nodes in prop::collection::vec(node(), 0..12), readers in 2..6_usize) {
        let scratch = Scratch::new("same");
        make(&scratch.at("in"), &Node::Directory(nodes));
        let one = AddOptions { readers: NonZeroUsize::new(1), ..AddOptions::default() };
        let many = AddOptions { readers: NonZeroUsize::new(readers), ..AddOptions::default() };
        let (a, b) = (scratch.site("a"), scratch.site("b"));
        let (in_a, in_b) = (add_with(&a, &scratch.at("in"), &one), add_with(&b, &scratch.at("in"), &many));
        prop_assert_eq!(in_a, in_b);
        prop_assert_eq!(records(&a), records(&b));
    }
}

/// The cache of a site, with what was remembered of the file of that length changed to another
/// checksum.
fn deceive(site: &Site, len: u64, checksum: Checksum) {
    const HEAD_LEN: usize = 10;
    const ENTRY_LEN: usize = 96;
    let path = site.dir().join("seen");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 32);
    let mut entries = bytes[HEAD_LEN..].chunks_exact_mut(ENTRY_LEN);
    entries
        .find(|entry| entry[16..24] == len.to_le_bytes())
        .unwrap()[64..]
        .copy_from_slice(checksum.as_bytes());
    let check = Checksum::of(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    fs::write(path, bytes).unwrap();
}

/// A file that came to rest long ago, in a tree of such files: this one was compiled before it
/// runs.
const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storage");

#[test]
fn a_file_that_looks_unchanged_is_not_read_again_unless_asked_to() {
    let scratch = Scratch::new("unread");
    let site = scratch.site("a");
    let first = add(&site, Path::new(OLD));
    let file = Path::new(OLD).join("main.rs");
    let other = fs::read(Path::new(OLD).join("support.rs")).unwrap();
    deceive(
        &site,
        fs::metadata(&file).unwrap().len(),
        Checksum::of(&other),
    );
    assert_ne!(
        add(&site, Path::new(OLD)).key,
        first.key,
        "the cache was not believed"
    );
    let reread = AddOptions {
        reread: true,
        ..AddOptions::default()
    };
    assert_eq!(
        add_with(&site, Path::new(OLD), &reread),
        first_without_new(&first)
    );
    assert_eq!(
        add(&site, Path::new(OLD)),
        first_without_new(&first),
        "what is read is remembered again"
    );
}

fn first_without_new(first: &Added) -> Added {
    Added {
        new_bytes: 0,
        ..first.clone()
    }
}

#[test]
fn a_damaged_or_absent_cache_is_ignored() {
    let scratch = Scratch::new("cacheless");
    let site = scratch.site("a");
    let first = add(&site, Path::new(OLD));
    let cache = site.dir().join("seen");
    let whole = fs::read(&cache).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1], &[], &[0; 200]] {
        fs::write(&cache, bytes).unwrap();
        assert_eq!(add(&site, Path::new(OLD)), first_without_new(&first));
        assert!(
            fs::read(&cache).unwrap().len() == whole.len(),
            "it is rewritten"
        );
    }
    fs::remove_file(&cache).unwrap();
    assert_eq!(add(&site, Path::new(OLD)), first_without_new(&first));
}

#[test]
fn a_file_that_was_written_just_before_it_was_read_is_read_again() {
    let scratch = Scratch::new("racy");
    let site = scratch.site("a");
    add(&site, &scratch.file("other", b"something else"));
    let file = scratch.file("f", b"text");
    let first = add(&site, &file);
    // It could have changed in the same tick of the clock: what is remembered of it must not be
    // believed.
    deceive(&site, 4, Checksum::of(b"something else"));
    assert_eq!(add(&site, &file).key, first.key);
}

#[test]
fn a_change_that_keeps_length_and_mtime_is_seen() {
    let scratch = Scratch::new("disguised");
    let site = scratch.site("a");
    let file = scratch.file("f", b"before");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let before = add(&site, &file);
    fs::write(&file, b"after!").unwrap();
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_times(FileTimes::new().set_modified(modified))
        .unwrap();
    assert_ne!(add(&site, &file).key, before.key);
}

#[test]
fn progress_never_falls_and_ends_at_the_total() {
    let scratch = Scratch::new("progress");
    let site = scratch.site("a");
    for number in 0..300 {
        scratch.file(
            &format!("in/{number:03}"),
            &noise(number, 1000 * usize::try_from(number).unwrap()),
        );
    }
    for _ in 0..2 {
        let mut told = Vec::<Progress>::new();
        let on_event = &mut |event: AddEvent<'_>| {
            if let AddEvent::Progress(progress) = event {
                told.push(progress);
            }
        };
        site.add(
            vec![Source::Path(scratch.at("in"))],
            &AddOptions::default(),
            on_event,
        )
        .unwrap();
        assert!(
            told.windows(2)
                .all(|pair| pair[0].bytes <= pair[1].bytes && pair[0].files <= pair[1].files)
        );
        let last = told.last().unwrap();
        assert_eq!(
            (Some(last.bytes), Some(last.files)),
            (last.bytes_total, last.files_total)
        );
        assert_eq!(last.files, 300);
    }
}

#[test]
fn the_first_thing_that_cannot_be_added_is_named_and_nothing_becomes_visible() {
    let scratch = Scratch::new("unreadable");
    let site = scratch.site("a");
    for number in 0..50 {
        scratch.file(&format!("in/{number:02}/f"), &noise(number, 10_000));
    }
    // There when files are counted, gone when they are read.
    let gone = ["in/40/f", "in/10/f"].map(|name| scratch.at(name));
    let walks = std::cell::Cell::new(0);
    let filter = |path: &Path| {
        walks.set(walks.get() + u32::from(path.ends_with("in/00")));
        if walks.get() == 2 && path.ends_with("10/f") {
            gone.iter().for_each(|path| drop(fs::remove_file(path)));
            drop(fs::remove_dir(scratch.at("in/40")));
        }
        true
    };
    let before = site.head();
    let options = AddOptions {
        filter: Some(&filter),
        ..AddOptions::default()
    };
    let error = site
        .add(vec![Source::Path(scratch.at("in"))], &options, &mut |_| {})
        .unwrap_err();
    assert!(
        matches!(&error, AddError::Read { path, .. } if *path == gone[1]),
        "{error}"
    );
    assert_eq!(site.head(), before);
}
