//! A federation with members who do not behave: everything follows from one seed.

use std::collections::{BTreeMap, BTreeSet};

use uor_asl::validator::{ADMISSIONS_MAX, READMISSIONS_MAX};
use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{
    CanonicalId, CommitHash, FederationId, FederationState, HistoryRoot, LogSeq, SiteId,
};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule};
use uor_index_format::record::{Content, Payload, Record};

use super::dice::{Dice, Tally};
use super::federation::{Federation, SITES, admission, derivation, key, record, stranger};

/// So many sites beside the first ones exist at most.
const STRANGERS: u16 = 4;
/// The genesis of [`Federation`] allows jumps this far.
const JUMP_MAX: u64 = 1 << 20;

/// Something a store can be told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Commit(Box<Commit>),
    Proof(Box<ForkProof>),
}

/// What there is to be told of one federation.
pub(crate) struct Case {
    pub(crate) federation: FederationId,
    pub(crate) rule: ConflictRule,
    pub(crate) news: Vec<News>,
    pub(crate) tally: Tally,
}

impl Case {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let rules = [
            ConflictRule::First,
            ConflictRule::Quorum,
            ConflictRule::Manual,
        ];
        let rule = rules[usize::try_from(seed % 3).unwrap()];
        let mut world = World::new(rule, Dice::of(seed));
        world.run();
        world.into_case(rule)
    }

    pub(crate) fn commits(&self) -> Vec<Commit> {
        let commit = |news: &News| match news {
            News::Commit(commit) => Some((**commit).clone()),
            News::Proof(_) => None,
        };
        self.news.iter().filter_map(commit).collect()
    }

    pub(crate) fn proofs(&self) -> Vec<ForkProof> {
        let proof = |news: &News| match news {
            News::Proof(proof) => Some((**proof).clone()),
            News::Commit(_) => None,
        };
        self.news.iter().filter_map(proof).collect()
    }
}

/// A domain's log as its writer could go on with it, whatever others think of that.
struct Pen {
    key: SiteKey,
    chain: Vec<Commit>,
}

impl Pen {
    fn draft(&self, logseq: u64, learned: Vec<CommitHash>, records: Vec<Record>) -> Draft {
        let own = self
            .chain
            .iter()
            .filter(|commit| commit.is_membership())
            .map(Commit::hash);
        let named = self
            .chain
            .iter()
            .flat_map(|commit| commit.learned().iter().copied());
        let knows: BTreeSet<CommitHash> = own.chain(named).chain(learned.iter().copied()).collect();
        let number = self.chain.len() as u64 + 1;
        let chain: Chain = self.chain.iter().map(Commit::hash).collect();
        // Both versions of the header, in no order.
        let history = if (number + logseq).is_multiple_of(2) {
            History::Previous(chain.last())
        } else {
            chain.history()
        };
        Draft {
            number,
            history,
            logseq: LogSeq(logseq),
            federation: FederationState::of(&knows),
            wall_ms: 0,
            learned,
            records,
        }
    }

    fn seal(&self, draft: Draft) -> Commit {
        Commit::seal(draft, &self.key).unwrap()
    }

    /// The logseq of the last commit, or zero.
    fn clock(&self) -> u64 {
        self.chain.last().map_or(0, |last| last.header().logseq.0)
    }
}

struct World {
    federation: Federation,
    dice: Dice,
    /// What sites have written that were admitted later, by site.
    later: BTreeMap<SiteId, Vec<Commit>>,
    /// Twins, what continues them, and what could never be accepted.
    odd: Vec<Commit>,
    proofs: Vec<ForkProof>,
    /// Says more of membership than is listened to, and forks nowhere: which of it is heard would
    /// depend on the order.
    loud: Option<usize>,
    has_leapt: bool,
    tally: Tally,
}

impl World {
    fn new(rule: ConflictRule, dice: Dice) -> Self {
        Self {
            federation: Federation::build(rule, &[]),
            dice,
            later: BTreeMap::new(),
            odd: Vec::new(),
            proofs: Vec::new(),
            loud: None,
            has_leapt: false,
            tally: Tally::default(),
        }
    }

    fn run(&mut self) {
        let (plan, site) = (self.dice.below(20), self.dice.below(SITES));
        self.loud = (plan < 4).then_some(site);
        for _ in 0..8 + self.dice.below(20) {
            self.step();
        }
        match plan {
            0 | 1 => self.flood_beyond_the_limit(site),
            2 | 3 => self.admit_again_and_again(site),
            4 => self.flood_below_the_limit(site),
            5..=8 => self.speak_of_one_id(),
            _ => {}
        }
        for _ in 0..self.dice.below(8) {
            self.step();
        }
        for _ in 0..self.dice.below(4) {
            self.fork();
        }
        for _ in 0..self.dice.below(4) {
            self.stranger_writes();
        }
    }

