//! The gate: decides which modules are PEL modules, before and independently of any engine.
//!
//! Acceptance is part of determinism: engines differ in what they take by default, so the rules are
//! written here once. They are WebAssembly 3.0's deterministic profile over the closed feature set
//! [`FEATURES`], and the shape that `ABI.md` describes: imports from `uor` only, one exported
//! memory and tables with declared maxima, an exported `run: () -> ()`, no start function.

mod cost;

use std::sync::Arc;

use uor_index_format::id::Checksum;
use wasmparser::types::{EntityType, Types};
use wasmparser::{
    CompositeInnerType, FuncValidatorAllocations, Parser, Payload, TypeSectionReader, ValType,
    ValidPayload, Validator, WasmFeatures,
};

/// The features a module may use. Everything else is off: threads, shared memory, 64-bit memory,
/// several memories, relaxed SIMD, garbage-collected types, exceptions, components, stack
/// switching, custom page sizes, wide arithmetic.
pub const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL);

/// Largest module, in bytes.
pub const MODULE_LEN_MAX: u64 = 16 << 20;
/// Most pages (of 64 KiB) that a memory may declare as its maximum: 256 MiB.
pub const MEMORY_PAGES_MAX: u64 = 4096;
/// Most elements that a table may declare as its maximum.
pub const TABLE_LEN_MAX: u64 = 65_536;

/// Most parameters of a function or a block.
pub const PARAMS_MAX: usize = 128;
/// Most results of a function or a block.
pub const RESULTS_MAX: usize = 16;
/// Most that compiling one function may cost, as [`Module::cost`] counts.
pub const FUNCTION_COST_MAX: u64 = 2_000_000;
/// Most that compiling a module may cost.
pub const MODULE_COST_MAX: u64 = 16_000_000;

/// The module every import comes from.
pub const IMPORT_MODULE: &str = "uor";
/// The exported memory.
pub const MEMORY_EXPORT: &str = "memory";
/// The exported entry point.
pub const RUN_EXPORT: &str = "run";

/// One function that a module may import.
pub struct HostFunction {
    /// Its name in [`IMPORT_MODULE`].
    pub name: &'static str,
    /// Parameter types.
    pub params: &'static [ValType],
    /// Result types.
    pub results: &'static [ValType],
}

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;

/// Every function a module may import: uor core-module ABI 1. `ABI.md` says what each does.
pub const HOST_FUNCTIONS: [HostFunction; 7] = [
    HostFunction {
        name: "input_count",
        params: &[],
        results: &[I32],
    },
    HostFunction {
        name: "input_len",
        params: &[I32],
        results: &[I64],
    },
    HostFunction {
        name: "input_read",
        params: &[I32, I64, I32, I32],
        results: &[I32],
    },
    HostFunction {
        name: "params_len",
        params: &[],
        results: &[I32],
    },
    HostFunction {
        name: "params_read",
        params: &[I32, I32, I32],
        results: &[I32],
    },
    HostFunction {
        name: "output_write",
        params: &[I32, I32],
        results: &[],
    },
    HostFunction {
        name: "fail",
        params: &[I32],
        results: &[],
    },
];

/// A module that passed the gate.
#[derive(Clone)]
pub struct Module {
    checksum: Checksum,
    bytes: Arc<[u8]>,
    cost: u64,
}

