//! The world in one thread: replication cores, stores on simulated disks and a virtual network,
//! driven by one seed.
//!
//! `world` runs the same cores and stores as a real node. `network` delays, reorders, duplicates,
//! drops and partitions; disks lose and tear what was not synced; nodes crash, restart, and are
//! sometimes restored from an old backup, which forks their log. `workload` decides what sites
//! write, `checker` what must be equal afterwards (design: "What is promised equal, and what is
//! not").
//!
//! A seed is a bug report: the same seed gives the same run, which is itself a test.

pub mod checker;
pub mod network;
pub mod random;
pub mod workload;
pub mod world;
