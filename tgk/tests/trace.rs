//! Graph and trace against a model that knows nothing but the rules: which record of an edge
//! stands, and how far things are.

#[path = "../../asl/tests/lone/mod.rs"]
mod lone;

use std::collections::{BTreeMap, BTreeSet};

use lone::Lone;
use proptest::collection::vec;
use proptest::prelude::*;
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, Draft};
use uor_index_format::edge::{Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId, CommitHash, FederationState, LogSeq};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::Record;
use uor_index_format::snapshot::{Head, Snapshot};
use uor_tgk::graph::Graph;
use uor_tgk::trace::{Direction, Trace, trace};

const DOMAINS: u8 = 3;
const ENDS: u8 = 6;

/// What one commit says.
#[derive(Debug, Clone)]
enum Say {
    Edge(Edge),
    Remove(Edge),
}

impl Say {
    fn record(&self) -> Record {
        match self {
            Self::Edge(edge) => Record::edge(edge.clone()),
            Self::Remove(edge) => Record::tombstone(edge.id()),
        }
    }
}

fn end(number: u8) -> Endpoint {
    match number {
        // One of the ends is a site: traces go through them alike.
        0 => Endpoint::Site(SiteKey::from_seed(&[0; 32]).site_id()),
        number => Endpoint::Artifact(ArtifactKey::from_bytes([number; 32])),
    }
}

fn ends() -> impl Strategy<Value = Vec<Endpoint>> {
    vec(0..ENDS, 1..4).prop_map(|numbers| numbers.into_iter().map(end).collect())
}

fn edges() -> impl Strategy<Value = Edge> {
    let role = prop_oneof![Just(Role::From), Just(Role::To), Just(Role::Both)];
    ("[ab]", ends(), ends(), role).prop_map(|(edge_type, from, to, role)| Edge {
        edge_type,
        from,
        to,
        role,
        attribute: None,
    })
}

/// Commits in the order of each domain: domain, logseq, what it says. Few different edges, so that
/// they meet.
fn histories() -> impl Strategy<Value = Vec<(u8, u64, Say)>> {
    let pool = vec(edges(), 1..8);
    let script = vec(
        (
            0..DOMAINS,
            0u64..3,
            any::<prop::sample::Index>(),
            prop::bool::weighted(0.25),
        ),
        0..24,
    );
    (pool, script).prop_map(|(pool, script)| {
        let mut logseqs = [0; DOMAINS as usize];
        let say = |(domain, step, index, remove): (u8, u64, prop::sample::Index, bool)| {
            logseqs[usize::from(domain)] += 1 + step;
            let edge = index.get(&pool).clone();
            let say = if remove {
                Say::Remove(edge)
            } else {
                Say::Edge(edge)
            };
            (domain, logseqs[usize::from(domain)], say)
        };
        script.into_iter().map(say).collect()
    })
}

fn commits(history: &[(u8, u64, Say)]) -> Vec<Commit> {
    let mut heads: BTreeMap<u8, Head> = BTreeMap::new();
    let seal = |(domain, logseq, say): &(u8, u64, Say)| {
        let head = heads.get(domain).copied().unwrap_or(Head {
            number: 0,
            hash: CommitHash::NONE,
        });
        let draft = Draft {
            number: head.number + 1,
            history: History::Previous(head.hash),
            logseq: LogSeq(*logseq),
            federation: FederationState::of([]),
            wall_ms: 0,
            learned: Vec::new(),
            records: vec![say.record()],
        };
        let commit =
            Commit::seal(draft, &SiteKey::from_seed(&[*domain; 32])).expect("a sound draft");
        heads.insert(
            *domain,
            Head {
                number: commit.header().number,
                hash: commit.hash(),
            },
        );
        commit
    };
    history.iter().map(seal).collect()
}

fn state<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Lone {
    Lone::of(ConflictRule::First, commits)
}

/// The visible edges by the rules alone: of the records of one id, the last in the one order.
fn model(commits: &[Commit], at: &Snapshot) -> BTreeMap<Place, Edge> {
    let mut last: BTreeMap<CanonicalId, (Place, Option<Edge>)> = BTreeMap::new();
    for commit in commits {
        let header = commit.header();
        let frontier = at
            .frontier
            .get(&header.domain)
            .map_or(0, |head| head.number);
        if header.number > frontier || header.logseq > at.logseq_max {
            continue;
        }
        for record in commit.records() {
            let edge = match record.content() {
                uor_index_format::record::Content::Edge(edge) => Some(edge.clone()),
                _ => None,
            };
            let said = (commit.place(record), edge);
            let known = last.entry(record.id()).or_insert_with(|| said.clone());
            if said.0 > known.0 {
                *known = said;
            }
        }
    }
    last.into_values()
        .filter_map(|(place, edge)| Some((place, edge?)))
        .collect()
}

/// How far everything is, by relaxing every edge until nothing changes.
fn distances(
    edges: &BTreeMap<Place, Edge>,
    start: Endpoint,
    direction: Direction,
) -> BTreeMap<Endpoint, u32> {
    let mut distances = BTreeMap::from([(start, 0)]);
    loop {
        let before = distances.clone();
        for edge in edges.values() {
            let near = direction
                .near(edge)
                .iter()
                .filter_map(|end| distances.get(end))
                .min()
                .copied();
            for far in direction.far(edge) {
                if let Some(near) = near {
                    let known = distances.entry(*far).or_insert(u32::MAX);
                    *known = (*known).min(near + 1);
                }
            }
        }
        if distances == before {
            return distances;
        }
    }
}

