//! What something came from, and what came from it: a walk along visible edges.
//!
//! Breadth first; edges are taken in the one order and their endpoints in the writer's, so the
//! answer is a function of the visible edges alone. Every endpoint and every edge occurs once, at
//! the least depth it can be reached, so cycles end.

use std::collections::{BTreeSet, VecDeque};

use uor_index_format::edge::{Edge, Endpoint};
use uor_index_format::order::Place;

use crate::graph::Graph;

/// Which way a trace goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Towards what it came from: from an edge's `to` to its `from`.
    Up,
    /// Towards what came from it: from an edge's `from` to its `to`.
    Down,
}

impl Direction {
    /// The word used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The side of an edge a trace comes from.
    pub fn near(self, edge: &Edge) -> &[Endpoint] {
        match self {
            Self::Up => &edge.to,
            Self::Down => &edge.from,
        }
    }

    /// The side of an edge a trace goes to.
    pub fn far(self, edge: &Edge) -> &[Endpoint] {
        match self {
            Self::Up => &edge.from,
            Self::Down => &edge.to,
        }
    }
}

/// An endpoint that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How many edges lie between the start and it, at least.
    pub depth: u32,
}

/// An edge that was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Where the record that stands for it is in the one order; its id is the edge's.
    pub place: Place,
    /// The edge, whole: endpoints on its near side need not have been reached.
    pub edge: Edge,
    /// Depth of the endpoints it leads to, unless they are reached by fewer edges.
    pub depth: u32,
}

/// Everything that was reached and followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Where it starts.
    pub start: Endpoint,
    /// Which way it goes.
    pub direction: Direction,
    /// The start and everything reached from it, nearest first.
    pub reached: Vec<Reached>,
    /// The edges followed, nearest first.
    pub followed: Vec<Followed>,
    /// Whether there is more beyond the deepest level that was asked for.
    pub is_cut: bool,
}

/// Walks from `start`, over at most `depth_max` edges in a row (any number, if `None`).
pub fn trace(
    graph: &Graph,
    start: Endpoint,
    direction: Direction,
    depth_max: Option<u32>,
) -> Trace {
    let mut walk = Walk {
        trace: Trace {
            start,
            direction,
            reached: Vec::new(),
            followed: Vec::new(),
            is_cut: false,
        },
        seen: BTreeSet::new(),
        taken: BTreeSet::new(),
        queue: VecDeque::new(),
    };
    walk.reach(start, 0);
    while let Some(Reached { endpoint, depth }) = walk.queue.pop_front() {
        walk.leave(graph, endpoint, depth, depth_max);
    }
    walk.trace
}

struct Walk {
    trace: Trace,
    seen: BTreeSet<Endpoint>,
    taken: BTreeSet<Place>,
    queue: VecDeque<Reached>,
}

impl Walk {
    fn reach(&mut self, endpoint: Endpoint, depth: u32) {
        if self.seen.insert(endpoint) {
            self.trace.reached.push(Reached { endpoint, depth });
            self.queue.push_back(Reached { endpoint, depth });
        }
    }

    fn leave(&mut self, graph: &Graph, endpoint: Endpoint, depth: u32, depth_max: Option<u32>) {
        let direction = self.trace.direction;
        let edges: Vec<_> = match direction {
            Direction::Up => graph.ending_at(&endpoint).collect(),
            Direction::Down => graph.starting_at(&endpoint).collect(),
        };
        for placed in edges {
            if self.taken.contains(&placed.place) {
                continue;
            }
            if depth_max.is_some_and(|max| depth >= max) {
                self.trace.is_cut = true;
                return;
            }
            self.taken.insert(placed.place);
            self.trace.followed.push(Followed {
                place: placed.place,
                edge: placed.edge.clone(),
                depth: depth + 1,
            });
            direction
                .far(&placed.edge)
                .iter()
                .for_each(|far| self.reach(*far, depth + 1));
        }
    }
}
