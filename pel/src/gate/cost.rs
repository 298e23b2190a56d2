//! What compiling a module costs: counted before any engine sees it, and the same everywhere.
//!
//! Compilers keep, for each place where control flow meets, what every local and every value on the
//! operand stack is there. So a short function with many locals and many branches costs their
//! product, where its length says nothing. The count is of that work, and of the memory that it
//! takes:
//!
//! * one for each operator, its operands and its results;
//! * for each way that control may take, the locals and the height of the operand stack, once more
//!   for each loop around it, all of it over [`KEPT_PER_STEP`]: what a local is at the start of a
//!   loop is known only at its end, and is looked up through all loops around;
//! * for each call, the locals and the height of the operand stack, over the same: what outlives it
//!   is put aside;
//! * for each loop, the square of how many locals it may use, over [`LOCALS_PER_STEP`]: each of
//!   them is given a place at the start of the loop, and taking one out again moves those behind
//!   it;
//! * for each block and each branch that may not be taken, those before it, over
//!   [`BLOCKS_PER_STEP`], once more for each value that it takes and gives: what lives where is
//!   noted block by block.
//!
//! The divisors follow from what `benches/compile.rs` measures: a step is about half a microsecond
//! and 130 bytes.

use std::collections::BTreeSet;

use wasmparser::{
    FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator,
    OperatorsReader, ValidatorResources,
};

use super::{FUNCTION_COST_MAX, GateError};

/// What each function costs, however short.
const FUNCTION_COST: u64 = 64;
/// Locals and values that are kept at a branch for what one operator costs.
const KEPT_PER_STEP: u64 = 64;
/// Locals of a loop that are moved for what one operator costs.
const LOCALS_PER_STEP: u64 = 32;

/// Blocks that are passed for what one operator costs.
const BLOCKS_PER_STEP: u64 = 32;

type Validator = FuncValidator<ValidatorResources>;

/// Validates a function and counts what compiling it costs.
///
/// # Errors
/// [`GateError::Invalid`]; [`GateError::FunctionCost`] where its cost is beyond
/// [`FUNCTION_COST_MAX`]: no more of it is read.
pub(super) fn of_function(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: &mut FuncValidatorAllocations,
) -> Result<u64, GateError> {
    let (index, offset) = (function.index, body.range().start);
    let mut validator = function.into_validator(std::mem::take(allocations));
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let mut operators = OperatorsReader::new(reader);
    let mut counted = Counted::new(u64::from(validator.len_locals()));
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        counted.count(&operator, &validator);
        if counted.cost() > FUNCTION_COST_MAX {
            return Err(GateError::FunctionCost {
                function: index,
                offset,
                at,
                max: FUNCTION_COST_MAX,
            });
        }
        validator.op(at, &operator)?;
    }
    operators.finish()?;
    *allocations = validator.into_allocations();
    Ok(counted.cost())
}

/// The part of a function that was read so far.
struct Counted {
    cost: u64,
    /// What is kept at branches, in locals and values.
    kept: u64,
    locals: u64,
    /// How often locals were used.
    uses: u64,
    /// For each block that is open, what `uses` was where it began, if it is a loop.
    open: Vec<Option<u64>>,
    /// How many of them are loops.
    loops: u64,
    /// How many blocks there were so far.
    blocks: u64,
}

impl Counted {
    /// Nothing but a function with `locals` locals.
    const fn new(locals: u64) -> Self {
        Self {
            cost: FUNCTION_COST + locals,
            kept: 0,
            locals,
            uses: 0,
            open: Vec::new(),
            loops: 0,
            blocks: 0,
        }
    }

    /// Counts an operator, which was not handed to the validator yet.
    fn count(&mut self, operator: &Operator<'_>, validator: &Validator) {
        // Where this is not known the operator is invalid, as validation says next.
        let (taken, given) = operator.operator_arity(validator).unwrap_or_default();
        let ways = match operator {
            Operator::Block { .. } | Operator::If { .. } => {
                self.begin(None, taken + given);
                1
            }
            Operator::Loop { .. } => {
                self.begin(Some(self.uses), taken + given);
                self.loops += 1;
                1
            }
            Operator::End => {
                self.close();
                1
            }
            Operator::Else | Operator::Br { .. } => 1,
            Operator::BrIf { .. } => {
                self.pass_blocks(0);
                1
            }
            Operator::BrTable { targets } => {
                self.pass_blocks(0);
                let depths: BTreeSet<u32> = targets
                    .targets()
                    .flatten()
                    .chain([targets.default()])
                    .collect();
                // Each target is checked against what is taken.
                self.add(u64::from(targets.len()) * u64::from(taken));
                depths.len() as u64
            }
            Operator::LocalGet { .. } | Operator::LocalSet { .. } | Operator::LocalTee { .. } => {
                self.uses += 1;
                0
            }
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => {
                self.kept = self
                    .kept
                    .saturating_add(self.locals + u64::from(validator.operand_stack_height()));
                0
            }
            _ => 0,
        };
        let way = (self.locals + u64::from(validator.operand_stack_height())) * (1 + self.loops);
        self.add(1 + u64::from(taken) + u64::from(given));
        self.kept = self.kept.saturating_add(ways * way);
    }

    /// A block begins that takes and gives `values` values.
    fn begin(&mut self, uses: Option<u64>, values: u32) {
        self.open.push(uses);
        self.pass_blocks(values);
    }

    /// Another block follows, into which `values` values go.
    const fn pass_blocks(&mut self, values: u32) {
        self.blocks += 1;
        self.add(self.blocks * (1 + values as u64) / BLOCKS_PER_STEP);
    }

    /// The innermost block ends.
    fn close(&mut self) {
        if let Some(Some(uses)) = self.open.pop() {
            let used = (self.uses - uses).min(self.locals);
            self.loops -= 1;
            self.add(used * used / LOCALS_PER_STEP);
        }
    }

    const fn cost(&self) -> u64 {
        self.cost.saturating_add(self.kept / KEPT_PER_STEP)
    }

    const fn add(&mut self, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
    }
}
