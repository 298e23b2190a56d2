//! Wasmtime, with every knob that could touch a result fixed in one function, `config`.
//!
//! Read it against "Deterministic Wasm Execution" in Wasmtime's book: imports are the ABI's only,
//! NaNs are canonical, relaxed SIMD is off (and would be deterministic), growth is bounded by
//! declared maxima, fuel is a limit only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use uor_index_format::id::Checksum;
use uor_index_format::receipt::FailureKind;
use wasmtime::{
    Caller, Config, Extern, Inlining, InstancePre, Linker, Memory, OptLevel, OutOfMemory,
    RegallocAlgorithm, ResourceLimiter, Store, Strategy, Trap,
};

use super::{Call, Ended, Engine, NoResult, STACK_LEN_MAX};
use crate::gate::{FEATURES, IMPORT_MODULE, MEMORY_EXPORT, Module, RUN_EXPORT};

/// Most compiled modules that are kept.
const CACHE_LEN_MAX: usize = 64;
/// Bytes that the host moves for one unit of fuel.
const BYTES_PER_FUEL: u64 = 8;

/// Every knob, in one place.
fn config() -> Config {
    let mut config = Config::new();
    // The gate's features and no others, so that no default of this or a later release lets
    // anything in.
    config
        .wasm_features(FEATURES, true)
        .wasm_features(!FEATURES, false);
    // Every NaN that an operation makes is the positive canonical one, on every processor.
    config.cranelift_nan_canonicalization(true);
    // The feature is off; should it ever be let in, its results are the profile's.
    config.relaxed_simd_deterministic(true);
    // An endless loop ends here. Counts differ between engines, so they are a limit and never part
    // of a result.
    config.consume_fuel(true);
    // Epochs follow the wall clock.
    config.epoch_interruption(false);
    // Running out of stack is no result; the size only decides how deep a guest may go.
    config.max_wasm_stack(STACK_LEN_MAX);
    // No instruction reaches shared memory; no module can make one either.
    config.shared_memory(false);
    // Results carry classes of traps, never frames; details would also follow an environment
    // variable.
    config
        .wasm_backtrace_max_frames(None)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    config.debug_info(false).generate_address_map(false);
    // Speed only, fixed so that one release behaves alike everywhere: the optimising compiler,
    // memory in place.
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
    // The gate bounds what compiling each function costs as it stands, not what copies of it in
    // others would.
    config.compiler_inlining(Inlining::No);
    config.memory_reservation(1 << 32).memory_may_move(false);
    config
}

/// The executor: compiles on first use and keeps what it compiled.
pub struct Wasmtime {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// Compiled modules with the time of their last use.
    modules: BTreeMap<Checksum, (u64, InstancePre<Guest>)>,
    uses: u64,
}

/// A host that this engine cannot run on.
#[derive(Debug, thiserror::Error)]
#[error("cannot start wasmtime: {problem}")]
pub struct StartError {
    /// What it says.
    problem: String,
}

impl Wasmtime {
    /// Sets an engine up that has compiled nothing yet; [`Wasmtime::shared`] is what most want.
    pub fn new() -> Result<Self, StartError> {
        let refused = |error: wasmtime::Error| StartError {
            problem: format!("{error:#}"),
        };
        let engine = wasmtime::Engine::new(&config()).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(refused)?;
        Ok(Self {
            engine,
            linker,
            cache: Mutex::default(),
        })
    }

    /// The one engine of this process, set up when it is first asked for: who runs or audits
    /// several things compiles a module once.
    ///
    /// # Errors
    /// As [`Wasmtime::new`].
    pub fn shared() -> Result<&'static Self, StartError> {
        static SHARED: OnceLock<Wasmtime> = OnceLock::new();
        if let Some(engine) = SHARED.get() {
            return Ok(engine);
        }
        let engine = Self::new()?;
        Ok(SHARED.get_or_init(|| engine))
    }

    fn prepare(&self, module: &Module) -> Result<InstancePre<Guest>, wasmtime::Error> {
        if let Some(ready) = self.lock().find(&module.checksum()) {
            return Ok(ready);
        }
        // Compiled outside the lock: two threads may both compile a new module, which only costs
        // time.
        let compiled = wasmtime::Module::from_binary(&self.engine, module.bytes())?;
        let ready = self.linker.instantiate_pre(&compiled)?;
        self.lock().keep(module.checksum(), ready.clone());
        Ok(ready)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A thread that panicked cannot have left a map half changed.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn find(&mut self, checksum: &Checksum) -> Option<InstancePre<Guest>> {
        self.uses += 1;
        let (used, module) = self.modules.get_mut(checksum)?;
        *used = self.uses;
        Some(module.clone())
    }

    fn keep(&mut self, checksum: Checksum, module: InstancePre<Guest>) {
        if self.modules.len() >= CACHE_LEN_MAX {
            let oldest = self
                .modules
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(checksum, _)| *checksum);
            oldest.and_then(|checksum| self.modules.remove(&checksum));
        }
        self.modules.insert(checksum, (self.uses, module));
    }
}

