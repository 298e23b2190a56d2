//! What of a data set something else shows.

use std::collections::BTreeSet;

use uor_asl::state::Filter;
use uor_index_format::id::{ArtifactKey, Checksum};
use uor_index_format::program::{Program, TYPE_TAG as PROGRAM_TAG};
use uor_index_format::receipt::Outcome;
use uor_index_format::record::{Content, Kind};
use uor_index_format::reference::NAMESPACE_USER;
use uor_index_format::tree::TYPE_TAG;
use uor_pel::artifact_store::OUTCOME_LEN_MAX;
use uor_pel::run::PROGRAM_LEN_MAX;

use super::error::RemoveError;
use super::looking::{Looking, Set};
use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;

/// What of a data set something else shows.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) keys: BTreeSet<ArtifactKey>,
    /// What shows it.
    pub(super) by: Bounded<String>,
}

impl Shown {
    /// Notes what `by` shows, as far as it is in the data set.
    fn note(
        &mut self,
        set: &Set,
        keys: impl IntoIterator<Item = ArtifactKey>,
        by: impl FnOnce() -> String,
    ) {
        let keys: Vec<ArtifactKey> = keys
            .into_iter()
            .filter(|key| set.keys.contains(key))
            .collect();
        if !keys.is_empty() {
            self.keys.extend(keys);
            self.by.push(by());
        }
    }
}

/// What is visible, is not in the data set, and has to be read to know what it shows.
#[derive(Default)]
struct Others {
    trees: Vec<(ArtifactKey, Checksum)>,
    programs: Vec<(ArtifactKey, Checksum)>,
    outcomes: Vec<(ArtifactKey, Checksum)>,
}

impl Looking<'_> {
    /// What of `set` is shown by anything but itself and the name `without`, with everything in it.
    pub(super) fn shown(&mut self, set: &Set, without: Option<&str>) -> Result<Shown, RemoveError> {
        let mut shown = Shown::default();
        self.shown_by_refs(set, without, &mut shown)?;
        let others = self.others(set, &mut shown)?;
        for (key, checksum) in others.trees {
            let inside = self.inside(key, checksum)?;
            shown.note(set, inside, || format!("{} {key}", Sort::Tree));
        }
        for (key, checksum) in others.programs {
            let program = self
                .payload(key, checksum, PROGRAM_LEN_MAX)?
                .and_then(|it| Program::decode(&it).ok());
            let modules = program
                .iter()
                .flat_map(|program| program.nodes())
                .filter_map(|node| node.module);
            shown.note(set, modules, || format!("{} {key}", Sort::Program));
        }
        for (key, checksum) in others.outcomes {
            let outcome = self
                .payload(key, checksum, OUTCOME_LEN_MAX)?
                .and_then(|it| Outcome::decode(&it).ok());
            let outputs = outcome
                .into_iter()
                .flat_map(|outcome| outcome.outputs)
                .map(|(_, key)| key);
            shown.note(set, outputs, || format!("{} {key}", Sort::Receipt));
        }
        self.close(&mut shown.keys)?;
        Ok(shown)
    }

    fn shown_by_refs(
        &self,
        set: &Set,
        without: Option<&str>,
        shown: &mut Shown,
    ) -> Result<(), RemoveError> {
        let view = self.site.store.view();
        for visible in view.state().visible(self.at, &Filter::kind(Kind::Ref)) {
            let Some(version) = visible?.version else {
                continue;
            };
            let Content::Ref(assignment) = version.record.content() else {
                continue;
            };
            if assignment.namespace != NAMESPACE_USER || Some(assignment.name.as_str()) != without {
                shown.note(set, [assignment.target], || {
                    format!("{} {}", Sort::Ref, assignment.name)
                });
            }
        }
        Ok(())
    }

    /// Everything else that shows things. What receipts were run from is noted on the way.
    fn others(&self, set: &Set, shown: &mut Shown) -> Result<Others, RemoveError> {
        let mut others = Others::default();
        let view = self.site.store.view();
        let state = view.state();
        for (tag, list) in [
            (TYPE_TAG, &mut others.trees),
            (PROGRAM_TAG, &mut others.programs),
        ] {
            for entry in state.entries(self.at, &Filter::type_tag(tag)) {
                let entry = entry?;
                let key = ArtifactKey::from(entry.id);
                list.extend(
                    entry
                        .checksum
                        .filter(|_| !set.keys.contains(&key))
                        .map(|checksum| (key, checksum)),
                );
            }
        }
        for entry in state.entries(self.at, &Filter::kind(Kind::Receipt)) {
            let entry = entry?;
            let key = ArtifactKey::from(entry.id);
            // While claims differ each of them may come to stand, so each shows what it names.
            let versions = state.unshadowed(&entry.id, self.at)?;
            let mut outcomes = BTreeSet::new();
            for version in &versions {
                let Content::Receipt {
                    derivation,
                    payload,
                } = version.record.content()
                else {
                    continue;
                };
                if outcomes.is_empty() {
                    let used = derivation
                        .inputs
                        .iter()
                        .copied()
                        .chain([derivation.program]);
                    shown.note(set, used, || format!("{} {key}", Sort::Receipt));
                }
                outcomes.insert(payload.checksum);
            }
            others
                .outcomes
                .extend(outcomes.into_iter().map(|checksum| (key, checksum)));
        }
        Ok(others)
    }

    /// Adds what is in what is shown.
    fn close(&mut self, shown: &mut BTreeSet<ArtifactKey>) -> Result<(), RemoveError> {
        let mut open: Vec<ArtifactKey> = shown.iter().copied().collect();
        while let Some(key) = open.pop() {
            if let Some((part, checksum)) = self.part(key)?.filter(|(part, _)| part.is_tree) {
                open.extend(
                    self.inside(part.key, checksum)?
                        .into_iter()
                        .filter(|inner| shown.insert(*inner)),
                );
            }
        }
        Ok(())
    }
}
