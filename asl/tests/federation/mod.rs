//! A small federation for tests: sites write about few ids, so that they collide, and hear from
//! each other now and then.

#![allow(
    dead_code,
    clippy::mod_module_files,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared by several test binaries"
)]

use proptest::prelude::*;
use uor_asl::validator::{CommitValidator, Verdict};
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId, CommitHash, FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};

pub(crate) const SITES: usize = 5;

/// A generator step of SplitMix64: decorrelates seeds.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// What one site does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes a commit with records chosen by these numbers.
    Write { site: usize, choices: Vec<u8> },
    /// Takes in everything another site has.
    Hear { site: usize, from: usize },
}

impl Step {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let byte = |index: u32| u8::try_from(mix(seed ^ u64::from(index)) % 256).unwrap();
        let site = usize::from(byte(0)) % SITES;
        match byte(1) % 4 {
            0 => Self::Hear {
                site,
                from: usize::from(byte(2)) % SITES,
            },
            count => Self::Write {
                site,
                choices: (0..u32::from(count)).map(|index| byte(3 + index)).collect(),
            },
        }
    }
}

pub(crate) fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let write = (0..SITES, prop::collection::vec(any::<u8>(), 1..6))
        .prop_map(|(site, choices)| Step::Write { site, choices });
    let hear = (0..SITES, 0..SITES).prop_map(|(site, from)| Step::Hear { site, from });
    prop::collection::vec(prop_oneof![3 => write, 1 => hear], 1..max)
}

pub(crate) fn key(site: usize) -> SiteKey {
    SiteKey::from_seed(&[u8::try_from(site).unwrap() + 1; 32])
}

fn target(choice: u8) -> ArtifactKey {
    ArtifactKey::from_bytes([choice % 3; 32])
}

