//! Arbitrary values of every structure, and arbitrary damage to their bytes.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use uor_index_format::chain::{Chain, History};
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{
    ArtifactKey, CanonicalId, Checksum, CommitHash, FederationId, FederationState, HistoryRoot,
    LogSeq, SiteId,
};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{Admission, ConflictRule, Genesis};
use uor_index_format::program::{Node, Program, Source};
use uor_index_format::receipt::{Derivation, FailureKind, Outcome, Status, Step};
use uor_index_format::record::{Content, Payload, Record};
use uor_index_format::reference::RefAssignment;
use uor_index_format::snapshot::{Head, Origin, Snapshot};
use uor_index_format::ticket::Ticket;
use uor_index_format::tree::{Attributes, EntryKind, MODE_MASK, Own, Tree, TreeEntry};
use uor_index_format::wire::{
    Announcement, Contact, Position, Refusal, Request, Response, WireFork, WireHead,
};

type Bytes32 = [u8; 32];

fn key() -> impl Strategy<Value = ArtifactKey> {
    any::<Bytes32>().prop_map(ArtifactKey::from_bytes)
}

fn id() -> impl Strategy<Value = CanonicalId> {
    any::<Bytes32>().prop_map(CanonicalId::from_bytes)
}

fn checksum() -> impl Strategy<Value = Checksum> {
    any::<Bytes32>().prop_map(Checksum::from_bytes)
}

fn commit_hash() -> impl Strategy<Value = CommitHash> {
    any::<Bytes32>().prop_map(CommitHash::from_bytes)
}

fn site() -> impl Strategy<Value = SiteId> {
    any::<Bytes32>().prop_map(SiteId::from_bytes)
}

fn payload() -> impl Strategy<Value = Payload> {
    (checksum(), any::<u64>()).prop_map(|(checksum, len)| Payload { checksum, len })
}

/// Any text of up to `len_max` bytes: a string is cut at the last character that fits.
fn text(len_max: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..=len_max.min(40)).prop_map(move |characters| {
        let mut text: String = characters.into_iter().collect();
        while text.len() > len_max {
            text.pop();
        }
        text
    })
}

pub(crate) fn edge() -> impl Strategy<Value = Edge> {
    let endpoint = || {
        prop_oneof![
            key().prop_map(Endpoint::Artifact),
            site().prop_map(Endpoint::Site)
        ]
    };
    let edge_type = text(255).prop_filter("an edge has a type", |text| !text.is_empty());
    let role = prop_oneof![Just(Role::From), Just(Role::To), Just(Role::Both)];
    (
        edge_type,
        vec(endpoint(), 1..4),
        vec(endpoint(), 1..4),
        role,
        proptest::option::of(key()),
    )
        .prop_map(|(edge_type, from, to, role, attribute)| Edge {
            edge_type,
            from,
            to,
            role,
            attribute,
        })
}

pub(crate) fn reference() -> impl Strategy<Value = RefAssignment> {
    (text(1024), text(1024), key()).prop_map(|(namespace, name, target)| RefAssignment {
        namespace,
        name,
        target,
    })
}

pub(crate) fn genesis() -> impl Strategy<Value = Genesis> {
    let rule = prop_oneof![
        Just(ConflictRule::First),
        Just(ConflictRule::Quorum),
        Just(ConflictRule::Manual)
    ];
    (site(), text(64), any::<[u8; 16]>(), rule, any::<u64>()).prop_map(
        |(founder, name, nonce, conflict_rule, logseq_jump_max)| Genesis {
            founder,
            name,
            nonce,
            conflict_rule,
            logseq_jump_max,
        },
    )
}

pub(crate) fn admission() -> impl Strategy<Value = Admission> {
    (any::<Bytes32>(), site(), text(64)).prop_map(|(federation, site, name)| Admission {
        federation: FederationId::from_bytes(federation),
        site,
        name,
    })
}

pub(crate) fn derivation() -> impl Strategy<Value = Derivation> {
    (key(), vec(key(), 0..5), vec(any::<u8>(), 0..50), text(255)).prop_map(
        |(program, inputs, params, profile)| Derivation {
            program,
            inputs,
            params,
            profile,
        },
    )
}

fn failure() -> impl Strategy<Value = FailureKind> {
    prop_oneof![
        Just(FailureKind::Unreachable),
        Just(FailureKind::OutOfBounds),
        Just(FailureKind::DivisionByZero),
        Just(FailureKind::IntegerOverflow),
        Just(FailureKind::BadConversion),
        Just(FailureKind::BadIndirectCall),
        any::<i32>().prop_map(FailureKind::Explicit),
        Just(FailureKind::OutOfRange),
        Just(FailureKind::WrongInput),
    ]
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    let status = prop_oneof![
        Just(Status::Ok),
        (text(8192), failure()).prop_map(|(node, kind)| Status::Failed { node, kind })
    ];
    let step = (text(8192), key(), checksum()).prop_map(|(label, receipt, outcome)| Step {
        label,
        receipt,
        outcome,
    });
    (status, vec((text(255), key()), 0..4), vec(step, 0..4)).prop_map(|(status, outputs, trace)| {
        Outcome {
            status,
            outputs,
            trace,
        }
    })
}

