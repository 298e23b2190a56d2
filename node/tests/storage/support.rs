//! A directory with sites and files in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use uor_asl::disk::Mode;
use uor_asl::state::Filter;
use uor_asl::verify::Verified;
use uor_index_format::id::Checksum;
use uor_index_format::membership::ConflictRule;
use uor_index_format::snapshot::Snapshot;
use uor_node::site::{AddOptions, Added, Site, Source};

/// A directory that goes away with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("storage-{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self(dir.unwrap().keep())
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn site(&self, name: &str) -> Site {
        Site::init(&self.at(name), Some(name), ConflictRule::First).unwrap();
        self.open(name)
    }

    pub(crate) fn open(&self, name: &str) -> Site {
        Site::open(&self.at(name), Mode::Write).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn add(site: &Site, path: &Path) -> Added {
    add_with(site, path, &AddOptions::default())
}

pub(crate) fn add_with(site: &Site, path: &Path, options: &AddOptions<'_>) -> Added {
    site.add(vec![Source::Path(path.to_owned())], options, &mut |_| {})
        .unwrap()
        .remove(0)
}

pub(crate) fn cat(site: &Site, text: &str) -> Vec<u8> {
    let target = site.resolve(text, &site.head()).unwrap();
    let mut bytes = Vec::new();
    site.open_payload(&target)
        .unwrap()
        .reader
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Bytes that no one can compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56).to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

pub(crate) fn remove(site: &Site, text: &str) {
    let target = site.resolve(text, &site.head()).unwrap();
    site.rm(&target, &mut |_| {}).unwrap();
}

/// Digests of everything in the blocks.
pub(crate) fn stored(site: &Site) -> BTreeSet<Checksum> {
    site.store().blocks().payloads().into_iter().collect()
}

/// Panics unless every payload that is visible at a snapshot is here, and its bytes are sound;
/// gives their digests.
#[track_caller]
pub(crate) fn check_readable(site: &Site, at: &Snapshot) -> BTreeSet<Checksum> {
    let versions: Vec<_> = {
        let view = site.store().view();
        let entries = view.state().entries(at, &Filter::ALL).map(Result::unwrap);
        entries
            .flat_map(|entry| view.state().versions(&entry.id, at).unwrap())
            .collect()
    };
    let payloads = versions
        .iter()
        .filter_map(|version| version.record.block_payload());
    let checksums: BTreeSet<Checksum> = payloads.map(|payload| payload.checksum).collect();
    for checksum in &checksums {
        let bytes = site.store().blocks().read_all(*checksum, u64::MAX).unwrap();
        assert_eq!(Checksum::of(&bytes), *checksum);
    }
    checksums
}

/// Panics unless every byte of the store is sound and the state is what replay gives.
#[track_caller]
pub(crate) fn check_sound(site: &Site) -> Verified {
    let verified = site.store().verify(&mut |_| {}).unwrap();
    assert_eq!(verified.findings, []);
    verified
}
