//! How the login ended.

/// The login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    /// Not tried, because of an earlier step.
    #[default]
    Unknown,
    /// It works.
    Works,
    /// Refused.
    Refused {
        /// The class of the message.
        refusal: Refusal,
        /// SQLSTATE.
        code: String,
    },
    /// The server asks for another proof than a password, such as Kerberos.
    OtherMethod,
    /// The connection was closed or reset during the login.
    Closed,
    /// The server did not answer the login.
    Silent,
}

/// Classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// RDS did not accept the token.
    Token,
    /// The token was taken for a password.
    Password,
    /// RDS Proxy has no secret for the user.
    ProxySecret,
    /// The role does not exist.
    NoRole,
    /// pg_hba.
    Hba,
    /// The role may not log in.
    NoLogin,
    /// The database does not exist.
    NoDatabase,
    /// The user may not connect to the database.
    NoConnect,
    /// The database accepts no connections.
    NotAccepting,
    /// The server has too many connections.
    TooMany,
    /// The role has too many connections.
    TooManyOfRole,
    /// The database has too many connections.
    TooManyOfDatabase,
    /// Starting, stopping or recovering.
    Starting,
    /// Something else.
    Other,
}
