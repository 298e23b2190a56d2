//! What the versions of one id amount to, kept up version by version: what `effective` says of all
//! of them, without looking at all of them again.
//!
//! Versions come in any order, the same one more than once, and each costs a logarithm of how many
//! there are. What a tombstone shadows is forgotten: nothing that comes later brings it back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uor_index_format::id::{CanonicalId, Checksum, LogSeq, SiteId};
use uor_index_format::membership::ConflictRule;
use uor_index_format::order::Place;
use uor_index_format::record::Kind;
use uor_index_format::state::Entry;

use super::version::VersionHeader;
use crate::log::LogPosition;

/// Where a claim or resolution of this id stands in the one order. Sites are shared: an id has few,
/// and many versions.
type Spot = (LogSeq, Arc<SiteId>);
/// A checksum, by its number in this summary.
type Number = u32;

/// What the versions of one id amount to.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    id: CanonicalId,
    /// What the id is, once something has been claimed: ids follow from contents, so all claims are
    /// of one kind.
    kind: Option<Kind>,
    /// How many versions were handed in.
    taken: u64,
    /// Everything up to here is shadowed.
    shadowed: Option<LogSeq>,
    claims: BTreeMap<Spot, Claim>,
    resolutions: BTreeMap<Spot, Number>,
    sites: BTreeSet<Arc<SiteId>>,
    numbers: BTreeMap<Checksum, Number>,
    /// By number.
    tallies: Vec<Tally>,
    /// How many claims of a checksum a site has made.
    said: BTreeMap<(Number, Arc<SiteId>), u32>,
    /// The rest is for kinds of which the first claim is effective. The claims of each checksum:
    of_checksum: BTreeSet<(Number, Spot)>,
    /// For each checksum that is claimed: how many domains claim it, and its first claim.
    ranking: BTreeSet<(u32, Reverse<Spot>, Number)>,
    /// For each checksum that is claimed, its last claim.
    lasts: BTreeSet<(Spot, Number)>,
    /// For each checksum that is claimed and resolved upon, the last resolution.
    settling: BTreeSet<(Spot, Number)>,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    checksum: Number,
    type_tag: Option<u32>,
    payload_len: u64,
    number: u64,
    at: LogPosition,
}

#[derive(Debug, Clone)]
struct Tally {
    checksum: Checksum,
    /// How many domains claim it.
    domains: u32,
    /// The last resolution that keeps it.
    resolved: Option<Spot>,
}

/// What is effective: the entry, and which claim it is; `None` while a conflict withholds all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) entry: Entry,
    pub(super) claim: Option<Standee>,
}

/// The claim that is effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standee {
    pub(super) place: Place,
    /// Number of its commit.
    pub(super) number: u64,
    pub(super) at: LogPosition,
}

impl Summary {
    /// The summary of no versions.
    pub(super) const fn new(id: CanonicalId) -> Self {
        Self {
            id,
            kind: None,
            taken: 0,
            shadowed: None,
            claims: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            sites: BTreeSet::new(),
            numbers: BTreeMap::new(),
            tallies: Vec::new(),
            said: BTreeMap::new(),
            of_checksum: BTreeSet::new(),
            ranking: BTreeSet::new(),
            lasts: BTreeSet::new(),
            settling: BTreeSet::new(),
        }
    }

    /// How many versions were handed in, those that are shadowed included.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// How many versions it keeps in mind.
    pub(super) fn len(&self) -> usize {
        self.claims.len() + self.resolutions.len()
    }

    /// Whether versions of this time change nothing, as far as is known; one that does not need not
    /// be read.
    pub(super) fn passes_over(&mut self, logseq: LogSeq) -> bool {
        let is_shadowed = self.is_shadowed(logseq);
        self.taken += u64::from(is_shadowed);
        is_shadowed
    }

    fn is_shadowed(&self, logseq: LogSeq) -> bool {
        self.shadowed.is_some_and(|shadowed| logseq <= shadowed)
    }

