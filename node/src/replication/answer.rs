//! Answering peers. A stranger may only show a ticket or a credential; whatever else it asks, and
//! whatever is wrong with it, it is told one and the same thing. A member, and an auditor for whom
//! one vouches, gets frontiers, deltas and payloads.

use std::io::Read as _;
use std::ops::Bound;

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, CommitHash, FederationId, SiteId};
use uor_index_format::key::vouches;
use uor_index_format::snapshot::{Frontier, Head};
use uor_index_format::wire::{
    CONTACTS_MAX, Contact, DELTA_LEN_MAX, HEADS_MAX, PART_LEN_MAX, Position, Refusal, Request,
    Response, WireHead,
};

use super::{Effect, Notice, Replicator, forks, testimony};

/// How long a credential of an auditor may be good for, in milliseconds: a day, and an hour for
/// clocks that differ.
pub const READER_MS_MAX: u64 = 25 * 60 * 60 * 1000;
/// Most auditors that may read at one time.
const READERS_MAX: usize = 4;
/// Most strangers whose federation is asked after at one time.
const INTRODUCTIONS_MAX: usize = 2;
/// How long a stranger that may be a member stays while it is asked for its admission.
const INTRODUCTION_MS: u64 = 60_000;

impl Replicator {
    pub(super) fn answer(
        &mut self,
        store: &Store,
        peer: SiteId,
        token: u64,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let is_member = store.view().members().contains(&peer);
        let may_read = is_member || self.may_read(&peer, now_ms);
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => {
                self.notice(Notice::Malformed {
                    peer,
                    problem: error.to_string(),
                });
                self.refuse(
                    token,
                    if may_read {
                        Refusal::Malformed
                    } else {
                        Refusal::NotAdmitted
                    },
                );
                return Ok(());
            }
        };
        if FederationId::from_bytes(*federation_of(&request)) != store.federation() {
            self.notice(Notice::Stranger { peer });
            self.refuse(token, Refusal::NotAdmitted);
            return Ok(());
        }
        let response = match request {
            Request::Join {
                token: secret,
                name,
                ..
            } => {
                self.effects.push_back(Effect::Redeem {
                    token,
                    site: peer,
                    secret,
                    name,
                });
                return Ok(());
            }
            Request::Read {
                member,
                expires_ms,
                signature,
                ..
            } => self.admit_reader(
                store,
                peer,
                SiteId::from_bytes(member),
                expires_ms,
                &signature,
                now_ms,
            ),
            request if !may_read => {
                self.notice(Notice::Stranger { peer });
                self.refuse(token, Refusal::NotAdmitted);
                return match request {
                    Request::Frontier { .. } => self.ask_stranger(store, peer, now_ms),
                    _ => Ok(()),
                };
            }
            Request::Frontier {
                position, after, ..
            } => {
                if is_member {
                    self.heed_position(store, peer, &position, now_ms)?;
                }
                self.frontier(store, &position, after)
            }
            Request::Forks { after, .. } => forks::page(store, after),
            Request::Proofs { domains, .. } => forks::proofs(store, &domains),
            Request::Testimony { sites, .. } => {
                self.readable(peer, testimony::testimony(store, &sites))
            }
            Request::Delta {
                domain,
                after,
                after_hash,
                ..
            } => {
                let after_hash = CommitHash::from_bytes(after_hash);
                self.readable(
                    peer,
                    delta(store, &SiteId::from_bytes(domain), after, &after_hash),
                )
            }
            Request::Payload {
                checksum,
                offset,
                len_max,
                ..
            } => part(store, Checksum::from_bytes(checksum), offset, len_max),
        };
        self.respond(token, &response);
        Ok(())
    }

    /// What was read for a peer. Where the log is damaged, the peer is told that it is not here, so
    /// that it asks others, and whoever runs this node hears of it: everything else is still
    /// answered.
    fn readable(&mut self, peer: SiteId, read: Result<Response, StoreError>) -> Response {
        read.unwrap_or_else(|error| {
            self.notice(Notice::Unreadable {
                peer,
                problem: error.to_string(),
            });
            refused(Refusal::NotHere)
        })
    }

    /// Whether this auditor's credential is still good.
    fn may_read(&mut self, peer: &SiteId, now_ms: u64) -> bool {
        let wall_ms = self.wall_ms(now_ms);
        let is_over = |(_, expires_ms): &(&SiteId, &u64)| **expires_ms <= wall_ms;
        let over: Vec<SiteId> = self
            .readers
            .iter()
            .filter(is_over)
            .map(|(reader, _)| *reader)
            .collect();
        for reader in over {
            self.readers.remove(&reader);
            self.effects.push_back(Effect::Disconnect { peer: reader });
        }
        self.readers.contains_key(peer)
    }

    /// Lets a peer read for as long as it is connected and its credential is good, if a member
    /// vouches for it.
    fn admit_reader(
        &mut self,
        store: &Store,
        peer: SiteId,
        member: SiteId,
        expires_ms: u64,
        signature: &[u8; 64],
        now_ms: u64,
    ) -> Response {
        let is_known = self.may_read(&peer, now_ms);
        let left_ms = expires_ms.saturating_sub(self.wall_ms(now_ms));
        let is_good = (1..=READER_MS_MAX).contains(&left_ms)
            && (is_known || self.readers.len() < READERS_MAX)
            && store.view().members().contains(&member)
            && vouches(&member, &store.federation(), &peer, expires_ms, signature);
        if !is_good {
            self.notice(Notice::Stranger { peer });
            return Response::Refused {
                reason: Refusal::NotAdmitted,
            };
        }
        self.readers.insert(peer, expires_ms);
        self.effects.push_back(Effect::LetStay {
            peer,
            for_ms: left_ms,
        });
        Response::Welcome
    }

    /// What the site made of a ticket that a stranger showed.
    pub fn handle_redeemed(&mut self, token: u64, admitted: Option<(SiteId, CommitHash)>) {
        let response = match admitted {
            Some((domain, commit)) => Response::Admitted {
                domain: *domain.as_bytes(),
                commit: *commit.as_bytes(),
            },
            None => Response::Refused {
                reason: Refusal::NotAdmitted,
            },
        };
        self.respond(token, &response);
    }

    /// A stranger that names this federation may be a member of whose admission we have not heard.
    /// It is told nothing, but what it has is fetched: it cannot learn anything from being asked,
    /// and what it sends is judged like all else.
    fn ask_stranger(&mut self, store: &Store, peer: SiteId, now_ms: u64) -> Result<(), StoreError> {
        let view = store.view();
        let is_stranger = |site: &SiteId| !view.members().contains(site);
        let busy = self
            .peers
            .iter()
            .filter(|(site, peer)| !peer.is_idle() && is_stranger(site))
            .count();
        drop(view);
        let is_due = self.peers.get(&peer).is_some_and(|state| {
            state.is_idle()
                && state
                    .asked_last_ms
                    .is_none_or(|last| now_ms >= last + super::ANTI_ENTROPY_MS)
        });
        if busy >= INTRODUCTIONS_MAX || !is_due {
            return Ok(());
        }
        self.effects.push_back(Effect::LetStay {
            peer,
            for_ms: INTRODUCTION_MS,
        });
        self.start_sync(store, peer, now_ms)
    }

    /// A member stands elsewhere: it may be ahead.
    fn heed_position(
        &mut self,
        store: &Store,
        peer: SiteId,
        theirs: &Position,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let ours = self.position(store);
        let differs = ours.snapshot != theirs.snapshot || ours.forks != theirs.forks;
        let is_due = self.peers.get(&peer).is_some_and(|state| {
            state.is_idle()
                && state
                    .asked_last_ms
                    .is_none_or(|last| now_ms >= last + super::ASKED_BACK_MS)
        });
        // One that has just been asked is not asked again: two that differ for good would never
        // fall silent.
        if differs && is_due {
            self.start_sync(store, peer, now_ms)
        } else {
            Ok(())
        }
    }

    /// A page of where this node stands.
    fn frontier(&self, store: &Store, theirs: &Position, after: Option<[u8; 32]>) -> Response {
        let position = self.position(store);
        let contacts = if after.is_none() {
            self.contacts()
        } else {
            Vec::new()
        };
        if after.is_none() && position.snapshot == theirs.snapshot {
            return Response::Frontier {
                position,
                heads: Vec::new(),
                has_more: false,
                contacts,
            };
        }
        let (heads, has_more) = heads_after(&store.view().head().frontier, after);
        Response::Frontier {
            position,
            heads,
            has_more,
            contacts,
        }
    }

    fn contacts(&self) -> Vec<Contact> {
        let known = self.book.contacts(&self.me).take(CONTACTS_MAX);
        known
            .map(|(site, address)| Contact {
                site: *site.as_bytes(),
                address: address.to_owned(),
            })
            .collect()
    }

    fn refuse(&mut self, token: u64, reason: Refusal) {
        self.respond(token, &Response::Refused { reason });
    }

    fn respond(&mut self, token: u64, response: &Response) {
        self.effects.push_back(Effect::Respond {
            token,
            frame: response.encode(),
        });
    }
}

