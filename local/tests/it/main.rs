//! The gate, the APIs and the commands, beside other people's clients; a module for each risk.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking; a helper may serve one module only"
)]

mod check;
mod clients;
mod clients_mysql;
mod clients_node;
mod clients_sts;
mod common;
mod dumps;
mod early_answers;
mod fuzz_policies;
mod fuzz_tokens;
mod gate;
mod gate_copy;
mod gate_faults;
mod gate_mysql;
mod gate_mysql_answers;
mod gate_mysql_faults;
mod gate_mysql_sessions;
mod gate_odd_packets;
mod gate_protocol;
mod gate_proxy;
mod killed;
mod neptune;
mod neptune_answers;
mod neptune_sdk;
mod neptune_signatures;
mod policies;
mod policy_oracle;
mod principals;
mod roots;
mod s3;
mod serve;
mod sql;
mod sts_requests;
mod testing_crate;
mod token_forms;
mod until_done;
mod web_identity;
