//! The database behind the gate, as the RDS API knows it.

use crate::REGION;

/// The database behind the gate, as RDS describes it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The endpoint's name, whose first label is the identifier.
    pub host: String,
    /// The gate's port.
    pub port: u16,
    /// `postgres` or `mysql`
    pub engine: &'static str,
    /// The account that owns it.
    pub account: String,
    /// The id that policies name.
    pub resource_id: String,
}

impl Instance {
    pub(super) fn id(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:rds:{REGION}:{}:db:{}", self.account, self.id())
    }
}
