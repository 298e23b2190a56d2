//! One store, from its bytes up.

use serde::Serialize;
use uor_asl::damage::Damage;
use uor_asl::log::LogError;
use uor_asl::state::ReadError;
use uor_asl::store::StoreError;
use uor_asl::verify::{Progress as Verifying, TornTail};
use uor_index_format::id::CanonicalId;

use super::artifacts::{contradictions, malformed};
use super::finding::{Finding, unaccepted};
use super::subject::Audited;
use super::verdict::{Progress, Verdict};
use crate::site::text::count;

/// What verification of one store saw.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// How the store was named.
    pub store: String,
    /// Agrees if everything that is here is sound; else diverges.
    pub verdict: Verdict,
    /// Commits that are accepted.
    pub commits: u64,
    /// Commits that lie in the log and are not accepted.
    pub unaccepted: u64,
    /// Those of them that a proven fork took back, each with its reason: no damage. The others are
    /// findings.
    pub taken_back: Vec<String>,
    /// Records that were replayed.
    pub records: u64,
    /// Visible entries.
    pub entries: u64,
    /// Payloads that were read.
    pub payloads: u64,
    /// Bytes of blocks that were read.
    pub block_bytes: u64,
    /// Snapshots whose root was held against replay.
    pub snapshots: u64,
    /// Artifacts and receipts whose payloads are not here and may be fetched: no damage.
    pub missing: Vec<String>,
    /// Artifacts and receipts whose payloads were erased here on request: no damage.
    pub erased: Vec<String>,
    /// Ends of files that hold no whole entry: what a crash leaves of a write that was never
    /// acknowledged.
    pub torn_tails: Vec<String>,
    /// Why the index was not used and everything found in the log, if so: no damage, unless there
    /// are findings of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_index: Option<String>,
    /// The state root, from replay; absent if the store could not be opened.
    pub state_root: Option<String>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

