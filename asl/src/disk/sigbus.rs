//! Keeps a process alive when a file is cut under a memory map: reading a page that the file no
//! longer has raises SIGBUS, which kills. Here it marks the map as cut and puts a page of zeros in
//! place, which no check accepts.
//!
//! Invariants: only faults inside registered maps are handled, everything else goes to the handler
//! that was there before; the handler takes no lock and allocates nothing; slots are leaked and
//! reused, so the handler may read them at any time.

#![expect(unsafe_code, reason = "signal handlers are raw system calls")]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{io, mem, ptr};

/// One map, or none.
#[derive(Debug)]
struct Slot {
    /// Odd while `start` and `end` are being changed.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    cut: AtomicBool,
    next: *const Slot,
}

// SAFETY: `next` is set before a slot is published, never changed, and points to a leaked slot.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

/// All slots ever made, a list that only grows at its head.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
/// Those of them that guard nothing.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<Result<Before, c_int>> = OnceLock::new();

/// What was there before the handler.
struct Before {
    action: libc::sigaction,
    page_len: usize,
}

/// Guards one map as long as it lives.
#[derive(Debug)]
pub(super) struct Guard {
    slot: &'static Slot,
}

impl Guard {
    /// Guards the addresses of a map, which must be whole pages and stay mapped until the guard is
    /// dropped.
    pub(super) fn new(map: Range<usize>) -> io::Result<Self> {
        if let Err(code) = INSTALLED.get_or_init(install) {
            return Err(io::Error::from_raw_os_error(*code));
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free.pop().unwrap_or_else(Slot::publish);
        slot.set(map);
        Ok(Self { slot })
    }

    /// Whether a page of the map could not be read and reads as zeros now.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        self.slot.cut.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot.set(0..0);
        free.push(self.slot);
    }
}

impl Slot {
    /// A new slot at the head of the list. Called under the lock of `FREE`.
    fn publish() -> &'static Self {
        let slot: &'static Self = Box::leak(Box::new(Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            next: SLOTS.load(Ordering::Acquire),
        }));
        SLOTS.store(ptr::from_ref(slot).cast_mut(), Ordering::Release);
        slot
    }

    /// Called under the lock of `FREE`.
    fn set(&self, map: Range<usize>) {
        self.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(map.start, Ordering::Relaxed);
        self.end.store(map.end, Ordering::Relaxed);
        self.cut.store(false, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether `address` is inside. A slot that is being changed is not the one of a map somebody
    /// reads.
    fn contains(&self, address: usize) -> bool {
        let version = self.version.load(Ordering::Acquire);
        let map = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        version.is_multiple_of(2)
            && version == self.version.load(Ordering::Relaxed)
            && map.contains(&address)
    }
}

fn install() -> Result<Before, c_int> {
    let failed = || {
        io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EINVAL)
    };
    // SAFETY: asks for a constant of the system.
    let page_len =
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(|_| failed())?;
    // SAFETY: zeros are a valid `sigaction`, and both calls get valid pointers or null.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) != 0 {
            return Err(failed());
        }
        let mut ours: libc::sigaction = mem::zeroed();
        ours.sa_sigaction = handle as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut ours.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
            return Err(failed());
        }
        Ok(Before { action, page_len })
    }
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(Ok(before)) = INSTALLED.get() else {
        // Not one of ours: no map is registered before this is set. Fault again, without a handler.
        return set_default(signal);
    };
    // SAFETY: the kernel passes a valid `siginfo_t`; a positive code of SIGBUS comes with an
    // address.
    let address = unsafe {
        if (*info).si_code > 0 {
            (*info).si_addr() as usize
        } else {
            0
        }
    };
    if !put_zeros(address, before.page_len) {
        forward(&before.action, signal, info, context);
    }
}

/// Marks the map that holds `address` as cut and puts zeros there; whether that was possible.
fn put_zeros(address: usize, page_len: usize) -> bool {
    let mut next = SLOTS.load(Ordering::Acquire).cast_const();
    // SAFETY: slots are leaked, so every pointer of the list is valid for ever.
    while let Some(slot) = unsafe { next.as_ref() } {
        if slot.contains(address) {
            // The mark first: who sees the zeros sees the mark.
            slot.cut.store(true, Ordering::SeqCst);
            let page = (address - address % page_len) as *mut c_void;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            // SAFETY: the page lies in a map of ours, which is only read, and which the thread that
            // faulted keeps alive; `errno` is the interrupted code's and is given back.
            return unsafe {
                let errno = libc::__errno_location();
                let saved = *errno;
                let mapped = libc::mmap(page, page_len, libc::PROT_READ, flags, -1, 0);
                *errno = saved;
                mapped == page
            };
        }
        next = slot.next;
    }
    false
}

/// Does what would have been done without this handler.
fn forward(
    action: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    match action.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => set_default(signal),
        handler if action.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: who installed it with this flag promised this type.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: who installed it without the flag promised this type.
            let handler: extern "C" fn(c_int) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Lets the signal kill, as it does where nobody handles it: the instruction that raised it is run
/// again.
fn set_default(signal: c_int) {
    // SAFETY: zeros are a valid `sigaction`: the default, with no flags.
    unsafe {
        let action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}