/// Programs: names are made unique by their position, sources are bent to what stands before.
pub(crate) fn program() -> impl Strategy<Value = Program> {
    let node = (
        proptest::option::of(key()),
        vec(any::<u8>(), 0..20),
        vec((any::<bool>(), any::<Index>()), 0..4),
        any::<bool>(),
        "[a-z./0-9]{1,12}",
    );
    let output = (any::<bool>(), any::<Index>());
    (0usize..4, vec(node, 1..8), vec(output, 1..4)).prop_map(|(inputs, nodes, outputs)| {
        let pick = |(wants_node, index): (bool, Index), nodes: usize| match (
            wants_node && nodes > 0,
            inputs,
        ) {
            (true, _) | (false, 0) if nodes > 0 => Some(Source::Node(
                u32::try_from(index.index(nodes)).expect("few nodes"),
            )),
            (_, 0) => None,
            (_, inputs) => Some(Source::Input(
                u32::try_from(index.index(inputs)).expect("few inputs"),
            )),
        };
        let outputs = outputs.into_iter().enumerate();
        let outputs = outputs
            .filter_map(|(at, wish)| Some((format!("o{at}"), pick(wish, nodes.len())?)))
            .collect();
        let nodes =
            nodes
                .into_iter()
                .enumerate()
                .map(|(at, (module, params, wishes, each, op))| {
                    let inputs: Vec<_> = wishes
                        .into_iter()
                        .filter_map(|wish| pick(wish, at))
                        .collect();
                    Node {
                        name: format!("{at}"),
                        op,
                        module,
                        params,
                        each: each && !inputs.is_empty(),
                        inputs,
                    }
                });
        let names = (0..inputs).map(|at| format!("i{at}")).collect();
        Program::new(names, nodes.collect(), outputs).expect("valid by construction")
    })
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let name = vec(any::<u8>(), 1..30)
        .prop_map(|mut name| {
            name.iter_mut()
                .filter(|byte| matches!(**byte, 0 | b'/'))
                .for_each(|byte| *byte = b'x');
            name
        })
        .prop_filter("not a directory's own name", |name| {
            !matches!(name.as_slice(), b"." | b"..")
        });
    let kind = prop_oneof![
        (key(), any::<u64>()).prop_map(|(key, len)| EntryKind::File { key, len }),
        key().prop_map(|key| EntryKind::Directory { key }),
        vec(any::<u8>(), 0..30).prop_map(|target| EntryKind::Symlink { target }),
    ];
    let special = prop_oneof![
        Just(EntryKind::Fifo),
        Just(EntryKind::Socket),
        any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ];
    let entry = (0..=MODE_MASK, kind, special, any::<bool>(), attributes());
    let own = proptest::option::of((0..=MODE_MASK, attributes()));
    (btree_map(name, entry, 0..6), any::<bool>(), own).prop_map(|(entries, has_attributes, own)| {
        let entries =
            entries
                .into_iter()
                .map(
                    |(name, (mode, kind, special, is_special, attributes))| TreeEntry {
                        name,
                        mode,
                        kind: if has_attributes && is_special {
                            special
                        } else {
                            kind
                        },
                        attributes: has_attributes.then(|| Box::new(attributes)),
                    },
                );
        let own = own
            .filter(|_| has_attributes)
            .map(|(mode, attributes)| Own { mode, attributes });
        Tree::with_own(own, entries.collect()).expect("valid by construction")
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let xattr_name = vec(1..=u8::MAX, 1..10);
    let owner = (any::<u64>(), any::<u64>());
    let mtime = (any::<i64>(), 0..1_000_000_000_u32);
    let xattrs = btree_map(xattr_name, vec(any::<u8>(), 0..10), 0..3);
    (
        owner,
        mtime,
        proptest::option::of(any::<[u8; 16]>()),
        xattrs,
    )
        .prop_map(
            |((uid, gid), (mtime_s, mtime_ns), link, xattrs)| Attributes {
                uid,
                gid,
                mtime_s,
                mtime_ns,
                link,
                xattrs: xattrs.into_iter().collect(),
            },
        )
}

fn origin() -> impl Strategy<Value = Origin> {
    let keys = (
        key(),
        proptest::option::of(key()),
        proptest::option::of(key()),
    );
    (vec(any::<u8>(), 0..40), any::<[u64; 3]>(), keys).prop_map(
        |(name, [to_guid, from_guid, creation], (contents, state, predecessor))| Origin {
            name,
            to_guid,
            from_guid,
            creation,
            contents,
            state,
            predecessor,
        },
    )
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let head = (1..=u64::MAX, commit_hash()).prop_map(|(number, hash)| Head { number, hash });
    (
        btree_map(site(), head, 0..5),
        any::<u64>(),
        proptest::option::of(origin()),
    )
        .prop_map(|(frontier, logseq_max, origin)| Snapshot {
            frontier,
            logseq_max: LogSeq(logseq_max),
            origin: origin.map(Box::new),
        })
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let derived = prop_oneof![
        (proptest::option::of(any::<u32>()), payload())
            .prop_map(|(type_tag, payload)| Content::Artifact { type_tag, payload }),
        (derivation(), payload()).prop_map(|(derivation, payload)| Content::Receipt {
            derivation,
            payload
        }),
        edge().prop_map(Content::Edge),
        reference().prop_map(Content::Ref),
        genesis().prop_map(Content::Genesis),
        admission().prop_map(Content::Admission),
    ];
    prop_oneof![
        6 => derived.prop_map(|content| Record::new(content).expect("its id follows from its content")),
        1 => id().prop_map(Record::tombstone),
        1 => (id(), checksum()).prop_map(|(id, keep)| Record::resolution(id, keep)),
    ]
}

/// What a commit of either version names as the commits before it.
fn history() -> impl Strategy<Value = History> {
    prop_oneof![
        commit_hash().prop_map(History::Previous),
        any::<Bytes32>().prop_map(|root| History::Root(HistoryRoot::from_bytes(root))),
    ]
}

/// A commit and the key that signed it.
pub(crate) fn commit() -> impl Strategy<Value = (Commit, SiteKey)> {
    let position = (1..=u64::MAX, history(), 1..=u64::MAX);
    (
        any::<Bytes32>(),
        position,
        any::<Bytes32>(),
        any::<u64>(),
        vec(commit_hash(), 0..4),
        vec(record(), 1..6),
    )
        .prop_map(
            |(seed, (number, history, logseq), federation, wall_ms, learned, mut records)| {
                let key = SiteKey::from_seed(&seed);
                records.sort_by_key(Record::id);
                records.dedup_by_key(|record| record.id());
                let draft = Draft {
                    number,
                    history: if number == 1 {
                        Chain::default().history_like(&history)
                    } else {
                        history
                    },
                    logseq: LogSeq(logseq),
                    federation: FederationState::from_bytes(federation),
                    wall_ms,
                    learned,
                    records,
                };
                (
                    Commit::seal(draft, &key).expect("valid by construction"),
                    key,
                )
            },
        )
}

pub(crate) fn fork_proof() -> impl Strategy<Value = ForkProof> {
    (commit(), any::<u64>()).prop_map(|((commit, key), wall_ms)| {
        let header = commit.header();
        let other = Draft {
            number: header.number,
            history: header.history,
            logseq: header.logseq,
            federation: header.federation,
            wall_ms: header.wall_ms ^ wall_ms.max(1),
            learned: Vec::new(),
            records: commit.records().to_vec(),
        };
        let other = Commit::seal(other, &key).expect("valid by construction");
        ForkProof::new(header.clone(), other.header().clone()).expect("they differ")
    })
}

pub(crate) fn ticket() -> impl Strategy<Value = Ticket> {
    (
        any::<Bytes32>(),
        site(),
        any::<[u8; 16]>(),
        vec(text(512), 0..4),
    )
        .prop_map(|(federation, inviter, token, addresses)| Ticket {
            federation: FederationId::from_bytes(federation),
            inviter,
            token,
            addresses,
        })
}

pub(crate) fn announcement() -> impl Strategy<Value = Announcement> {
    (any::<[Bytes32; 5]>(), any::<[u64; 2]>()).prop_map(
        |([federation, domain, hash, snapshot, state_root], [number, logseq])| Announcement {
            federation,
            domain,
            number,
            hash,
            logseq,
            snapshot,
            state_root,
        },
    )
}

fn position() -> impl Strategy<Value = Position> {
    (any::<[Bytes32; 3]>(), any::<u64>()).prop_map(|([snapshot, state_root, forks], logseq_max)| {
        Position {
            snapshot,
            logseq_max,
            state_root,
            forks,
        }
    })
}

fn frontier() -> impl Strategy<Value = Response> {
    let head =
        (any::<[Bytes32; 2]>(), any::<u64>()).prop_map(|([domain, hash], number)| WireHead {
            domain,
            number,
            hash,
        });
    let contact =
        (any::<Bytes32>(), text(100)).prop_map(|(site, address)| Contact { site, address });
    (
        position(),
        vec(head, 0..4),
        any::<bool>(),
        vec(contact, 0..3),
    )
        .prop_map(|(position, heads, has_more, contacts)| Response::Frontier {
            position,
            heads,
            has_more,
            contacts,
        })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<Bytes32>(), position(), any::<Option<Bytes32>>()).prop_map(
            |(federation, position, after)| Request::Frontier {
                federation,
                position,
                after
            }
        ),
        (any::<Bytes32>(), any::<Option<Bytes32>>())
            .prop_map(|(federation, after)| Request::Forks { federation, after }),
        (any::<Bytes32>(), vec(any::<Bytes32>(), 0..5)).prop_map(|(federation, domains)| {
            Request::Proofs {
                federation,
                domains,
            }
        }),
        (any::<Bytes32>(), vec(any::<Bytes32>(), 0..5))
            .prop_map(|(federation, sites)| Request::Testimony { federation, sites }),
        (any::<[Bytes32; 3]>(), any::<u64>()).prop_map(
            |([federation, domain, after_hash], after)| Request::Delta {
                federation,
                domain,
                after,
                after_hash
            }
        ),
        (any::<[Bytes32; 2]>(), any::<[u64; 2]>()).prop_map(
            |([federation, checksum], [offset, len_max])| {
                Request::Payload {
                    federation,
                    checksum,
                    offset,
                    len_max,
                }
            }
        ),
        (any::<[Bytes32; 4]>(), any::<u64>()).prop_map(
            |([federation, member, left, right], expires_ms)| {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&left);
                signature[32..].copy_from_slice(&right);
                Request::Read {
                    federation,
                    member,
                    expires_ms,
                    signature,
                }
            }
        ),
        (any::<Bytes32>(), any::<[u8; 16]>(), text(64)).prop_map(|(federation, token, name)| {
            Request::Join {
                federation,
                token,
                name,
            }
        }),
    ]
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    let refusal = prop_oneof![
        Just(Refusal::NotAdmitted),
        Just(Refusal::NotHere),
        Just(Refusal::Forked),
        Just(Refusal::Malformed),
        Just(Refusal::Failed),
    ];
    prop_oneof![
        Just(Response::Welcome),
        frontier(),
        (vec((any::<Bytes32>(), any::<u64>()), 0..4), any::<bool>()).prop_map(
            |(forks, has_more)| {
                let forks = forks
                    .into_iter()
                    .map(|(domain, number)| WireFork { domain, number })
                    .collect();
                Response::Forks { forks, has_more }
            }
        ),
        vec(vec(any::<u8>(), 0..40), 0..3).prop_map(|proofs| Response::Proofs { proofs }),
        vec(vec(any::<u8>(), 0..40), 0..3).prop_map(|commits| Response::Testimony { commits }),
        (vec(vec(any::<u8>(), 0..60), 0..4), any::<u64>()).prop_map(|(commits, commits_left)| {
            Response::Delta {
                commits,
                commits_left,
            }
        }),
        (any::<u64>(), vec(any::<u8>(), 0..100))
            .prop_map(|(total_len, bytes)| Response::Payload { total_len, bytes }),
        any::<[Bytes32; 2]>().prop_map(|[domain, commit]| Response::Admitted { domain, commit }),
        refusal.prop_map(|reason| Response::Refused { reason }),
    ]
}

