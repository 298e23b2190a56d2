//! Answering peers. A stranger may only show a ticket or a credential; whatever else it asks, and
//! whatever is wrong with it, it is told one and the same thing. A member, and an auditor for whom
//! one vouches, gets frontiers, deltas and payloads.

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, CommitHash, FederationId, SiteId};
use uor_index_format::key::vouches;
use uor_index_format::wire::{CONTACTS_MAX, Contact, Position, Refusal, Request, Response};

use super::effect::Effect;
use super::notice::Notice;
use super::replicator::Replicator;
use super::timing::{ANTI_ENTROPY_MS, ASKED_BACK_MS};
use super::{delta, serve};

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
    /// Answers a question, or has the site decide on a ticket.
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
        let Some(request) = self.decode_request(store, peer, token, frame, may_read) else {
            return Ok(());
        };
        match request {
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
                Ok(())
            }
            Request::Read {
                member,
                expires_ms,
                signature,
                ..
            } => {
                let member = SiteId::from_bytes(member);
                let response =
                    self.admit_reader(store, peer, member, expires_ms, &signature, now_ms);
                self.respond(token, &response);
                Ok(())
            }
            request if may_read => {
                if let Request::Frontier { position, .. } = &request
                    && is_member
                {
                    self.heed_position(store, peer, position, now_ms)?;
                }
                let response = self.response_to(store, peer, request);
                self.respond(token, &response);
                Ok(())
            }
            request => {
                self.notice(Notice::Stranger { peer });
                self.refuse(token, Refusal::NotAdmitted);
                match request {
                    Request::Frontier { .. } => self.ask_stranger(store, peer, now_ms),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Reads a question about this federation; whatever else comes is refused.
    fn decode_request(
        &mut self,
        store: &Store,
        peer: SiteId,
        token: u64,
        frame: &[u8],
        may_read: bool,
    ) -> Option<Request> {
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => {
                self.notice(Notice::Malformed {
                    peer,
                    problem: error.to_string(),
                });
                let reason = if may_read {
                    Refusal::Malformed
                } else {
                    Refusal::NotAdmitted
                };
                self.refuse(token, reason);
                return None;
            }
        };
        if FederationId::from_bytes(*federation_of(&request)) != store.federation() {
            self.notice(Notice::Stranger { peer });
            self.refuse(token, Refusal::NotAdmitted);
            return None;
        }
        Some(request)
    }

    /// What a peer gets that may read.
    fn response_to(&mut self, store: &Store, peer: SiteId, request: Request) -> Response {
        match request {
            Request::Frontier {
                position, after, ..
            } => self.frontier(store, &position, after),
            Request::Forks { after, .. } => serve::forks(store, after),
            Request::Proofs { domains, .. } => serve::proofs(store, &domains),
            Request::Testimony { sites, .. } => {
                self.readable(peer, serve::testimony(store, &sites))
            }
            Request::Delta {
                domain,
                after,
                after_hash,
                ..
            } => {
                let (domain, after_hash) = (
                    SiteId::from_bytes(domain),
                    CommitHash::from_bytes(after_hash),
                );
                self.readable(peer, delta::delta(store, &domain, after, &after_hash))
            }
            Request::Payload {
                checksum,
                offset,
                len_max,
                ..
            } => serve::part(store, Checksum::from_bytes(checksum), offset, len_max),
            Request::Join { .. } | Request::Read { .. } => {
                unreachable!("whoever may read already is answered elsewhere when it asks to")
            }
        }
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
            Response::refused(Refusal::NotHere)
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
            return Response::refused(Refusal::NotAdmitted);
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
            None => Response::refused(Refusal::NotAdmitted),
        };
        self.respond(token, &response);
    }

    /// A stranger that names this federation may be a member of whose admission we have not heard.
    /// It learns nothing, but what it has is fetched: it cannot learn anything from being asked,
    /// and what it sends is validated like all else.
    fn ask_stranger(&mut self, store: &Store, peer: SiteId, now_ms: u64) -> Result<(), StoreError> {
        let view = store.view();
        let is_stranger = |site: &SiteId| !view.members().contains(site);
        let busy = self
            .peers
            .iter()
            .filter(|(site, peer)| !peer.is_idle() && is_stranger(site))
            .count();
        drop(view);
        let is_due = self
            .peers
            .get(&peer)
            .is_some_and(|state| state.is_quiet_for(ANTI_ENTROPY_MS, now_ms));
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
        let is_due = self
            .peers
            .get(&peer)
            .is_some_and(|state| state.is_quiet_for(ASKED_BACK_MS, now_ms));
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
        let (heads, has_more) = serve::heads_after(&store.view().head().frontier, after);
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
        self.respond(token, &Response::refused(reason));
    }

    fn respond(&mut self, token: u64, response: &Response) {
        self.effects.push_back(Effect::Respond {
            token,
            frame: response.encode(),
        });
    }
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
