//! Programs: from TOML to artifacts, and shown.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uor_asl::blocks::BlocksError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::id::ArtifactKey;
use uor_index_format::program::{Program, TYPE_TAG};
use uor_index_format::record::{Payload, Record, artifact_key};
use uor_index_format::reference::{NAMESPACE_USER, NameError, RefAssignment, check_name};
use uor_pel::program::{CompileError, Compiled, compile, dot, text};
use uor_pel::run::PROGRAM_LEN_MAX;

use crate::cancel::Cancel;
use crate::site::catalog::payload::{ReadError, wrong_kind};
use crate::site::catalog::sort::Sort;
use crate::site::catalog::target::Target;
use crate::site::handle::Site;
use crate::site::json;

/// Longest program file, and longest module that is looked at, in bytes: more than either may have.
const FILE_LEN_MAX: u64 = PROGRAM_LEN_MAX;

/// A program file that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramChecked {
    /// The key it has, or would have.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Names of its nodes, in their one order.
    pub nodes: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Keys of its modules, ascending.
    #[serde(serialize_with = "json::texts")]
    pub modules: Vec<ArtifactKey>,
}

impl ProgramChecked {
    fn of(program: &Program) -> Self {
        let nodes = program.nodes();
        let mut modules: Vec<ArtifactKey> = nodes.iter().filter_map(|node| node.module).collect();
        modules.sort_unstable();
        modules.dedup();
        Self {
            key: artifact_key(Some(TYPE_TAG), &Payload::of(&program.encode())),
            inputs: program.inputs().to_vec(),
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            outputs: program
                .outputs()
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            modules,
        }
    }
}

/// A program that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramAdded {
    /// What it is.
    #[serde(flatten)]
    pub program: ProgramChecked,
    /// By how many bytes the blocks grew.
    pub new_bytes: u64,
}

/// A program, shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramShown {
    /// What it is.
    #[serde(flatten)]
    pub program: ProgramChecked,
    /// For people.
    pub text: String,
    /// For Graphviz.
    pub dot: String,
}

/// Why there is no such program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The file could not be read.
    #[error("could not read {}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no program.
    #[error("{} is not a sound program", path.display())]
    Compile {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: CompileError,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The program's artifact could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The payloads could not be stored.
    #[error("could not store the program")]
    Blocks(#[from] BlocksError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The records could not be written.
    #[error("could not write the program's records")]
    Commit(#[from] CommitError),
}

impl Site {
    /// Makes artifacts of a program file and its modules, whose paths are relative to the file.
    ///
    /// # Errors
    /// [`ProgramError`]; nothing was written then.
    pub fn program_add(
        &self,
        file: &Path,
        reference: Option<&str>,
    ) -> Result<ProgramAdded, ProgramError> {
        reference.map_or(Ok(()), check_name)?;
        let Compiled { program, modules } = compile_file(file, &self.cancel)?;
        let bytes = program.encode();
        let artifacts = modules
            .values()
            .map(|bytes| (None, bytes))
            .chain([(Some(TYPE_TAG), &bytes)]);
        let mut records = BTreeMap::new();
        let mut new_bytes = 0;
        let _putting = self.putting();
        for (type_tag, bytes) in artifacts {
            let put = self.store.blocks().put_bytes(bytes)?;
            new_bytes += put.new_bytes;
            let record = Record::artifact(
                type_tag,
                Payload {
                    checksum: put.checksum,
                    len: put.len,
                },
            );
            if !self.is_visible(&record.id())? {
                records.insert(record.id(), record);
            }
        }
        let program = ProgramChecked::of(&program);
        if let Some(name) = reference
            && self.ref_target(name, &self.head())? != Some(program.key)
        {
            let (namespace, name) = (NAMESPACE_USER.to_owned(), name.to_owned());
            let record = Record::reference(RefAssignment {
                namespace,
                name,
                target: program.key,
            });
            records.insert(record.id(), record);
        }
        if records.is_empty() {
            self.store.blocks().sync()?;
        } else {
            self.commit(records.into_values().collect())?;
        }
        Ok(ProgramAdded { program, new_bytes })
    }

    /// Checks a program file and its modules, and writes nothing.
    ///
    /// # Errors
    /// [`ProgramError::File`] or [`ProgramError::Compile`].
    pub fn program_check(file: &Path) -> Result<ProgramChecked, ProgramError> {
        Ok(ProgramChecked::of(
            &compile_file(file, &Cancel::default())?.program,
        ))
    }

    /// Shows a program.
    ///
    /// # Errors
    /// [`ProgramError::Read`].
    pub fn program_show(&self, target: &Target) -> Result<ProgramShown, ProgramError> {
        let program = self.read_program(target)?;
        Ok(ProgramShown {
            program: ProgramChecked::of(&program),
            text: text(&program),
            dot: dot(&program),
        })
    }

    pub(super) fn read_program(&self, target: &Target) -> Result<Program, ReadError> {
        if target.sort != Sort::Program {
            return Err(wrong_kind(target, "program"));
        }
        let payload = self.read_payload(target, PROGRAM_LEN_MAX)?;
        Program::decode(&payload).map_err(|source| ReadError::Content {
            id: target.id,
            what: "program",
            source,
        })
    }
}

/// Compiles a file, or what comes out of a pipe, as long as that is wanted.
fn compile_file(file: &Path, cancel: &Cancel) -> Result<Compiled, ProgramError> {
    let failed = |source| ProgramError::File {
        path: file.to_owned(),
        source,
    };
    let not_text = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let source = cancel
        .read(file, FILE_LEN_MAX)
        .and_then(|bytes| String::from_utf8(bytes).map_err(not_text))
        .map_err(failed)?;
    let dir = file.parent().unwrap_or(Path::new(""));
    let refused = |source| ProgramError::Compile {
        path: file.to_owned(),
        source,
    };
    compile(&source, |module| {
        cancel.read(&dir.join(module), FILE_LEN_MAX)
    })
    .map_err(refused)
}
