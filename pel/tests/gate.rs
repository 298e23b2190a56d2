//! Every rule of the gate, broken once.

#[path = "shapes/mod.rs"]
mod shapes;

use shapes::{SHAPES, branches, module, nested_loops, targets, types, wat, with_locals};
use uor_pel::gate::{
    self, FUNCTION_COST_MAX, GateError, MODULE_COST_MAX, MODULE_LEN_MAX, PARAMS_MAX, RESULTS_MAX,
};

fn refusal(bytes: &[u8]) -> GateError {
    match gate::check(bytes) {
        Ok(_) => panic!("the gate let it through"),
        Err(error) => error,
    }
}

#[test]
fn what_keeps_the_rules_passes() {
    for bytes in [
        module("", ""),
        module("(import \"uor\" \"fail\" (func (param i32)))", ""),
        module("(table 1 65536 funcref)", ""),
        module(
            "(global (mut i64) (i64.const 0))",
            "(drop (i64.extend8_s (i64.const 200)))",
        ),
        module("", "(drop (i32.trunc_sat_f64_s (f64.const 1e300)))"),
        module(
            "",
            "(memory.fill (i32.const 0) (i32.const 1) (i32.const 2))",
        ),
        module(
            "",
            "(drop (f32x4.add (v128.const f32x4 1 2 3 4) (v128.const f32x4 1 2 3 4)))",
        ),
        module("(func $other)", "(return_call $other)"),
        module(
            "(func $two (result i32 i32) (i32.const 1) (i32.const 2))",
            "(call $two) (drop) (drop)",
        ),
        wat(include_str!("../guests/wordcount.wat")),
        include_bytes!("../guests/wordcount.wasm").to_vec(),
    ] {
        gate::check(&bytes).expect("it keeps every rule");
    }
}

#[test]
fn features_outside_the_set_are_refused() {
    for (feature, bytes) in [
        (
            "threads",
            wat("(module (memory (export \"memory\") 1 2 shared) (func (export \"run\")))"),
        ),
        (
            "atomics",
            module("", "(drop (i32.atomic.load (i32.const 0)))"),
        ),
        (
            "memory64",
            wat("(module (memory (export \"memory\") i64 1 2) (func (export \"run\")))"),
        ),
        ("multi-memory", module("(memory 1 1)", "")),
        (
            "custom page sizes",
            wat("(module (memory (export \"memory\") 1 2 (pagesize 1)) (func (export \"run\")))"),
        ),
        (
            "relaxed SIMD",
            module(
                "",
                "(drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
            ),
        ),
        ("GC", module("(type (struct))", "")),
        (
            "external references",
            module("", "(drop (ref.null extern))"),
        ),
        ("exceptions", module("(tag $t)", "(throw $t)")),
        (
            "wide arithmetic",
            module(
                "",
                "(i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)) (drop) (drop)",
            ),
        ),
        (
            "stack switching",
            module("(type $f (func)) (type $c (cont $f))", ""),
        ),
        (
            "typed function references",
            module("(type $f (func))", "(call_ref $f (ref.null $f))"),
        ),
        ("components", wat("(component)")),
    ] {
        let error = refusal(&bytes);
        assert!(
            matches!(error, GateError::Invalid { .. }),
            "{feature}: {error}"
        );
    }
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let good = module("", "");
    for bytes in [&b""[..], b"\0asm", b"hello", &good[..good.len() - 1]] {
        assert!(matches!(refusal(bytes), GateError::Invalid { .. }));
    }
}

#[test]
fn what_is_no_module_is_said_on_one_line() {
    let said = |bytes: &[u8]| refusal(bytes).to_string();
    assert!(said(b"").contains("offset 0: it is empty"));
    assert!(said(b"(module (func))\n").contains("it is text, beginning with `(module (func))"));
    assert!(said("<html>\n\u{e9}".as_bytes()).contains("assemble it first"));
    assert!(said(b"\x7fELF\x02\x01\0").contains("it begins with `\\x7fELF"));
    // A component, and a version that there is not.
    for version in [b"\x0d\0\x01\0", b"\x09\0\0\0"] {
        assert!(!said(&[b"\0asm", &version[..]].concat()).contains('\n'));
    }
}

#[test]
fn a_module_that_is_too_large_is_refused_unread() {
    let len = usize::try_from(MODULE_LEN_MAX).expect("16 MiB") + 1;
    assert!(matches!(
        refusal(&vec![0; len]),
        GateError::TooLarge {
            len: 16_777_217,
            max: MODULE_LEN_MAX
        }
    ));
}

#[test]
fn imports_are_the_abi_and_nothing_else() {
    for (from, name, field) in [
        ("env", "input_count", "(func (result i32))"),
        ("uor", "clock", "(func (result i64))"),
        (
            "wasi_snapshot_preview1",
            "random_get",
            "(func (param i32 i32) (result i32))",
        ),
    ] {
        let error = refusal(&module(
            &format!("(import \"{from}\" \"{name}\" {field})"),
            "",
        ));
        assert!(
            matches!(&error, GateError::Import { offset: 1.., module, name: got } if module == from && got == name)
        );
        assert!(error.to_string().contains(name), "{error}");
    }
    for (name, field) in [
        ("fail", "(func)"),
        ("input_len", "(func (param i32) (result i32))"),
        ("input_count", "(global i32)"),
    ] {
        let error = refusal(&module(&format!("(import \"uor\" \"{name}\" {field})"), ""));
        assert!(
            matches!(&error, GateError::ImportType { offset: 1.., name: got, .. } if got == name),
            "{error}"
        );
    }
    let memory = refusal(&wat(
        "(module (import \"uor\" \"memory\" (memory 1 2)) (func (export \"run\")))",
    ));
    assert!(matches!(memory, GateError::Import { .. }));
}

