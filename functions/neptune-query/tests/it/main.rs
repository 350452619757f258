//! The function's real binary.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod neptune;
