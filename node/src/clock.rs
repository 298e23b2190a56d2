//! The one place that reads a clock. Everything else is given the time.
//!
//! Wall-clock stamps travel in commits for people to read; nothing ever compares them.

use std::time::SystemTime;

/// Milliseconds since 1970 by this machine's clock; zero if it stands before that.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn wall_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
