//! Who may be connected, and for how long: a table that decides, and does nothing.
//!
//! A connection proves the peer's key, so its class is known before it carries a byte. Members have
//! places that no stranger can take. Strangers have few, each for a short time: enough to show a
//! ticket or a credential. Guests are strangers that the owner lets stay for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libp2p::swarm::ConnectionId;

use super::key::SiteKey;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of members.
    pub members: u32,
    /// Of these, connections that members have opened: the others are for those that this site
    /// opens.
    pub members_inbound: u32,
    /// Connections of strangers that the owner lets stay.
    pub guests: u32,
    /// Connections of all other strangers.
    pub strangers: u32,
}

/// Connections of one peer. Two sites that dial each other at the same time open two; a third lets
/// a peer return whose old connection has not yet been given up.
const PER_PEER_MAX: usize = 3;
/// How long a stranger may stay, in milliseconds.
pub(super) const STRANGER_MS_MAX: u64 = 10_000;
/// How long a stranger may stay if others want its place.
const STRANGER_MS_MIN: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Member,
    Guest,
    Stranger,
}

/// What becomes of a connection that has proven its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// Admit it, and close this one.
    InPlaceOf(ConnectionId),
    Refuse(Full),
}

/// Why a connection was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("this peer has {PER_PEER_MAX} connections already")]
    Peer,
    #[error("members have {open} connections already, the most there may be")]
    Members { open: usize },
    #[error("peers that are not members have {open} connections already, the most there may be")]
    Strangers { open: usize },
}

#[derive(Debug, Clone, Copy)]
struct Line {
    peer: SiteKey,
    is_outbound: bool,
    /// Since when it is here; for one that was a member until now, since then.
    since_ms: u64,
}

/// Everyone who is connected.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    members: Arc<BTreeSet<SiteKey>>,
    guests: BTreeMap<SiteKey, u64>,
    open: BTreeMap<ConnectionId, Line>,
}