    /// Takes in a version. One that is here already is only told where its record lies.
    pub(super) fn insert(&mut self, version: &VersionHeader) {
        let (place, header) = (&version.place, &version.header);
        self.taken += 1;
        if self.is_shadowed(place.logseq) {
            return;
        }
        if header.kind == Kind::Tombstone {
            return self.shadow(place.logseq);
        }
        let spot = (place.logseq, self.site(place.domain));
        let checksum = self.number(header.payload.checksum);
        if header.kind == Kind::Resolution {
            return self.resolve(spot, checksum);
        }
        self.kind = Some(header.kind);
        let (type_tag, payload_len) = (header.type_tag, header.payload.len);
        self.claim(
            spot,
            Claim {
                checksum,
                type_tag,
                payload_len,
                number: version.number,
                at: version.at,
            },
        );
    }

    /// What is effective.
    pub(super) fn effective(&self, rule: ConflictRule) -> Option<Effective> {
        let (first, kind) = (self.claims.first_key_value()?, self.kind?);
        let (effective, conflict) = if !kind.keeps_first() {
            (self.claims.last_key_value(), false)
        } else if self.ranking.len() == 1 {
            (Some(first), false)
        } else if let Some((by, kept)) = self.settling.last() {
            let other = self
                .lasts
                .iter()
                .rev()
                .find(|(_, checksum)| checksum != kept);
            (
                self.first_of(*kept),
                other.is_some_and(|(last, _)| last > by),
            )
        } else {
            let effective = match rule {
                ConflictRule::First => Some(first),
                ConflictRule::Quorum => self
                    .ranking
                    .last()
                    .and_then(|(_, _, checksum)| self.first_of(*checksum)),
                ConflictRule::Manual => None,
            };
            (effective, true)
        };
        let tally = |(_, claim): (&Spot, &Claim)| &self.tallies[claim.checksum as usize];
        let entry = Entry {
            id: self.id,
            kind,
            type_tag: effective.and_then(|(_, claim)| claim.type_tag),
            checksum: effective.map(|claim| tally(claim).checksum),
            payload_len: effective.map_or(0, |(_, claim)| claim.payload_len),
            logseq: effective.unwrap_or(first).0.0,
            conflict,
            domains: effective.map_or(0, |claim| tally(claim).domains),
        };
        let claim = effective.map(|((logseq, site), Claim { number, at, .. })| Standee {
            place: Place {
                logseq: *logseq,
                id: self.id,
                tombstone: false,
                domain: **site,
            },
            number: *number,
            at: *at,
        });
        Some(Effective { entry, claim })
    }

    fn first_of(&self, checksum: Number) -> Option<(&Spot, &Claim)> {
        let (_, spot) = self.of_checksum.range((checksum, earliest())..).next()?;
        self.claims.get_key_value(spot)
    }

    fn site(&mut self, site: SiteId) -> Arc<SiteId> {
        if let Some(site) = self.sites.get(&site) {
            return Arc::clone(site);
        }
        let site = Arc::new(site);
        self.sites.insert(Arc::clone(&site));
        site
    }

    fn number(&mut self, checksum: Checksum) -> Number {
        let next = Number::try_from(self.tallies.len())
            .expect("an id has fewer checksums than a log has bytes");
        let number = *self.numbers.entry(checksum).or_insert(next);
        if number == next {
            self.tallies.push(Tally {
                checksum,
                domains: 0,
                resolved: None,
            });
        }
        number
    }

    fn resolve(&mut self, spot: Spot, checksum: Number) {
        self.unlist(checksum);
        self.resolutions.insert(spot.clone(), checksum);
        let resolved = &mut self.tallies[checksum as usize].resolved;
        *resolved = resolved.take().max(Some(spot));
        self.list(checksum);
    }

    fn claim(&mut self, spot: Spot, claim: Claim) {
        if let Some(known) = self.claims.insert(spot.clone(), claim) {
            assert_eq!(
                known.checksum, claim.checksum,
                "a commit says one thing about an id"
            );
            return;
        }
        let checksum = claim.checksum;
        self.unlist(checksum);
        let times = self
            .said
            .entry((checksum, Arc::clone(&spot.1)))
            .or_default();
        *times += 1;
        self.tallies[checksum as usize].domains += u32::from(*times == 1);
        if self.keeps_first() {
            self.of_checksum.insert((checksum, spot));
        }
        self.list(checksum);
    }

