//! The rules by which a commit is accepted: `index-format/FORMAT.md`, "Which commits
//! are accepted".

use std::collections::BTreeSet;

use uor_index_format::chain::Chain;
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::FederationState;
use uor_index_format::membership::Genesis;
use uor_index_format::record::Content;

use super::domain::Domain;
use super::{CommitValidator, KNOWN_MAX, Parked, Past, Rejection, Verdict};
use crate::state::error::ReadError;

/// Why there is no verdict, or one other than "accepted".
enum Not {
    Accepted(Verdict),
    Readable(ReadError),
}

impl From<Verdict> for Not {
    fn from(verdict: Verdict) -> Self {
        Self::Accepted(verdict)
    }
}

impl From<ReadError> for Not {
    fn from(error: ReadError) -> Self {
        Self::Readable(error)
    }
}

impl CommitValidator {
    /// Validates a commit against everything that is here so far.
    ///
    /// # Errors
    /// [`ReadError`] if what `past` holds cannot be read.
    pub fn validate(&self, commit: &Commit, past: &dyn Past) -> Result<Verdict, ReadError> {
        match self.verdict(commit, past) {
            Ok(()) => Ok(Verdict::Accepted),
            Err(Not::Accepted(verdict)) => Ok(verdict),
            Err(Not::Readable(error)) => Err(error),
        }
    }

    fn verdict(&self, commit: &Commit, past: &dyn Past) -> Result<(), Not> {
        self.check_chain(commit, past)?;
        self.check_membership_view(commit)?;
        self.check_writer(commit)?;
        Ok(self.check_membership_records(commit)?)
    }

    fn check_chain(&self, commit: &Commit, past: &dyn Past) -> Result<(), Not> {
        let (header, hash) = (commit.header(), commit.hash());
        if let Some(known) = self.header(&header.domain, header.number, past)? {
            if known.hash() == hash {
                return Err(Verdict::Known.into());
            }
            let proof = ForkProof::new(known, header.clone());
            return Err(proof
                .map_or(Verdict::Known, |proof| Verdict::Forks(Box::new(proof)))
                .into());
        }
        if let Some(proof) = self
            .forks
            .get(&header.domain)
            .filter(|proof| proof.number() <= header.number)
        {
            return Err(self.testimony(commit, proof).into());
        }
        let domain = self.domains.get(&header.domain);
        let last = domain.and_then(|domain| domain.last.as_ref());
        let next = last.map_or(1, |last| last.number + 1);
        if header.number > next {
            return Err(Verdict::Parked(Parked::Gap { next }).into());
        }
        let Some(chain) = domain.map_or_else(|| Some(Chain::default()), Domain::chain) else {
            return Err(Verdict::Rejected(Rejection::Frozen { number: next }).into());
        };
        let expected = chain.history_like(&header.history);
        if header.history != expected {
            let named = header.history;
            return Err(Verdict::Rejected(Rejection::Chain { named, expected }).into());
        }
        match last {
            Some(last) if header.logseq <= last.logseq => {
                Err(Verdict::Rejected(Rejection::LogSeq {
                    logseq: header.logseq,
                    before: last.logseq,
                })
                .into())
            }
            _ => Ok(()),
        }
    }

    /// What a commit amounts to whose writer is proven to have forked its log at its number or
    /// below: its word on membership, if its writer was a member by then. Neither its chain nor
    /// what it knew matters for that.
    fn testimony(&self, commit: &Commit, proof: &ForkProof) -> Verdict {
        let header = commit.header();
        if self.memberships.contains_key(&commit.hash()) {
            return Verdict::Known;
        }
        let admitted = self
            .members
            .get(&header.domain)
            .is_some_and(|before| *before < header.logseq);
        if !commit.is_membership() || self.check_membership_records(commit).is_err() {
            return Verdict::Rejected(Rejection::Frozen {
                number: proof.number(),
            });
        }
        let may_testify = self.is_founding(commit) || admitted;
        if may_testify {
            Verdict::Testifies
        } else {
            Verdict::Parked(Parked::Admission)
        }
    }

    /// The membership commits the writer knew have to give the digest it signed; which of them are
    /// here does not matter.
    fn check_membership_view(&self, commit: &Commit) -> Result<(), Verdict> {
        let header = commit.header();
        let (nothing, none) = (BTreeSet::new(), FederationState::of([]));
        let domain = self.domains.get(&header.domain);
        let (knows, before) = domain.map_or((&nothing, none), |domain| {
            (&domain.knows, domain.federation)
        });
        let learned = commit.learned();
        let known = knows.len() + learned.iter().filter(|hash| !knows.contains(*hash)).count();
        if known + usize::from(commit.is_membership()) > KNOWN_MAX {
            return Err(Verdict::Rejected(Rejection::Known { known }));
        }
        let federation = match learned {
            [] => before,
            learned => FederationState::of(knows.union(&learned.iter().copied().collect())),
        };
        if federation == header.federation {
            Ok(())
        } else {
            Err(Verdict::Rejected(Rejection::FederationState {
                named: header.federation,
            }))
        }
    }

    /// One of the membership commits that a first commit names has to have admitted its writer,
    /// below it. Whoever has written an accepted commit may write the next: an admission is never
    /// taken back.
    fn check_writer(&self, commit: &Commit) -> Result<(), Verdict> {
        let header = commit.header();
        if header.number > 1 || self.is_founding(commit) {
            return Ok(());
        }
        let admitted = commit
            .learned()
            .iter()
            .filter_map(|hash| self.memberships.get(hash));
        let admitted = admitted.filter(|membership| membership.members.contains(&header.domain));
        let admitted = admitted.map(|membership| membership.logseq).min();
        if admitted.is_some_and(|before| before < header.logseq) {
            return Ok(());
        }
        if let Some(missing) = commit
            .learned()
            .iter()
            .find(|hash| !self.memberships.contains_key(*hash))
        {
            return Err(Verdict::Parked(Parked::Membership { commit: *missing }));
        }
        let rejection = admitted.map_or(Rejection::NotAMember, |before| Rejection::LogSeq {
            logseq: header.logseq,
            before,
        });
        Err(Verdict::Rejected(rejection))
    }

    fn is_founding(&self, commit: &Commit) -> bool {
        let founds = |genesis: &Genesis| {
            genesis.founder == commit.header().domain && genesis.federation_id() == self.federation
        };
        commit.header().number == 1
            && commit.records().iter().any(
                |record| matches!(record.content(), Content::Genesis(genesis) if founds(genesis)),
            )
    }

    fn check_membership_records(&self, commit: &Commit) -> Result<(), Verdict> {
        let belongs = commit
            .records()
            .iter()
            .all(|record| match record.content() {
                Content::Genesis(genesis) => {
                    genesis.federation_id() == self.federation && self.is_founding(commit)
                }
                Content::Admission(admission) => admission.federation == self.federation,
                _ => true,
            });
        if belongs {
            Ok(())
        } else {
            Err(Verdict::Rejected(Rejection::ForeignMembership))
        }
    }
}
