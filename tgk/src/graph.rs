//! The edges that are visible at a snapshot, with both adjacencies.

use std::collections::{BTreeMap, BTreeSet};

use uor_asl::state::{Filter, ReadError, State};
use uor_index_format::edge::{Edge, Endpoint};
use uor_index_format::order::Place;
use uor_index_format::record::{Content, Kind};
use uor_index_format::snapshot::Snapshot;

/// An edge with the place of its effective record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedEdge {
    /// Where that record stands in the one order.
    pub place: Place,
    /// The edge.
    pub edge: Edge,
}

/// The graph at a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// In the one order.
    edges: Vec<PlacedEdge>,
    /// Indices of the edges that start at an endpoint, ascending.
    starting: BTreeMap<Endpoint, Vec<usize>>,
    /// Indices of the edges that end at an endpoint, ascending.
    ending: BTreeMap<Endpoint, Vec<usize>>,
}

impl Graph {
    /// The graph of what is visible at a snapshot: shadowed and tombstoned edges are not in it.
    ///
    /// # Errors
    /// [`ReadError`] if the state cannot be read.
    pub fn at(state: &State, snapshot: &Snapshot) -> Result<Self, ReadError> {
        let mut edges = Vec::new();
        for visible in state.visible(snapshot, &Filter::kind(Kind::Edge)) {
            let Some(version) = visible?.version else {
                continue;
            };
            if let Content::Edge(edge) = version.record.content() {
                edges.push(PlacedEdge {
                    place: version.place,
                    edge: edge.clone(),
                });
            }
        }
        Ok(Self::of(edges))
    }

    fn of(mut edges: Vec<PlacedEdge>) -> Self {
        edges.sort_by_key(|placed| placed.place);
        let (mut starting, mut ending) = (BTreeMap::new(), BTreeMap::new());
        for (index, placed) in edges.iter().enumerate() {
            touch(&mut starting, &placed.edge.from, index);
            touch(&mut ending, &placed.edge.to, index);
        }
        Self {
            edges,
            starting,
            ending,
        }
    }

    /// All edges, in the one order.
    pub fn edges(&self) -> &[PlacedEdge] {
        &self.edges
    }

    /// Edges whose `from` holds this endpoint, in the one order.
    pub fn starting_at(&self, endpoint: &Endpoint) -> impl Iterator<Item = &PlacedEdge> {
        self.listed(self.starting.get(endpoint))
    }

    /// Edges whose `to` holds this endpoint, in the one order.
    pub fn ending_at(&self, endpoint: &Endpoint) -> impl Iterator<Item = &PlacedEdge> {
        self.listed(self.ending.get(endpoint))
    }

    /// Edges that touch this endpoint on either side, each once, in the one order.
    pub fn touching(&self, endpoint: &Endpoint) -> impl Iterator<Item = &PlacedEdge> {
        let sides = [self.starting.get(endpoint), self.ending.get(endpoint)];
        let indices: BTreeSet<usize> = sides.into_iter().flatten().flatten().copied().collect();
        indices
            .into_iter()
            .filter_map(|index| self.edges.get(index))
    }

    fn listed(&self, indices: Option<&Vec<usize>>) -> impl Iterator<Item = &PlacedEdge> {
        indices
            .into_iter()
            .flatten()
            .filter_map(|index| self.edges.get(*index))
    }
}

/// Notes the edge at each of its endpoints once, though an endpoint may stand twice on one side.
fn touch(adjacency: &mut BTreeMap<Endpoint, Vec<usize>>, side: &[Endpoint], index: usize) {
    for endpoint in side {
        let indices = adjacency.entry(*endpoint).or_default();
        if indices.last() != Some(&index) {
            indices.push(index);
        }
    }
}
