//! Modules that cost more to compile than their length says, in every shape that was found, each of
//! any size.

use uor_pel::gate::{PARAMS_MAX, RESULTS_MAX};

/// A way to make compiling expensive.
pub(crate) struct Shape {
    /// What there is much of.
    pub(crate) name: &'static str,
    /// What stands in the module beside the function.
    fields: fn(usize) -> String,
    /// The function's locals and instructions.
    body: fn(usize) -> String,
}

/// All of them. What they cost grows with their size.
pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "locals times nested loops",
        fields: none,
        body: |size| with_locals((50 * size).min(20_000), &nested_loops(size)),
    },
    Shape {
        name: "locals times branches",
        fields: none,
        body: |size| with_locals((10 * size).min(20_000), &branches(size)),
    },
    Shape {
        name: "calls of many operands",
        fields: |_| {
            format!(
                "(func $f (param {}) (result {}) unreachable)",
                types(PARAMS_MAX),
                types(RESULTS_MAX)
            )
        },
        body: |size| {
            let call = format!("{} call $f ", push(PARAMS_MAX - RESULTS_MAX));
            format!(
                "{} {} {}",
                push(RESULTS_MAX),
                call.repeat(size),
                pop(RESULTS_MAX)
            )
        },
    },
    Shape {
        name: "blocks of many results",
        fields: |_| {
            format!(
                "(type $t (func (param {0}) (result {0})))",
                types(RESULTS_MAX)
            )
        },
        body: |size| {
            format!(
                "{} {} {}",
                push(RESULTS_MAX),
                "block (type $t) end ".repeat(size),
                pop(RESULTS_MAX)
            )
        },
    },
    Shape {
        name: "tables of many targets",
        fields: none,
        body: |size| {
            let table = format!("(br_table {} (i32.load (i32.const 0)))", targets(500));
            with_locals(
                2000,
                &format!(
                    "{} {} {}",
                    "block ".repeat(500),
                    table.repeat(1 + size / 16),
                    "end ".repeat(500)
                ),
            )
        },
    },
    Shape {
        name: "locals that outlive calls",
        fields: |_| "(func $f unreachable)".to_owned(),
        body: |size| {
            let locals = (10 * size).min(20_000);
            let used: String = (0..locals)
                .map(|at| format!("(i32.store (i32.const 0) (local.get {at}))"))
                .collect();
            with_locals(locals, &format!("{} {used}", "call $f ".repeat(10 * size)))
        },
    },
    Shape {
        name: "a long sum",
        fields: none,
        body: |size| {
            format!(
                "{} {} drop",
                push(1),
                "(i32.load (i32.const 0)) i32.add ".repeat(100 * size)
            )
        },
    },
    Shape {
        name: "a deep sum",
        fields: none,
        body: |size| {
            format!(
                "{} {} drop",
                push(1 + 100 * size),
                "i32.add ".repeat(100 * size)
            )
        },
    },
    Shape {
        name: "blocks after each other",
        fields: none,
        body: |size| "block i32.const 0 i32.load br_if 0 end ".repeat(size),
    },
    Shape {
        name: "blocks that carry values",
        fields: |_| {
            format!(
                "(type $t (func (param {0}) (result {0})))",
                types(RESULTS_MAX)
            )
        },
        body: |size| {
            let blocks = "block (type $t) i32.const 0 i32.load br_if 0 end ".repeat(size);
            format!("{} {blocks} {}", push(RESULTS_MAX), pop(RESULTS_MAX))
        },
    },
    Shape {
        name: "branches to one block",
        fields: none,
        body: |size| {
            format!(
                "block {} end",
                "i32.const 0 i32.load br_if 0 ".repeat(10 * size)
            )
        },
    },
    Shape {
        name: "a deep operand stack",
        fields: none,
        body: |size| {
            format!(
                "{} {} {}",
                push(20_000),
                "block end ".repeat(size),
                pop(20_000)
            )
        },
    },
];

impl Shape {
    /// A module with `functions` of them, besides a `run` that does nothing.
    pub(crate) fn module(&self, functions: usize, size: usize) -> Vec<u8> {
        let function = format!("(func {})", (self.body)(size));
        module(
            &format!("{} {}", (self.fields)(size), function.repeat(functions)),
            "",
        )
    }
}

/// A module that keeps every rule, with `extra` fields before the memory and `body` in `run`.
pub(crate) fn module(extra: &str, body: &str) -> Vec<u8> {
    wat(&format!(
        "(module {extra} (memory (export \"memory\") 1 2) (func (export \"run\") {body}))"
    ))
}

/// The module of a text.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's text is a module")
}

/// So many locals, all of them changed, and `body`.
pub(crate) fn with_locals(locals: usize, body: &str) -> String {
    let changed: String = (0..locals)
        .map(|at| format!("(local.set {at} (i32.load (i32.const {at})))"))
        .collect();
    format!("(local {}) {changed} {body}", types(locals))
}

/// Loops in each other, to any of which control may return from its end.
pub(crate) fn nested_loops(depth: usize) -> String {
    let ends = "(br_if 0 (i32.load (i32.const 4))) end ".repeat(depth);
    format!("{} {ends}", "loop ".repeat(depth))
}

/// Branches after each other.
pub(crate) fn branches(count: usize) -> String {
    "(if (i32.load (i32.const 4)) (then (local.set 0 (i32.const 1))))".repeat(count)
}

/// The labels from 0 on.
pub(crate) fn targets(count: usize) -> String {
    (0..count).map(|target| format!("{target} ")).collect()
}

fn none(_: usize) -> String {
    String::new()
}

/// So many `i32`.
pub(crate) fn types(count: usize) -> String {
    "i32 ".repeat(count)
}

fn push(count: usize) -> String {
    "(i32.load (i32.const 0))".repeat(count)
}

fn pop(count: usize) -> String {
    "drop ".repeat(count)
}
