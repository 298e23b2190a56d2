//! A guest for uor core-module ABI 1 (see `../ABI.md`): counts lines, words and bytes of input 0,
//! as `wc` does.
//!
//! The output is `LINES WORDS BYTES` and a newline; parameters, where there are any, are a name
//! that follows the bytes. `build.sh` compiles this file to `wordcount.wasm`; `wordcount.wat` is
//! the same guest written by hand.

#![no_std]

#[link(wasm_import_module = "uor")]
extern "C" {
    fn input_len(index: u32) -> u64;
    fn input_read(index: u32, offset: u64, ptr: *mut u8, len: u32) -> u32;
    fn params_len() -> u32;
    fn params_read(offset: u32, ptr: *mut u8, len: u32) -> u32;
    fn output_write(ptr: *const u8, len: u32);
}

const WINDOW_LEN: usize = 64 * 1024;
static mut WINDOW: [u8; WINDOW_LEN] = [0; WINDOW_LEN];

/// The window, for one function at a time.
fn window() -> &'static mut [u8; WINDOW_LEN] {
    // SAFETY: a guest has one thread, and no two callers below hold the window at once.
    unsafe { &mut *core::ptr::addr_of_mut!(WINDOW) }
}

#[no_mangle]
pub extern "C" fn run() {
    let counts = count();
    for (index, count) in counts.iter().enumerate() {
        if index > 0 {
            write(b" ");
        }
        write_number(*count);
    }
    write_name();
    write(b"\n");
}

fn count() -> [u64; 3] {
    // SAFETY: the host copies at most `WINDOW_LEN` bytes into the window.
    let total = unsafe { input_len(0) };
    let (mut lines, mut words, mut offset) = (0, 0, 0);
    let mut in_word = false;
    let window = window();
    while offset < total {
        // SAFETY: as above: at most `WINDOW_LEN` bytes are written into the window.
        let len = unsafe { input_read(0, offset, window.as_mut_ptr(), WINDOW_LEN as u32) };
        for byte in window.iter().take(len as usize) {
            let space = matches!(byte, b' ' | 9..=13);
            lines += u64::from(*byte == b'\n');
            words += u64::from(!space && !in_word);
            in_word = !space;
        }
        offset += u64::from(len);
    }
    [lines, words, total]
}

fn write_number(number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    write(&digits[at..]);
}

fn write_name() {
    let window = window();
    // SAFETY: as in `count`.
    let total = unsafe { params_len() };
    let mut offset = 0;
    while offset < total {
        if offset == 0 {
            write(b" ");
        }
        // SAFETY: at most `WINDOW_LEN` bytes are written into the window.
        let len = unsafe { params_read(offset, window.as_mut_ptr(), WINDOW_LEN as u32) };
        write(&window[..len as usize]);
        offset += len;
    }
}

fn write(bytes: &[u8]) {
    // SAFETY: the host reads exactly these bytes.
    unsafe { output_write(bytes.as_ptr(), bytes.len() as u32) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
