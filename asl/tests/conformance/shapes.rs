//! Conflict shapes: in which order sites say what about one id, in the notation of `FORMAT.md`,
//! "What is visible".
//!
//! Words stand in the one order. `A1` is a claim of A by site 1, `rA2` a resolution by site 2 that
//! keeps A, `T3` a tombstone by site 3. Words with one logseq are joined by `=`.

use uor_index_format::commit::Commit;
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId, Checksum};
use uor_index_format::receipt::Derivation;
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};

use super::world::World;

/// About receipts, whose claims can differ.
pub(crate) const RECEIPTS: [&str; 74] = [
    // One claim, or none.
    "A1",
    "A1 A2",
    "A1 A2 A3",
    "A1 A1",
    "A1 A1 A1 A2",
    "T1",
    "rA1",
    "rA1 rB2",
    "A1 T2",
    "T1 A2",
    "A1 T1 A2",
    "A1 T2 T3",
    // Two and three.
    "A1 B2",
    "B1 A2",
    "A2 B1",
    "A1 B1",
    "A1 B1 C1",
    "A1 B2 C3",
    "C3 B2 A1",
    "A1 B2 A3",
    "A1 B2 B3",
    "B1 A2 A3",
    "A1 B2 C3 C1",
    "A1 A1 B2",
    "A1 A1 A1 B2 B3",
    "A1 B1 B2 A3",
    "A1 A2 B3 B1",
    "B3 A1 A2 B1",
    "A1 B2 C3 C2 B1 A2",
    // At one logseq.
    "A1=B2",
    "B1=A2",
    "A1=B2=B3",
    "B1=A2=A3",
    "A1=T2",
    "T1=A2",
    "A1=T2=B3",
    "T1=A2=B3",
    "A1 T1=B2",
    "A1 B2=T3 C1",
    // Tombstones between.
    "A1 T2 B3",
    "A1 B2 T3",
    "A1 B2 T3 B1",
    "A1 B2 T3 A1 B2",
    "A1 B2 B3 T1 A1 B2",
    "A1 B2 T3 T1 B1 C2",
    // Resolutions, before and after dissent.
    "A1 B2 rA3",
    "A1 B2 rB1",
    "A1 B2 B3 rA1",
    "A1 B2 rB1 A3",
    "A1 B2 rB1 B3",
    "A1 B2 rB1 C3",
    "A1 B2 rB1 A3 rA2",
    "A1 B2 rB1 A3 rB1",
    "A1 rA1 B2",
    "A1 rA2 A3",
    "rB1 A1 B2",
    "A1 rB2 B3",
    "A1 rB2 B3 A1",
    "A1 B2 A3 B1 rB2 A3 C1",
    // Two resolutions, and at one logseq.
    "A1 B2 rA1 rB2",
    "A1 B2 rB1 rA2",
    "A1 B2 rA1=rB2",
    "A1 B2 rB1=rA2",
    "A1 B2=rB1",
    "A1 rA1=B2",
    "A1 B1=rA2",
    // Of what nobody claims, or not yet.
    "A1 B2 rC3",
    "A1 B2 rA1 rC2",
    "A1 B2 rC3 C1",
    "A1 B2 rC1 C2 A3",
    "A1 rC2",
    // Shadowed with the claims.
    "A1 B2 rB3 T1",
    "A1 B2 rB3 T1 A2 B3",
    "rA1 T2 A3 B1",
];

/// About refs, edges and artifacts: nothing conflicts, the last stands or the first.
pub(crate) const OTHERS: [&str; 14] = [
    "A1",
    "A1 A2",
    "A1 B2",
    "B1 A2",
    "A1 B2 A3",
    "A1=B2",
    "B1=A2",
    "A1=B2=C3",
    "A1 T2",
    "A1=T2",
    "T1=A2",
    "A1 T2 B3",
    "A1 B2 rA3",
    "A1 B2 rB1 C2 T3 A1",
];

/// What the words of a shape are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Receipt,
    Ref,
    Edge,
    Artifact,
}

/// A shape about one id.
pub(crate) struct Shape {
    pub(crate) text: &'static str,
    about: About,
    index: u8,
}

impl Shape {
    pub(crate) fn all(texts: &[&'static str], about: About) -> Vec<Self> {
        (0..)
            .zip(texts)
            .map(|(index, text)| Self { text, about, index })
            .collect()
    }

    pub(crate) fn id(&self) -> CanonicalId {
        self.claim('A').id()
    }

    fn rounds(&self) -> Vec<&'static str> {
        self.text.split(' ').collect()
    }

    /// The records of a round, each with the site that writes it.
    fn round(&self, round: usize) -> Vec<(usize, Record)> {
        self.rounds().get(round).map_or_else(Vec::new, |words| {
            words.split('=').map(|word| self.word(word)).collect()
        })
    }

    fn word(&self, word: &str) -> (usize, Record) {
        let (what, site) = word.split_at(word.len() - 1);
        let record = match what {
            "T" => Record::tombstone(self.id()),
            "A" | "B" | "C" => self.claim(what.chars().next().unwrap()),
            keep => Record::resolution(
                self.id(),
                self.claim(keep.chars().nth(1).unwrap()).payload().checksum,
            ),
        };
        (site.parse().unwrap(), record)
    }

    fn claim(&self, letter: char) -> Record {
        let letter = u8::try_from(letter).unwrap();
        let named = ArtifactKey::from_bytes([self.index; 32]);
        match self.about {
            About::Receipt => {
                let derivation = Derivation {
                    program: named,
                    inputs: vec![],
                    params: vec![],
                    profile: "conformance/1".to_owned(),
                };
                Record::receipt(
                    derivation,
                    Payload {
                        checksum: Checksum::of(&[letter]),
                        len: 1,
                    },
                )
            }
            About::Ref => Record::reference(RefAssignment {
                namespace: NAMESPACE_USER.to_owned(),
                name: format!("shape-{}", self.index),
                target: ArtifactKey::from_bytes([letter; 32]),
            }),
            About::Edge => Record::edge(Edge {
                edge_type: "used".to_owned(),
                from: vec![Endpoint::Artifact(named)],
                to: vec![Endpoint::Artifact(named)],
                role: [Role::From, Role::To, Role::Both][usize::from(letter - b'A')],
                attribute: None,
            }),
            // Another payload would be another artifact: all letters say the same.
            About::Artifact => {
                Record::artifact(Some(u32::from(self.index)), Payload::of(b"the same"))
            }
        }
    }
}

/// The commits of these shapes: round by round, each round at one logseq, from `first` on. Of each
/// round they come in descending order of the sites, so that arrival is not the one order.
pub(crate) fn write(world: &mut World, shapes: &[Shape], first: u64) -> Vec<Commit> {
    let rounds = shapes
        .iter()
        .map(|shape| shape.rounds().len())
        .max()
        .unwrap_or(0);
    let mut commits = Vec::new();
    for round in 0..rounds {
        let records: Vec<(usize, Record)> =
            shapes.iter().flat_map(|shape| shape.round(round)).collect();
        for site in [3, 2, 1] {
            let own: Vec<Record> = records
                .iter()
                .filter(|(by, _)| *by == site)
                .map(|(_, record)| record.clone())
                .collect();
            if !own.is_empty() {
                commits.push(world.write(site, first + round as u64, own));
            }
        }
    }
    commits
}
