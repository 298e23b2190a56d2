//! What compiling the most expensive modules takes that the gate lets through, shape by shape: by
//! this the two limits of `gate` are set. `cargo bench -p uor-pel --bench compile` prints a table.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark tells of times"
)]

use std::time::{Duration, Instant};

use uor_pel::engine::wasmtime::Wasmtime;
use uor_pel::engine::{Call, Ended, Engine};
use uor_pel::gate::{self, FUNCTION_COST_MAX, MODULE_COST_MAX, Module};

#[path = "../tests/shapes/mod.rs"]
mod shapes;

use shapes::{SHAPES, Shape};

fn main() {
    println!(
        "{:28} {:>10} {:>12} {:>12} {:>12} {:>10}",
        "shape", "module", "cost", "one function", "module", "ns a unit"
    );
    for shape in SHAPES {
        let size = largest(|size| shape.module(1, size));
        let one = admitted(shape.module(1, size)).expect("it was");
        let functions = largest_count(shape, size);
        let all = admitted(shape.module(functions, size)).expect("it was");
        let (first, whole) = (compile(&one), compile(&all));
        #[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
        let each = whole.as_secs_f64() * 1e9 / all.cost() as f64;
        println!(
            "{:28} {:>7} kB {:>12} {:>10.2} s {:>10.2} s {each:>10.0}",
            shape.name,
            all.bytes().len() / 1000,
            all.cost(),
            first.as_secs_f64(),
            whole.as_secs_f64(),
        );
    }
    println!("limits: {FUNCTION_COST_MAX} a function, {MODULE_COST_MAX} a module");
}

/// The largest size that the gate lets through.
fn largest(module: impl Fn(usize) -> Vec<u8>) -> usize {
    let mut fails = 2;
    while admitted(module(fails)).is_some() {
        fails *= 2;
    }
    let mut passes = fails / 2;
    while passes + 1 < fails {
        let size = usize::midpoint(passes, fails);
        if admitted(module(size)).is_some() {
            passes = size
        } else {
            fails = size
        }
    }
    passes
}

fn largest_count(shape: &Shape, size: usize) -> usize {
    (1..)
        .take_while(|functions| admitted(shape.module(*functions, size)).is_some())
        .last()
        .unwrap_or(1)
}

fn admitted(bytes: Vec<u8>) -> Option<Module> {
    gate::check(&bytes).ok()
}

/// What compiling takes: nothing is run but an empty function.
fn compile(module: &Module) -> Duration {
    let engine = Wasmtime::new().expect("this host can run the engine");
    let begun = Instant::now();
    let ended = engine.run(module, Call::default());
    let took = begun.elapsed();
    assert_eq!(ended, Ended::Returned(Vec::new()));
    took
}
