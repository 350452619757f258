//! The crate against real databases behind the gate, a module for each risk.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod batch;
mod common;
mod credentials;
mod faults;
mod hostile;
mod imports;
mod jobs;
mod layers;
mod leftovers;
mod logins;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod mysql_leftovers;
#[cfg(feature = "mysql")]
mod mysql_session;
#[cfg(feature = "mysql")]
mod mysql_timeouts;
#[cfg(feature = "mysql")]
mod mysql_values;
mod proxy;
mod read_only;
mod refused;
mod regions;
mod results;
mod round_trips;
mod samples;
mod session;
mod sqlstates;
mod storm;
mod stream;
mod timeouts;
mod tokens;
mod types;
mod writes;
