//! placeholder

pub mod blocks;
pub mod digest;
pub mod disk;
mod file_header;
pub mod group;
pub mod log;
