//! Whose question is handed to the owner next: peers take turns, and none has many answers waiting
//! to be read.

use std::collections::{BTreeMap, VecDeque};

use super::command::ResponseToken;
use super::key::SiteKey;
use super::limits::REQUESTS_PER_PEER_MAX;

/// Bytes of answers that a peer may have still to read; beyond, it is not answered further.
const UNREAD_PER_PEER_MAX: usize = 2 << 20;
/// Bytes of answers that all peers together may have still to read; beyond, only peers are answered
/// that have none.
const UNREAD_MAX: usize = 64 << 20;

/// Questions that wait, and answers under way.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: BTreeMap<SiteKey, VecDeque<(ResponseToken, Vec<u8>)>>,
    /// Whose turn it was last.
    last: Option<SiteKey>,
    /// Questions that were handed over, with the length of their answers once these are known.
    handed: BTreeMap<ResponseToken, (SiteKey, Option<usize>)>,
}

impl Desk {
    /// Takes a question in; says whether there was a place for it.
    pub(super) fn arrive(&mut self, peer: SiteKey, token: ResponseToken, body: Vec<u8>) -> bool {
        let waiting = self.waiting.entry(peer).or_default();
        let has_room = waiting.len() < REQUESTS_PER_PEER_MAX;
        if has_room {
            waiting.push_back((token, body));
        }
        has_room
    }

    /// The peer after the last one whose question can be handed over.
    fn turn(&self) -> Option<SiteKey> {
        let unread: usize = self.handed.values().filter_map(|(_, len)| *len).sum();
        let may = |peer: &SiteKey| {
            let of_peer = || self.handed.values().filter(|(whose, _)| whose == peer);
            let own: usize = of_peer().filter_map(|(_, len)| *len).sum();
            of_peer().all(|(_, len)| len.is_some())
                && own < UNREAD_PER_PEER_MAX
                && (unread < UNREAD_MAX || own == 0)
        };
        let next = |peer: &&SiteKey| self.last.is_none_or(|last| **peer > last);
        let behind = self.waiting.keys().filter(next).find(|peer| may(peer));
        behind
            .or_else(|| self.waiting.keys().find(|peer| may(peer)))
            .copied()
    }

    /// Whether there is a question to hand over.
    pub(super) fn has_next(&self) -> bool {
        self.turn().is_some()
    }

    /// The next question to hand over.
    pub(super) fn next(&mut self) -> Option<(SiteKey, ResponseToken, Vec<u8>)> {
        let peer = self.turn()?;
        let waiting = self.waiting.get_mut(&peer)?;
        let (token, body) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&peer);
        }
        self.last = Some(peer);
        self.handed.insert(token, (peer, None));
        Some((peer, token, body))
    }

    /// The owner has answered with `len` bytes.
    pub(super) fn answered(&mut self, token: ResponseToken, len: usize) {
        if let Some((_, answer)) = self.handed.get_mut(&token) {
            *answer = Some(len);
        }
    }

    /// A question is over: its answer was read, or nobody reads it any more. Says whether the owner
    /// had seen it.
    pub(super) fn ended(&mut self, token: ResponseToken) -> bool {
        if self.handed.remove(&token).is_some() {
            return true;
        }
        self.waiting.retain(|_, waiting| {
            waiting.retain(|(waits, _)| *waits != token);
            !waiting.is_empty()
        });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(questions: &[(u8, u64)]) -> Desk {
        let mut desk = Desk::default();
        for (peer, token) in questions {
            assert!(desk.arrive([*peer; 32], ResponseToken(*token), vec![]));
        }
        desk
    }

    fn next(desk: &mut Desk) -> Option<u64> {
        desk.next().map(|(_, token, _)| token.0)
    }

    #[test]
    fn one_that_asks_much_waits_for_the_others() {
        let mut desk = desk(&[(1, 1), (1, 2), (1, 3), (2, 4), (3, 5)]);
        let mut order = vec![];
        while let Some(token) = next(&mut desk) {
            order.push(token);
            desk.answered(ResponseToken(token), 10);
        }
        assert_eq!(order, [1, 4, 5, 2, 3]);
    }

    #[test]
    fn one_question_of_a_peer_is_at_the_owner_at_a_time() {
        let mut desk = desk(&[(1, 1), (1, 2)]);
        assert_eq!(next(&mut desk), Some(1));
        assert_eq!(next(&mut desk), None);
        assert!(desk.ended(ResponseToken(1)));
        assert_eq!(next(&mut desk), Some(2));
    }

    #[test]
    fn a_slow_reader_is_answered_no_further_and_holds_up_nobody() {
        let mut desk = desk(&[(1, 1), (1, 2), (2, 3)]);
        assert_eq!(next(&mut desk), Some(1));
        desk.answered(ResponseToken(1), UNREAD_PER_PEER_MAX);
        assert_eq!(next(&mut desk), Some(3));
        assert_eq!(next(&mut desk), None);
        desk.ended(ResponseToken(1));
        assert_eq!(next(&mut desk), Some(2));
    }

    #[test]
    fn when_much_is_unread_only_those_who_read_are_answered() {
        let mut desk = Desk::default();
        for peer in 0..40 {
            assert!(desk.arrive([peer; 32], ResponseToken(peer.into()), vec![]));
            assert_eq!(next(&mut desk), Some(peer.into()));
            desk.answered(ResponseToken(peer.into()), UNREAD_PER_PEER_MAX - 1);
        }
        assert!(desk.arrive([1; 32], ResponseToken(100), vec![]));
        assert_eq!(next(&mut desk), None);
        assert!(desk.arrive([50; 32], ResponseToken(101), vec![]));
        assert_eq!(next(&mut desk), Some(101));
    }

    #[test]
    fn questions_beyond_the_bound_are_not_kept_and_those_that_end_are_forgotten() {
        let mut desk = Desk::default();
        let bound = REQUESTS_PER_PEER_MAX as u64;
        assert!((0..bound).all(|token| desk.arrive([1; 32], ResponseToken(token), vec![])));
        assert!(!desk.arrive([1; 32], ResponseToken(bound), vec![]));
        assert!((0..bound).all(|token| !desk.ended(ResponseToken(token))));
        assert!(!desk.has_next());
        assert!(desk.waiting.is_empty());
    }
}
