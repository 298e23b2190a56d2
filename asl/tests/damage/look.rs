//! Looking at a store in every way: the right answer, or an error that names the place.

use std::collections::BTreeSet;
use std::error::Error;

use uor_asl::disk::Mode;
use uor_asl::state::Filter;
use uor_asl::store::Store;
use uor_asl::verify::{Finding, Verified};
use uor_index_format::id::{Checksum, SiteId};
use uor_index_format::record::Kind;

use super::harm::{Cell, Harm};
use super::sample::{Facts, Sample};

/// Holds what is seen against what should be.
pub(crate) struct Look<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) cell: &'a Cell,
    /// Whether anything said that something is wrong.
    pub(crate) is_told: bool,
    /// Whether a writer has been at it.
    pub(crate) is_mended: bool,
    /// Whether verification found something.
    pub(crate) is_found: bool,
    /// Whether an answer was an error.
    pub(crate) is_refused: bool,
    /// Whether the store shows an earlier state.
    pub(crate) is_earlier: bool,
}

impl Look<'_> {
    /// An error names a place.
    pub(crate) fn told(&mut self, error: &(dyn Error + 'static)) {
        let said: Vec<String> = causes(error).collect();
        let names = [
            "log/",
            "index/",
            "blocks/",
            "segment ",
            "file `store`",
            "commit table",
            "payload ",
            "no store here",
        ];
        assert!(
            names
                .iter()
                .any(|name| said.iter().any(|said| said.contains(name))),
            "{}: {said:?}",
            self.cell
        );
        assert!(
            !self.cell.is_in_index(),
            "{}: a damaged index costs no answer: {said:?}",
            self.cell
        );
        self.is_told = true;
        self.is_refused = true;
    }

    fn is<T: PartialEq + std::fmt::Debug, E: Error + 'static>(
        &mut self,
        what: &str,
        found: Result<T, E>,
        expected: &T,
    ) {
        match found {
            Ok(found) => assert!(
                found == *expected,
                "{}: {what} is {found:?}, not {expected:?}",
                self.cell
            ),
            Err(error) => self.told(&error),
        }
    }

    /// All are there and right up to the first that cannot be read; what follows that may lack it.
    fn are<T: PartialEq + std::fmt::Debug, E: Error + 'static>(
        &mut self,
        what: &str,
        found: impl Iterator<Item = Result<T, E>>,
        expected: &[T],
    ) {
        let (mut right, mut wrong) = (Vec::new(), 0);
        for (number, found) in found.enumerate() {
            match found {
                Ok(found) if wrong == 0 => right.push(found),
                Ok(_) => {}
                Err(error) => {
                    wrong += 1;
                    self.told(&error);
                }
            }
            assert!(
                number <= 2 * self.sample.last().versions.len(),
                "{}: {what} have no end",
                self.cell
            );
        }
        let is_right = if wrong == 0 {
            right == expected
        } else {
            expected.starts_with(&right)
        };
        assert!(
            is_right,
            "{}: {what} are {right:?}, not {expected:?}",
            self.cell
        );
    }

    pub(crate) fn at(&mut self, store: &Store) {
        let opened = store.opened();
        let is_cut = opened.log.cut.is_some() || opened.blocks.cut.is_some();
        let is_passed_over = !opened.blocks.damages.is_empty() || !opened.blocks.mended.is_empty();
        self.is_told |=
            is_cut || is_passed_over || opened.index.is_some() || !opened.blocks.rebuilt.is_empty();
        self.is_told |= opened.cut.is_some();
        let view = store.view();
        let head = view.head().clone();
        let moment = self
            .sample
            .moments
            .iter()
            .rev()
            .find(|moment| moment.head == head && moment.root == view.state().root());
        if moment.is_none() && opened.cut.is_some() {
            drop(view);
            return self.beginning(store);
        }
        let moment =
            moment.unwrap_or_else(|| panic!("{}: a state that never was: {head:?}", self.cell));
        let is_whole = moment.head == self.sample.last().head;
        self.is_earlier |= !is_whole;
        assert!(
            is_whole || (self.cell.is_in(".log") && self.cell.ends_earlier()),
            "{}: an older state",
            self.cell
        );
        drop(view);
        if !(self.cell.is_in_blocks() && self.is_mended) {
            self.state(store, moment);
            if is_whole {
                self.past(store);
            }
        }
        let verified = match store.verify(&mut |_| {}) {
            Ok(verified) => verified,
            Err(error) => return self.told(&error),
        };
        self.is_found = !verified.findings.is_empty() || !verified.torn.is_empty();
        self.is_told |= self.is_found;
        self.is_told |= !store.index_damage().is_empty();
        if self.cell.is_in_index()
            && store.mode() == Mode::ReadOnly
            && !self.is_mended
            && !self.cell.cannot_be_told()
        {
            self.is_named(&verified);
        }
        self.payloads(store, moment, &verified, is_passed_over);
    }

    /// Verification names the file, and nothing else than the index.
    fn is_named(&self, verified: &Verified) {
        let files: Vec<Option<&str>> = verified.findings.iter().map(Finding::index_file).collect();
        let is_named = match &self.cell.harm {
            Harm::Swapped(other) => {
                files.contains(&Some(&self.cell.path)) || files.contains(&Some(other))
            }
            // A checkpoint may be right, and name what is not there any more.
            _ => files.contains(&Some(&self.cell.path)),
        };
        assert!(
            is_named,
            "{}: not named in {:?}",
            self.cell, verified.findings
        );
        assert!(
            files.iter().all(Option::is_some),
            "{}: {:?}",
            self.cell,
            verified.findings
        );
    }

    /// A log that lost its last segments may end within what was written at once. A reader that was
    /// told so sees the beginning of each domain's commits, and nothing else.
    fn beginning(&mut self, store: &Store) {
        assert!(
            self.is_told && store.mode() == Mode::ReadOnly,
            "{}: it is not told",
            self.cell
        );
        assert!(
            self.cell.is_in(".log") && self.cell.ends_earlier(),
            "{}: an older state",
            self.cell
        );
        let frontier = store.view().head().frontier.clone();
        for (domain, head) in frontier {
            for number in 1..=head.number {
                let bytes = self.sample.last().commits[&(domain, number)].clone();
                self.is(
                    "a commit",
                    store.commit_bytes(&domain, number),
                    &Some(bytes),
                );
            }
        }
    }

    /// What is visible, and from which commits.
    fn state(&mut self, store: &Store, moment: &Facts) {
        let view = store.view();
        let (state, head) = (view.state(), view.head());
        let names: Vec<(SiteId, u64)> = moment.commits.keys().copied().collect();
        self.are(
            "commits",
            view.commits()
                .map(|commit| commit.map(|commit| (commit.domain, commit.number))),
            &names,
        );
        for ((domain, number), bytes) in &moment.commits {
            self.is(
                "a commit",
                store.commit_bytes(domain, *number),
                &Some(bytes.clone()),
            );
        }
        assert_eq!(*view.members(), moment.members, "{}", self.cell);
        assert_eq!(view.unaccepted(), 0, "{}", self.cell);
        self.are(
            "entries",
            state.entries(head, &Filter::ALL),
            &moment.entries,
        );
        self.are("versions", state.all_versions(head), &moment.versions);
        for entry in &moment.entries {
            self.is("an entry", state.entry(&entry.id, head), &Some(*entry));
            self.is(
                "versions of an id",
                state.versions(&entry.id, head),
                &moment.versions_of[&entry.id],
            );
            self.is(
                "ids",
                state.ids_with_prefix(&entry.id.to_string()[..40], 9),
                &vec![entry.id],
            );
        }
        let conflicts = state
            .conflicts(head)
            .map(|all| all.into_iter().map(|conflict| conflict.id).collect());
        self.is("conflicts", conflicts, &moment.conflicts);
        self.is(
            "artifacts",
            state.count_records(&Filter::kind(Kind::Artifact)),
            &moment.artifacts,
        );
    }

    /// What was visible at an older snapshot, and what has changed since.
    fn past(&mut self, store: &Store) {
        let (view, middle) = (store.view(), self.sample.middle());
        self.is(
            "the older root",
            view.state().root_at(&middle.head),
            &middle.root,
        );
        self.are(
            "older entries",
            view.state().entries(&middle.head, &Filter::ALL),
            &middle.entries,
        );
        if store.mode() == Mode::ReadOnly {
            self.is(
                "the older root",
                store.replay(&middle.head).map(|replayed| replayed.root),
                &middle.root,
            );
        }
        self.is(
            "what changed",
            store.changed_ids(&middle.head, view.head()),
            &self.sample.changed,
        );
    }

    fn payloads(
        &mut self,
        store: &Store,
        moment: &Facts,
        verified: &Verified,
        is_passed_over: bool,
    ) {
        let (cell, blocks, view) = (self.cell, store.blocks(), store.view());
        // The end of the last pack may be gone; a reader passes over what is damaged.
        let may_differ = is_passed_over || (cell.is_in(".pack") && cell.ends_earlier());
        for (checksum, bytes) in &self.sample.last().payloads {
            match blocks.read_all(*checksum, 1 << 20) {
                Ok(read) => assert!(read == *bytes, "{cell}: wrong bytes"),
                Err(error) => {
                    assert!(
                        may_differ || blocks.has(*checksum),
                        "{cell}: {checksum} is lost: {error}"
                    );
                    self.told(&error);
                }
            }
        }
        // Before its erasure a payload's pack held it.
        let is_older = matches!(cell.harm, Harm::Rewritten("as it was", _)) && cell.is_in(".pack");
        for (checksum, bytes) in &self.sample.erased {
            let is_erased = view.erased(checksum).is_some();
            let may_lack = cell.is_in(".log") && cell.ends_earlier();
            let is_right =
                is_erased == moment.erased.contains_key(checksum) || (may_lack && !is_erased);
            assert!(is_right, "{cell}: {checksum}");
            match blocks.read_all(*checksum, 1 << 20) {
                Ok(read) => assert!(
                    read == *bytes && is_older && may_differ,
                    "{cell}: erased, and here"
                ),
                Err(_) => assert!(
                    may_differ || !is_erased || blocks.erased(*checksum),
                    "{cell}: not erased"
                ),
            }
        }
        let here: BTreeSet<Checksum> = blocks.payloads().into_iter().collect();
        let expected: BTreeSet<Checksum> = self.sample.last().payloads.keys().copied().collect();
        assert!(
            may_differ || here == expected,
            "{cell}: other payloads are here"
        );
        for entry in moment
            .entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Artifact | Kind::Receipt))
        {
            let Some(checksum) = entry.checksum.filter(|checksum| !blocks.has(*checksum)) else {
                continue;
            };
            let is_said =
                verified.missing.contains(&entry.id) || verified.erased.contains(&entry.id);
            let is_said = is_said || !verified.findings.is_empty();
            assert!(is_said, "{cell}: {checksum} is absent, and nobody says so");
            // Only of the end of the last pack nobody knows that it was there.
            let is_unknown = may_differ && !is_passed_over;
            assert!(
                is_unknown || is_erased_or_wanted(store, &checksum),
                "{cell}: {checksum} is not wanted"
            );
        }
    }
}

/// The payloads that can be read.
pub(crate) fn readable(sample: &Sample, store: &Store) -> BTreeSet<Checksum> {
    let read = |checksum: &&Checksum| store.blocks().read_all(**checksum, 1 << 20).is_ok();
    sample
        .last()
        .payloads
        .keys()
        .filter(read)
        .copied()
        .collect()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string)
}

fn is_erased_or_wanted(store: &Store, checksum: &Checksum) -> bool {
    let view = store.view();
    view.wanted().contains_key(checksum)
        || view.erased(checksum).is_some()
        || store.blocks().erased(*checksum)
}
