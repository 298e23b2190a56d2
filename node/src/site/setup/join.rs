//! How a site comes into the federation of a ticket.
//!
//! The store of a site that had been a federation of one goes into `aside`, from where it comes
//! back if nobody admits the site.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use uor_asl::disk::real::DIR_MODE;
use uor_asl::disk::{Disk, Mode};
use uor_asl::store::Store;
use uor_index_format::id::FederationId;
use uor_index_format::key::SiteKey;
use uor_index_format::ticket::Ticket;

use super::error::{InitError, OpenError};
use super::fresh::Fresh;
use super::init::{Initialised, random, site_name};
use super::parts::{
    ASIDE_DIR, FEDERATION_FILES, STORE_PARTS, clear, disk_in, during, move_if_there, remove_all,
    take_lock,
};
use crate::site::directory::files::{self, SITE_FILE};
use crate::site::handle::Site;

impl Site {
    /// Makes a site that is to join the ticket's federation: a key and an empty store. The
    /// admission comes over the network; then call [`Site::join_completed`], or
    /// [`join_abandoned`](Site::join_abandoned) if it is refused.
    ///
    /// A directory that holds a federation of one with nothing in it, or a site that was never
    /// admitted, will do: its key stays.
    ///
    /// # Errors
    /// [`InitError`]; the directory is as it was then.
    pub fn init_joining(
        dir: &Path,
        name: Option<&str>,
        ticket: &Ticket,
    ) -> Result<Initialised, InitError> {
        let disk = disk_in(dir);
        if files::exists(disk.as_ref(), SITE_FILE)? {
            return rejoin(dir, &disk, name, ticket.federation);
        }
        let name = site_name(name)?;
        let key = SiteKey::from_seed(&random()?);
        let fresh = Fresh::begin(dir)?;
        files::write_key(dir, &key)?;
        Store::create(&disk, ticket.federation)?;
        files::write_name(disk.as_ref(), &name)?;
        fresh.keep()?;
        Ok(Initialised {
            site_id: key.site_id(),
            federation_id: ticket.federation,
            name,
            data: dir.to_owned(),
        })
    }

    /// Forgets the federation of one that this site was before it joined.
    ///
    /// # Errors
    /// [`InitError::Directory`].
    pub fn join_completed(&self) -> Result<(), InitError> {
        remove_all(&self.dir.join(ASIDE_DIR))
    }

    /// Takes [`Site::init_joining`] back, if nothing has arrived since: the site is again what it
    /// was before, or no site.
    ///
    /// # Errors
    /// [`InitError::HasHistory`] if something has arrived; [`InitError`].
    pub fn join_abandoned(dir: &Path) -> Result<(), InitError> {
        let disk = disk_in(dir);
        let commits = Self::open(dir, Mode::Write)?.commits_len();
        if commits > 0 {
            return Err(InitError::HasHistory {
                dir: dir.to_owned(),
                commits,
            });
        }
        let lock = take_lock(dir, &disk)?;
        let aside = dir.join(ASIDE_DIR);
        if !files::exists(disk.as_ref(), ASIDE_DIR)? {
            drop(lock);
            clear(dir);
            // Left in place if it holds what is not ours, or was there before and is a mount point.
            let _ = fs::remove_dir(dir);
            return Ok(());
        }
        STORE_PARTS
            .iter()
            .try_for_each(|part| remove_all(&dir.join(part)))?;
        STORE_PARTS
            .iter()
            .rev()
            .try_for_each(|part| move_if_there(&aside.join(part), &dir.join(part)))?;
        remove_all(&aside)
    }

    fn commits_len(&self) -> u64 {
        let view = self.store.view();
        view.commits_len() + view.unaccepted()
    }
}

/// Gives a site that is there the empty store of another federation.
fn rejoin(
    dir: &Path,
    disk: &Arc<dyn Disk>,
    name: Option<&str>,
    federation: FederationId,
) -> Result<Initialised, InitError> {
    let site_id = files::read_key(disk.as_ref())?.site_id();
    let name = name.map_or_else(
        || Ok(files::read_name(disk.as_ref())?),
        |name| site_name(Some(name)),
    )?;
    let in_place = files::exists(disk.as_ref(), STORE_PARTS[0])?;
    if in_place && !must_be_replaced(dir, federation)? {
        files::write_name(disk.as_ref(), &name)?;
        return Ok(Initialised {
            site_id,
            federation_id: federation,
            name,
            data: dir.to_owned(),
        });
    }
    let _lock = take_lock(dir, disk)?;
    put_store_aside(dir, disk)?;
    FEDERATION_FILES
        .iter()
        .try_for_each(|file| remove_all(&dir.join(file)))?;
    Store::create(disk, federation)?;
    files::write_name(disk.as_ref(), &name)?;
    Ok(Initialised {
        site_id,
        federation_id: federation,
        name,
        data: dir.to_owned(),
    })
}

fn put_store_aside(dir: &Path, disk: &Arc<dyn Disk>) -> Result<(), InitError> {
    let aside = dir.join(ASIDE_DIR);
    // What is aside already comes from an earlier attempt and is the site's own; what is here now
    // is that attempt's.
    if files::exists(disk.as_ref(), ASIDE_DIR)? {
        return STORE_PARTS
            .iter()
            .try_for_each(|part| remove_all(&dir.join(part)));
    }
    DirBuilder::new()
        .mode(DIR_MODE)
        .create(&aside)
        .map_err(during("make", &aside))?;
    STORE_PARTS
        .iter()
        .try_for_each(|part| move_if_there(&dir.join(part), &aside.join(part)))
}

/// Whether the store in place belongs to another federation; refuses if anything would be lost.
fn must_be_replaced(dir: &Path, federation: FederationId) -> Result<bool, InitError> {
    let site = Site::open(dir, Mode::Write).map_err(|error| match error {
        OpenError::InUse { dir } => InitError::InUse { dir },
        error => error.into(),
    })?;
    let commits = site.commits_len();
    if site.federation() == federation {
        return if commits == 0 {
            Ok(false)
        } else {
            Err(InitError::AlreadyMember {
                dir: dir.to_owned(),
            })
        };
    }
    let only_founded = commits == 1
        && site
            .store()
            .view()
            .genesis()
            .is_some_and(|it| it.founder == site.site_id());
    if commits > 0 && !(only_founded && site.store().view().state().entries_len() == 1) {
        return Err(InitError::HasHistory {
            dir: dir.to_owned(),
            commits,
        });
    }
    Ok(true)
}
