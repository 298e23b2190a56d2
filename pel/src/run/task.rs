//! What to run: a derivation, and the program that it names.

use std::collections::BTreeMap;

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{self, Program};
use uor_index_format::receipt::{Derivation, PARAMS_LEN_MAX};

use super::atom;
use super::error::RunError;
use super::profile::PROFILE;
use crate::artifact_store::ArtifactStore;
use crate::blob::to_vec;
use crate::op;

/// Largest program artifact, in bytes.
pub const PROGRAM_LEN_MAX: u64 = 64 << 20;

/// A derivation with the program that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What to call it: the node, or node and file. A program of several nodes needs no name.
    pub label: String,
    /// What to run.
    pub derivation: Derivation,
    /// Its program.
    pub program: Program,
}

impl Task {
    /// The task behind a receipt: its program must be here.
    pub fn of(store: &dyn ArtifactStore, derivation: Derivation) -> Result<Self, RunError> {
        let program = load(store, &derivation.program)?;
        Ok(Self {
            label: atom::NODE.to_owned(),
            derivation,
            program,
        })
    }

    pub(super) fn check(&self) -> Result<(), RunError> {
        if self.derivation.profile != PROFILE {
            return Err(RunError::Profile {
                profile: self.derivation.profile.clone(),
            });
        }
        let (have, need) = (self.derivation.inputs.len(), self.program.inputs().len());
        if have != need {
            return Err(RunError::InputCount { have, need });
        }
        Ok(())
    }
}

/// The program with this key, every node checked against its operation.
pub fn load(store: &dyn ArtifactStore, key: &ArtifactKey) -> Result<Program, RunError> {
    let found = store
        .find(key)?
        .ok_or(RunError::ProgramAbsent { key: *key })?;
    if found.type_tag != Some(program::TYPE_TAG) || found.blob.size() > PROGRAM_LEN_MAX {
        return Err(RunError::NotAProgram {
            key: *key,
            source: None,
        });
    }
    let payload = to_vec(&*found.blob, PROGRAM_LEN_MAX).map_err(|source| RunError::Unreadable {
        label: "program".to_owned(),
        key: *key,
        source,
    })?;
    let program = Program::decode(&payload).map_err(|source| RunError::NotAProgram {
        key: *key,
        source: Some(source),
    })?;
    op::check(&program)?;
    Ok(program)
}

/// The task of running a program on these inputs.
pub fn bind(
    store: &dyn ArtifactStore,
    program_key: ArtifactKey,
    inputs: &BTreeMap<String, ArtifactKey>,
    params: Vec<u8>,
) -> Result<Task, RunError> {
    let program = load(store, &program_key)?;
    if let Some(name) = inputs.keys().find(|name| !program.inputs().contains(name)) {
        return Err(RunError::InputUnknown {
            name: name.clone(),
            known: program.inputs().to_vec(),
        });
    }
    if params.len() > PARAMS_LEN_MAX as usize {
        return Err(RunError::Params {
            len: params.len(),
            max: PARAMS_LEN_MAX,
        });
    }
    let bound = |name: &String| {
        inputs
            .get(name)
            .copied()
            .ok_or_else(|| RunError::InputUnbound { name: name.clone() })
    };
    let inputs = program
        .inputs()
        .iter()
        .map(bound)
        .collect::<Result<_, _>>()?;
    let derivation = Derivation {
        program: program_key,
        inputs,
        params,
        profile: PROFILE.to_owned(),
    };
    Ok(Task {
        label: atom::NODE.to_owned(),
        derivation,
        program,
    })
}
