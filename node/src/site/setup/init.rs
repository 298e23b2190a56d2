//! How a site comes to be: with a federation of its own, or to join another.
//!
//! `site.toml` is written last: a directory without it is no site. Making a site either succeeds or
//! leaves the directory as it was.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_asl::disk::Mode;
use uor_asl::store::Store;
use uor_index_format::id::{FederationId, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::{ConflictRule, Genesis, SITE_NAME_LEN_MAX};
use uor_index_format::record::Record;

use super::error::InitError;
use super::fresh::Fresh;
use super::parts::disk_in;
use crate::site::directory::files;
use crate::site::handle::Site;
use crate::site::json;

/// How far a commit's logseq may lie above everything its receiver has seen, in a federation
/// founded here.
const LOGSEQ_JUMP_MAX: u64 = 1 << 20;

/// A site that was just made, or is to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialised {
    /// The site.
    #[serde(serialize_with = "json::text")]
    pub site_id: SiteId,
    /// Its federation.
    #[serde(serialize_with = "json::text")]
    pub federation_id: FederationId,
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
}

impl Site {
    /// Makes the data directory, a key and a federation of one. `name` defaults to the host's name.
    ///
    /// # Errors
    /// [`InitError`]; the directory is as it was then.
    pub fn init(
        dir: &Path,
        name: Option<&str>,
        conflict_rule: ConflictRule,
    ) -> Result<Initialised, InitError> {
        let name = site_name(name)?;
        let key = SiteKey::from_seed(&random()?);
        let genesis = Genesis {
            founder: key.site_id(),
            name: name.clone(),
            nonce: random()?,
            conflict_rule,
            logseq_jump_max: LOGSEQ_JUMP_MAX,
        };
        let fresh = Fresh::begin(dir)?;
        let disk = disk_in(dir);
        files::write_key(dir, &key)?;
        Store::create(&disk, genesis.federation_id())?;
        let federation_id = genesis.federation_id();
        Store::open(disk.clone(), Mode::Write)?
            .commit(
                &key,
                vec![Record::genesis(genesis)],
                crate::clock::wall_ms(),
            )
            .map_err(InitError::Found)?;
        files::write_name(disk.as_ref(), &name)?;
        fresh.keep()?;
        Ok(Initialised {
            site_id: key.site_id(),
            federation_id,
            name,
            data: dir.to_owned(),
        })
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], InitError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(InitError::Randomness)?;
    Ok(bytes)
}

/// The name that was given, or the host's as far as it can be one.
pub(super) fn site_name(given: Option<&str>) -> Result<String, InitError> {
    let strange = |character: char| character.is_control() || matches!(character, '"' | '\\');
    if let Some(name) = given {
        let fits =
            (1..=SITE_NAME_LEN_MAX as usize).contains(&name.len()) && !name.chars().any(strange);
        return if fits {
            Ok(name.to_owned())
        } else {
            Err(InitError::Name {
                name: name.to_owned(),
            })
        };
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"));
    let host = host.unwrap_or_default();
    let host = host.trim();
    let fits = (1..=SITE_NAME_LEN_MAX as usize).contains(&host.len()) && !host.chars().any(strange);
    Ok(if fits {
        host.to_owned()
    } else {
        "site".to_owned()
    })
}
