//! What a checkpoint says is held against what is signed and against the log, before anything is
//! written on its word.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod federation;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::{Options, Store, StoreError};
use uor_index_format::chain::{History, Peaks};
use uor_index_format::commit::Commit;
use uor_index_format::id::SiteId;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::{Payload, Record};

use federation::{Federation, Step, key, mix};

const FILE: &str = "index/checkpoint";
/// Where a checkpoint's version stands, the digest of its body, and the body.
const VERSION_AT: usize = 8;
const DIGEST_AT: usize = 16;
const BODY_AT: usize = 48;

fn disk(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(dir))
}

fn artifact(number: u64) -> Record {
    Record::artifact(None, Payload::of(&number.to_le_bytes()))
}

/// A store of site 0 whose checkpoint covers everything, with logs of both versions of the header.
fn sealed() -> (TempDir, Federation) {
    let steps: Vec<Step> = (0..40).map(|seed| Step::from_seed(mix(seed))).collect();
    let federation = Federation::build(ConflictRule::First, &steps);
    let dir = tempfile::tempdir().unwrap();
    Store::create(&disk(dir.path()), federation.id()).unwrap();
    let store = Store::open(disk(dir.path()), Mode::Write).unwrap();
    store.merge(federation.commits().to_vec()).unwrap();
    store.seal_index().unwrap();
    (dir, federation)
}

/// Changes the checkpoint's body and makes its digest fit.
fn forge(dir: &Path, change: impl FnOnce(&mut [u8])) {
    let path = dir.join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes[BODY_AT..]);
    let digest = blake3::hash(&bytes[BODY_AT..]);
    bytes[DIGEST_AT..BODY_AT].copy_from_slice(digest.as_bytes());
    fs::write(&path, bytes).unwrap();
}

/// The commits of each site, by number.
fn logs(federation: &Federation) -> BTreeMap<SiteId, Vec<&Commit>> {
    let mut logs: BTreeMap<SiteId, Vec<&Commit>> = BTreeMap::new();
    for commit in federation.commits() {
        logs.entry(commit.header().domain).or_default().push(commit);
    }
    logs
}

/// A commit of which a checkpoint names the history wrongly would be lost for good: its number is
/// used, and nobody takes it.
#[test]
fn a_history_that_the_checkpoint_has_wrong_is_found_in_the_log() {
    let (_, federation) = sealed();
    let (mut of_version_1, mut of_version_2) = (0, 0);
    for commits in logs(&federation).into_values() {
        let (last, before) = commits.split_last().unwrap();
        let mut peaks = Peaks::default();
        before.iter().for_each(|commit| peaks.push(commit.hash()));
        match last.header().history {
            History::Previous(_) => of_version_1 += usize::from(!peaks.is_empty()),
            History::Root(_) => of_version_2 += usize::from(!peaks.is_empty()),
        }
        peaks.digests().iter().for_each(writes_nothing_wrong_after);
    }
    assert!(of_version_1 > 0 && of_version_2 > 0, "both are tried");
}

/// The same of what its writer knew of membership, whose digest every commit names.
#[test]
fn membership_that_the_checkpoint_has_wrong_is_found_in_the_log() {
    let (_, federation) = sealed();
    let memberships = federation
        .commits()
        .iter()
        .filter(|commit| commit.is_membership());
    let hashes: Vec<[u8; 32]> = memberships
        .map(|commit| *commit.hash().as_bytes())
        .collect();
    assert!(hashes.len() > 1);
    hashes.iter().for_each(writes_nothing_wrong_after);
}

/// Wherever these bytes stand in a checkpoint, others take their place. That is noticed, and
/// whatever is acknowledged after it is accepted by everybody else.
fn writes_nothing_wrong_after(digest: &[u8; 32]) {
    let (dir, _) = sealed();
    let mut changed = 0;
    forge(dir.path(), |body| {
        let starts: Vec<usize> = (0..body.len() - 32)
            .filter(|at| body[*at..*at + 32] == *digest)
            .collect();
        // A peak over one commit is its hash, which stands elsewhere too.
        for at in starts {
            body[at + 7] ^= 4;
            changed += 1;
        }
    });
    assert!(changed > 0, "it is in the checkpoint");
    let store = Store::open(disk(dir.path()), Mode::Write).unwrap();
    let stale = store.opened().index.clone().expect("it is noticed");
    assert!(stale.is_damage, "{stale:?}");
    for site in 0..federation::SITES {
        let key = key(site);
        if store.view().members().contains(&key.site_id()) {
            store.commit(&key, vec![artifact(site as u64)], 1).unwrap();
        }
    }
    let accepted = |store: &Store| {
        let heads = store.view().head().frontier.clone();
        heads.values().map(|head| head.number).sum::<u64>()
    };
    let acknowledged = accepted(&store);
    assert_eq!(store.view().unaccepted(), 0);
    drop(store);
    let options = Options {
        rebuild_index: true,
        ..Options::default()
    };
    let store = Store::open_with(disk(dir.path()), Mode::ReadOnly, options).unwrap();
    assert_eq!(accepted(&store), acknowledged);
}

/// A log that was cut is noticed at the first opening after an upgrade too, when the checkpoint is
/// of the version before.
#[test]
fn a_cut_log_is_noticed_by_the_checkpoint_of_an_older_release() {
    for version in [3_u16, 2] {
        let (dir, _) = sealed();
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes[VERSION_AT..VERSION_AT + 2].copy_from_slice(&version.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let open = |mode| Store::open(disk(dir.path()), mode);
        let sound = open(Mode::ReadOnly).unwrap();
        assert_eq!(sound.opened().cut, None, "version {version}");
        let older = sound.opened().index.clone();
        assert_eq!(older.is_some(), version == 2);
        assert!(older.is_none_or(|older| !older.is_damage));
        drop(sound);

        let segment = dir.path().join("log/00000001.log");
        let len = fs::metadata(&segment).unwrap().len();
        let log = fs::read(&segment).unwrap();
        let written = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(written - 900).unwrap();
        assert!(len > written - 900);
        let refused = open(Mode::Write).err();
        assert!(
            matches!(refused, Some(StoreError::LogCut { .. })),
            "version {version}: {refused:?}"
        );
        assert!(open(Mode::ReadOnly).unwrap().opened().cut.is_some());
    }
}
