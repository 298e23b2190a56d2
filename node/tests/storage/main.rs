//! What goes into a site's store, and what goes out of it again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod add;
mod erase;
mod gc;
mod support;