impl Places {
    pub(super) fn new(limits: Limits, members: Arc<BTreeSet<SiteKey>>) -> Self {
        Self {
            limits,
            members,
            guests: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn is_member(&self, peer: &SiteKey) -> bool {
        self.members.contains(peer)
    }

    pub(super) fn is_stranger(&self, peer: &SiteKey, now_ms: u64) -> bool {
        self.class(peer, now_ms) == Class::Stranger
    }

    fn class(&self, peer: &SiteKey, now_ms: u64) -> Class {
        if self.members.contains(peer) {
            Class::Member
        } else if self
            .guests
            .get(peer)
            .is_some_and(|until_ms| now_ms < *until_ms)
        {
            Class::Guest
        } else {
            Class::Stranger
        }
    }

    /// Connections of a class, with how they came about and since when they are here.
    fn of(&self, class: Class, now_ms: u64) -> impl Iterator<Item = (&ConnectionId, &Line)> {
        self.open
            .iter()
            .filter(move |(_, line)| self.class(&line.peer, now_ms) == class)
    }

    /// Whether a connection that has just proven this key may stay.
    pub(super) fn decide(&self, peer: &SiteKey, is_outbound: bool, now_ms: u64) -> Verdict {
        if self.open.values().filter(|line| line.peer == *peer).count() >= PER_PEER_MAX {
            return Verdict::Refuse(Full::Peer);
        }
        match self.class(peer, now_ms) {
            Class::Member => self.decide_member(is_outbound, now_ms),
            Class::Guest | Class::Stranger => self.decide_stranger(now_ms),
        }
    }

    /// A member whose class is full takes the second place of another.
    fn decide_member(&self, is_outbound: bool, now_ms: u64) -> Verdict {
        let open = self.of(Class::Member, now_ms).count();
        let inbound = self
            .of(Class::Member, now_ms)
            .filter(|(_, line)| !line.is_outbound)
            .count();
        let has_room = is_outbound || inbound < self.limits.members_inbound as usize;
        if has_room && open < self.limits.members as usize {
            return Verdict::Admit;
        }
        let mut seen = BTreeSet::new();
        let second = self
            .of(Class::Member, now_ms)
            .find(|(_, line)| !seen.insert(line.peer));
        second.map_or(Verdict::Refuse(Full::Members { open }), |(id, _)| {
            Verdict::InPlaceOf(*id)
        })
    }

    /// A stranger whose class is full takes the place of the one that has been here longest, if
    /// that had its time.
    fn decide_stranger(&self, now_ms: u64) -> Verdict {
        let open = self.of(Class::Stranger, now_ms).count();
        if open < self.limits.strangers as usize {
            return Verdict::Admit;
        }
        let longest = self
            .of(Class::Stranger, now_ms)
            .min_by_key(|(id, line)| (line.since_ms, **id));
        match longest.filter(|(_, line)| now_ms >= line.since_ms + STRANGER_MS_MIN) {
            Some((id, _)) => Verdict::InPlaceOf(*id),
            None => Verdict::Refuse(Full::Strangers { open }),
        }
    }

    pub(super) fn opened(
        &mut self,
        id: ConnectionId,
        peer: SiteKey,
        is_outbound: bool,
        now_ms: u64,
    ) {
        self.open.insert(
            id,
            Line {
                peer,
                is_outbound,
                since_ms: now_ms,
            },
        );
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.open.remove(&id);
    }

    /// From now on, these are the members. Who is none any more has a stranger's time left.
    pub(super) fn trust(&mut self, members: Arc<BTreeSet<SiteKey>>, now_ms: u64) {
        for line in self
            .open
            .values_mut()
            .filter(|line| self.members.contains(&line.peer))
        {
            if !members.contains(&line.peer) {
                line.since_ms = now_ms;
            }
        }
        self.members = members;
    }

    /// Lets a stranger stay, if there is room; otherwise it keeps a stranger's time.
    pub(super) fn let_stay(&mut self, peer: SiteKey, for_ms: u64, now_ms: u64) {
        self.guests.retain(|_, until_ms| now_ms < *until_ms);
        if self.guests.contains_key(&peer) || self.guests.len() < self.limits.guests as usize {
            let until_ms = self.guests.entry(peer).or_default();
            *until_ms = (*until_ms).max(now_ms.saturating_add(for_ms));
        }
    }

    /// Whoever is gone needs no place kept.
    pub(super) fn left(&mut self, peer: &SiteKey) {
        self.guests.remove(peer);
    }

    /// Connections whose time is over.
    pub(super) fn overdue(&self, now_ms: u64) -> Vec<ConnectionId> {
        let is_over = |(_, line): &(&ConnectionId, &Line)| {
            now_ms >= line.since_ms.saturating_add(STRANGER_MS_MAX)
        };
        self.of(Class::Stranger, now_ms)
            .filter(is_over)
            .map(|(id, _)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        members: 6,
        members_inbound: 4,
        guests: 2,
        strangers: 3,
    };

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// Sites 0 to 9 are members.
    fn places() -> Places {
        Places::new(
            LIMITS,
            Arc::new((0..10).map(|number| [number; 32]).collect()),
        )
    }

    /// What a swarm does with a verdict.
    fn arrive(
        places: &mut Places,
        number: usize,
        peer: u8,
        is_outbound: bool,
        now_ms: u64,
    ) -> bool {
        match places.decide(&[peer; 32], is_outbound, now_ms) {
            Verdict::Refuse(_) => return false,
            Verdict::InPlaceOf(other) => places.closed(other),
            Verdict::Admit => {}
        }
        places.opened(id(number), [peer; 32], is_outbound, now_ms);
        true
    }

    proptest! {
        /// Whatever strangers do, a member that is not connected yet gets in while members leave
        /// room.
        #[test]
        fn strangers_never_cost_a_member_its_place(arrivals in proptest::collection::vec((10_u8..40, 0_u64..3_000), 0..200)) {
            let (mut places, mut now_ms) = (places(), 0);
            for (number, (peer, wait_ms)) in arrivals.into_iter().enumerate() {
                now_ms += wait_ms;
                arrive(&mut places, number, peer, false, now_ms);
                prop_assert!(places.open.len() <= LIMITS.strangers as usize);
                prop_assert_eq!(places.decide(&[1; 32], false, now_ms), Verdict::Admit);
            }
        }

        #[test]
        fn every_class_keeps_its_limit(arrivals in proptest::collection::vec((0_u8..40, any::<bool>(), 0_u64..3_000), 0..200)) {
            let (mut places, mut now_ms) = (places(), 0);
            for (number, (peer, is_outbound, wait_ms)) in arrivals.into_iter().enumerate() {
                now_ms += wait_ms;
                arrive(&mut places, number, peer, is_outbound, now_ms);
                prop_assert!(places.of(Class::Member, now_ms).count() <= LIMITS.members as usize);
                prop_assert!(places.of(Class::Stranger, now_ms).count() <= LIMITS.strangers as usize);
                prop_assert!(places.open.values().filter(|line| line.peer == [peer; 32]).count() <= PER_PEER_MAX);
                places.overdue(now_ms).into_iter().for_each(|id| places.closed(id));
            }
        }
    }

    #[test]
    fn a_stranger_leaves_when_its_time_is_over_or_another_wants_its_place() {
        let mut places = places();
        (0..3).for_each(|number| assert!(arrive(&mut places, number, 10, false, 5)));
        assert_eq!(
            places.decide(&[10; 32], false, 5),
            Verdict::Refuse(Full::Peer)
        );
        assert_eq!(
            places.decide(&[11; 32], false, 5),
            Verdict::Refuse(Full::Strangers { open: 3 })
        );
        assert_eq!(
            places.decide(&[11; 32], false, 5 + STRANGER_MS_MIN),
            Verdict::InPlaceOf(id(0))
        );
        assert!(places.overdue(4 + STRANGER_MS_MAX).is_empty());
        assert_eq!(places.overdue(5 + STRANGER_MS_MAX), [id(0), id(1), id(2)]);
    }

    #[test]
    fn guests_stay_until_their_time_and_are_few() {
        let mut places = places();
        (0..3).for_each(|number| places.let_stay([10 + number; 32], 50_000, 0));
        (0..3)
            .for_each(|number| assert!(arrive(&mut places, number.into(), 10 + number, false, 0)));
        assert_eq!(
            places.overdue(STRANGER_MS_MAX),
            [id(2)],
            "there is room for two"
        );
        assert_eq!(places.overdue(50_000).len(), 3);
    }

    #[test]
    fn members_that_are_many_take_second_places_and_leave_some_for_dials() {
        let mut places = places();
        for (number, peer) in [0, 0, 1, 2].into_iter().enumerate() {
            assert!(arrive(&mut places, number, peer, false, 0));
        }
        assert_eq!(places.decide(&[3; 32], false, 0), Verdict::InPlaceOf(id(1)));
        assert!(arrive(&mut places, 4, 3, false, 0));
        assert_eq!(
            places.decide(&[4; 32], false, 0),
            Verdict::Refuse(Full::Members { open: 4 })
        );
        assert_eq!(places.decide(&[4; 32], true, 0), Verdict::Admit);
    }

    #[test]
    fn who_is_no_member_any_more_has_a_strangers_time() {
        let mut places = places();
        assert!(arrive(&mut places, 0, 1, false, 0));
        assert!(places.overdue(100_000).is_empty());
        places.trust(Arc::default(), 100_000);
        assert!(places.overdue(99_999 + STRANGER_MS_MAX).is_empty());
        assert_eq!(places.overdue(100_000 + STRANGER_MS_MAX), [id(0)]);
    }
}
