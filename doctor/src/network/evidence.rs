//! The name's addresses, and whether they answer.

/// The name's resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dns {
    /// Not tried.
    #[default]
    Unknown,
    /// `PGHOSTADDR` or an address.
    Literal,
    /// Resolved.
    Resolved {
        /// The name behind the alias, if it is one.
        alias_of: Option<String>,
    },
    /// The resolver says that there is no such name.
    NoSuchName,
    /// The resolver failed or did not answer.
    Silent,
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tcp {
    /// Connected.
    Open,
    /// Refused at once.
    Refused,
    /// No answer.
    Silent,
    /// No route, or not permitted.
    NoRoute,
    /// Reset.
    Reset,
}
