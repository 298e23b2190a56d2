//! Asking the others for this site's own log, before its first own commit after a start.
//!
//! Two commits with one number freeze a domain for good, and a data directory cannot always tell
//! that it is an old copy; those who took its commits in can. The core brings them like anyone's;
//! here is who was asked, and how long is waited.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::Multiaddr;
use uor_index_format::id::SiteId;

use super::address::parse_peer;
use super::error::ServiceError;
use crate::replication::{Effect, Replicator};
use crate::site::{FileError, Hold, Site};

/// How long a node waits for those it knows, in milliseconds; whoever does not answer by then is
/// gone on without.
const ASK_MS_MAX: u64 = 5_000;
/// Tickets that may wait meanwhile.
const TICKETS_MAX: usize = 16;

/// The sites that are known, at the addresses that are remembered and at those that are given.
///
/// # Errors
/// [`ServiceError`] if an address names nobody, or those that are remembered cannot be read.
pub(super) fn known(site: &Site, given: &[String]) -> Result<Vec<(SiteId, String)>, ServiceError> {
    let mut known = Vec::new();
    for address in given {
        known.push((parse_peer(address)?.1, address.clone()));
    }
    for peer in site.peers()? {
        let Ok(id) = peer.site_id.parse() else {
            continue;
        };
        known.extend(peer.addresses.into_iter().map(|address| (id, address)));
    }
    Ok(known)
}

fn own_commits(site: &Site) -> u64 {
    site.store()
        .view()
        .head()
        .frontier
        .get(&site.site_id())
        .map_or(0, |head| head.number)
}

/// What a node does about it when it starts. Writers wait until it is done.
#[derive(Debug)]
pub(super) struct Start {
    asking: Asking,
    /// Commits of this site's own that were here at the start.
    own_commits: u64,
    is_done: bool,
    /// Whether it was said that the site is held, and why it still is.
    is_hold_reported: bool,
    /// Tickets that were shown meanwhile: to admit somebody is to write.
    tickets: Vec<Effect>,
}

impl Start {
    /// Makes writers wait, and asks those who are known.
    ///
    /// # Errors
    /// As [`known`].
    pub(super) fn new(site: &Site, given: &[String]) -> Result<Self, ServiceError> {
        let asking = Asking::new(known(site, given)?, site.site_id(), ASK_MS_MAX);
        site.begin_asking();
        let own_commits = own_commits(site);
        Ok(Self {
            asking,
            own_commits,
            is_done: false,
            is_hold_reported: false,
            tickets: Vec::new(),
        })
    }

    /// Whether those who are known were asked, and the site writes.
    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// As [`Asking::failed`].
    pub(super) fn failed(&mut self, address: Option<&Multiaddr>, peer: Option<SiteId>) {
        self.asking.failed(address, peer);
    }

    /// Whether a ticket has to wait. One that is shown to a site that is held for longer is
    /// refused.
    pub(super) fn defers(&self) -> bool {
        !self.is_done && !self.is_hold_reported && self.tickets.len() < TICKETS_MAX
    }

    /// Keeps a ticket until it is done.
    pub(super) fn defer(&mut self, ticket: Effect) {
        self.tickets.push(ticket);
    }

    /// The tickets that have waited, once writing goes on.
    pub(super) fn take_tickets(&mut self) -> Vec<Effect> {
        if self.is_done {
            std::mem::take(&mut self.tickets)
        } else {
            Vec::new()
        }
    }

    /// Looks whether enough was asked: those who are known, or the time is over; of a copy, that
    /// one has answered, and nobody has more. Gives the lines to report.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be written down that the site is held no longer.
    pub(super) fn look(
        &mut self,
        site: &Site,
        core: &Replicator,
        now_ms: u64,
    ) -> Result<Vec<String>, FileError> {
        let mut lines = Vec::new();
        if self.is_done || !self.asking.is_over(core, now_ms) {
            return Ok(lines);
        }
        match site.hold() {
            Some(hold) => self.look_at_copy(hold, site, core, &mut lines)?,
            None => lines.extend(self.unasked(site, core)),
        }
        if site.hold().is_none() {
            let came = own_commits(site).saturating_sub(self.own_commits);
            if came > 0 {
                lines.push(format!(
                    "took over {came} commits of this site from others: its data directory was older than what they have"
                ));
            }
            self.is_done = true;
            site.end_asking();
        }
        Ok(lines)
    }

