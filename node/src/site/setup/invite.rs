//! Invitations and admissions.
//!
//! A ticket's token is a secret of which only a digest is kept. Whoever shows it first is admitted
//! by a commit, before which the digest is forgotten for good. So a token never admits two sites; a
//! crash between the two costs a new ticket.

use std::collections::BTreeSet;

use uor_asl::store::{CommitError, Committed};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::membership::{Admission, SITE_NAME_LEN_MAX};
use uor_index_format::record::Record;
use uor_index_format::ticket::{ADDRESS_LEN_MAX, ADDRESSES_MAX, Ticket};

use crate::site::directory::files::{self, FileError, INVITES_FILE};
use crate::site::handle::Site;

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
}
