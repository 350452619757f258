//! The state of a cluster's gate.

use std::sync::Arc;

use aws_smithy_async::time::SharedTimeSource;

use super::engines::Client;
use super::running::Running;
use crate::gate::Log;
use crate::iam::Iam;

/// The state that the gate's connections share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `host:port`, as clients sign it.
    pub(super) endpoint: String,
    pub(super) account: String,
    /// The resource of every data-plane action.
    pub(super) resource: String,
    pub(super) started: String,
    pub(super) engines: Client,
    pub(super) iam: Arc<Iam>,
    pub(super) running: Running,
    pub(super) clock: SharedTimeSource,
    pub(super) log: Log,
}

impl Shared {
    pub(super) fn log(&self, text: &str) {
        self.log.line(text, self.clock.now());
    }
}
