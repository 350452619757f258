//! How the login ended.

use rds_iam::postgres::Refusal;

/// The login, and what was asked because of its refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) login: Login,
    /// The port that a token is accepted for, if the configured one is a tunnel's.
    pub(crate) accepted_port: Option<u16>,
    /// The documented user whose name is nearly the configured one, and who may log in.
    pub(crate) accepted_user: Option<&'static str>,
    /// Databases that the user may connect to, if the configured one does not exist.
    pub(crate) databases: Vec<String>,
}

/// The login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    /// Not tried, because of an earlier step.
    #[default]
    Unknown,
    Works,
    Refused {
        refusal: Refusal,
        code: String,
    },
    /// The server asks for another proof than a password, such as Kerberos.
    OtherMethod,
    /// The connection was closed or reset during the login.
    Closed,
    /// The server did not answer the login.
    Silent,
}

impl Login {
    pub(crate) fn is(&self, wanted: Refusal) -> bool {
        matches!(self, Self::Refused { refusal, .. } if *refusal == wanted)
    }
}
