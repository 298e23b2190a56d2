//! One operation on its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use uor_index_format::id::ArtifactKey;
use uor_index_format::program::Node;
use uor_index_format::receipt::{Derivation, FailureKind};
use uor_index_format::tree;

use super::error::{Halt, RunError};
use super::files;
use super::input::found;
use crate::artifact_store::ArtifactStore;
use crate::blob::{Blob, to_vec};
use crate::engine::{Call, Ended, Engine, Limits};
use crate::gate::{self, MODULE_LEN_MAX, Module};
use crate::kernel;
use crate::op::Op;

/// Carries operations out.
pub(super) struct Operator<'a> {
    store: &'a dyn ArtifactStore,
    engine: &'a dyn Engine,
    limits: Limits,
    /// Modules that passed the gate.
    modules: BTreeMap<ArtifactKey, Module>,
    operations: u64,
}

impl<'a> Operator<'a> {
    pub(super) fn new(
        store: &'a dyn ArtifactStore,
        engine: &'a dyn Engine,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            engine,
            limits,
            modules: BTreeMap::new(),
            operations: 0,
        }
    }

    /// How many were begun.
    pub(super) const fn operations(&self) -> u64 {
        self.operations
    }

    /// The output of a node that is not mapped.
    pub(super) fn operate(
        &mut self,
        node: &Node,
        derivation: &Derivation,
        label: &str,
    ) -> Result<Arc<dyn Blob>, Halt> {
        let op = Op::of(node).map_err(RunError::from)?;
        self.operations += 1;
        let inputs = &derivation.inputs;
        Ok(match op {
            Op::Const => Arc::new(node.params.clone()),
            Op::Params => Arc::new(derivation.params.clone()),
            Op::Concat => Arc::new(kernel::concat(self.flat_inputs(inputs, label)?)?),
            Op::Slice => Arc::new(kernel::slice(
                self.only_input(inputs, label)?.1,
                &node.params,
            )?),
            Op::Hash => {
                let (key, input) = self.only_input(inputs, label)?;
                let unreadable = |source| RunError::Unreadable {
                    label: label.to_owned(),
                    key,
                    source,
                };
                Arc::new(kernel::hash(&*input).map_err(unreadable)?)
            }
            Op::Wasm => Arc::new(self.execute(node, inputs, label)?),
        })
    }

    fn execute(
        &mut self,
        node: &Node,
        inputs: &[ArtifactKey],
        label: &str,
    ) -> Result<Vec<u8>, Halt> {
        let module = self.module(node, label)?;
        let inputs = inputs
            .iter()
            .map(|key| Ok(found(self.store, key, label)?.blob))
            .collect::<Result<_, RunError>>()?;
        let call = Call {
            inputs,
            params: node.params.clone(),
            limits: self.limits,
        };
        match self.engine.run(&module, call) {
            Ended::Returned(output) => Ok(output),
            Ended::Failed(kind) => Err(kind.into()),
            Ended::NoResult(source) => Err(RunError::NoResult {
                label: label.to_owned(),
                source,
            }
            .into()),
        }
    }

    fn module(&mut self, node: &Node, label: &str) -> Result<Module, RunError> {
        // The operation was checked: it has a module.
        let key = node.module.unwrap_or(ArtifactKey::from_bytes([0; 32]));
        if let Some(module) = self.modules.get(&key) {
            return Ok(module.clone());
        }
        let blob = found(self.store, &key, label)?.blob;
        let refused = |source| RunError::Module {
            label: label.to_owned(),
            key,
            source,
        };
        if blob.size() > MODULE_LEN_MAX {
            return Err(refused(gate::GateError::TooLarge {
                len: blob.size(),
                max: MODULE_LEN_MAX,
            }));
        }
        let bytes = to_vec(&*blob, MODULE_LEN_MAX).map_err(|source| RunError::Unreadable {
            label: label.to_owned(),
            key,
            source,
        })?;
        let module = gate::check(&bytes).map_err(refused)?;
        self.modules.insert(key, module.clone());
        Ok(module)
    }

    fn only_input(
        &self,
        inputs: &[ArtifactKey],
        label: &str,
    ) -> Result<(ArtifactKey, Arc<dyn Blob>), Halt> {
        match inputs {
            [key] => Ok((*key, found(self.store, key, label)?.blob)),
            // The operation was checked: it has one input.
            _ => Err(FailureKind::WrongInput.into()),
        }
    }

    /// The inputs with each tree replaced by its files.
    fn flat_inputs(&self, inputs: &[ArtifactKey], label: &str) -> Result<Vec<Arc<dyn Blob>>, Halt> {
        let mut blobs = Vec::new();
        for key in inputs {
            let input = found(self.store, key, label)?;
            if input.type_tag == Some(tree::TYPE_TAG) {
                for file in files::list(self.store, key, label)? {
                    blobs.push(found(self.store, &file.key, label)?.blob);
                }
            } else {
                blobs.push(input.blob);
            }
        }
        Ok(blobs)
    }
}
