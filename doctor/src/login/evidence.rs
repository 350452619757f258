//! How the login ended.

use rds_iam::postgres::Refusal;

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