/// Where a page begins that follows this domain.
pub(super) fn beyond(after: Option<[u8; 32]>) -> Bound<SiteId> {
    after.map_or(Bound::Unbounded, |after| {
        Bound::Excluded(SiteId::from_bytes(after))
    })
}

/// A page of a frontier, and whether there is more of it.
fn heads_after(frontier: &Frontier, after: Option<[u8; 32]>) -> (Vec<WireHead>, bool) {
    let mut rest = frontier.range((beyond(after), Bound::Unbounded));
    let head = |(domain, head): (&SiteId, &Head)| WireHead {
        domain: *domain.as_bytes(),
        number: head.number,
        hash: *head.hash.as_bytes(),
    };
    let heads = rest.by_ref().take(HEADS_MAX).map(head).collect();
    (heads, rest.next().is_some())
}

const fn refused(reason: Refusal) -> Response {
    Response::Refused { reason }
}

const fn federation_of(request: &Request) -> &[u8; 32] {
    match request {
        Request::Frontier { federation, .. }
        | Request::Forks { federation, .. }
        | Request::Proofs { federation, .. }
        | Request::Testimony { federation, .. }
        | Request::Delta { federation, .. }
        | Request::Payload { federation, .. }
        | Request::Read { federation, .. }
        | Request::Join { federation, .. } => federation,
    }
}

