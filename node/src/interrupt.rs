//! What SIGINT and SIGTERM do to a command.

use std::io;
use std::thread;

use crate::service::Signals;

/// Calls `on_signal`, on a thread of its own, for every SIGINT and SIGTERM that arrives from now
/// on; they end nothing by themselves any more.
///
/// # Errors
/// If the system gives no thread, or no way to hear of signals.
pub fn watch(mut on_signal: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new(true)?
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                signals.arrive().await;
                on_signal();
            }
        });
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map(drop)
}
