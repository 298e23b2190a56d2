//! Answering peers. A stranger may only show a ticket or a credential; a member, and an auditor for whom one vouches, gets
//! frontiers, deltas and payloads. Only what a member says is heeded.

use std::io::Read as _;

use uor_asl::store::{Store, StoreError};
use uor_index_format::id::{Checksum, CommitHash, FederationId, SiteId};
use uor_index_format::key::vouches;
use uor_index_format::wire::{DELTA_LEN_MAX, PART_LEN_MAX, Position, Refusal, Request, Response};

use super::sync::{domains_ahead, snapshot_of};
use super::{Effect, Notice, Replicator};

impl Replicator {
    pub(super) fn answer(
        &mut self,
        store: &Store,
        peer: SiteId,
        token: u64,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) => {
                self.notice(Notice::Malformed { peer, problem: error.to_string() });
                self.respond(token, &refused(Refusal::Malformed));
                return Ok(());
            }
        };
        if FederationId::from_bytes(*federation_of(&request)) != store.federation() {
            self.respond(token, &refused(Refusal::OtherFederation));
            self.part(peer, now_ms);
            return Ok(());
        }
        if let Request::Join { token: secret, name, .. } = request {
            self.effects.push_back(Effect::Redeem { token, site: peer, secret, name });
            return Ok(());
        }
        if let Request::Read { member, signature, .. } = request {
            let response = self.admit_reader(store, peer, SiteId::from_bytes(member), &signature);
            self.respond(token, &response);
            return Ok(());
        }
        let is_member = store.view().members().contains(&peer);
        if !is_member && !self.readers.contains(&peer) {
            self.notice(Notice::Stranger { peer });
            self.respond(token, &refused(Refusal::NotAMember));
            return Ok(());
        }
        let response = match request {
            Request::Frontier { .. } if !is_member => Response::Frontier { position: self.position(store) },
            Request::Frontier { position, .. } => self.answer_frontier(store, peer, &position, now_ms)?,
            Request::Delta { domain, after, after_hash, .. } => {
                delta(store, &SiteId::from_bytes(domain), after, &CommitHash::from_bytes(after_hash))?
            }
            Request::Payload { checksum, offset, len_max, .. } => {
                part(store, Checksum::from_bytes(checksum), offset, len_max)
            }
            Request::Join { .. } | Request::Read { .. } => refused(Refusal::Malformed),
        };
        self.respond(token, &response);
        Ok(())
    }

    /// Lets a peer read for as long as it is connected, if a member vouches for it.
    fn admit_reader(&mut self, store: &Store, peer: SiteId, member: SiteId, signature: &[u8; 64]) -> Response {
        let is_member = store.view().members().contains(&member);
        if is_member && vouches(&member, &store.federation(), &peer, signature) {
            self.readers.insert(peer);
            Response::Welcome
        } else {
            self.notice(Notice::Stranger { peer });
            refused(Refusal::NotAMember)
        }
    }

    /// What the site made of a ticket that a stranger showed.
    pub fn handle_redeemed(&mut self, token: u64, admitted: Option<(SiteId, CommitHash)>) {
        let response = match admitted {
            Some((domain, commit)) => Response::Admitted { domain: *domain.as_bytes(), commit: *commit.as_bytes() },
            None => refused(Refusal::TicketUnknown),
        };
        self.respond(token, &response);
    }

    fn answer_frontier(
        &mut self,
        store: &Store,
        peer: SiteId,
        theirs: &Position,
        now_ms: u64,
    ) -> Result<Response, StoreError> {
        self.heed(store, peer, theirs)?;
        if !domains_ahead(store, &snapshot_of(theirs))?.is_empty() {
            self.start_sync(store, peer, now_ms)?;
        }
        Ok(Response::Frontier { position: self.position(store) })
    }

    fn respond(&mut self, token: u64, response: &Response) {
        self.effects.push_back(Effect::Respond { token, frame: response.encode() });
    }
}

const fn refused(reason: Refusal) -> Response {
    Response::Refused { reason }
}

const fn federation_of(request: &Request) -> &[u8; 32] {
    match request {
        Request::Frontier { federation, .. }
        | Request::Delta { federation, .. }
        | Request::Payload { federation, .. }
        | Request::Read { federation, .. }
        | Request::Join { federation, .. } => federation,
    }
}

fn delta(store: &Store, domain: &SiteId, after: u64, after_hash: &CommitHash) -> Result<Response, StoreError> {
    let last = store.view().head().frontier.get(domain).map_or(0, |head| head.number);
    if after > 0 && store.view().commit_hash(domain, after)? != Some(*after_hash) {
        return Ok(refused(if after > last { Refusal::NotHere } else { Refusal::Forked }));
    }
    let mut commits: Vec<Vec<u8>> = Vec::new();
    let mut len = 0;
    let mut number = after;
    while number < last && len < DELTA_LEN_MAX {
        let Some(bytes) = store.commit_bytes(domain, number + 1)? else { break };
        if !commits.is_empty() && len + bytes.len() as u64 > DELTA_LEN_MAX {
            break;
        }
        len += bytes.len() as u64;
        number += 1;
        commits.push(bytes);
    }
    Ok(Response::Delta { commits, commits_left: last.saturating_sub(number) })
}

fn part(store: &Store, checksum: Checksum, offset: u64, len_max: u64) -> Response {
    let blocks = store.blocks();
    let Ok(total_len) = blocks.payload_len(checksum) else { return refused(Refusal::NotHere) };
    let end = total_len.min(offset.saturating_add(len_max.min(PART_LEN_MAX)));
    if offset > end {
        return refused(Refusal::Malformed);
    }
    let mut bytes = Vec::new();
    // Who asks for parts verifies the whole: reading all of it for each question would let a peer keep us busy.
    let read = blocks.read_part(checksum, offset..end).map(|mut reader| reader.read_to_end(&mut bytes));
    match read {
        Ok(Ok(_)) => Response::Payload { total_len, bytes },
        // A damaged payload is not served; `uor-replay verify` names it, and others may have it.
        Ok(Err(_)) | Err(_) => refused(Refusal::Failed),
    }
}
