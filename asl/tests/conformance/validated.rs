//! Which commits are accepted: stores to which commits were offered that were not, and forks that
//! were proven.
//!
//! Rules: `FORMAT.md`, "Commit" and "Fork proof". All of these are generated alike, so a change of
//! the rules is one command.

use std::path::Path;

use serde_json::{Value, json};
use uor_asl::store::Store;
use uor_index_format::chain::{Chain, History};
use uor_index_format::codec::hex;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{CommitHash, FederationState, HistoryRoot, LogSeq};
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::record::Record;

use super::expected::{Notes, kind};
use super::stores::{Case, artifact};
use super::world::{World, id, key, merge};

pub(crate) const VALIDATED: [Case; 10] = [
    ("validated-chain", chain),
    ("validated-history", history),
    ("validated-membership", membership),
    ("validated-clock", clock),
    ("fork-at-the-middle", fork_at_the_middle),
    ("fork-at-the-first", fork_at_the_first),
    ("fork-above", fork_above),
    ("fork-twice", fork_twice),
    ("fork-of-an-admitter", fork_of_an_admitter),
    ("fork-and-testimony", fork_and_testimony),
];

/// Offers a commit and says what became of it.
fn offer(store: &Store, offered: &mut Vec<Value>, about: &str, commit: &Commit) {
    let verdicts = store.merge(vec![commit.clone()]).unwrap();
    offered.push(
        json!({ "about": about, "commit": hex(commit.as_bytes()), "verdict": kind(&verdicts[0]) }),
    );
}

/// Offers a proof.
fn prove(store: &Store, offered: &mut Vec<Value>, about: &str, one: &Commit, other: &Commit) {
    let proof = ForkProof::new(one.header().clone(), other.header().clone()).unwrap();
    let is_news = store.freeze(proof.clone()).unwrap();
    offered.push(json!({ "about": about, "fork_proof": hex(&proof.encode()), "is_news": is_news }));
}

fn word(text: &str) -> Vec<Record> {
    vec![artifact(None, text.as_bytes())]
}

fn seal(draft: Draft, site: usize) -> Commit {
    Commit::seal(draft, &key(site)).unwrap()
}

/// Another commit in the place of `commit`.
fn twin(commit: &Commit, site: usize, text: &str) -> Commit {
    let header = commit.header();
    let draft = Draft {
        number: header.number,
        history: header.history,
        logseq: header.logseq,
        federation: header.federation,
        wall_ms: header.wall_ms,
        learned: commit.learned().to_vec(),
        records: word(text),
    };
    seal(draft, site)
}

fn chain(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let first = world.write(2, 10, word("first"));
    merge(&store, std::slice::from_ref(&first));
    let mut offered = Vec::new();
    offer(&store, &mut offered, "what is here already", &first);
    let draft = world.draft(2, 12, word("far"));
    offer(
        &store,
        &mut offered,
        "number 3, and number 2 is missing",
        &seal(
            Draft {
                number: 3,
                ..draft.clone()
            },
            2,
        ),
    );
    let previous = CommitHash::from_bytes([0xee; 32]);
    offer(
        &store,
        &mut offered,
        "another commit is named as the one before",
        &seal(
            Draft {
                history: History::Previous(previous),
                ..draft.clone()
            },
            2,
        ),
    );
    offer(
        &store,
        &mut offered,
        "logseq is that of the commit before",
        &seal(
            Draft {
                logseq: LogSeq(10),
                ..draft.clone()
            },
            2,
        ),
    );
    offer(
        &store,
        &mut offered,
        "logseq is lower",
        &seal(
            Draft {
                logseq: LogSeq(9),
                ..draft.clone()
            },
            2,
        ),
    );
    offer(
        &store,
        &mut offered,
        "logseq rises by two: it need not be the next",
        &seal(draft, 2),
    );
    Notes {
        about: "Whether a commit continues its domain's chain.",
        offered,
        ..Notes::default()
    }
}