    fn into_case(mut self, rule: ConflictRule) -> Case {
        let federation = self.federation.id();
        let later = self.later.into_values().flatten();
        let commits: Vec<Commit> = self
            .federation
            .commits()
            .iter()
            .cloned()
            .chain(later)
            .chain(self.odd)
            .collect();
        let withholds = self.dice.percent(20);
        let is_told: Vec<bool> = commits
            .iter()
            .map(|_| !withholds || !self.dice.percent(8))
            .collect();
        self.tally
            .note("commits withheld", is_told.contains(&false));
        let told = commits
            .into_iter()
            .zip(is_told)
            .filter(|(_, is_told)| *is_told);
        let told = told.map(|(commit, _)| News::Commit(Box::new(commit)));
        let proofs = self
            .proofs
            .into_iter()
            .map(|proof| News::Proof(Box::new(proof)));
        Case {
            federation,
            rule,
            news: told.chain(proofs).collect(),
            tally: self.tally,
        }
    }

    fn step(&mut self) {
        let site = self.dice.below(SITES);
        match self.dice.below(20) {
            0..=7 => self.write(site),
            8..=11 => self.hear(site),
            12 | 13 => self.jump(site),
            14 | 15 => self.invite(site),
            16 | 17 => self.stranger_writes(),
            _ => self.write_nonsense(),
        }
    }

    fn write(&mut self, site: usize) {
        let records = self.records();
        self.federation.write(site, records);
    }

    fn hear(&mut self, site: usize) {
        let from = self.dice.below(SITES);
        self.federation.hear(site, from);
    }

    /// Sets a clock further ahead than a receiver follows at once; now and then so far that nobody
    /// ever follows.
    fn jump(&mut self, site: usize) {
        let records = self.records();
        let mut draft = self.federation.draft(site, records);
        draft.logseq.0 += JUMP_MAX * (1 + self.dice.throw() % 3) + self.dice.throw() % 3;
        if !self.has_leapt && self.dice.percent(10) {
            self.has_leapt = true;
            draft.logseq.0 += 1 << 62;
        }
        self.federation.write_draft(site, draft);
        self.hear(0);
    }

    fn invite(&mut self, site: usize) {
        let invited = self.invitation();
        self.federation.write(site, vec![invited]);
    }

    /// The admission of a site that may write later.
    fn invitation(&mut self) -> Record {
        let site = stranger(u16::try_from(self.dice.below(STRANGERS.into())).unwrap());
        admission(
            self.federation.id(),
            &site.site_id(),
            &format!("name {}", self.dice.below(3)),
        )
    }

    /// A few records, each about another id.
    fn records(&mut self) -> Vec<Record> {
        let mut records: Vec<Record> = (0..=self.dice.below(4)).map(|_| self.record()).collect();
        records.sort_by_key(Record::id);
        records.dedup_by_key(|record| record.id());
        records
    }

    fn record(&mut self) -> Record {
        match self.dice.below(8) {
            0 => Record::tombstone(self.chosen_id("a tombstone of an id that looks like another")),
            1 => {
                let id = self.chosen_id("a resolution of an id that looks like another");
                Record::resolution(id, Payload::of(&[self.dice.byte() / 64]).checksum)
            }
            _ => record(self.dice.byte()),
        }
    }

    /// The id of something that is spoken of, one that shares its first 8 or 16 bytes, or an id of
    /// nothing.
    fn chosen_id(&mut self, look_alike: &'static str) -> CanonicalId {
        let id = match self.dice.below(6) {
            0 => CanonicalId::from(self.federation.id()),
            1 => self.invitation().id(),
            _ => record(self.dice.byte()).id(),
        };
        let mut bytes = *id.as_bytes();
        let kept = [32, 32, 8, 16, 0][self.dice.below(5)];
        let filler = self.dice.byte() % 3;
        bytes[kept..].fill(filler);
        self.tally.note(look_alike, kept == 8 || kept == 16);
        self.tally.note(
            "ids of membership chosen",
            kept == 32 && id.as_bytes() == self.federation.id().as_bytes(),
        );
        CanonicalId::from_bytes(bytes)
    }