fn check(
    trace: &Trace,
    edges: &BTreeMap<Place, Edge>,
    depth_max: Option<u32>,
) -> Result<(), TestCaseError> {
    let (start, direction) = (trace.start, trace.direction);
    let far = distances(edges, start, direction);
    let is_near = |depth: &u32| depth_max.is_none_or(|max| *depth <= max);
    let expected: BTreeMap<_, _> = far
        .iter()
        .filter(|(_, depth)| is_near(depth))
        .map(|(end, depth)| (*end, *depth))
        .collect();
    let reached: BTreeMap<_, _> = trace
        .reached
        .iter()
        .map(|reached| (reached.endpoint, reached.depth))
        .collect();
    prop_assert_eq!(&reached, &expected);
    prop_assert_eq!(trace.reached.len(), reached.len(), "each endpoint once");
    prop_assert!(trace.reached.is_sorted_by_key(|reached| reached.depth));

    let mut expected = BTreeMap::new();
    let mut beyond = false;
    for (place, edge) in edges {
        let Some(near) = direction
            .near(edge)
            .iter()
            .filter_map(|end| far.get(end))
            .min()
        else {
            continue;
        };
        if is_near(&(near + 1)) {
            expected.insert(*place, (edge.clone(), near + 1));
        } else {
            beyond |= is_near(near);
        }
    }
    let followed: BTreeMap<_, _> = trace
        .followed
        .iter()
        .map(|it| (it.place, (it.edge.clone(), it.depth)))
        .collect();
    prop_assert_eq!(&followed, &expected);
    prop_assert_eq!(trace.followed.len(), followed.len(), "each edge once");
    prop_assert!(trace.followed.is_sorted_by_key(|followed| followed.depth));
    prop_assert_eq!(trace.is_cut, beyond);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Which edges there are, at any snapshot; both adjacencies hold exactly those.
    #[test]
    fn the_graph_is_what_stands(history in histories(), logseq_max in 0u64..40, cut in 0u64..10) {
        let commits = commits(&history);
        let state = state(&commits);
        let mut at = state.head();
        at.logseq_max = LogSeq(logseq_max.min(at.logseq_max.0));
        at.frontier.values_mut().take(1).for_each(|head| head.number = head.number.min(cut.max(1)));
        let expected = model(&commits, &at);
        let graph = Graph::at(&state, &at).unwrap();
        let got: Vec<_> = graph.edges().iter().map(|placed| (placed.place, placed.edge.clone())).collect();
        prop_assert_eq!(got, expected.clone().into_iter().collect::<Vec<_>>());
        for end in (0..ENDS).map(end) {
            let on = |side: fn(&Edge) -> &Vec<Endpoint>| -> Vec<Place> {
                expected.iter().filter(|(_, edge)| side(edge).contains(&end)).map(|(place, _)| *place).collect()
            };
            let starting: Vec<Place> = graph.starting_at(&end).map(|placed| placed.place).collect();
            let ending: Vec<Place> = graph.ending_at(&end).map(|placed| placed.place).collect();
            let touching: Vec<Place> = graph.touching(&end).map(|placed| placed.place).collect();
            prop_assert_eq!(&starting, &on(|edge| &edge.from));
            prop_assert_eq!(&ending, &on(|edge| &edge.to));
            let both: BTreeSet<Place> = starting.into_iter().chain(ending).collect();
            prop_assert_eq!(touching, both.into_iter().collect::<Vec<_>>());
        }
    }

    /// What a trace reaches and follows, how deep, in both directions, with and without a bound, as
    /// of any snapshot.
    #[test]
    fn a_trace_reaches_what_the_model_reaches(
        history in histories(),
        start in (0..ENDS).prop_map(end),
        logseq_max in 0u64..40,
        depth_max in prop::option::of(0u32..4),
    ) {
        let commits = commits(&history);
        let state = state(&commits);
        let mut at = state.head();
        at.logseq_max = LogSeq(logseq_max);
        let edges = model(&commits, &at);
        let graph = Graph::at(&state, &at).unwrap();
        for direction in [Direction::Up, Direction::Down] {
            check(&trace(&graph, start, direction, depth_max), &edges, depth_max)?;
        }
    }

    /// Arrival order means nothing: domains one after the other give the trace that interleaved
    /// domains give.
    #[test]
    fn a_trace_does_not_depend_on_arrival(history in histories(), start in (0..ENDS).prop_map(end)) {
        let interleaved = commits(&history);
        let mut by_domain = interleaved.clone();
        by_domain.sort_by_key(|commit| commit.header().domain);
        let (one, other) = (state(&interleaved), state(&by_domain));
        let at = one.head();
        prop_assert_eq!(&at, &other.head());
        for direction in [Direction::Up, Direction::Down] {
            let traces = [&one, &other].map(|state| trace(&Graph::at(state, &at).unwrap(), start, direction, None));
            prop_assert_eq!(&traces[0], &traces[1]);
        }
    }
}
