//! A state by itself, without a store that validates what it takes in.

#![allow(
    dead_code,
    clippy::mod_module_files,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared by several test binaries"
)]

use std::ops::Deref;
use std::sync::Arc;

use uor_asl::disk::Mode;
use uor_asl::disk::memory::MemoryDisk;
use uor_asl::index::Index;
use uor_asl::log::Log;
use uor_asl::state::State;
use uor_index_format::commit::Commit;
use uor_index_format::membership::ConflictRule;

/// A state over a log in memory.
pub(crate) struct Lone {
    log: Log,
    state: State,
}

impl Lone {
    pub(crate) fn new(rule: ConflictRule) -> Self {
        let (log, _) = Log::open(Arc::new(MemoryDisk::new()), Mode::Write).unwrap();
        let state = State::new(rule, Index::new(2, 0), log.view());
        Self { log, state }
    }

    pub(crate) fn of<'a>(
        rule: ConflictRule,
        commits: impl IntoIterator<Item = &'a Commit>,
    ) -> Self {
        let mut lone = Self::new(rule);
        commits.into_iter().for_each(|commit| lone.apply(commit));
        lone
    }

    pub(crate) fn apply(&mut self, commit: &Commit) {
        let appended = self.log.append_batch(&[(1, commit.as_bytes())]).unwrap();
        let position = appended.positions[0];
        self.state.take_log(appended);
        let change = self.state.prepare(commit).unwrap();
        self.state.apply(commit, position, change);
    }
}

impl Deref for Lone {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}
