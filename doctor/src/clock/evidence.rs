//! The clock.

/// This machine's clock beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Seconds by which this machine is ahead; negative if it is behind.
    pub(crate) ahead: i64,
    /// Whose clock the other one is.
    pub(crate) source: &'static str,
}
