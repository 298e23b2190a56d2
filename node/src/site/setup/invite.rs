//! Invitations, admissions, and who belongs to the federation.
//!
//! A ticket's token is a secret of which only a digest is kept. Whoever shows it first is admitted
//! by a commit, before which the digest is forgotten for good. So a token never admits two sites; a
//! crash between the two costs a new ticket.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::{CommitError, Committed, View};
use uor_index_format::id::{CanonicalId, Checksum, FederationId, SiteId};
use uor_index_format::membership::{Admission, SITE_NAME_LEN_MAX};
use uor_index_format::record::{Content, Record};
use uor_index_format::ticket::{ADDRESS_LEN_MAX, ADDRESSES_MAX, Ticket};

use crate::site::catalog::resolve::{Candidate, PREFIX_LEN_MIN, ResolveError, Sort};
use crate::site::directory::files::{self, FileError, INVITES_FILE};
use crate::site::handle::Site;
use crate::site::json;

/// A member of the federation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberListed {
    /// The site.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// Its name, as the genesis or its admission says; others may have the same.
    pub name: String,
}

/// What became of a shown ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// The site was admitted by this commit.
    Admitted(Committed),
    /// The site had been a member before; the ticket is used up all the same.
    AlreadyMember,
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// This site is not a member yet.
    #[error("this site has not been admitted to its federation yet, so it cannot invite")]
    NotAMember,
    /// An address cannot stand in a ticket.
    #[error(
        "a ticket holds at most {ADDRESSES_MAX} addresses of at most {ADDRESS_LEN_MAX} bytes each"
    )]
    Addresses,
    /// The system gave no randomness for a token.
    #[error("the system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The invitation could not be remembered.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a ticket was not honoured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// No ticket with this token is open here.
    #[error("this ticket is not open here: it was used before, or another site gave it")]
    TicketUnknown,
    /// The name cannot be a site's.
    #[error("a site's name has 1 to {SITE_NAME_LEN_MAX} bytes without control characters")]
    Name,
    /// The admission could not be written.
    #[error("could not write the admission")]
    Commit(#[from] CommitError),
    /// The invitations could not be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Site {
    /// Makes a ticket for one new member. `addresses` are multiaddresses of this site, with its
    /// peer id.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn invite(&self, addresses: Vec<String>) -> Result<Ticket, InviteError> {
        if !self.store.view().members().contains(&self.site_id()) {
            return Err(InviteError::NotAMember);
        }
        let fits = |address: &String| address.len() <= ADDRESS_LEN_MAX as usize;
        if addresses.len() > ADDRESSES_MAX as usize || !addresses.iter().all(fits) {
            return Err(InviteError::Addresses);
        }
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(InviteError::Randomness)?;
        let _guard = self.files_for_writing()?;
        let mut open: BTreeSet<Checksum> = files::read_set(self.disk.as_ref(), INVITES_FILE)?;
        open.insert(Ticket::token_digest(&token));
        files::write_lines(self.disk.as_ref(), INVITES_FILE, open)?;
        Ok(Ticket {
            federation: self.federation(),
            inviter: self.site_id(),
            token,
            addresses,
        })
    }

    /// Admits the site that shows the token of a ticket from here. A token works once.
    ///
    /// # Errors
    /// [`RedeemError`]; nobody was admitted then.
    pub fn redeem(
        &self,
        token: &[u8; 16],
        site: SiteId,
        name: &str,
    ) -> Result<Redeemed, RedeemError> {
        if !(1..=SITE_NAME_LEN_MAX as usize).contains(&name.len())
            || name.chars().any(char::is_control)
        {
            return Err(RedeemError::Name);
        }
        let _guard = self.files_for_writing()?;
        let before: BTreeSet<Checksum> = files::read_set(self.disk.as_ref(), INVITES_FILE)?;
        let mut open = before.clone();
        let is_open = open.remove(&Ticket::token_digest(token));
        // A member may ask again: the answer to its first question may have been lost.
        let is_member = self.store.view().members().contains(&site);
        if !is_open && !is_member {
            return Err(RedeemError::TicketUnknown);
        }
        // A member may show what it likes, as often as it likes: only what changes something is
        // written.
        if is_open {
            files::write_lines(self.disk.as_ref(), INVITES_FILE, open)?;
        }
        if is_member {
            return Ok(Redeemed::AlreadyMember);
        }
        let admission = Admission {
            federation: self.federation(),
            site,
            name: name.to_owned(),
        };
        self.commit(vec![Record::admission(admission)])
            .map(Redeemed::Admitted)
            .map_err(|error| {
                // Nobody was admitted, so the ticket is good again; if even that fails, a new one
                // has to be made.
                let _ = files::write_lines(self.disk.as_ref(), INVITES_FILE, before);
                error.into()
            })
    }

    /// Everyone who may write, ascending by id.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn members(&self) -> Result<Vec<MemberListed>, StateError> {
        let view = self.store.view();
        let listed = |site_id: &SiteId| {
            let name = site_name(&view, self.federation(), site_id)?.unwrap_or_default();
            Ok(MemberListed {
                site_id: *site_id,
                name,
            })
        };
        view.members().iter().map(listed).collect()
    }

    /// The names of all members as they are shown: one that several have, with the beginning of the
    /// site's id behind it. Every site gives itself a name, and nobody can keep two from taking the
    /// same one apart from each other.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn shown_names(&self) -> Result<BTreeMap<SiteId, String>, StateError> {
        let members = self.members()?;
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        members
            .iter()
            .for_each(|member| *counts.entry(&member.name).or_default() += 1);
        let shown = |member: &MemberListed| match counts.get(member.name.as_str()) {
            // Its admission was taken back from sight, or removed.
            _ if member.name.is_empty() => member.site_id.short().to_string(),
            Some(1) => member.name.clone(),
            _ => format!("{} ({})", member.name, member.site_id.short()),
        };
        Ok(members
            .iter()
            .map(|member| (member.site_id, shown(member)))
            .collect())
    }

    /// The site that a full id, a unique prefix of at least 8 digits or a member's unique name
    /// means.
    ///
    /// # Errors
    /// [`ResolveError::UnknownSite`], [`ResolveError::Ambiguous`] or [`ResolveError::State`].
    pub fn resolve_site(&self, text: &str) -> Result<SiteId, ResolveError> {
        let members = self.members()?;
        let prefix = text.to_ascii_lowercase();
        // A whole id means that site, whatever others call themselves.
        if let Some(site) = members
            .iter()
            .find(|member| member.site_id.to_string() == prefix)
        {
            return Ok(site.site_id);
        }
        let is_prefix = prefix.len() >= PREFIX_LEN_MIN;
        let means = |member: &&MemberListed| {
            member.name == text || (is_prefix && member.site_id.to_string().starts_with(&prefix))
        };
        let meant: Vec<SiteId> = members
            .iter()
            .filter(means)
            .map(|member| member.site_id)
            .collect();
        match meant.as_slice() {
            [site] => Ok(*site),
            [] => Err(ResolveError::UnknownSite {
                text: text.to_owned(),
            }),
            several => {
                let candidate = |site: &SiteId| Candidate {
                    id: CanonicalId::from_bytes(*site.as_bytes()),
                    sort: Sort::Admission,
                };
                Err(ResolveError::Ambiguous {
                    text: text.to_owned(),
                    candidates: several.iter().map(candidate).collect(),
                    more: false,
                })
            }
        }
    }
}

/// The name that the genesis or the last admission inside the log gives a site, whether or not it
/// is visible.
fn site_name(
    view: &View,
    federation: FederationId,
    site: &SiteId,
) -> Result<Option<String>, StateError> {
    if let Some(genesis) = view.genesis().filter(|genesis| genesis.founder == *site) {
        return Ok(Some(genesis.name.clone()));
    }
    let id = Admission {
        federation,
        site: *site,
        name: String::new(),
    }
    .id();
    let versions = view.state().versions(&id, view.head())?;
    Ok(versions
        .iter()
        .rev()
        .find_map(|version| match version.record.content() {
            Content::Admission(admission) => Some(admission.name.clone()),
            _ => None,
        }))
}
