//! A site as a person uses it: every method once for real, on files, and the wrong inputs that a
//! person gives.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod artifacts;
mod cancel;
mod edges;
mod history;
mod life;
mod membership;
mod names;
mod programs;
mod resolving;
mod snapshots;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use uor_asl::disk::Mode;
use uor_asl::validator::Verdict;
use uor_index_format::commit::Commit;
use uor_index_format::edge::Role;
use uor_index_format::id::{ArtifactKey, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::program;
use uor_index_format::receipt::{Derivation, Outcome, Status as Ended};
use uor_index_format::record::{Payload, Record};
use uor_node::site::{
    AddError, AddEvent, AddOptions, Added, Binding, EdgeDraft, EdgeError, InitError, OpenError,
    ProgramError, Progress, ReadError, RedeemError, Redeemed, RefError, RemoveError,
    ResolutionError, ResolveError, RunError, RunOptions, Site, SnapshotError, Sort, Source,
};
use uor_tgk::export;
use uor_tgk::trace::Direction;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("site-{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self(dir.unwrap().keep())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn site(&self, name: &str) -> Site {
        self.site_with(name, ConflictRule::First)
    }

    fn site_with(&self, name: &str, rule: ConflictRule) -> Site {
        Site::init(&self.at(name), Some(name), rule).unwrap();
        Site::open(&self.at(name), Mode::Write).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn add(site: &Site, path: &Path) -> Added {
    add_as(site, path, None)
}

fn add_as(site: &Site, path: &Path, reference: Option<&str>) -> Added {
    let options = AddOptions {
        reference,
        ..AddOptions::default()
    };
    site.add(vec![Source::Path(path.to_owned())], &options, &mut |_| {})
        .unwrap()
        .remove(0)
}

fn cat(site: &Site, text: &str) -> Vec<u8> {
    let target = site.resolve(text, &site.head()).unwrap();
    let mut bytes = Vec::new();
    site.open_file(&target)
        .unwrap()
        .reader
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Gives `to` every commit of `from` that it lacks, and every payload.
fn sync(from: &Site, to: &Site) {
    sync_records(from, to);
    let wanted: Vec<_> = to.store().view().wanted().keys().copied().collect();
    for checksum in wanted {
        if let Ok(mut payload) = from.store().blocks().read(checksum) {
            to.store()
                .blocks()
                .put_verified(checksum, &mut payload)
                .unwrap();
            to.store().payloads_arrived(&[checksum]).unwrap();
        }
    }
}

fn sync_records(from: &Site, to: &Site) {
    let mut commits = from
        .store()
        .view()
        .commits()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    commits.sort_by_key(|commit| (commit.logseq, commit.domain));
    let read = |domain: &SiteId, number| from.store().read_commit(domain, number).unwrap().unwrap();
    let commits: Vec<Commit> = commits
        .iter()
        .map(|commit| read(&commit.domain, commit.number))
        .collect();
    for verdict in to.store().merge(commits).unwrap() {
        assert!(
            matches!(verdict, Verdict::Accepted | Verdict::Known),
            "{verdict:?}"
        );
    }
}

/// A second member of `a`'s federation.
fn join(scratch: &Scratch, a: &Site, name: &str) -> Site {
    let ticket = a.invite(vec![]).unwrap();
    let joined = Site::init_joining(&scratch.at(name), Some(name), &ticket).unwrap();
    assert!(matches!(
        a.redeem(&ticket.token, joined.site_id, name).unwrap(),
        Redeemed::Admitted(_)
    ));
    let site = Site::open(&scratch.at(name), Mode::Write).unwrap();
    sync(a, &site);
    site.join_completed().unwrap();
    site
}

fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Threads of a node share a site.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Site>();
};