/// Verifies every byte of a store, and its snapshots against replay.
///
/// # Errors
/// [`StoreError`] if the disk cannot be read.
pub fn verify(
    audited: &Audited,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Verification, StoreError> {
    let verified = audited.store.verify(&mut |progress| {
        on_progress(match progress {
            Verifying::Payloads(read, total) => Progress::Payloads(read, total),
            Verifying::Log(read, total) => Progress::Log(read, total),
            Verifying::Index => Progress::Index,
            Verifying::Replay(done, total) => Progress::Commits(done, total),
        });
    })?;
    let mut findings: Vec<Finding> = verified.findings.iter().map(Finding::of).collect();
    let (lost, payloads_lost) = lost(audited, &verified.missing)?;
    findings.extend(lost);
    findings.extend(forks(audited));
    findings.extend(malformed(audited)?);
    let compared = snapshots(audited, &mut findings, on_progress)?;
    let verdict = if findings.is_empty() {
        Verdict::Agrees
    } else {
        Verdict::Diverges
    };
    Ok(Verification {
        store: audited.name.clone(),
        verdict,
        commits: verified.commits,
        unaccepted: verified.unaccepted.len() as u64,
        taken_back: verified
            .unaccepted
            .iter()
            .filter(|commit| commit.is_of_a_fork)
            .map(unaccepted)
            .collect(),
        records: verified.records,
        entries: verified.entries,
        payloads: verified.payloads,
        block_bytes: verified.block_bytes,
        snapshots: compared,
        missing: verified
            .missing
            .iter()
            .filter(|id| !payloads_lost.contains(id))
            .map(ToString::to_string)
            .collect(),
        erased: verified.erased.iter().map(ToString::to_string).collect(),
        torn_tails: verified.torn.iter().map(torn).collect(),
        stale_index: verified.stale_index,
        state_root: Some(verified.state_root.to_string()),
        findings,
    })
}

fn torn(tail: &TornTail) -> String {
    let TornTail {
        file,
        offset,
        bytes,
    } = tail;
    format!(
        "{file} ends in {bytes} bytes that are no whole entry, from offset {offset}: never acknowledged, set aside by the next writer"
    )
}

/// What the site had acknowledged and is not here: its own commits and payloads; what others wrote
/// may be fetched. Also gives the artifacts and receipts of the payloads.
fn lost(
    audited: &Audited,
    missing: &[CanonicalId],
) -> Result<(Vec<Finding>, Vec<CanonicalId>), StoreError> {
    let mut findings = Vec::new();
    if let Some(cut) = &audited.store.opened().cut {
        let commits: u64 = cut.heads.values().sum();
        let (end, through) = (cut.end, cut.through);
        let message = format!(
            "the log ends in segment {} at offset {}, and its index reaches to segment {} at offset {}: of {}, {} are here",
            end.segment,
            end.offset,
            through.segment,
            through.offset,
            count(commits, "commit"),
            audited.store.view().commits_len()
        );
        findings.push(Finding::new("lost", message, Vec::new()));
    }
    let Some(witnessed) = &audited.witnessed else {
        return Ok((findings, Vec::new()));
    };
    findings.extend(
        witnessed
            .loss(&audited.store)?
            .map(|loss| Finding::new("lost", loss.to_string(), Vec::new())),
    );
    let payloads = witnessed.lost_payloads(&audited.store, missing)?;
    if !payloads.is_empty() {
        let message = format!(
            "{} of this site's own are not here, and were neither erased nor given up",
            count(payloads.len() as u64, "payload")
        );
        findings.push(Finding::new(
            "lost",
            message,
            payloads.iter().map(ToString::to_string).collect(),
        ));
    }
    Ok((findings, payloads))
}

/// Proven forks: the store is sound, and one of its writers is not.
fn forks(audited: &Audited) -> Vec<Finding> {
    let view = audited.store.view();
    let forks = view.forks().iter().map(|(domain, proof)| {
        let [one, other] = proof.hashes();
        let message = format!(
            "site {domain} signed two commits with number {}: {one} and {other}",
            proof.number()
        );
        Finding::new("fork", message, vec![domain.to_string()])
    });
    forks.collect()
}

/// Holds the snapshots against replay; says how many. Not compared is what cannot be read, or
/// includes commits that are not here.
fn snapshots(
    audited: &Audited,
    findings: &mut Vec<Finding>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<u64, StoreError> {
    let ids = audited.snapshots()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let mut targets = Vec::new();
    for id in ids {
        // What is no snapshot is found with the other forms.
        let Ok(snapshot) = audited.snapshot_of(&id)? else {
            continue;
        };
        let view = audited.store.view();
        findings.extend(contradictions(&view, id, &snapshot)?);
        if view.has(&snapshot)? {
            targets.push(snapshot);
        }
    }
    on_progress(Progress::Snapshots(targets.len() as u64));
    // What cannot be replayed was found before.
    let Ok(replayed) = audited.store.replay_many(&targets) else {
        return Ok(0);
    };
    for (snapshot, reached) in targets.iter().zip(replayed) {
        let kept = audited.store.view().state().root_at(snapshot)?;
        if kept != reached.root {
            let (id, root) = (snapshot.id(), reached.root);
            let message =
                format!("at snapshot {id} the kept state has root {kept}, replay gives {root}");
            findings.push(Finding::new("snapshot", message, vec![id.to_string()]));
        }
    }
    Ok(targets.len() as u64)
}

impl Verification {
    /// A store that is too damaged to be opened.
    pub fn of_damage(store: impl Into<String>, damage: &StoreError) -> Self {
        let mut finding = Finding::new("damage", damage.to_string(), Vec::new());
        if let StoreError::Log(error) | StoreError::Read(ReadError::Log(error)) = damage
            && let LogError::Damaged(Damage { file, offset, .. }) = error
        {
            (finding.file, finding.offset) = (Some(file.clone()), Some(*offset));
        }
        Self {
            store: store.into(),
            verdict: Verdict::Diverges,
            commits: 0,
            unaccepted: 0,
            taken_back: Vec::new(),
            stale_index: None,
            records: 0,
            entries: 0,
            payloads: 0,
            block_bytes: 0,
            snapshots: 0,
            missing: Vec::new(),
            erased: Vec::new(),
            torn_tails: Vec::new(),
            state_root: None,
            findings: vec![finding],
        }
    }
}
