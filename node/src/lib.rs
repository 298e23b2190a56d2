//! A node: one site's part in a federation.
//!
//! Modules in reading order: `replication` is the core, a state machine without sockets, clock or
//! chance; `site` is everything a person does at a site, as a library; `net` is the libp2p shell;
//! `service` the one loop that joins core and shell; `audit` proves what stores hold; `control` the
//! local socket through which commands reach a running node; `cancel` how they are given up, and
//! `interrupt` what signals have to do with that; `clock` the one place that reads a clock.
//!
//! Invariant: decisions are made in `replication`, `site` and the crates below, never in `net` or
//! `service`.

pub mod audit;
pub mod cancel;
pub mod clock;
pub mod control;
pub mod interrupt;
pub mod net;
pub mod replication;
pub mod service;
pub mod site;
