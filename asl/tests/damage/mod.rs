//! What damages a store's files, and what looks at it then.

pub(crate) mod harm;
pub(crate) mod look;
pub(crate) mod sample;