/// One piece of damage.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Flip(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
    Swap(Index, Index),
    /// Overwrites four bytes: lengths and counts that are too large, off by one, or zero.
    Word(Index, u32),
}

pub(crate) fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let word = prop_oneof![
        Just(0),
        1..4u32,
        Just(65_536),
        Just(65_537),
        Just(u32::MAX),
        any::<u32>()
    ];
    let one = prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Delete),
        1 => any::<Index>().prop_map(Damage::Truncate),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Damage::Swap(one, other)),
        2 => (any::<Index>(), word).prop_map(|(at, word)| Damage::Word(at, word)),
    ];
    vec(one, 1..4)
}

/// Applies damage.
pub(crate) fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        match *one {
            Damage::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Damage::Insert(at, byte) => bytes.insert(at.index(len + 1), byte),
            Damage::Delete(at) => drop(bytes.remove(at.index(len))),
            Damage::Truncate(at) => bytes.truncate(at.index(len)),
            Damage::Swap(one, other) => bytes.swap(one.index(len), other.index(len)),
            Damage::Word(at, word) => {
                let at = at.index(len);
                bytes
                    .iter_mut()
                    .skip(at)
                    .zip(word.to_le_bytes())
                    .for_each(|(byte, new)| *byte = new);
            }
        }
    }
    bytes
}
