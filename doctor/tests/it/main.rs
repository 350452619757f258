//! Failures that are staged on real parts; a module for each place where they happen.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod client;
mod common;
mod configure;
mod credentials;
mod documents;
mod mysql;
mod neptune;
mod policies;
mod rds;
mod server;
mod settings;
mod speed;
mod terminal;
mod tls;