    fn unclaim(&mut self, spot: &Spot, claim: Claim) {
        let checksum = claim.checksum;
        self.unlist(checksum);
        let said = (checksum, Arc::clone(&spot.1));
        if let Some(times) = self.said.get_mut(&said) {
            *times -= 1;
            if *times == 0 {
                self.said.remove(&said);
                self.tallies[checksum as usize].domains -= 1;
            }
        }
        self.of_checksum.remove(&(checksum, spot.clone()));
        self.list(checksum);
    }

    fn unresolve(&mut self, spot: &Spot, checksum: Number) {
        self.unlist(checksum);
        // Those before it are forgotten already.
        self.tallies[checksum as usize]
            .resolved
            .take_if(|last| last == spot);
        self.list(checksum);
    }

    /// Forgets everything up to a tombstone.
    fn shadow(&mut self, logseq: LogSeq) {
        self.shadowed = Some(logseq);
        while let Some((spot, claim)) = pop_up_to(&mut self.claims, logseq) {
            self.unclaim(&spot, claim);
        }
        while let Some((spot, checksum)) = pop_up_to(&mut self.resolutions, logseq) {
            self.unresolve(&spot, checksum);
        }
        if self.tallies.len() > 2 * self.len() {
            self.renumber();
        }
    }

    /// Forgets checksums of which nothing is left.
    fn renumber(&mut self) {
        let old = std::mem::replace(self, Self::new(self.id));
        (self.kind, self.taken, self.shadowed) = (old.kind, old.taken, old.shadowed);
        for ((logseq, site), claim) in old.claims {
            let spot = (logseq, self.site(*site));
            let checksum = self.number(old.tallies[claim.checksum as usize].checksum);
            self.claim(spot, Claim { checksum, ..claim });
        }
        for ((logseq, site), checksum) in old.resolutions {
            let spot = (logseq, self.site(*site));
            let checksum = self.number(old.tallies[checksum as usize].checksum);
            self.resolve(spot, checksum);
        }
    }

    fn keeps_first(&self) -> bool {
        self.kind.is_some_and(Kind::keeps_first)
    }

    /// What the lists say of a checksum, if it is claimed.
    fn listed(&self, checksum: Number) -> Option<Listed> {
        let of_it = (checksum, earliest())..(checksum.checked_add(1)?, earliest());
        let mut of_it = self.of_checksum.range(of_it);
        let (_, first) = of_it.next()?.clone();
        let last = of_it
            .next_back()
            .map_or_else(|| first.clone(), |(_, last)| last.clone());
        let Tally {
            domains, resolved, ..
        } = self.tallies[checksum as usize].clone();
        Some(Listed {
            rank: (domains, Reverse(first), checksum),
            last: (last, checksum),
            resolved,
        })
    }

    /// Takes a checksum out of the lists, before something about it changes.
    fn unlist(&mut self, checksum: Number) {
        let Some(Listed {
            rank,
            last,
            resolved,
        }) = self.listed(checksum)
        else {
            return;
        };
        self.ranking.remove(&rank);
        self.lasts.remove(&last);
        resolved.map(|resolved| self.settling.remove(&(resolved, checksum)));
    }

    /// Puts a checksum into the lists.
    fn list(&mut self, checksum: Number) {
        let Some(Listed {
            rank,
            last,
            resolved,
        }) = self.listed(checksum)
        else {
            return;
        };
        self.ranking.insert(rank);
        self.lasts.insert(last);
        resolved.map(|resolved| self.settling.insert((resolved, checksum)));
    }
}

/// Where a checksum is in the lists.
struct Listed {
    rank: (u32, Reverse<Spot>, Number),
    last: (Spot, Number),
    resolved: Option<Spot>,
}

/// Before every spot.
fn earliest() -> Spot {
    (LogSeq(0), Arc::new(SiteId::from_bytes([0; SiteId::LEN])))
}

fn pop_up_to<T>(spots: &mut BTreeMap<Spot, T>, logseq: LogSeq) -> Option<(Spot, T)> {
    spots
        .first_entry()
        .filter(|first| first.key().0 <= logseq)
        .map(|first| first.remove_entry())
}
