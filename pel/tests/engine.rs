//! What the engine promises: results that are results, limits that are not, NaNs with one face.

use std::process::{Command, id};
use std::sync::{Arc, LazyLock};
use std::{env, fs, io};

use proptest::prelude::*;
use uor_index_format::receipt::FailureKind;
use uor_pel::blob::Blob;
use uor_pel::engine::wasmtime::Wasmtime;
use uor_pel::engine::{Call, Ended, Engine, Limits, NoResult};
use uor_pel::gate::{self, Module};

static ENGINE: LazyLock<Wasmtime> =
    LazyLock::new(|| Wasmtime::new().expect("this host runs wasmtime"));

fn gated(text: &str) -> Module {
    gate::check(&wat::parse_str(text).expect("the test's text is a module"))
        .expect("it keeps the rules")
}

/// All that a module may import.
const IMPORTS: &str = "
    (import \"uor\" \"input_count\" (func $input_count (result i32)))
    (import \"uor\" \"input_len\" (func $input_len (param i32) (result i64)))
    (import \"uor\" \"input_read\" (func $input_read (param i32 i64 i32 i32) (result i32)))
    (import \"uor\" \"params_len\" (func $params_len (result i32)))
    (import \"uor\" \"params_read\" (func $params_read (param i32 i32 i32) (result i32)))
    (import \"uor\" \"output_write\" (func $output_write (param i32 i32)))
    (import \"uor\" \"fail\" (func $fail (param i32)))";

/// A module with all imports, one page of at most two, and `body` in `run`.
fn module(fields: &str, body: &str) -> Module {
    gated(&format!(
        "(module
            {IMPORTS}
            (memory (export \"memory\") 1 2)
            {fields}
            (func (export \"run\") (local $n i32) {body}))"
    ))
}

fn call(inputs: &[&[u8]], params: &[u8]) -> Call {
    let inputs = inputs
        .iter()
        .map(|bytes| Arc::new(bytes.to_vec()) as Arc<dyn Blob>)
        .collect();
    Call {
        inputs,
        params: params.to_vec(),
        limits: Limits::default(),
    }
}

fn run(body: &str) -> Ended {
    ENGINE.run(&module("", body), call(&[b"abcdef"], b"xyz"))
}

#[test]
fn traps_are_results_with_a_class() {
    let failures = [
        (FailureKind::Unreachable, "", "unreachable"),
        (
            FailureKind::OutOfBounds,
            "",
            "(drop (i32.load (i32.const 65533)))",
        ),
        (
            FailureKind::OutOfBounds,
            "",
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))",
        ),
        (
            FailureKind::OutOfBounds,
            "(table 1 1 funcref)",
            "(drop (table.get (i32.const 1)))",
        ),
        (
            FailureKind::OutOfBounds,
            "(data (i32.const 65536) \"x\")",
            "",
        ),
        (
            FailureKind::DivisionByZero,
            "",
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
        ),
        (
            FailureKind::IntegerOverflow,
            "",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
        ),
        (
            FailureKind::IntegerOverflow,
            "",
            "(drop (i32.trunc_f64_s (f64.const 1e300)))",
        ),
        (
            FailureKind::BadConversion,
            "",
            "(drop (i32.trunc_f64_s (f64.const nan)))",
        ),
        (
            FailureKind::BadIndirectCall,
            "(table 1 1 funcref)",
            "(call_indirect (i32.const 0))",
        ),
        (
            FailureKind::BadIndirectCall,
            "(table funcref (elem $other)) (func $other (param i32))",
            "(call_indirect (i32.const 0))",
        ),
        (FailureKind::Explicit(7), "", "(call $fail (i32.const 7))"),
        (
            FailureKind::Explicit(-1),
            "",
            "(call $fail (i32.const -1)) unreachable",
        ),
    ];
    for (kind, fields, body) in failures {
        assert_eq!(
            ENGINE.run(&module(fields, body), call(&[], b"")),
            Ended::Failed(kind),
            "{body}"
        );
    }
}

#[test]
fn host_functions_trap_on_what_is_not_there() {
    for body in [
        "(drop (call $input_len (i32.const 1)))",
        "(drop (call $input_len (i32.const -1)))",
        "(drop (call $input_read (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0)))",
        // The whole range counts, even where the input is shorter.
        "(drop (call $input_read (i32.const 0) (i64.const 6) (i32.const 65530) (i32.const 7)))",
        "(drop (call $input_read (i32.const 0) (i64.const 0) (i32.const -1) (i32.const 1)))",
        "(drop (call $params_read (i32.const 9) (i32.const 65536) (i32.const 1)))",
        "(call $output_write (i32.const 65536) (i32.const 1))",
        "(call $output_write (i32.const 0) (i32.const -1))",
    ] {
        assert_eq!(run(body), Ended::Failed(FailureKind::OutOfBounds), "{body}");
    }
}

#[test]
fn reads_are_short_only_at_the_end() {
    let read = |function: &str, offset: &str, len: i32| {
        run(&format!(
            "(local.set $n (call ${function} {offset} (i32.const 8) (i32.const {len})))
             (i32.store8 (i32.const 7) (local.get $n))
             (call $output_write (i32.const 7) (i32.add (i32.const 1) (local.get $n)))"
        ))
    };
    let input = |offset: i64, len| {
        read(
            "input_read",
            &format!("(i32.const 0) (i64.const {offset})"),
            len,
        )
    };
    let params = |offset: i64, len| read("params_read", &format!("(i32.const {offset})"), len);
    let returned = |bytes: &[u8]| Ended::Returned(bytes.to_vec());
    assert_eq!(input(0, 3), returned(b"\x03abc"));
    assert_eq!(input(4, 100), returned(b"\x02ef"));
    assert_eq!(input(6, 100), returned(b"\x00"));
    assert_eq!(input(-1, 100), returned(b"\x00"));
    assert_eq!(input(0, 0), returned(b"\x00"));
    assert_eq!(params(1, 100), returned(b"\x02yz"));
    assert_eq!(params(3, 1), returned(b"\x00"));
    assert_eq!(params(-1, 1), returned(b"\x00"));
}

#[test]
fn growth_fails_at_the_declared_maximum_and_is_never_an_accident_of_the_host() {
    let grow = |pages: i64| {
        run(&format!(
            "(i32.store (i32.const 0) (memory.grow (i32.const {pages})))
             (i32.store (i32.const 4) (memory.size)) (call $output_write (i32.const 0) (i32.const 8))"
        ))
    };
    let returned =
        |grown: i32, size: i32| Ended::Returned([grown.to_le_bytes(), size.to_le_bytes()].concat());
    assert_eq!(grow(0), returned(1, 1));
    assert_eq!(grow(1), returned(1, 2));
    for beyond in [2, 65_535, 65_536, 0xffff_ffff] {
        assert_eq!(grow(beyond), returned(-1, 1), "{beyond}");
    }
}

/// An input that, once it is read, leaves this process hardly any memory.
struct Poor;

impl Blob for Poor {
    fn size(&self) -> u64 {
        1
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = status.lines().find_map(|line| {
            line.strip_prefix("VmData:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        });
        let kib: u64 = kib.ok_or_else(|| io::Error::other("no VmData"))?;
        let limit = format!("--data={}", (kib + 4096) * 1024);
        let set = Command::new("prlimit")
            .args(["--pid", &id().to_string(), &limit])
            .status()?;
        if set.success() {
            Ok(())
        } else {
            Err(io::Error::other("prlimit failed"))
        }
    }
}

/// Set in the process that is to run out of memory.
const POOR: &str = "UOR_TEST_POOR";

/// Grows a memory or tables to their maxima on a host that has no memory for that, in a process of
/// its own.
#[test]
#[cfg(target_os = "linux")]
fn a_host_without_memory_is_never_seen_by_the_guest() {
    const NAME: &str = "a_host_without_memory_is_never_seen_by_the_guest";
    let Ok(which) = env::var(POOR) else {
        for which in ["memory", "tables", "neither"] {
            let child = Command::new(env::current_exe().expect("this is a program"))
                .args([NAME, "--exact", "--nocapture"])
                .env(POOR, which)
                .output()
                .expect("it can be started again");
            assert!(
                child.status.success(),
                "{which}: {}",
                String::from_utf8_lossy(&child.stderr)
            );
        }
        return;
    };
    let tables: String = (0..64)
        .map(|table| format!("(table $t{table} 1 65536 funcref)"))
        .collect();
    let memory = "(if (i32.eq (memory.grow (i32.const 4000)) (i32.const -1)) (then (call $output_write (i32.const 0) (i32.const 1))))";
    let grow = |table| {
        format!(
            "(if (i32.eq (table.grow $t{table} (ref.null func) (i32.const 65535)) (i32.const -1))
                 (then (call $output_write (i32.const 0) (i32.const 1))))"
        )
    };
    let body = match which.as_str() {
        "memory" => memory.to_owned(),
        "tables" => (0..64).map(grow).collect(),
        _ => String::new(),
    };
    let read = "(drop (call $input_read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 1)))";
    let module = gated(&format!(
        "(module {IMPORTS} (memory (export \"memory\") 1 4096) {tables} (func (export \"run\") {read} {body}))"
    ));
    let ended = ENGINE.run(
        &module,
        Call {
            inputs: vec![Arc::new(Poor)],
            ..Call::default()
        },
    );
    let expected = match which.as_str() {
        "neither" => Ended::Returned(Vec::new()),
        _ => Ended::NoResult(NoResult::Memory),
    };
    assert_eq!(ended, expected, "{which}");
}

#[test]
fn tables_grow_up_to_their_declared_maximum_and_not_beyond() {
    let grow = |elements: i64| {
        let body = format!(
            "(i32.store (i32.const 0) (table.grow (ref.null func) (i32.const {elements})))
             (i32.store (i32.const 4) (table.size)) (call $output_write (i32.const 0) (i32.const 8))"
        );
        ENGINE.run(&module("(table 2 65536 funcref)", &body), call(&[], b""))
    };
    let returned =
        |grown: i32, size: i32| Ended::Returned([grown.to_le_bytes(), size.to_le_bytes()].concat());
    assert_eq!(grow(0), returned(2, 2));
    assert_eq!(grow(65_534), returned(2, 65_536));
    for beyond in [65_535, 0x7fff_ffff, 0xffff_ffff] {
        assert_eq!(grow(beyond), returned(-1, 2), "{beyond}");
    }
}

#[test]
fn limits_leave_no_result() {
    let limits = Limits {
        fuel: 100_000,
        output_len: 10,
    };
    let run = |fields: &str, body: &str| {
        ENGINE.run(
            &module(fields, body),
            Call {
                limits,
                ..call(&[&[0; 1 << 20]], b"")
            },
        )
    };
    assert_eq!(
        run("", "(loop $for_ever (br $for_ever))"),
        Ended::NoResult(NoResult::Fuel { limit: 100_000 })
    );
    // Bytes moved by the host count as well: thirteen calls, each of 8,192 units, are more than
    // there is.
    let read =
        "(drop (call $input_read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 65536)))";
    assert_eq!(run("", &read.repeat(12)), Ended::Returned(Vec::new()));
    assert_eq!(
        run("", &read.repeat(13)),
        Ended::NoResult(NoResult::Fuel { limit: 100_000 })
    );
    assert!(
        matches!(run("", "(call $output_write (i32.const 0) (i32.const 10))"), Ended::Returned(output) if output.len() == 10)
    );
    assert_eq!(
        run("", "(call $output_write (i32.const 0) (i32.const 11))"),
        Ended::NoResult(NoResult::Output { limit: 10 })
    );
    let deep = Call {
        limits: Limits::default(),
        ..call(&[], b"")
    };
    let recursion = module(
        "(func $deeper (call $deeper) (call $deeper))",
        "(call $deeper)",
    );
    assert!(matches!(
        ENGINE.run(&recursion, deep),
        Ended::NoResult(NoResult::Stack { .. })
    ));
}

#[test]
fn an_input_that_cannot_be_read_is_the_hosts_failure() {
    struct Broken;
    impl Blob for Broken {
        fn size(&self) -> u64 {
            10
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let call = Call {
        inputs: vec![Arc::new(Broken)],
        ..Call::default()
    };
    let ended = ENGINE.run(
        &module(
            "",
            "(drop (call $input_read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 1)))",
        ),
        call,
    );
    assert!(
        matches!(ended, Ended::NoResult(NoResult::Host { problem }) if problem.contains("the disk is gone"))
    );
}

#[test]
fn every_nan_that_is_made_is_the_canonical_one() {
    let f32s = [
        "(f32.div (f32.const 0) (f32.const 0))",
        "(f32.add (f32.const nan:0x200001) (f32.const 1))",
        "(f32.add (f32.const -nan:0x200001) (f32.const nan:0x3))",
        "(f32.sqrt (f32.const -1))",
        "(f32.min (f32.const nan:0x7) (f32.const 1))",
        "(f32.ceil (f32.const -nan:0x7))",
        "(f32.demote_f64 (f64.const -nan:0x4000000000001))",
        "(f32x4.extract_lane 2 (f32x4.mul (v128.const i32x4 -1 -1 -1 -1) (v128.const f32x4 1 1 1 1)))",
    ];
    for operation in f32s {
        let body = format!(
            "(f32.store (i32.const 0) {operation}) (call $output_write (i32.const 0) (i32.const 4))"
        );
        assert_eq!(
            run(&body),
            Ended::Returned(0x7fc0_0000_u32.to_le_bytes().to_vec()),
            "{operation}"
        );
    }
    let f64s = [
        "(f64.sub (f64.const inf) (f64.const inf))",
        "(f64.mul (f64.const -nan:0x123) (f64.const 2))",
        "(f64.promote_f32 (f32.const -nan:0x1))",
        "(f64x2.extract_lane 1 (f64x2.div (v128.const f64x2 0 0) (v128.const f64x2 0 0)))",
    ];
    for operation in f64s {
        let body = format!(
            "(f64.store (i32.const 0) {operation}) (call $output_write (i32.const 0) (i32.const 8))"
        );
        assert_eq!(
            run(&body),
            Ended::Returned(0x7ff8_0000_0000_0000_u64.to_le_bytes().to_vec()),
            "{operation}"
        );
    }
}

#[test]
fn instances_share_nothing_and_the_cache_changes_nothing() {
    let counter = module(
        "(global $runs (mut i32) (i32.const 0))",
        "(global.set $runs (i32.add (global.get $runs) (i32.const 1)))
         (i32.store8 (i32.const 0) (global.get $runs)) (i32.store8 (i32.const 1) (i32.load8_u (i32.const 2)))
         (i32.store8 (i32.const 2) (i32.const 9)) (call $output_write (i32.const 0) (i32.const 2))",
    );
    let fresh = Wasmtime::new().expect("this host runs wasmtime");
    for engine in [&*ENGINE, &*ENGINE, &fresh] {
        assert_eq!(
            engine.run(&counter, call(&[], b"")),
            Ended::Returned(vec![1, 0])
        );
    }
    // More modules than the cache holds.
    for number in (0..70).chain(0..3) {
        let module = module(
            "",
            &format!(
                "(i32.store8 (i32.const 0) (i32.const {number})) (call $output_write (i32.const 0) (i32.const 1))"
            ),
        );
        assert_eq!(
            fresh.run(&module, call(&[], b"")),
            Ended::Returned(vec![number])
        );
    }
}

fn counted(text: &[u8], name: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let words = text.split(space).filter(|word| !word.is_empty()).count();
    let mut line = format!("{lines} {words} {}", text.len()).into_bytes();
    if !name.is_empty() {
        line.push(b' ');
        line.extend_from_slice(name);
    }
    line.push(b'\n');
    line
}

proptest! {
    #[test]
    fn the_worked_guest_counts_like_its_model_whichever_compiler_made_it(
        pieces in proptest::collection::vec("[a-c\\n\\t \u{b}\u{e9}]{0,40}", 0..8),
        repeats in prop_oneof![9 => Just(1_usize), 1 => Just(3000)],
        name in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        static HAND: LazyLock<Module> = LazyLock::new(|| gated(include_str!("../guests/wordcount.wat")));
        static COMPILED: LazyLock<Module> =
            LazyLock::new(|| gate::check(include_bytes!("../guests/wordcount.wasm")).expect("it keeps the rules"));
        let text = pieces.concat().repeat(repeats).into_bytes();
        let expected = Ended::Returned(counted(&text, &name));
        prop_assert_eq!(&ENGINE.run(&HAND, call(&[&text], &name)), &expected);
        prop_assert_eq!(&ENGINE.run(&COMPILED, call(&[&text], &name)), &expected);
    }

    #[test]
    fn what_the_gate_lets_through_the_engine_can_run(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = include_bytes!("../guests/wordcount.wasm").to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(module) = gate::check(&bytes) {
            let limits = Limits { fuel: 1_000_000, output_len: 1 << 20 };
            let ended = ENGINE.run(&module, Call { limits, ..call(&[b"some text"], b"name") });
            prop_assert!(!matches!(ended, Ended::NoResult(NoResult::Host { .. } | NoResult::Memory)), "{:?}", ended);
            // And it says the same twice.
            prop_assert_eq!(ENGINE.run(&module, Call { limits, ..call(&[b"some text"], b"name") }), ended);
        }
    }
}