impl Module {
    /// The plain digest of the module's bytes: what engines key their caches by.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// What compiling it costs, as `ABI.md` counts under "What compiling costs".
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// The module's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a module was refused. Offsets count from the first byte of the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The module is longer than [`MODULE_LEN_MAX`].
    #[error(
        "the module has {len} bytes; at most {max} are allowed: strip debug information or optimise for size"
    )]
    TooLarge {
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The bytes are not a valid module, or use a feature outside [`FEATURES`].
    #[error("not a module of the deterministic feature set, at offset {offset}: {problem}")]
    Invalid {
        /// Where.
        offset: usize,
        /// What the validator found.
        problem: String,
    },
    /// A function type has more than [`PARAMS_MAX`] parameters or [`RESULTS_MAX`] results.
    #[error(
        "the type at offset {offset} has {params} parameters and {results} results; at most {PARAMS_MAX} and {RESULTS_MAX} \
         are allowed: pass them in memory"
    )]
    Arity {
        /// Where.
        offset: usize,
        /// How many parameters it has.
        params: usize,
        /// How many results it has.
        results: usize,
    },
    /// Compiling a function would cost more than [`FUNCTION_COST_MAX`].
    #[error(
        "function {function} at offset {offset} costs too much to compile: more than {max}, locals times branches, up to \
         offset {at}: optimise it, or split it into functions with fewer locals"
    )]
    FunctionCost {
        /// Its index, imports included.
        function: u32,
        /// Where its body starts.
        offset: usize,
        /// Where the limit was passed.
        at: usize,
        /// The limit.
        max: u64,
    },
    /// Compiling the module would cost more than [`MODULE_COST_MAX`].
    #[error(
        "the module costs too much to compile: more than {max} up to function {function} at offset {offset}: optimise it, \
         or split it into several modules"
    )]
    ModuleCost {
        /// The function with which the limit was passed.
        function: u32,
        /// Where its body starts.
        offset: usize,
        /// The limit.
        max: u64,
    },
    /// An import that is not part of the ABI.
    #[error(
        "import `{module}.{name}` at offset {offset} is not offered: \
         a module may import only functions of `uor` (input_count, input_len, input_read, params_len, params_read, output_write, fail)"
    )]
    Import {
        /// Where.
        offset: usize,
        /// The module it is imported from.
        module: String,
        /// Its name.
        name: String,
    },
    /// An import of the ABI with another type.
    #[error("import `uor.{name}` at offset {offset} has another type than {expected}")]
    ImportType {
        /// Where.
        offset: usize,
        /// Its name.
        name: String,
        /// The type it must have.
        expected: String,
    },
    /// The memory declares no maximum, or one that is too large.
    #[error("memory at offset {offset} declares {}; a maximum of at most {max} pages is needed: link with --max-memory", pages(*.declared))]
    Memory {
        /// Where.
        offset: usize,
        /// Its declared maximum, in pages.
        declared: Option<u64>,
        /// The limit, in pages.
        max: u64,
    },
    /// A table declares no maximum, or one that is too large.
    #[error("table at offset {offset} declares {}; a maximum of at most {max} elements is needed", elements(*.declared))]
    Table {
        /// Where.
        offset: usize,
        /// Its declared maximum, in elements.
        declared: Option<u64>,
        /// The limit, in elements.
        max: u64,
    },
    /// A start function would run before the host is ready to hear of it.
    #[error("start function at offset {offset}: move it to the start of `run`")]
    Start {
        /// Where.
        offset: usize,
    },
    /// An export that the ABI needs is missing or is something else.
    #[error("the module does not export {expected}")]
    Export {
        /// What is expected.
        expected: &'static str,
    },
}

fn pages(declared: Option<u64>) -> String {
    declared.map_or_else(
        || "no maximum".to_owned(),
        |pages| format!("a maximum of {pages} pages"),
    )
}

fn elements(declared: Option<u64>) -> String {
    declared.map_or_else(
        || "no maximum".to_owned(),
        |elements| format!("a maximum of {elements} elements"),
    )
}

impl From<wasmparser::Error> for GateError {
    fn from(error: wasmparser::Error) -> Self {
        // Some messages have a layout of their own.
        let problem = error
            .message()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Self::Invalid {
            offset: error.offset(),
            problem,
        }
    }
}

/// What every module begins with.
const MAGIC: [u8; 4] = *b"\0asm";

/// What bytes are that are no module at all.
fn no_module(bytes: &[u8]) -> String {
    let begins = bytes.get(..16).unwrap_or(bytes);
    if bytes.is_empty() {
        "it is empty".to_owned()
    } else if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) {
        format!(
            "it is text, beginning with `{}`: a module is binary, so assemble it first",
            begins.escape_ascii()
        )
    } else {
        format!(
            "it begins with `{}`, and a module with `{}`",
            begins.escape_ascii(),
            MAGIC.escape_ascii()
        )
    }
}

/// Checks a module against every rule.
pub fn check(bytes: &[u8]) -> Result<Module, GateError> {
    let len = bytes.len() as u64;
    if len > MODULE_LEN_MAX {
        return Err(GateError::TooLarge {
            len,
            max: MODULE_LEN_MAX,
        });
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(GateError::Invalid {
            offset: 0,
            problem: no_module(bytes),
        });
    }
    let (types, cost) = validate(bytes)?;
    for payload in Parser::new(0).parse_all(bytes) {
        check_section(&payload?, &types)?;
    }
    check_exports(&types)?;
    Ok(Module {
        checksum: Checksum::of(bytes),
        bytes: bytes.into(),
        cost,
    })
}

