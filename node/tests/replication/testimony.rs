//! Sites of which it is not known how they became members.

use std::collections::BTreeSet;

use uor_index_format::id::SiteId;
use uor_index_format::wire::{Refusal, Request, Response, TESTIMONY_SITES_MAX, WireHead};

use super::world::{World, key, mallory, refused};
use super::{frontier, nothing};

#[test]
fn of_every_unknown_site_it_is_asked_in_turn_few_at_a_time() {
    let mut sites: Vec<[u8; 32]> = (0..=200)
        .map(|seed| *key(seed).site_id().as_bytes())
        .collect();
    sites.sort_unstable();
    let mut world = World::new(2);
    let is_unknown = |site: &[u8; 32]| {
        !world.nodes[1]
            .store
            .view()
            .members()
            .contains(&SiteId::from_bytes(*site))
    };
    sites.retain(is_unknown);
    assert!(sites.len() > 2 * TESTIMONY_SITES_MAX);
    let heads = sites
        .iter()
        .map(|domain| WireHead {
            domain: *domain,
            number: 1,
            hash: [9; 32],
        })
        .collect();
    let told = frontier(heads);
    let script = Box::new(move |request| match request {
        Request::Frontier { .. } => Some(told.clone()),
        Request::Delta { .. } => Some(nothing(0)),
        Request::Forks { .. } => Some(Response::Forks {
            forks: vec![],
            has_more: false,
        }),
        Request::Testimony { .. } => Some(Response::Testimony { commits: vec![] }),
        _ => refused(Refusal::NotHere),
    });
    world.meet(1, mallory().site_id(), script);
    world.carry();
    // A question a round, and none of it is news.
    world.tick(100 * sites.len().div_ceil(TESTIMONY_SITES_MAX) as u64);
    let asked: Vec<&Vec<[u8; 32]>> = world
        .asked
        .iter()
        .filter_map(|(_, request)| testimony_of(request))
        .collect();
    assert!(asked.iter().all(|sites| sites.len() <= TESTIMONY_SITES_MAX));
    assert!((4..=6).contains(&asked.len()), "{} questions", asked.len());
    assert_eq!(
        asked
            .into_iter()
            .flatten()
            .copied()
            .collect::<BTreeSet<_>>(),
        sites.into_iter().collect()
    );
}

const fn testimony_of(request: &Request) -> Option<&Vec<[u8; 32]>> {
    match request {
        Request::Testimony { sites, .. } => Some(sites),
        _ => None,
    }
}
