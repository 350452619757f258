//! The configuration, and the problems of the environment.

use rds_iam::Config;
use rds_iam::config::Problem;

/// The environment as a configuration.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The environment's; or, if that has `problems`, one with them repaired as far as they tell how.
    pub(crate) config: Option<Config>,
    /// The variables that are missing or wrong.
    pub(crate) problems: Vec<Problem>,
    /// The variables that were changed to go on in spite of the problems; empty means unset.
    pub(crate) repairs: Vec<(String, String)>,
}