/// What commits of version 2 name as the history of site 2, which has written three commits.
fn history(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let mut written = vec![world.write(2, 10, word("version 1"))];
    world.version = 2;
    written.extend((11..13).map(|logseq| world.write(2, logseq, word("version 2"))));
    merge(&store, &written);
    let hashes: Vec<CommitHash> = written.iter().map(Commit::hash).collect();
    let [first, second, third] = hashes[..] else {
        unreachable!("three were written")
    };
    let root = |hashes: &[CommitHash]| Chain::from_iter(hashes.iter().copied()).history();
    let mut offered = Vec::new();
    for (about, history) in [
        ("the root over all but the last", root(&[first, second])),
        (
            "the root over the same in another order",
            root(&[second, first, third]),
        ),
        (
            "the root over one more than there are",
            root(&[first, second, third, third]),
        ),
        (
            "the hash of the last commit where a root belongs",
            History::Root(HistoryRoot::from_bytes(*third.as_bytes())),
        ),
        (
            "version 1, and the root where the hash of the last commit belongs",
            History::Previous(CommitHash::from_bytes(*root(&hashes).as_bytes())),
        ),
        ("the history", root(&hashes)),
    ] {
        let draft = world.draft(2, 20, word("next"));
        offer(
            &store,
            &mut offered,
            about,
            &seal(Draft { history, ..draft }, 2),
        );
    }
    Notes {
        about: "What a commit of version 2 names as the commits before it.",
        offered,
        ..Notes::default()
    }
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn membership(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let mut offered = Vec::new();
    let stranger = Draft {
        learned: vec![],
        federation: FederationState::of([]),
        ..world.draft(3, 10, word("me"))
    };
    offer(
        &store,
        &mut offered,
        "a writer who names nothing that admitted it",
        &seal(stranger, 3),
    );
    offer(
        &store,
        &mut offered,
        "a writer who names only what did not admit it",
        &seal(world.draft(3, 10, word("me")), 3),
    );
    let unknown = CommitHash::from_bytes([0xee; 32]);
    let mut draft = world.draft(3, 10, word("me"));
    draft.learned.push(unknown);
    draft.learned.sort();
    draft.federation = FederationState::of(&draft.learned);
    offer(
        &store,
        &mut offered,
        "a writer whom a commit may have admitted that is not here",
        &seal(draft, 3),
    );
    let mut draft = world.draft(2, 10, word("two"));
    draft.federation = FederationState::of([]);
    offer(
        &store,
        &mut offered,
        "the digest is not that of what it lists",
        &seal(draft, 2),
    );
    offer(
        &store,
        &mut offered,
        "its logseq is that of its admission",
        &seal(world.draft(2, 2, word("two")), 2),
    );
    let other = Genesis {
        nonce: [9; 16],
        ..world.genesis.clone()
    };
    let foreign = Admission {
        federation: other.federation_id(),
        site: id(3),
        name: "site-3".to_owned(),
    };
    let foreign = vec![Record::admission(foreign)];
    offer(
        &store,
        &mut offered,
        "an admission to another federation",
        &seal(world.draft(2, 10, foreign), 2),
    );
    let draft = world.draft(1, 10, vec![Record::genesis(other)]);
    offer(
        &store,
        &mut offered,
        "a genesis of another federation",
        &seal(draft, 1),
    );
    let draft = world.draft(1, 10, vec![Record::genesis(world.genesis.clone())]);
    offer(
        &store,
        &mut offered,
        "the genesis once more, not in the founder's first commit",
        &seal(draft, 1),
    );
    let draft = world.draft(2, 10, vec![Record::genesis(world.genesis.clone())]);
    offer(
        &store,
        &mut offered,
        "the genesis in another's first commit",
        &seal(draft, 2),
    );
    let ahead = world.write(2, 10, vec![world.admission(3)]);
    let three = world.write(3, 11, word("three"));
    offer(
        &store,
        &mut offered,
        "a writer whose admission has not come yet",
        &three,
    );
    offer(&store, &mut offered, "its admission", &ahead);
    offer(
        &store,
        &mut offered,
        "the same writer's commit again",
        &three,
    );
    Notes {
        about: "Whether the writer was a member by what its commit names.",
        offered,
        ..Notes::default()
    }
}

fn clock(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let mut offered = Vec::new();
    let jump = world.genesis.logseq_jump_max;
    offer(
        &store,
        &mut offered,
        "one beyond what may be jumped",
        &seal(world.draft(2, 2 + jump + 1, word("far")), 2),
    );
    let commit = world.write(2, 2 + jump, word("as far as may be"));
    offer(&store, &mut offered, "as far as may be jumped", &commit);
    offer(
        &store,
        &mut offered,
        "from there on",
        &seal(world.draft(1, 2 + jump + jump, word("on")), 1),
    );
    Notes {
        about: "How far a commit's logseq may lie above all that counts.",
        offered,
        ..Notes::default()
    }
}

/// Three sites, of which site 2 has written three commits and site 3 one behind them.
fn talked(dir: &Path) -> (World, Store, Vec<Commit>) {
    let (mut world, commits) = World::founded(ConflictRule::Quorum, 2);
    let store = world.store(dir, &commits);
    let mut own: Vec<Commit> = (0..3)
        .map(|at| world.write(2, 10 + at, word(&format!("word {at} of site 2"))))
        .collect();
    merge(&store, &own);
    merge(&store, &[world.write(3, 13, word("heard"))]);
    own.push(world.write(2, 14, word("word 3 of site 2")));
    (world, store, own)
}

fn fork_at_the_middle(dir: &Path) -> Notes {
    let (mut world, store, own) = talked(dir);
    let mut offered = Vec::new();
    offer(
        &store,
        &mut offered,
        "another commit number 2 of site 2",
        &twin(&own[1], 2, "otherwise"),
    );
    offer(
        &store,
        &mut offered,
        "number 4 of site 2, which goes on from the first number 2",
        &own[3],
    );
    offer(&store, &mut offered, "number 2 of site 2 again", &own[1]);
    offer(
        &store,
        &mut offered,
        "the next of site 3, which has seen all of site 2",
        &world.write(3, 20, word("on")),
    );
    let about = "Site 2 signed two commits number 2: its first counts, its second and third are in the log and do not.";
    Notes {
        about,
        offered,
        ..Notes::default()
    }
}

fn fork_at_the_first(dir: &Path) -> Notes {
    let (_, store, own) = talked(dir);
    let mut offered = Vec::new();
    offer(
        &store,
        &mut offered,
        "another commit number 1 of site 2",
        &twin(&own[0], 2, "otherwise"),
    );
    Notes {
        about: "Site 2 signed two commits number 1: nothing of it counts.",
        offered,
        ..Notes::default()
    }
}

fn fork_above(dir: &Path) -> Notes {
    let (_, store, own) = talked(dir);
    let mut offered = Vec::new();
    prove(
        &store,
        &mut offered,
        "a proof for number 4 of site 2, of whom 3 are here",
        &own[3],
        &twin(&own[3], 2, "otherwise"),
    );
    prove(
        &store,
        &mut offered,
        "the same proof",
        &own[3],
        &twin(&own[3], 2, "otherwise"),
    );
    offer(&store, &mut offered, "number 4 of site 2", &own[3]);
    Notes {
        about: "A fork that is proven above what is here takes nothing back.",
        offered,
        ..Notes::default()
    }
}

fn fork_twice(dir: &Path) -> Notes {
    let (_, store, own) = talked(dir);
    let mut offered = Vec::new();
    prove(
        &store,
        &mut offered,
        "a proof for number 3 of site 2",
        &own[2],
        &twin(&own[2], 2, "otherwise"),
    );
    prove(
        &store,
        &mut offered,
        "a proof for number 2",
        &own[1],
        &twin(&own[1], 2, "otherwise"),
    );
    prove(
        &store,
        &mut offered,
        "another proof for number 3",
        &own[2],
        &twin(&own[2], 2, "again"),
    );
    Notes {
        about: "Of several proofs against a domain the one with the lowest number stands.",
        offered,
        ..Notes::default()
    }
}

fn fork_of_an_admitter(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let mut offered = Vec::new();
    let admits = world.write(2, 10, vec![world.admission(3), world.admission(4)]);
    merge(&store, std::slice::from_ref(&admits));
    merge(&store, &[world.write(1, 11, vec![world.admission(4)])]);
    merge(
        &store,
        &[
            world.write(3, 12, word("three")),
            world.write(4, 12, word("four")),
        ],
    );
    offer(
        &store,
        &mut offered,
        "another commit number 1 of site 2, which had admitted 3 and 4",
        &twin(&admits, 2, "otherwise"),
    );
    offer(
        &store,
        &mut offered,
        "the next of site 3",
        &world.write(3, 20, word("three again")),
    );
    offer(
        &store,
        &mut offered,
        "the next of site 4, whom site 1 has admitted too",
        &world.write(4, 20, word("four again")),
    );
    let about =
        "Site 2 admitted sites 3 and 4 and forked there; site 1 has admitted site 4 as well.";
    Notes {
        about,
        offered,
        ..Notes::default()
    }
}

/// The proof comes first: what the forker wrote is not accepted, and whom it admitted are members.
fn fork_and_testimony(dir: &Path) -> Notes {
    let (mut world, commits) = World::founded(ConflictRule::First, 1);
    let store = world.store(dir, &commits);
    let mut offered = Vec::new();
    let early = world.write(2, 10, word("before any admission"));
    let admits = world.write(2, 11, vec![world.admission(3), artifact(None, b"beside")]);
    let three = world.write(3, 12, vec![world.admission(4), artifact(None, b"three")]);
    let four = world.write(4, 13, word("four"));
    prove(
        &store,
        &mut offered,
        "a proof for number 1 of site 2",
        &early,
        &twin(&early, 2, "otherwise"),
    );
    offer(&store, &mut offered, "site 3, whom site 2 admits", &three);
    offer(
        &store,
        &mut offered,
        "number 1 of site 2, which admits nobody",
        &early,
    );
    offer(
        &store,
        &mut offered,
        "number 2 of site 2, which admits site 3",
        &admits,
    );
    offer(&store, &mut offered, "the same again", &admits);
    offer(&store, &mut offered, "site 3 again", &three);
    offer(&store, &mut offered, "site 4, whom site 3 admits", &four);
    Notes {
        about: "Site 2 had forked when its commits came: they testify to whom it admitted.",
        offered,
        ..Notes::default()
    }
}
