//! From what a person types to the one thing it means.
//!
//! A name wins over an id: names that look like ids cannot be given. Whatever is not visible at the
//! snapshot is not found, but what is known otherwise is said.

use uor_asl::state::ReadError as StateError;
use uor_index_format::id::{ArtifactKey, CanonicalId};
use uor_index_format::record::Content;
use uor_index_format::reference::{ID_PREFIX_LEN_MIN, NAMESPACE_USER, RefAssignment, is_like_id};
use uor_index_format::snapshot::Snapshot;
use uor_index_format::state::Entry;
use uor_index_format::tree::EntryKind;

use super::payload::ReadError;
use super::sort::Sort;
use super::target::{Candidate, Target};
use crate::site::handle::Site;
use crate::site::text;

/// Fewest digits of an id that a person may give.
pub(in crate::site) const PREFIX_LEN_MIN: usize = ID_PREFIX_LEN_MIN;
const ID_DIGITS: usize = 64;
/// How many candidates of an ambiguous prefix are named.
const CANDIDATES_MAX: usize = 16;
/// How many ids that begin alike are looked at. Records may shadow any ids, so that those that are
/// visible are among others.
const LOOKS_MAX: usize = 4096;

/// Why a text means nothing here, or too much.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither a name nor an id that is known.
    #[error("there is no `{text}` here: it is neither a name nor an id or its beginning")]
    Unknown {
        /// The text as it was given.
        text: String,
    },
    /// Too few digits.
    #[error(
        "`{text}` is no name here, and too short for an id: give at least {PREFIX_LEN_MIN} of its digits"
    )]
    Short {
        /// The text as it was given.
        text: String,
    },
    /// Several things begin like this.
    #[error("`{text}` is ambiguous, give more digits; it may be {}", list(candidates, *more))]
    Ambiguous {
        /// The text as it was given.
        text: String,
        /// Things it may mean.
        candidates: Vec<Candidate>,
        /// Whether there are more.
        more: bool,
    },
    /// It is known, and a tombstone shadows it.
    #[error("{id} was removed; an older snapshot still shows it")]
    Removed {
        /// The id.
        id: CanonicalId,
    },
    /// It is known, but came after the snapshot.
    #[error("{id} is not in this snapshot; it was written later")]
    Later {
        /// The id.
        id: CanonicalId,
    },
    /// The name points at something that is not visible.
    #[error("name `{name}` points at {target}, which is not visible here")]
    Dangling {
        /// The name.
        name: String,
        /// What it points at.
        target: ArtifactKey,
    },
    /// A path goes through something that is no directory.
    #[error("`{at}` is {}, not a tree, so `{name}` cannot be in it", sort.with_article())]
    NotATree {
        /// The text up to there.
        at: String,
        /// What is there.
        sort: Sort,
        /// The next part of the path.
        name: String,
    },
    /// A directory has no such entry.
    #[error("`{at}` has no entry `{name}`")]
    NoEntry {
        /// The text up to there.
        at: String,
        /// The missing name.
        name: String,
    },
    /// The path leads to a symlink, which has no key.
    #[error("`{at}` is a symlink to `{target}`: give the path it points at")]
    Symlink {
        /// The text up to there.
        at: String,
        /// Where it points.
        target: String,
    },
    /// The path leads to a pipe, a socket or a device, which has no key.
    #[error("`{at}` is neither a file nor a directory: it has no key")]
    Special {
        /// The text up to there.
        at: String,
    },
    /// No member is meant.
    #[error(
        "no site `{text}` is known here: give its name, or at least {PREFIX_LEN_MIN} digits of its id"
    )]
    UnknownSite {
        /// The text as it was given.
        text: String,
    },
    /// A directory on the path could not be read.
    #[error("could not follow the path")]
    Tree(#[from] ReadError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

fn list(candidates: &[Candidate], more: bool) -> String {
    let named = candidates
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    match (named.is_empty(), more) {
        (true, _) => "one of very many".to_owned(),
        (false, true) => format!("{named} and others"),
        (false, false) => named,
    }
}

impl Site {
    /// What `text` means at a snapshot: a ref's name, a full id, or a unique prefix of at least 8
    /// digits; behind either, a `/path` into a tree. Whoever wants the ref itself looks at
    /// [`Target::via_ref`].
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, text: &str, at: &Snapshot) -> Result<Target, ResolveError> {
        let (mut target, path) = self.resolve_head(text, at)?;
        let mut walked = text
            .strip_suffix(path)
            .unwrap_or(text)
            .trim_end_matches('/')
            .to_owned();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entry = self.step(&target, &walked, name, at)?;
            walked = format!("{walked}/{name}");
            target = Target {
                via_ref: target.via_ref,
                via_path: true,
                ..Target::of(text, &entry)
            };
        }
        target.text = text.to_owned();
        Ok(target)
    }

    /// What a full id means at a snapshot.
    ///
    /// # Errors
    /// [`ResolveError::Unknown`], [`ResolveError::Removed`], [`ResolveError::Later`] or
    /// [`ResolveError::State`].
    pub fn resolve_id(&self, id: &CanonicalId, at: &Snapshot) -> Result<Target, ResolveError> {
        let view = self.store.view();
        let state = view.state();
        if let Some(entry) = state.entry(id, at)? {
            return Ok(Target::of(&id.to_string(), &entry));
        }
        if !state.versions(id, at)?.is_empty() {
            return Err(ResolveError::Removed { id: *id });
        }
        if !state.versions(id, view.head())?.is_empty() {
            return Err(ResolveError::Later { id: *id });
        }
        Err(ResolveError::Unknown {
            text: id.to_string(),
        })
    }

    /// What a name that people gave points at.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn ref_target(&self, name: &str, at: &Snapshot) -> Result<Option<ArtifactKey>, StateError> {
        self.ref_target_in(NAMESPACE_USER, name, at)
    }

    pub(super) fn ref_target_in(
        &self,
        namespace: &str,
        name: &str,
        at: &Snapshot,
    ) -> Result<Option<ArtifactKey>, StateError> {
        // Records may give any name: what looks like an id means the id all the same.
        if is_like_id(name) {
            return Ok(None);
        }
        let visible = self
            .store
            .view()
            .state()
            .get(&RefAssignment::id_of(namespace, name), at)?;
        let version = visible.and_then(|visible| visible.version);
        Ok(version.and_then(|version| match version.record.content() {
            Content::Ref(assignment) => Some(assignment.target),
            _ => None,
        }))
    }

    /// The name or id that the text begins with, and the path behind it. The longest name wins.
    fn resolve_head<'t>(
        &self,
        text: &'t str,
        at: &Snapshot,
    ) -> Result<(Target, &'t str), ResolveError> {
        let ends = text.rmatch_indices('/').map(|(index, _)| index);
        for end in std::iter::once(text.len()).chain(ends) {
            let (name, path) = text.split_at(end);
            if let Some(key) = self.ref_target(name, at)? {
                let dangling = |error| match error {
                    ResolveError::State(_) => error,
                    _ => ResolveError::Dangling {
                        name: name.to_owned(),
                        target: key,
                    },
                };
                let target = self.resolve_id(&key.into(), at).map_err(dangling)?;
                return Ok((
                    Target {
                        via_ref: Some(name.to_owned()),
                        ..target
                    },
                    path,
                ));
            }
        }
        let (head, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        Ok((self.resolve_digits(head, text, at, |_| true)?, path))
    }

    /// What digits mean, among visible things that are `wanted`.
    pub(super) fn resolve_digits(
        &self,
        digits: &str,
        text: &str,
        at: &Snapshot,
        wanted: impl Fn(Sort) -> bool,
    ) -> Result<Target, ResolveError> {
        let unknown = || ResolveError::Unknown {
            text: text.to_owned(),
        };
        if digits.is_empty()
            || digits.len() > ID_DIGITS
            || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(unknown());
        }
        if digits.len() < PREFIX_LEN_MIN {
            return Err(ResolveError::Short {
                text: text.to_owned(),
            });
        }
        let (known, visible) = {
            let view = self.store.view();
            let known = view.state().ids_with_prefix(digits, LOOKS_MAX)?;
            let mut visible = Vec::new();
            for id in &known {
                let target = view
                    .state()
                    .entry(id, at)?
                    .map(|entry| Target::of(text, &entry));
                visible.extend(target.filter(|target| wanted(target.sort)));
            }
            (known, visible)
        };
        let are_all = known.len() < LOOKS_MAX;
        match (visible.as_slice(), known.as_slice()) {
            ([target], _) if are_all => Ok(target.clone()),
            ([], [id]) => self.resolve_id(id, at),
            ([], _) if are_all => Err(unknown()),
            (several, _) => {
                let named = several.iter().take(CANDIDATES_MAX);
                Err(ResolveError::Ambiguous {
                    text: text.to_owned(),
                    candidates: named
                        .map(|target| Candidate {
                            id: target.id,
                            sort: target.sort,
                        })
                        .collect(),
                    more: !are_all || several.len() > CANDIDATES_MAX,
                })
            }
        }
    }

    fn step(
        &self,
        tree: &Target,
        walked: &str,
        name: &str,
        at: &Snapshot,
    ) -> Result<Entry, ResolveError> {
        if tree.sort != Sort::Tree {
            return Err(ResolveError::NotATree {
                at: walked.to_owned(),
                sort: tree.sort,
                name: name.to_owned(),
            });
        }
        let entries = self.read_tree(tree)?;
        let absent = || ResolveError::NoEntry {
            at: walked.to_owned(),
            name: name.to_owned(),
        };
        // What is there by exactly this name goes first; one that is no text can be given as it is
        // shown.
        let by_shown = || entries.get(&text::unescaped(name)?);
        let key = match &entries
            .get(name.as_bytes())
            .or_else(by_shown)
            .ok_or_else(absent)?
            .kind
        {
            EntryKind::File { key, .. } | EntryKind::Directory { key } => *key,
            EntryKind::Symlink { target } => {
                let target = text::text_of(target);
                return Err(ResolveError::Symlink {
                    at: format!("{walked}/{name}"),
                    target,
                });
            }
            EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. } => {
                return Err(ResolveError::Special {
                    at: format!("{walked}/{name}"),
                });
            }
        };
        let entry = self.store.view().state().entry(&key.into(), at)?;
        entry.map_or_else(
            || {
                Err(self
                    .resolve_id(&key.into(), at)
                    .err()
                    .unwrap_or_else(absent))
            },
            Ok,
        )
    }
}
