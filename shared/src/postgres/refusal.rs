//! The classes of refused logins.
//!
//! SQLSTATE alone does not tell them apart: RDS's refusal of a token, an unknown role and pg_hba's refusal of
//! a connection are all 28000. The words are PostgreSQL's and RDS's own, which are fixed.

use std::fmt;

use tokio_postgres::error::DbError;

use crate::words;

/// Why the server refused a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// RDS, or RDS Proxy, did not accept the token. A throttled login gets the same answer.
    Token,
    /// The server took the token for a password: it asks only members of `rds_iam` for a token.
    Password,
    /// RDS Proxy has no secret for the user.
    ProxySecret,
    /// The role does not exist.
    NoRole,
    /// No line of pg_hba accepts the connection.
    Hba,
    /// The role has no LOGIN.
    NoLogin,
    /// The database does not exist.
    NoDatabase,
    /// The user lacks CONNECT on the database.
    NoConnect,
    /// The database has ALLOW_CONNECTIONS off.
    NotAccepting,
    /// `max_connections` is reached.
    TooMany,
    /// The role's CONNECTION LIMIT is reached.
    TooManyOfRole,
    /// The database's CONNECTION LIMIT is reached.
    TooManyOfDatabase,
    /// The server is starting, stopping or recovering.
    Starting,
    /// Another reason.
    Other,
}

impl Refusal {
    /// The class of an answer to a login, by its SQLSTATE and its fixed words.
    pub fn of(answer: &DbError) -> Self {
        Self::read(answer.code().code(), answer.message())
    }

    fn read(sqlstate: &str, message: &str) -> Self {
        let says = |words: &str| message.contains(words);
        match sqlstate {
            _ if says("IAM authentication failed") => Self::Token,
            _ if says("has no credentials for the role") => Self::ProxySecret,
            "28000" if says("PAM authentication failed") => Self::Token,
            "28000" if says("is not permitted to log in") => Self::NoLogin,
            "28000" if says("does not exist") => Self::NoRole,
            "28000" => Self::Hba,
            "28P01" => Self::Password,
            "3D000" => Self::NoDatabase,
            "42501" if says("for database") => Self::NoConnect,
            "55000" => Self::NotAccepting,
            "53300" if says("for role") => Self::TooManyOfRole,
            "53300" if says("for database") => Self::TooManyOfDatabase,
            "53300" => Self::TooMany,
            "57P01" | "57P02" | "57P03" => Self::Starting,
            _ => Self::Other,
        }
    }
}

/// The reason as a phrase, without names.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Token => "RDS did not accept the token (PAM authentication failed)",
            Self::Password => "the token was taken for a password",
            Self::ProxySecret => "RDS Proxy has no credentials for the user",
            Self::NoRole => "there is no such role",
            Self::Hba => "the server's access rules (pg_hba) reject the connection",
            Self::NoLogin => "the role may not log in",
            Self::NoDatabase => "the database does not exist",
            Self::NoConnect => "the user may not connect to the database",
            Self::NotAccepting => "the database accepts no connections",
            Self::TooMany => "the server has too many connections",
            Self::TooManyOfRole => "the user has too many connections",
            Self::TooManyOfDatabase => "the database has too many connections",
            Self::Starting => "the server is starting or stopping",
            Self::Other => "the server refused the login",
        };
        words::write(f, format_args!("{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_without_login_is_not_taken_for_pg_hba() {
        for (sqlstate, message, refusal) in [
            ("28000", "PAM authentication failed for user \"x\"", Refusal::Token),
            ("28P01", "IAM authentication failed for user \"x\"", Refusal::Token),
            ("28000", "role \"x\" is not permitted to log in", Refusal::NoLogin),
            ("28000", "role \"x\" does not exist", Refusal::NoRole),
            ("28000", "no pg_hba.conf entry for host \"10.0.0.1\"", Refusal::Hba),
            ("28P01", "password authentication failed for user \"x\"", Refusal::Password),
            ("42501", "permission denied for database \"d\"", Refusal::NoConnect),
            ("42501", "permission denied to set parameter \"p\"", Refusal::Other),
            ("53300", "too many connections for role \"x\"", Refusal::TooManyOfRole),
            ("53300", "sorry, too many clients already", Refusal::TooMany),
            ("57P03", "the database system is starting up", Refusal::Starting),
        ] {
            assert_eq!(Refusal::read(sqlstate, message), refusal, "{message}");
        }
    }
}
