//! AWS's answers: who signs, how RDS describes the database, and why RDS refused a token.

pub(crate) mod client;
pub(crate) mod evidence;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod rds;
pub(crate) mod reasons;
pub(crate) mod refused;
pub(crate) mod simulation;
pub(crate) mod step;