    fn look_at_copy(
        &mut self,
        hold: Hold,
        site: &Site,
        core: &Replicator,
        lines: &mut Vec<String>,
    ) -> Result<(), FileError> {
        let (heard, here) = (core.heard(), own_commits(site));
        let claimed = heard.values().copied().max();
        if claimed.is_some_and(|claimed| claimed <= here) {
            site.release()?;
            let by = heard.len();
            lines.push(format!(
                "{hold}; other sites that were asked: {by}; none has more of its own log than its {here} commits: it writes again"
            ));
        } else if !self.is_hold_reported {
            self.is_hold_reported = true;
            let why = claimed.map_or_else(
                || "no other site has answered yet".to_owned(),
                |claimed| {
                    format!(
                        "a site says that it has commit {claimed} of this one and does not give it"
                    )
                },
            );
            lines.push(format!(
                "{hold}; {why}: this site does not write, and goes on asking"
            ));
        }
        Ok(())
    }

    /// Who could not be asked, where there is anybody.
    fn unasked(&self, site: &Site, core: &Replicator) -> Option<String> {
        let silent: Vec<String> = self
            .asking
            .silent(core)
            .iter()
            .map(|site| site.short().to_string())
            .collect();
        if !silent.is_empty() {
            let names = silent.join(", ");
            return Some(format!(
                "could not ask {names} for later commits of this site; going on from what is here"
            ));
        }
        let is_lone = site.store().view().members().len() <= 1;
        (self.asking.known.is_empty() && !is_lone).then(|| {
            "no address of another site is known here, so nobody was asked for later commits of this site".to_owned()
        })
    }
}

/// Whom to ask, and until when.
#[derive(Debug)]
pub(super) struct Asking {
    /// Known sites, and their addresses at which nobody has failed to answer yet.
    known: BTreeMap<SiteId, BTreeSet<String>>,
    deadline_ms: u64,
}

impl Asking {
    /// Asks these, until `deadline_ms`.
    pub(super) fn new(
        addresses: impl IntoIterator<Item = (SiteId, String)>,
        me: SiteId,
        deadline_ms: u64,
    ) -> Self {
        let mut known: BTreeMap<SiteId, BTreeSet<String>> = BTreeMap::new();
        for (site, address) in addresses.into_iter().filter(|(site, _)| *site != me) {
            known.entry(site).or_default().insert(address);
        }
        Self { known, deadline_ms }
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Nobody answers there.
    pub(super) fn failed(&mut self, address: Option<&Multiaddr>, peer: Option<SiteId>) {
        let address = address.map(ToString::to_string);
        for (site, addresses) in &mut self.known {
            match &address {
                Some(address) => drop(addresses.remove(address)),
                None if peer == Some(*site) => addresses.clear(),
                None => {}
            }
        }
    }

    /// Whether everyone has answered who can, or the time is over.
    pub(super) fn is_over(&self, core: &Replicator, now_ms: u64) -> bool {
        let connected: BTreeSet<&SiteId> = core.connected().collect();
        let is_settled = |site: &SiteId, addresses: &BTreeSet<String>| {
            core.heard().contains_key(site) || (addresses.is_empty() && !connected.contains(site))
        };
        now_ms >= self.deadline_ms
            || self
                .known
                .iter()
                .all(|(site, addresses)| is_settled(site, addresses))
    }

    /// Those who have not answered.
    pub(super) fn silent(&self, core: &Replicator) -> Vec<SiteId> {
        self.known
            .keys()
            .filter(|site| !core.heard().contains_key(site))
            .copied()
            .collect()
    }
}
