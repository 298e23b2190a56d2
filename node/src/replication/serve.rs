//! What is read of the store for a peer that may read it: pages of lists, testimony, parts of
//! payloads.

use std::io::Read as _;
use std::ops::Bound;

use uor_asl::store::{Store, StoreError};
use uor_index_format::commit::ForkProof;
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::snapshot::{Frontier, Head};
use uor_index_format::wire::{
    DELTA_LEN_MAX, FORKS_MAX, HEADS_MAX, PART_LEN_MAX, PROOFS_MAX, Refusal, Response,
    TESTIMONY_SITES_MAX, WireFork, WireHead,
};

/// Where a page begins that follows this domain.
fn beyond(after: Option<[u8; 32]>) -> Bound<SiteId> {
    after.map_or(Bound::Unbounded, |after| {
        Bound::Excluded(SiteId::from_bytes(after))
    })
}

/// A page of a frontier, and whether there is more of it.
pub(super) fn heads_after(frontier: &Frontier, after: Option<[u8; 32]>) -> (Vec<WireHead>, bool) {
    let mut rest = frontier.range((beyond(after), Bound::Unbounded));
    let head = |(domain, head): (&SiteId, &Head)| WireHead {
        domain: *domain.as_bytes(),
        number: head.number,
        hash: *head.hash.as_bytes(),
    };
    let heads = rest.by_ref().take(HEADS_MAX).map(head).collect();
    (heads, rest.next().is_some())
}

pub(super) fn part(store: &Store, checksum: Checksum, offset: u64, len_max: u64) -> Response {
    let blocks = store.blocks();
    let Ok(total_len) = blocks.payload_len(checksum) else {
        return Response::refused(Refusal::NotHere);
    };
    let end = total_len.min(offset.saturating_add(len_max.min(PART_LEN_MAX)));
    if offset > end {
        return Response::refused(Refusal::Malformed);
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
        Ok(Err(_)) | Err(_) => Response::refused(Refusal::Failed),
    }
}

/// A page of the domains that are frozen here.
pub(super) fn forks(store: &Store, after: Option<[u8; 32]>) -> Response {
    let view = store.view();
    let mut rest = view.forks().range((beyond(after), Bound::Unbounded));
    let forks: Vec<WireFork> = rest
        .by_ref()
        .take(FORKS_MAX)
        .map(|(domain, proof)| WireFork {
            domain: *domain.as_bytes(),
            number: proof.number(),
        })
        .collect();
    Response::Forks {
        forks,
        has_more: rest.next().is_some(),
    }
}

/// The proofs against these domains.
pub(super) fn proofs(store: &Store, domains: &[[u8; 32]]) -> Response {
    let view = store.view();
    let known = domains
        .iter()
        .take(PROOFS_MAX)
        .filter_map(|domain| view.forks().get(&SiteId::from_bytes(*domain)));
    Response::Proofs {
        proofs: known.map(ForkProof::encode).collect(),
    }
}

/// What this site has of how others became members.
pub(super) fn testimony(store: &Store, sites: &[[u8; 32]]) -> Result<Response, StoreError> {
    let sites: Vec<SiteId> = sites
        .iter()
        .take(TESTIMONY_SITES_MAX)
        .map(|site| SiteId::from_bytes(*site))
        .collect();
    Ok(Response::Testimony {
        commits: store.testimony_for(&sites, DELTA_LEN_MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use uor_index_format::id::CommitHash;
    use uor_index_format::wire::Position;

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
