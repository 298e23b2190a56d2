//! What damages a store's files, and what looks at it then.

#![expect(clippy::mod_module_files, reason = "a folder of a test")]

pub(crate) mod harm;
pub(crate) mod look;
pub(crate) mod sample;
