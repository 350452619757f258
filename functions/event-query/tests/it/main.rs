//! The function's real binary, a module for each risk.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod attacks;
mod common;
mod deliveries;
mod events;
mod model;
mod queues;
mod runbook;