fn delta(
    store: &Store,
    domain: &SiteId,
    after: u64,
    after_hash: &CommitHash,
) -> Result<Response, StoreError> {
    let last = store
        .view()
        .head()
        .frontier
        .get(domain)
        .map_or(0, |head| head.number);
    if after > 0 && store.view().commit_hash(domain, after)? != Some(*after_hash) {
        return Ok(refused(if after > last {
            Refusal::NotHere
        } else {
            Refusal::Forked
        }));
    }
    let mut commits: Vec<Vec<u8>> = Vec::new();
    let mut len = 0;
    let mut number = after;
    while number < last && len < DELTA_LEN_MAX {
        let bytes = match store.commit_bytes(domain, number + 1) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            // What lies before the damage is given.
            Err(_) if !commits.is_empty() => break,
            Err(error) => return Err(error),
        };
        if !commits.is_empty() && len + bytes.len() as u64 > DELTA_LEN_MAX {
            break;
        }
        len += bytes.len() as u64;
        number += 1;
        commits.push(bytes);
    }
    Ok(Response::Delta {
        commits,
        commits_left: last.saturating_sub(number),
    })
}

fn part(store: &Store, checksum: Checksum, offset: u64, len_max: u64) -> Response {
    let blocks = store.blocks();
    let Ok(total_len) = blocks.payload_len(checksum) else {
        return refused(Refusal::NotHere);
    };
    let end = total_len.min(offset.saturating_add(len_max.min(PART_LEN_MAX)));
    if offset > end {
        return refused(Refusal::Malformed);
    }
    let mut bytes = Vec::new();
    // Who asks for parts verifies the whole: reading all of it for each question would let a peer
    // keep us busy.
    let read = blocks
        .read_part(checksum, offset..end)
        .map(|mut reader| reader.read_to_end(&mut bytes));
    match read {
        Ok(Ok(_)) => Response::Payload { total_len, bytes },
        // A damaged payload is not served; `uor-replay verify` names it, and others may have it.
        Ok(Err(_)) | Err(_) => refused(Refusal::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_whole_frontier_each_head_once_and_fit_a_frame() {
        for len in [0, 1, HEADS_MAX - 1, HEADS_MAX, HEADS_MAX + 1, 65_536] {
            let head = |at: usize| {
                let domain = *blake3::hash(&at.to_le_bytes()).as_bytes();
                (
                    SiteId::from_bytes(domain),
                    Head {
                        number: 1,
                        hash: CommitHash::from_bytes(domain),
                    },
                )
            };
            let frontier: Frontier = (0..len).map(head).collect();
            let (mut told, mut after, mut has_more) = (Vec::new(), None, true);
            while has_more {
                let (heads, more) = heads_after(&frontier, after);
                has_more = more;
                after = heads.last().map(|head| head.domain);
                told.extend(heads.iter().map(|head| SiteId::from_bytes(head.domain)));
                let frame = Response::Frontier {
                    position: Position::NONE,
                    heads,
                    has_more,
                    contacts: vec![],
                }
                .encode();
                assert!(frame.len() <= HEADS_MAX * 72 + (1 << 16));
            }
            assert_eq!(told, frontier.keys().copied().collect::<Vec<_>>());
        }
    }
}
