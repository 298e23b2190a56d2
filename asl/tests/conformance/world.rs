//! A federation with fixed keys and clocks, whose sites write exactly what a case asks for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use uor_asl::blocks;
use uor_asl::disk::real::RealDisk;
use uor_asl::disk::{Disk, Mode};
use uor_asl::log;
use uor_asl::store::{Options, Store};
use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::id::{CommitHash, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::Record;

/// The first moment of these federations, in milliseconds since 1970; each commit is a second later
/// than its logseq says.
const EPOCH_MS: u64 = 1_772_000_000_000;
/// Small, so that no store is large; more than a few commits reach it only where a case wants
/// closed segments.
const PREALLOCATED: u32 = 512;

/// A federation of up to four sites, numbered from 1 in ascending order of their ids.
pub(crate) struct World {
    pub(crate) genesis: Genesis,
    sites: Vec<Site>,
    /// Commits that carry membership records, in the order they were written.
    memberships: Vec<CommitHash>,
    /// Of the headers that are written.
    pub(crate) version: u16,
}

struct Site {
    /// Of its commits, by number.
    hashes: Vec<CommitHash>,
    knows: BTreeSet<CommitHash>,
}

/// The key of site 1, 2, 3 or 4.
pub(crate) fn key(site: usize) -> SiteKey {
    let mut keys: Vec<SiteKey> = (1..=4_u8)
        .map(|seed| SiteKey::from_seed(&[seed; 32]))
        .collect();
    keys.sort_by_key(SiteKey::site_id);
    keys.swap_remove(site - 1)
}

pub(crate) fn id(site: usize) -> SiteId {
    key(site).site_id()
}

pub(crate) fn wall_ms(logseq: u64) -> u64 {
    EPOCH_MS + logseq * 1000
}

impl World {
    /// A federation that site 1 founds.
    pub(crate) fn new(conflict_rule: ConflictRule) -> Self {
        let genesis = Genesis {
            founder: id(1),
            name: "site-1".to_owned(),
            nonce: *b"conformance set1",
            conflict_rule,
            logseq_jump_max: 1 << 20,
        };
        let site = |_| Site {
            hashes: Vec::new(),
            knows: BTreeSet::new(),
        };
        Self {
            genesis,
            sites: (1..=4).map(site).collect(),
            memberships: Vec::new(),
            version: 1,
        }
    }

    /// Founded at logseq 1, with so many further sites admitted by site 1 at logseq 2 and on: those
    /// commits.
    pub(crate) fn founded(conflict_rule: ConflictRule, others: usize) -> (Self, Vec<Commit>) {
        let mut world = Self::new(conflict_rule);
        let mut commits = vec![world.write(1, 1, vec![Record::genesis(world.genesis.clone())])];
        for other in 2..2 + others {
            commits.push(world.write(1, other as u64, vec![world.admission(other)]));
        }
        (world, commits)
    }

    pub(crate) fn admission(&self, site: usize) -> Record {
        let federation = self.genesis.federation_id();
        Record::admission(Admission {
            federation,
            site: id(site),
            name: format!("site-{site}"),
        })
    }

    /// The next commit of a site, which knows of all membership commits that were written before.
    pub(crate) fn write(&mut self, site: usize, logseq: u64, records: Vec<Record>) -> Commit {
        let draft = self.draft(site, logseq, records);
        let commit = Commit::seal(draft, &key(site)).unwrap();
        self.take(site, &commit);
        commit
    }

    /// What the next commit of a site is made of.
    pub(crate) fn draft(&self, site: usize, logseq: u64, records: Vec<Record>) -> Draft {
        let Site { hashes, knows } = &self.sites[site - 1];
        let chain: Chain = hashes.iter().copied().collect();
        let learned = self
            .memberships
            .iter()
            .filter(|hash| !knows.contains(*hash))
            .copied()
            .collect::<BTreeSet<_>>();
        let all: BTreeSet<CommitHash> = knows.union(&learned).copied().collect();
        Draft {
            number: chain.len() + 1,
            history: match self.version {
                1 => History::Previous(chain.last()),
                _ => chain.history(),
            },
            logseq: LogSeq(logseq),
            federation: FederationState::of(&all),
            wall_ms: wall_ms(logseq),
            learned: learned.into_iter().collect(),
            records,
        }
    }

    /// A site goes on behind this commit of its own.
    pub(crate) fn take(&mut self, site: usize, commit: &Commit) {
        let known = &mut self.sites[site - 1];
        let before = usize::try_from(commit.header().number - 1).unwrap();
        known.hashes.truncate(before);
        known.hashes.push(commit.hash());
        known.knows.extend(commit.learned());
        if commit.records().iter().any(Record::is_membership) {
            known.knows.insert(commit.hash());
            self.memberships.push(commit.hash());
        }
    }

    /// An empty store of this federation.
    pub(crate) fn create(&self, dir: &Path) -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
        Store::create(&disk, self.genesis.federation_id()).unwrap();
        disk
    }

    /// A store with these commits, each taken in by itself.
    pub(crate) fn store(&self, dir: &Path, commits: &[Commit]) -> Store {
        let store = open(&self.create(dir), options());
        merge(&store, commits);
        store
    }
}

/// Takes in accepted commits, one by one.
pub(crate) fn merge(store: &Store, commits: &[Commit]) {
    for commit in commits {
        let verdicts = store.merge(vec![commit.clone()]).unwrap();
        assert_eq!(
            verdicts,
            [uor_asl::validator::Verdict::Accepted],
            "commit {}",
            commit.header().number
        );
    }
}

pub(crate) fn open(disk: &Arc<dyn Disk>, options: Options) -> Store {
    Store::open_with(Arc::clone(disk), Mode::Write, options).unwrap()
}

/// Sizes at which a store stays as small as its content.
pub(crate) fn options() -> Options {
    Options {
        log: log::Options {
            preallocate_bytes: PREALLOCATED,
            ..log::Options::default()
        },
        blocks: blocks::Options {
            threads: 1,
            ..blocks::Options::default()
        },
        ..Options::default()
    }
}
