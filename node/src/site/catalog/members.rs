//! Who belongs to the federation, and what each is called.

use std::collections::BTreeMap;

use serde::Serialize;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::View;
use uor_index_format::id::{CanonicalId, FederationId, SiteId};
use uor_index_format::membership::Admission;
use uor_index_format::record::Content;

use super::resolve::{PREFIX_LEN_MIN, ResolveError};
use super::sort::Sort;
use super::target::Candidate;
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

impl Site {
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
