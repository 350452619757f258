//! The function's real binary, a module for each risk.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod common;
mod events;
mod faults;
mod formats;
mod readers;
#[path = "../../../../shared/tests/it/samples.rs"]
mod samples;
mod split;
mod texts;