#[test]
fn memories_and_tables_declare_their_maximum() {
    for (limits, want) in [("1", None), ("1 4097", Some(4097))] {
        let error = refusal(&wat(&format!(
            "(module (memory (export \"memory\") {limits}) (func (export \"run\")))"
        )));
        assert!(
            matches!(error, GateError::Memory { declared, .. } if declared == want),
            "{error}"
        );
    }
    for (limits, want) in [("1", None), ("1 65537", Some(65_537))] {
        let error = refusal(&module(&format!("(table {limits} funcref)"), ""));
        assert!(
            matches!(error, GateError::Table { declared, .. } if declared == want),
            "{error}"
        );
    }
    let inverted = refusal(&wat(
        "(module (memory (export \"memory\") 3 2) (func (export \"run\")))",
    ));
    assert!(matches!(inverted, GateError::Invalid { .. }));
}

#[test]
fn nothing_runs_before_run() {
    assert!(matches!(
        refusal(&module("(func $first) (start $first)", "")),
        GateError::Start { offset: 1.. }
    ));
}

#[test]
fn memory_and_run_are_exported() {
    for text in [
        "(module (func (export \"run\")))",
        "(module (memory 1 2) (func (export \"run\")))",
        "(module (func (export \"memory\")) (func (export \"run\")))",
        "(module (memory (export \"memory\") 1 2))",
        "(module (memory (export \"memory\") 1 2) (func (export \"run\") (param i32)))",
        "(module (memory (export \"memory\") 1 2) (global (export \"run\") i32 (i32.const 0)))",
    ] {
        assert!(
            matches!(refusal(&wat(text)), GateError::Export { .. }),
            "{text}"
        );
    }
}

#[test]
fn compiling_has_a_bound_whatever_the_module_is_made_of() {
    for shape in SHAPES {
        let bytes = shape.module(1, 6000);
        match refusal(&bytes) {
            GateError::FunctionCost {
                function,
                offset,
                at,
                max: FUNCTION_COST_MAX,
            } => {
                assert_eq!(
                    usize::from(shape.name.contains("calls")),
                    function as usize,
                    "{}",
                    shape.name
                );
                assert!(
                    8 < offset && offset < at && at < bytes.len(),
                    "{}: {offset} {at}",
                    shape.name
                );
            }
            other => panic!("{}: {other}", shape.name),
        }
    }
    // Parameters cost no bytes, so functions that have many of them cost more than their length
    // says.
    let type_of_many = format!("(type $t (func (param {})))", types(PARAMS_MAX));
    let functions = module(
        &format!("{type_of_many} {}", "(func (type $t))".repeat(200_000)),
        "",
    );
    let error = refusal(&functions);
    assert!(
        matches!(
            error,
            GateError::ModuleCost {
                function: 1..,
                offset: 9..,
                max: MODULE_COST_MAX
            }
        ),
        "{error}"
    );
}

#[test]
fn functions_and_blocks_have_so_many_parameters_and_results_and_no_more() {
    for (params, results) in [
        (PARAMS_MAX, 0),
        (0, RESULTS_MAX),
        (PARAMS_MAX + 1, 0),
        (0, RESULTS_MAX + 1),
        (1000, 1000),
    ] {
        let of_type = format!(
            "(type (func (param {}) (result {})))",
            types(params),
            types(results)
        );
        match gate::check(&module(&of_type, "")) {
            Ok(_) => assert!(params <= PARAMS_MAX && results <= RESULTS_MAX),
            Err(GateError::Arity {
                offset,
                params: found,
                results: given,
            }) => {
                assert_eq!((found, given), (params, results));
                assert!(params > PARAMS_MAX || results > RESULTS_MAX);
                assert!(offset > 8, "{offset}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What compilers make: cost follows length, with room to spare.
#[test]
fn modules_as_compilers_make_them_are_far_below_the_bound() {
    let guest =
        gate::check(include_bytes!("../guests/wordcount.wasm")).expect("it keeps every rule");
    assert!(guest.cost() < MODULE_COST_MAX / 1000, "{}", guest.cost());
    // The main loop of an interpreter: some hundred locals, a table of all instructions, thousands
    // of branches.
    let arms = format!(") {}", branches(8)).repeat(256);
    let table = format!("(br_table {} (i32.load (i32.const 0)))", targets(256));
    let body = format!("(loop {} {table} {arms} (br 0))", "(block ".repeat(256));
    let interpreter = gate::check(&module("", &with_locals(300, &body))).expect("it is no attack");
    assert!(
        interpreter.cost() < FUNCTION_COST_MAX / 2,
        "{}",
        interpreter.cost()
    );
    // A large program: thousands of functions.
    let function = format!(
        "(func (local {}) {} {})",
        types(30),
        nested_loops(3),
        branches(40)
    );
    let program = gate::check(&module(&function.repeat(3000), "")).expect("it is no attack");
    assert!(
        program.cost() < MODULE_COST_MAX / 2,
        "{} for {} bytes",
        program.cost(),
        program.bytes().len()
    );
}
