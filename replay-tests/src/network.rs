//! The virtual network: links that carry announcements, questions and answers with delay,
//! reordering, duplication and loss, and that can be cut.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An announcement.
    Announcement(Vec<u8>),
    /// A question, under the asker's id for it.
    Request(u64, Vec<u8>),
    /// The answer to the question with this id.
    Response(u64, Vec<u8>),
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Who sent it.
    pub from: usize,
    /// Who gets it.
    pub to: usize,
    /// Of which connection between the two: what belongs to an earlier one is lost.
    pub connection: u64,
    /// What it is.
    pub message: Message,
}

/// How bad the network is, in times out of a hundred.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// A message is lost.
    pub loss: u64,
    /// An announcement comes twice.
    pub duplication: u64,
    /// Longest delay of a message, in milliseconds; different delays reorder.
    pub delay_ms_max: u64,
}

/// All links between all nodes.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    under_way: BTreeMap<(u64, u64), Parcel>,
    sent: u64,
    connections: BTreeMap<(usize, usize), u64>,
    connected: BTreeSet<(usize, usize)>,
    cuts: BTreeSet<(usize, usize)>,
    /// How many messages were lost: a test of loss proves that there was some.
    pub lost: u64,
    /// How many connections were cut.
    pub cut_connections: u64,
}

fn link(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Network {
    /// A network without connections.
    pub const fn new(weather: Weather) -> Self {
        Self {
            weather,
            under_way: BTreeMap::new(),
            sent: 0,
            connections: BTreeMap::new(),
            connected: BTreeSet::new(),
            cuts: BTreeSet::new(),
            lost: 0,
            cut_connections: 0,
        }
    }

    /// From now on nothing is lost or slow.
    pub const fn clear_up(&mut self) {
        self.weather = Weather {
            loss: 0,
            duplication: 0,
            delay_ms_max: 5,
        };
    }

    /// Connects two nodes; says whether that is new.
    pub fn connect(&mut self, a: usize, b: usize) -> bool {
        if a == b || self.cuts.contains(&link(a, b)) || !self.connected.insert(link(a, b)) {
            return false;
        }
        *self.connections.entry(link(a, b)).or_default() += 1;
        true
    }

    /// Whether two nodes are connected.
    pub fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connected.contains(&link(a, b))
    }

    /// Closes a connection; says whether there was one.
    pub fn disconnect(&mut self, a: usize, b: usize) -> bool {
        self.connected.remove(&link(a, b))
    }

    /// Cuts the cable between two nodes; says whether a connection was closed by it.
    pub fn cut(&mut self, a: usize, b: usize) -> bool {
        self.cuts.insert(link(a, b));
        let closed = self.disconnect(a, b);
        self.cut_connections += u64::from(closed);
        closed
    }

    /// Mends every cable.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Nodes connected with `node`.
    pub fn neighbours(&self, node: usize) -> Vec<usize> {
        let other = |&(a, b): &(usize, usize)| {
            if a == node {
                Some(b)
            } else {
                (b == node).then_some(a)
            }
        };
        self.connected.iter().filter_map(other).collect()
    }

    /// Sends a message over the connection that is open now.
    pub fn send(
        &mut self,
        from: usize,
        to: usize,
        message: Message,
        now_ms: u64,
        random: &mut Random,
    ) {
        let Some(&connection) = self
            .connections
            .get(&link(from, to))
            .filter(|_| self.is_connected(from, to))
        else {
            self.lost += 1;
            return;
        };
        let copies = match message {
            Message::Announcement(_) if random.percent(self.weather.duplication) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            if random.percent(self.weather.loss) {
                self.lost += 1;
                continue;
            }
            self.sent += 1;
            let at = now_ms + 1 + random.below(self.weather.delay_ms_max);
            self.under_way.insert(
                (at, self.sent),
                Parcel {
                    from,
                    to,
                    connection,
                    message: message.clone(),
                },
            );
        }
    }

    /// The next parcel that arrives at or before `now_ms`.
    pub fn arrive(&mut self, now_ms: u64) -> Option<Parcel> {
        loop {
            let (&key, _) = self
                .under_way
                .first_key_value()
                .filter(|((at, _), _)| *at <= now_ms)?;
            let parcel = self.under_way.remove(&key)?;
            let pair = link(parcel.from, parcel.to);
            if self.connected.contains(&pair)
                && self.connections.get(&pair) == Some(&parcel.connection)
            {
                return Some(parcel);
            }
            self.lost += 1;
        }
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }
}
