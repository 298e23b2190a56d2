//! The execution profile: what receipts say of the rules they were made by.

/// The execution profile whose rules fix every result: this crate's operations, gate and ABI.
pub const PROFILE: &str = "uor.pel/1";