/// Validates a module and counts what compiling it costs.
fn validate(bytes: &[u8]) -> Result<(Types, u64), GateError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let (mut functions, mut types) = (Vec::new(), None);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::TypeSection(section) = &payload {
            check_types(section)?;
        }
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            ValidPayload::End(all) => types = Some(all),
            _ => {}
        }
    }
    let cut = || GateError::Invalid {
        offset: bytes.len(),
        problem: "unexpected end of module".to_owned(),
    };
    let types = types.ok_or_else(cut)?;
    let (mut cost, mut allocations) = (0_u64, FuncValidatorAllocations::default());
    for (function, body) in functions {
        let (index, offset) = (function.index, body.range().start);
        cost = cost.saturating_add(cost::of_function(function, &body, &mut allocations)?);
        if cost > MODULE_COST_MAX {
            return Err(GateError::ModuleCost {
                function: index,
                offset,
                max: MODULE_COST_MAX,
            });
        }
    }
    Ok((types, cost))
}

/// A call of many operands costs a compiler far more than each of them by itself.
fn check_types(section: &TypeSectionReader<'_>) -> Result<(), GateError> {
    for group in section.clone().into_iter_with_offsets() {
        let (offset, group) = group?;
        for ty in group.types() {
            let CompositeInnerType::Func(function) = &ty.composite_type.inner else {
                continue;
            };
            let (params, results) = (function.params().len(), function.results().len());
            if params > PARAMS_MAX || results > RESULTS_MAX {
                return Err(GateError::Arity {
                    offset,
                    params,
                    results,
                });
            }
        }
    }
    Ok(())
}

fn check_section(section: &Payload<'_>, types: &Types) -> Result<(), GateError> {
    match section {
        Payload::ImportSection(imports) => {
            for import in imports.clone().into_imports_with_offsets() {
                let (offset, import) = import?;
                check_import(offset, &import, types)?;
            }
        }
        Payload::MemorySection(memories) => {
            for memory in memories.clone().into_iter_with_offsets() {
                let (offset, memory) = memory?;
                if memory.maximum.is_none_or(|pages| pages > MEMORY_PAGES_MAX) {
                    return Err(GateError::Memory {
                        offset,
                        declared: memory.maximum,
                        max: MEMORY_PAGES_MAX,
                    });
                }
            }
        }
        Payload::TableSection(tables) => {
            for table in tables.clone().into_iter_with_offsets() {
                let (offset, table) = table?;
                if table
                    .ty
                    .maximum
                    .is_none_or(|elements| elements > TABLE_LEN_MAX)
                {
                    return Err(GateError::Table {
                        offset,
                        declared: table.ty.maximum,
                        max: TABLE_LEN_MAX,
                    });
                }
            }
        }
        Payload::StartSection { range, .. } => {
            return Err(GateError::Start {
                offset: range.start,
            });
        }
        _ => {}
    }
    Ok(())
}

fn check_import(
    offset: usize,
    import: &wasmparser::Import<'_>,
    types: &Types,
) -> Result<(), GateError> {
    let offered = HOST_FUNCTIONS
        .iter()
        .find(|function| import.module == IMPORT_MODULE && import.name == function.name);
    let Some(function) = offered else {
        return Err(GateError::Import {
            offset,
            module: import.module.to_owned(),
            name: import.name.to_owned(),
        });
    };
    match types.as_ref().entity_type_from_import(import) {
        Some(EntityType::Func(id)) if has_type(types, id, function.params, function.results) => {
            Ok(())
        }
        _ => Err(GateError::ImportType {
            offset,
            name: import.name.to_owned(),
            expected: format!("{:?} -> {:?}", function.params, function.results).to_lowercase(),
        }),
    }
}

fn check_exports(types: &Types) -> Result<(), GateError> {
    let types_ref = types.as_ref();
    let export = |name: &str| {
        types_ref
            .core_exports()?
            .find(|(export, _)| *export == name)
            .map(|(_, entity)| entity)
    };
    if !matches!(export(MEMORY_EXPORT), Some(EntityType::Memory(_))) {
        return Err(GateError::Export {
            expected: "a memory named `memory`",
        });
    }
    match export(RUN_EXPORT) {
        Some(EntityType::Func(id)) if has_type(types, id, &[], &[]) => Ok(()),
        _ => Err(GateError::Export {
            expected: "a function named `run` without parameters and results",
        }),
    }
}

fn has_type(
    types: &Types,
    id: wasmparser::types::CoreTypeId,
    params: &[ValType],
    results: &[ValType],
) -> bool {
    match &types[id].composite_type.inner {
        wasmparser::CompositeInnerType::Func(function) => {
            function.params() == params && function.results() == results
        }
        _ => false,
    }
}