    /// A site that was admitted later writes: by what it names, it may or may not.
    fn stranger_writes(&mut self) {
        let key = stranger(u16::try_from(self.dice.below(STRANGERS.into())).unwrap());
        let site = key.site_id();
        let pen = Pen {
            chain: self.later.get(&site).cloned().unwrap_or_default(),
            key,
        };
        let (learned, clock) = if pen.chain.is_empty() {
            self.named_by(&site)
        } else {
            (vec![], pen.clock())
        };
        if pen.chain.is_empty() && learned.is_empty() {
            return;
        }
        let records = if self.dice.percent(25) {
            vec![self.invitation()]
        } else {
            self.records()
        };
        let logseq = clock + u64::from(!self.dice.percent(5)) + self.dice.throw() % 3;
        let commit = pen.seal(pen.draft(logseq, learned, records));
        self.later.entry(site).or_default().push(commit);
    }

    /// What a first commit of `site` names, and the highest logseq of it: some of the commits that
    /// admit it, or others.
    fn named_by(&mut self, site: &SiteId) -> (Vec<CommitHash>, u64) {
        let admits = |commit: &&Commit| {
            commit
                .records()
                .iter()
                .any(|record| record_admits(record, site))
        };
        let all: Vec<Commit> = self
            .federation
            .commits()
            .iter()
            .chain(&self.odd)
            .cloned()
            .collect();
        let invitations: Vec<Commit> = all.iter().filter(admits).cloned().collect();
        if invitations.is_empty() {
            return (vec![], 0);
        }
        let few = invitations.len().saturating_sub(6);
        let from = if self.dice.percent(50) { few } else { 0 };
        let mut named = vec![self.dice.pick(&invitations[from..])];
        named.extend(invitations.into_iter().filter(|_| self.dice.percent(20)));
        let clock = named
            .iter()
            .map(|commit| commit.header().logseq.0)
            .max()
            .unwrap_or_default();
        let mut hashes: BTreeSet<CommitHash> = named.iter().map(Commit::hash).collect();
        if self.dice.percent(25) {
            hashes.insert(self.dice.pick(&all).hash());
        }
        (hashes.into_iter().collect(), clock)
    }

    /// About one id more is said than is read again each time.
    fn speak_of_one_id(&mut self) {
        let about = derivation(self.dice.byte());
        let id = about.receipt_key().into();
        for _ in 0..18 + self.dice.below(8) {
            let site = self.dice.below(SITES);
            let payload = Payload::of(&[self.dice.byte() / 64]);
            let record = match self.dice.below(12) {
                0 => Record::tombstone(id),
                1 | 2 => Record::resolution(id, payload.checksum),
                _ => Record::receipt(about.clone(), payload),
            };
            self.federation.write(site, vec![record]);
            if self.dice.percent(30) {
                self.hear(site);
            }
        }
    }

    /// A member admits some sites too many, and among the last are some that will write.
    fn flood_beyond_the_limit(&mut self, site: usize) {
        let nobodies = ADMISSIONS_MAX - 2 - self.dice.below(8);
        self.flood(site, nobodies);
        let id = self.federation.id();
        let mut last: Vec<Record> = (0..STRANGERS)
            .map(|number| admission(id, &stranger(number).site_id(), "flood"))
            .collect();
        last.extend(nobodies_from(id, nobodies, 6));
        self.federation.write(site, last);
        self.hear(0);
        self.hear(1);
    }

    /// A member admits so many that what its forks say of membership still fits.
    fn flood_below_the_limit(&mut self, site: usize) {
        self.flood(site, ADMISSIONS_MAX - 16);
        self.tally.note("a flood that leaves room for forks", true);
    }

    fn flood(&mut self, site: usize, len: usize) {
        let id = self.federation.id();
        let first = self.dice.below(len);
        for (from, len) in [(0, first), (first, len - first)] {
            let admissions = nobodies_from(id, from, len);
            if !admissions.is_empty() {
                self.federation.write(site, admissions);
            }
        }
    }

    /// A member admits the same site more often than is looked at; which of it that site names
    /// decides whether it may write.
    fn admit_again_and_again(&mut self, site: usize) {
        let invited = stranger(u16::try_from(self.dice.below(STRANGERS.into())).unwrap()).site_id();
        for number in 0..READMISSIONS_MAX - 1 + self.dice.below(8) {
            let again = admission(self.federation.id(), &invited, &format!("again {number}"));
            self.federation.write(site, vec![again]);
        }
        self.stranger_writes();
    }