impl Engine for Wasmtime {
    fn run(&self, module: &Module, call: Call) -> Ended {
        let ready = match self.prepare(module) {
            Ok(ready) => ready,
            Err(error) => {
                return Ended::NoResult(NoResult::Host {
                    problem: format!("{error:#}"),
                });
            }
        };
        let limits = call.limits;
        let mut store = Store::new(
            &self.engine,
            Guest {
                call,
                output: Vec::new(),
            },
        );
        store.limiter(|guest| guest);
        match execute(&mut store, &ready) {
            Ok(()) => Ended::Returned(store.into_data().output),
            Err(error) => classify(&error, limits.fuel),
        }
    }
}

fn execute(store: &mut Store<Guest>, ready: &InstancePre<Guest>) -> Result<(), wasmtime::Error> {
    store.set_fuel(store.data().call.limits.fuel)?;
    let instance =
        ready
            .instantiate(&mut *store)
            .map_err(|error| match error.downcast_ref::<Trap>() {
                // A data or element segment that does not fit: the module's fault, on every host.
                Some(_) => error,
                None => Stop::NoResult(NoResult::Memory).into(),
            })?;
    let run = instance.get_typed_func::<(), ()>(&mut *store, RUN_EXPORT)?;
    run.call(store, ())
}

fn classify(error: &wasmtime::Error, fuel: u64) -> Ended {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Fail(code) => Ended::Failed(FailureKind::Explicit(*code)),
            Stop::NoResult(reason) => Ended::NoResult(reason.clone()),
        };
    }
    Ended::Failed(match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => FailureKind::Unreachable,
        Some(Trap::MemoryOutOfBounds | Trap::TableOutOfBounds) => FailureKind::OutOfBounds,
        Some(Trap::IntegerDivisionByZero) => FailureKind::DivisionByZero,
        Some(Trap::IntegerOverflow) => FailureKind::IntegerOverflow,
        Some(Trap::BadConversionToInteger) => FailureKind::BadConversion,
        Some(Trap::IndirectCallToNull | Trap::BadSignature) => FailureKind::BadIndirectCall,
        Some(Trap::OutOfFuel) => return Ended::NoResult(NoResult::Fuel { limit: fuel }),
        Some(Trap::StackOverflow) => {
            return Ended::NoResult(NoResult::Stack {
                limit: STACK_LEN_MAX,
            });
        }
        None if error.is::<OutOfMemory>() => return Ended::NoResult(NoResult::Memory),
        // Nothing that the gate lets through ends otherwise; if it does, it is not a statement
        // about the guest.
        _ => {
            return Ended::NoResult(NoResult::Host {
                problem: format!("{error:#}"),
            });
        }
    })
}

/// What an instance carries.
struct Guest {
    call: Call,
    output: Vec<u8>,
}

/// How host functions end a guest.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("the guest failed with code {0}")]
    Fail(i32),
    #[error("no result")]
    NoResult(NoResult),
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        // The declared maximum is the only limit that a guest can see.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<(), wasmtime::Error> {
        // Granted above, and yet it failed: that is the host's affair, and must not be shown to the
        // guest.
        Err(Stop::NoResult(NoResult::Memory).into())
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> Result<(), wasmtime::Error> {
        // As for a memory.
        Err(Stop::NoResult(NoResult::Memory).into())
    }
}

/// Defines the ABI's functions; `ABI.md` says what each promises.
fn link(linker: &mut Linker<Guest>) -> Result<(), wasmtime::Error> {
    linker.func_wrap(IMPORT_MODULE, "input_count", |caller: Caller<'_, Guest>| {
        // A derivation holds at most 65,536 inputs.
        i32::try_from(caller.data().call.inputs.len()).unwrap_or(i32::MAX)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        "input_len",
        |caller: Caller<'_, Guest>, index: i32| {
            Ok::<_, wasmtime::Error>(input(&caller, index)?.size().cast_signed())
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, "input_read", input_read)?;
    linker.func_wrap(IMPORT_MODULE, "params_len", |caller: Caller<'_, Guest>| {
        // Parameters are at most one mebibyte.
        i32::try_from(caller.data().call.params.len()).unwrap_or(i32::MAX)
    })?;
    linker.func_wrap(IMPORT_MODULE, "params_read", params_read)?;
    linker.func_wrap(IMPORT_MODULE, "output_write", output_write)?;
    linker.func_wrap(IMPORT_MODULE, "fail", |code: i32| {
        Err::<(), wasmtime::Error>(Stop::Fail(code).into())
    })?;
    Ok(())
}

