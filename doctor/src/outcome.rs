//! The outcome of the steps from TLS on, for an engine whose protocol holds TLS and login in one.

use crate::clock::evidence::Clock;
use crate::login::evidence::Login;
use crate::report::Step;
use crate::tls::evidence::Tls;
use crate::{mysql, neptune};

/// The findings of MySQL's or Neptune's steps.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) login: Login,
    pub(crate) tls: Tls,
    pub(crate) mysql: mysql::evidence::Evidence,
    pub(crate) neptune: neptune::evidence::Evidence,
    pub(crate) clock: Option<Clock>,
    pub(crate) steps: Vec<Step>,
}

impl Outcome {
    /// Steps that are not tried.
    pub(crate) fn skip(&mut self, names: &[&'static str], why: &str) {
        self.steps.extend(names.iter().map(|name| Step::skipped(name, why)));
    }
}