/// A site that is not among the first.
pub(crate) fn stranger(number: u16) -> SiteKey {
    let mut seed = [0xee; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SiteKey::from_seed(&seed)
}

pub(crate) fn admission(federation: FederationId, site: &SiteId, name: &str) -> Record {
    Record::admission(Admission {
        federation,
        site: *site,
        name: name.to_owned(),
    })
}

/// One of three.
pub(crate) fn derivation(choice: u8) -> Derivation {
    Derivation {
        program: target(choice),
        inputs: vec![target(0)],
        params: vec![],
        profile: "test/1".to_owned(),
    }
}

/// What the site of `domain` would write next if it knew what `validator` knows.
pub(crate) fn draft(validator: &CommitValidator, domain: &SiteId, records: Vec<Record>) -> Draft {
    let head = validator.head(domain);
    let (learned, federation) = validator.membership_for(domain, usize::MAX);
    let number = head.map_or(1, |head| head.number + 1);
    let previous = History::Previous(head.map_or(CommitHash::NONE, |head| head.hash));
    // Logs of both versions of the header, in turns.
    let is_rooted = (u64::from(domain.as_bytes()[0]) + number).is_multiple_of(2);
    let history = validator.history(domain).filter(|_| is_rooted);
    Draft {
        number,
        history: history.unwrap_or(previous),
        logseq: validator.logseq_max().next().unwrap(),
        federation,
        wall_ms: 0,
        learned,
        records,
    }
}

/// Another commit with the same number and place in the chain, later in its writer's time.
pub(crate) fn twin(commit: &Commit, key: &SiteKey, records: Vec<Record>) -> Commit {
    let header = commit.header();
    let draft = Draft {
        number: header.number,
        history: header.history,
        logseq: header.logseq,
        federation: header.federation,
        wall_ms: header.wall_ms + 1,
        learned: commit.learned().to_vec(),
        records,
    };
    Commit::seal(draft, key).unwrap()
}

/// One of about two dozen different records about few ids.
pub(crate) fn record(choice: u8) -> Record {
    let payload = Payload::of(&[choice / 64]);
    let edge = Edge {
        edge_type: "used".to_owned(),
        from: vec![Endpoint::Artifact(target(choice))],
        to: vec![Endpoint::Site(key(0).site_id())],
        role: [Role::From, Role::To, Role::Both][usize::from(choice / 64 % 3)],
        attribute: (choice / 128 == 1).then(|| target(choice)),
    };
    let assignment = RefAssignment {
        namespace: NAMESPACE_USER.to_owned(),
        name: format!("name-{}", choice % 2),
        target: target(choice / 64),
    };
    match choice % 11 {
        0 | 1 => Record::artifact((choice / 128 == 1).then_some(7), payload),
        2..=4 => Record::receipt(derivation(choice / 16), payload),
        5 => Record::edge(edge),
        6 => Record::reference(assignment),
        7 => Record::tombstone(derivation(choice / 16).receipt_key().into()),
        8 => Record::tombstone(assignment.id()),
        9 => Record::tombstone(edge.id()),
        _ => Record::resolution(
            derivation(choice / 16).receipt_key().into(),
            payload.checksum,
        ),
    }
}

pub(crate) struct Federation {
    genesis: Genesis,
    validators: Vec<CommitValidator>,
    commits: Vec<Commit>,
}

impl Federation {
    /// Founds a federation of five and lets its sites take these steps.
    pub(crate) fn build(rule: ConflictRule, steps: &[Step]) -> Self {
        let genesis = Genesis {
            founder: key(0).site_id(),
            name: "test".to_owned(),
            nonce: [0; 16],
            conflict_rule: rule,
            logseq_jump_max: 1 << 20,
        };
        let id = genesis.federation_id();
        let mut this = Self {
            genesis: genesis.clone(),
            validators: (0..SITES).map(|_| CommitValidator::new(id)).collect(),
            commits: vec![],
        };
        this.write(0, vec![Record::genesis(genesis)]);
        for site in 1..SITES {
            // Each site is admitted by the one before it, so that admissions form a chain through
            // the domains.
            this.hear(site - 1, 0);
            this.write(
                site - 1,
                vec![admission(id, &key(site).site_id(), &format!("site-{site}"))],
            );
            this.hear(site, site - 1);
            this.hear(0, site - 1);
        }
        for step in steps {
            match step {
                Step::Write { site, choices } => {
                    let mut records: Vec<Record> =
                        choices.iter().map(|choice| record(*choice)).collect();
                    records.sort_by_key(Record::id);
                    records.dedup_by_key(|record| record.id());
                    this.write(*site, records);
                }
                Step::Hear { site, from } => this.hear(*site, *from),
            }
        }
        this
    }

    pub(crate) fn id(&self) -> FederationId {
        self.genesis.federation_id()
    }

    pub(crate) const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// All commits of all sites, in the order they were written.
    pub(crate) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    pub(crate) fn validator(&self, site: usize) -> &CommitValidator {
        &self.validators[site]
    }

    /// The next commit of a site; not handed to anyone.
    pub(crate) fn draft(&self, site: usize, records: Vec<Record>) -> Draft {
        draft(&self.validators[site], &key(site).site_id(), records)
    }

    pub(crate) fn write(&mut self, site: usize, records: Vec<Record>) {
        self.write_draft(site, self.draft(site, records));
    }

    /// Has a site write this commit, which is its next.
    pub(crate) fn write_draft(&mut self, site: usize, draft: Draft) {
        let commit = Commit::seal(draft, &key(site)).unwrap();
        assert_eq!(
            self.validators[site].validate(&commit, &()).unwrap(),
            Verdict::Accepted
        );
        self.validators[site].accept(&commit);
        self.commits.push(commit);
    }

    pub(crate) fn hear(&mut self, site: usize, from: usize) {
        let known: Vec<Commit> = self
            .commits
            .iter()
            .filter(|commit| self.validators[from].validate(commit, &()).unwrap() == Verdict::Known)
            .cloned()
            .collect();
        for commit in known {
            if self.validators[site].validate(&commit, &()).unwrap() == Verdict::Accepted {
                self.validators[site].accept(&commit);
            }
        }
    }
}

/// The id of the receipt that choice `choice` writes about.
pub(crate) fn receipt_id(choice: u8) -> CanonicalId {
    derivation(choice / 16).receipt_key().into()
}