fn input_read(
    mut caller: Caller<'_, Guest>,
    index: i32,
    offset: i64,
    ptr: i32,
    len: i32,
) -> Result<i32, wasmtime::Error> {
    let input = Arc::clone(input(&caller, index)?);
    let left = input.size().saturating_sub(offset.cast_unsigned());
    let len = len.cast_unsigned();
    let copied = u32::try_from(left).unwrap_or(u32::MAX).min(len);
    charge(&mut caller, copied)?;
    let target = guest_range(&mut caller, ptr, len)?;
    let target = target
        .get_mut(..copied as usize)
        .ok_or(Trap::MemoryOutOfBounds)?;
    if !target.is_empty() {
        let unreadable = |error: std::io::Error| NoResult::Host {
            problem: format!("input {index}: {error}"),
        };
        input
            .read_at(offset.cast_unsigned(), target)
            .map_err(|error| Stop::NoResult(unreadable(error)))?;
    }
    Ok(copied.cast_signed())
}

fn params_read(
    mut caller: Caller<'_, Guest>,
    offset: i32,
    ptr: i32,
    len: i32,
) -> Result<i32, wasmtime::Error> {
    let (memory, guest) = memory(&mut caller)?;
    let rest = guest
        .call
        .params
        .get(offset.cast_unsigned() as usize..)
        .unwrap_or_default();
    let target = memory_range(memory, ptr, len.cast_unsigned())?;
    let copied = rest.len().min(target.len());
    target
        .iter_mut()
        .zip(rest)
        .for_each(|(to, from)| *to = *from);
    charge(&mut caller, u32::try_from(copied).unwrap_or(u32::MAX))?;
    Ok(i32::try_from(copied).unwrap_or(i32::MAX))
}

fn output_write(mut caller: Caller<'_, Guest>, ptr: i32, len: i32) -> Result<(), wasmtime::Error> {
    charge(&mut caller, len.cast_unsigned())?;
    let (memory, guest) = memory(&mut caller)?;
    let source = memory_range(memory, ptr, len.cast_unsigned())?;
    let limit = guest.call.limits.output_len;
    if guest.output.len() + source.len() > limit {
        return Err(Stop::NoResult(NoResult::Output { limit }).into());
    }
    guest.output.extend_from_slice(source);
    Ok(())
}

fn input<'a>(
    caller: &'a Caller<'_, Guest>,
    index: i32,
) -> Result<&'a Arc<dyn crate::blob::Blob>, Trap> {
    caller
        .data()
        .call
        .inputs
        .get(index.cast_unsigned() as usize)
        .ok_or(Trap::MemoryOutOfBounds)
}

fn memory<'a>(
    caller: &'a mut Caller<'_, Guest>,
) -> Result<(&'a mut [u8], &'a mut Guest), wasmtime::Error> {
    let memory: Option<Memory> = caller
        .get_export(MEMORY_EXPORT)
        .and_then(Extern::into_memory);
    // The gate made sure of it.
    let memory = memory.ok_or(Trap::MemoryOutOfBounds)?;
    Ok(memory.data_and_store_mut(caller))
}

fn guest_range<'a>(
    caller: &'a mut Caller<'_, Guest>,
    ptr: i32,
    len: u32,
) -> Result<&'a mut [u8], wasmtime::Error> {
    Ok(memory_range(memory(caller)?.0, ptr, len)?)
}

/// The whole range that the guest offers must lie in its memory, even where less of it is used.
fn memory_range(memory: &mut [u8], ptr: i32, len: u32) -> Result<&mut [u8], Trap> {
    let from = ptr.cast_unsigned() as usize;
    memory
        .get_mut(from..)
        .and_then(|rest| rest.get_mut(..len as usize))
        .ok_or(Trap::MemoryOutOfBounds)
}

/// Bytes moved by the host cost fuel too, else a guest could keep a host busy for ever.
fn charge(caller: &mut Caller<'_, Guest>, bytes: u32) -> Result<(), wasmtime::Error> {
    let cost = u64::from(bytes) / BYTES_PER_FUEL + 1;
    let left = caller
        .get_fuel()?
        .checked_sub(cost)
        .ok_or(Trap::OutOfFuel)?;
    caller.set_fuel(left)
}