    /// The logs that go on, by writer.
    fn logs(&self) -> Vec<Pen> {
        let of_site = |key: SiteKey| {
            let commits = self
                .federation
                .commits()
                .iter()
                .filter(|commit| commit.header().domain == key.site_id());
            let chain = self
                .later
                .get(&key.site_id())
                .into_iter()
                .flatten()
                .chain(commits)
                .cloned()
                .collect();
            Pen { key, chain }
        };
        let loud = self.loud.map(|site| key(site).site_id());
        let keys = (0..SITES).map(key).chain((0..STRANGERS).map(stranger));
        keys.filter(|key| Some(key.site_id()) != loud)
            .map(of_site)
            .filter(|pen| !pen.chain.is_empty())
            .collect()
    }

    /// A commit that could never be accepted: if another with its number does, the two prove a
    /// fork.
    fn write_nonsense(&mut self) {
        let logs = self.logs();
        let pen = &logs[self.dice.below(logs.len())];
        let fine = pen.draft(pen.clock() + 1, vec![], self.records());
        let foreign = Admission {
            federation: FederationId::from_bytes([7; 32]),
            site: pen.key.site_id(),
            name: "x".to_owned(),
        };
        let draft = match self.dice.below(6) {
            0 => Draft {
                history: match fine.history {
                    History::Previous(_) => History::Previous(CommitHash::from_bytes([9; 32])),
                    History::Root(_) => History::Root(HistoryRoot::from_bytes([9; 32])),
                },
                ..fine
            },
            1 => Draft {
                federation: FederationState::from_bytes([9; 32]),
                ..fine
            },
            2 => Draft {
                logseq: LogSeq(pen.clock().max(1)),
                ..fine
            },
            3 => Draft {
                records: vec![Record::admission(foreign)],
                ..fine
            },
            4 => Draft {
                records: vec![Record::genesis(self.federation.genesis().clone())],
                ..fine
            },
            _ => Draft {
                number: fine.number + 2,
                ..fine
            },
        };
        let commit = pen.seal(draft);
        self.odd.push(commit);
    }

    /// Someone signs another commit with a number that it has used, and may go on from there.
    fn fork(&mut self) {
        let mut logs = self.logs();
        let mut pen = logs.swap_remove(self.dice.below(logs.len()));
        let at = if self.dice.percent(25) {
            0
        } else {
            self.dice.below(pen.chain.len())
        };
        let forked = pen.chain[at].clone();
        pen.chain.truncate(at);
        let twin = self.twin(&pen, &forked);
        if twin.hash() == forked.hash() {
            return;
        }
        let proof = ForkProof::new(forked.header().clone(), twin.header().clone()).unwrap();
        let is_told = self.dice.percent(60);
        if !is_told || self.dice.percent(40) {
            self.proofs.push(proof);
        }
        if is_told {
            self.odd.push(twin.clone());
        }
        pen.chain.push(twin);
        for _ in 0..self.dice.below(4) {
            let records = if self.dice.percent(50) {
                vec![self.invitation()]
            } else {
                self.records()
            };
            let commit = pen.seal(pen.draft(pen.clock() + 1, vec![], records));
            self.odd.push(commit.clone());
            pen.chain.push(commit);
        }
    }

    fn twin(&mut self, pen: &Pen, forked: &Commit) -> Commit {
        let header = forked.header();
        let logseq = match self.dice.below(8) {
            0 => pen.clock() + 1,
            1 => header.logseq.0 + JUMP_MAX + self.dice.throw() % 3,
            2 => header.logseq.0 + self.dice.throw() % 3,
            _ => header.logseq.0,
        };
        let learned = if self.dice.percent(80) {
            forked.learned().to_vec()
        } else {
            vec![]
        };
        let mut records = match self.dice.below(4) {
            0 => vec![self.invitation()],
            1 => forked
                .records()
                .iter()
                .cloned()
                .chain([self.invitation()])
                .collect(),
            _ => self.records(),
        };
        if header.number == 1 && pen.key.site_id() == key(0).site_id() && self.dice.percent(70) {
            records.push(Record::genesis(self.federation.genesis().clone()));
        }
        records.sort_by_key(Record::id);
        records.dedup_by_key(|record| record.id());
        let draft = pen.draft(logseq, learned, records);
        let is_readable = !self.dice.percent(8);
        pen.seal(if is_readable {
            draft
        } else {
            Draft {
                federation: FederationState::from_bytes([9; 32]),
                ..draft
            }
        })
    }
}

fn record_admits(record: &Record, site: &SiteId) -> bool {
    matches!(record.content(), Content::Admission(admission) if admission.site == *site)
}

/// Admissions of sites that nobody has the key of.
fn nobodies_from(federation: FederationId, from: usize, len: usize) -> Vec<Record> {
    let nobody =
        |number: usize| SiteId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    (from..from + len)
        .map(|number| admission(federation, &nobody(number), "nobody"))
        .collect()
}
