//! Explains a failed login, and says whether another attempt may help.
//!
//! RDS's refusal of a token is error 1045, with the same words for each cause: docs/errors.md has them.
//! Codes: <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>.

use std::io;

use mysql_async::{DriverError, Error as MysqlError, IoError, ServerError};

use crate::config::MysqlConfig;
use crate::error::{Error, ErrorKind};
use crate::retry::{LoginError, Retry};

pub(super) fn timed_out(config: &MysqlConfig) -> LoginError {
    Error::new(ErrorKind::NetworkTimeout, format!("no login at {}", config.target()))
        .because("nothing answered in time")
        .remedy("Check the security groups, subnets and routes between the function and the database: silence is the network; see docs/errors.md#networktimeout")
        .retry(Retry::Again)
}

pub(super) fn unreachable(config: &MysqlConfig, error: &io::Error) -> LoginError {
    let remedy = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "Check MYSQL_HOST and MYSQL_TCP_PORT, and that the database is running: nothing listens there"
        }
        _ => {
            "Check MYSQL_HOST and the function's subnets: an RDS name resolves to a private address only inside its VPC"
        }
    };
    Error::new(ErrorKind::NetworkUnreachable, format!("{} cannot be reached", config.target()))
        .because(error.to_string())
        .remedy(remedy)
        .retry(Retry::Again)
}

/// From a login that failed.
pub(super) fn explain(config: &MysqlConfig, error: &MysqlError) -> LoginError {
    match error {
        MysqlError::Server(refusal) => refused(config, refusal),
        MysqlError::Io(IoError::Io(error)) => unreachable(config, error),
        MysqlError::Io(IoError::Tls(error)) => untrusted(config, error.to_string()),
        MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => {
            untrusted(config, "the server offers no TLS, so the token was not sent".into())
        }
        other => {
            let closed = matches!(other, MysqlError::Driver(DriverError::ConnectionClosed));
            let why = match closed {
                true => "the server hung up",
                false => "the server did not speak MySQL's protocol",
            };
            Error::new(ErrorKind::NetworkUnreachable, format!("no login at {}", config.target()))
                .because(why)
                .remedy("Check that MYSQL_HOST and MYSQL_TCP_PORT name a MySQL server")
                .retry(if closed { Retry::Again } else { Retry::No })
        }
    }
}

fn untrusted(config: &MysqlConfig, why: String) -> LoginError {
    let what = format!("no verified TLS connection to {}", config.target());
    Error::new(ErrorKind::TlsUntrusted, what)
        .because(why)
        .remedy("Set MYSQL_HOST to the RDS endpoint's own name, not an alias or address, and MYSQL_SSL_CA, if set, to its roots; see docs/errors.md#tlsuntrusted")
        .retry(Retry::No)
}

fn refused(config: &MysqlConfig, refusal: &ServerError) -> LoginError {
    let MysqlConfig { user, database, .. } = config;
    let at = config.target();
    let rejected = |why: &str| {
        Error::new(ErrorKind::AuthRejected, format!("{user} was refused at {at}")).because(why)
    };
    match refusal.code {
        1044 => rejected("the user may not use the database (1044)")
            .remedy(format!("GRANT a privilege on {database} to {user}"))
            .retry(Retry::No),
        1045 | 1698 => rejected("the database did not accept the token (1045)")
            .remedy(format!("Check that the role's policy allows rds-db:connect on dbuser:<resource id>/{user} (the db-… or cluster-… id, the user's exact case), and that the user is IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'; a throttled login gets the same answer; see docs/errors.md#authrejected"))
            .retry(Retry::FreshCredentials),
        1049 => {
            let what = format!("there is no database {database} at {at}");
            Error::new(ErrorKind::ConfigInvalid, what)
                .remedy("Set MYSQL_DATABASE to one that exists")
                .retry(Retry::No)
        }
        code => {
            let (why, remedy) = match code {
                1040 | 1203 => (
                    "it has too many connections",
                    "Limit the function's concurrency, or raise max_connections",
                ),
                1053 => ("it is shutting down", "Wait for it to come up"),
                _ => ("the server refused the login", "Look the code up in MySQL's manual"),
            };
            Error::new(ErrorKind::DatabaseUnavailable, format!("{at} accepts no login now"))
                .because(format!("{why} ({code})"))
                .remedy(remedy)
                .retry(Retry::Again)
        }
    }
}
