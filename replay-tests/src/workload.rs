//! What sites write: few ids, so that sites collide, and every kind of record.

use uor_asl::store::Store;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, SiteId};
use uor_index_format::receipt::{Derivation, Outcome, Status};
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};

use crate::random::Random;

fn target(random: &mut Random) -> ArtifactKey {
    ArtifactKey::from_bytes([u8::try_from(random.below(4)).unwrap_or_default(); 32])
}

fn derivation(random: &mut Random) -> Derivation {
    Derivation {
        program: target(random),
        inputs: vec![target(random)],
        params: vec![],
        profile: "test/1".to_owned(),
    }
}

fn edge(random: &mut Random, site: SiteId) -> Edge {
    let role = [Role::From, Role::To, Role::Both][random.index(3)];
    let attribute = random.percent(30).then(|| target(random));
    let from = vec![Endpoint::Artifact(target(random))];
    Edge {
        edge_type: "used".to_owned(),
        from,
        to: vec![Endpoint::Site(site)],
        role,
        attribute,
    }
}

fn reference(random: &mut Random) -> RefAssignment {
    let name = format!("data/{}", random.below(3));
    RefAssignment {
        namespace: NAMESPACE_USER.to_owned(),
        name,
        target: target(random),
    }
}

/// A payload that is now in the store's blocks: short mostly, sometimes of several parts.
fn payload(random: &mut Random, store: &Store) -> Option<Payload> {
    let len = if random.percent(3) {
        1_500_000
    } else {
        random.below(300)
    };
    let mut byte = Random::new(random.below(20));
    let bytes: Vec<u8> = (0..len)
        .map(|_| u8::try_from(byte.next() >> 56).unwrap_or_default())
        .collect();
    store.blocks().put_bytes(&bytes).ok().map(|stats| Payload {
        checksum: stats.checksum,
        len,
    })
}

/// The outcome that an honest or a lying site claims.
fn outcome(random: &mut Random, store: &Store) -> Option<Payload> {
    let outputs = vec![("out".to_owned(), target(random))];
    let outcome = Outcome {
        status: Status::Ok,
        outputs,
        trace: vec![],
    }
    .encode();
    let stats = store.blocks().put_bytes(&outcome).ok()?;
    Some(Payload {
        checksum: stats.checksum,
        len: outcome.len() as u64,
    })
}

/// A few records for one commit, each id once; `None` if the disk failed.
pub fn records(random: &mut Random, store: &Store, site: SiteId) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..=random.below(4) {
        records.push(match random.below(9) {
            0 | 1 => Record::artifact(random.percent(40).then_some(7), payload(random, store)?),
            2 | 3 => Record::receipt(derivation(random), outcome(random, store)?),
            4 => Record::edge(edge(random, site)),
            5 => Record::reference(reference(random)),
            6 => Record::tombstone(reference(random).id()),
            7 => Record::tombstone(derivation(random).receipt_key().into()),
            _ => Record::resolution(
                derivation(random).receipt_key().into(),
                outcome(random, store)?.checksum,
            ),
        });
    }
    records.sort_by_key(Record::id);
    records.dedup_by_key(|record| record.id());
    Some(records)
}
