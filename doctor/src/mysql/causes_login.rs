//! The server refuses the login.

use super::causes::quoted;
use super::evidence::{Plugin, code};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::remedy::{Remedy, literal};

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "mysql-plugin-native",
        title: "the user has a password, and no AWSAuthenticationPlugin",
        seen: "1045, and the server asked for mysql_native_password: it would hash the token as a password",
        remedy: "`ALTER USER … IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'`",
        find: native,
    },
    Cause {
        id: "mysql-plugin-sha2",
        title: "there is no such user, or the user has a password and no AWSAuthenticationPlugin",
        seen: "1045, and the server asked for caching_sha2_password, as MySQL 8 does for an unknown user and host too",
        remedy: "the statement that shows the accounts of that name, and `CREATE USER`",
        find: caching_sha2,
    },
    Cause {
        id: "mysql-plugin-other",
        title: "the user logs in by another plugin than AWSAuthenticationPlugin",
        seen: "the server asked for another proof, such as dialog (PAM), client_ed25519 or authentication_kerberos_client",
        remedy: "a user of its own for the function",
        find: another,
    },
    Cause {
        id: "mysql-no-password",
        title: "the account is open without a proof",
        seen: "the login works, and the server asked for no token",
        remedy: "`DROP USER` for the anonymous account, or the plugin for this one",
        find: open_account,
    },
    Cause {
        id: "mysql-unasked",
        title: "the server refuses the user before it asks for a proof",
        seen: "1045 or 1698 at once: the account has no password, or its host part is another",
        remedy: "the account of this host, with the plugin",
        find: unasked,
    },
    Cause {
        id: "mysql-database-denied",
        title: "the user may not use the database",
        seen: "1044, after the token was accepted",
        remedy: "`GRANT … ON database.* TO …`",
        find: database_denied,
    },
    Cause {
        id: "mysql-database-unknown",
        title: "the database of MYSQL_DATABASE does not exist",
        seen: "1049, after the token was accepted; or 1044, where the user may use a database with a similar name",
        remedy: "one of the databases that the user may use",
        find: database_unknown,
    },
    Cause {
        id: "mysql-user-limit",
        title: "the user's own limit of connections or queries is reached",
        seen: "1226",
        remedy: "`ALTER USER … WITH MAX_USER_CONNECTIONS …`",
        find: user_limit,
    },
    Cause {
        id: "mysql-users-limit",
        title: "the server's limit of connections for each user is reached",
        seen: "1203: `max_user_connections`",
        remedy: "`max_user_connections` in the parameter group",
        find: users_limit,
    },
    Cause {
        id: "mysql-locked",
        title: "the account is locked",
        seen: "3118 (MySQL) or 4151 (MariaDB)",
        remedy: "`ALTER USER … ACCOUNT UNLOCK`",
        find: locked,
    },
    Cause {
        id: "mysql-expired",
        title: "the account's password has expired",
        seen: "1862 or 1820",
        remedy: "`ALTER USER … IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' PASSWORD EXPIRE NEVER`",
        find: expired,
    },
    Cause {
        id: "mysql-offline",
        title: "the server is in offline mode",
        seen: "3032",
        remedy: "`offline_mode` off",
        find: offline,
    },
    Cause {
        id: "mysql-login-other",
        title: "the server refuses the login for a reason of its own",
        seen: "another error after the login was sent",
        remedy: "look for the error's code in the server's error log",
        find: other,
    },
];

const PLUGIN: &str = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'";

fn user(evidence: &Evidence) -> String {
    format!("{}@'%'", literal(evidence.user()))
}

/// Whether the server refused the user, or went no further, after it had asked for this.
fn asked(evidence: &Evidence, wanted: impl Fn(&Plugin) -> bool) -> Option<&Plugin> {
    let mysql = &evidence.mysql;
    let ended = mysql.denied() || evidence.attempt.login == Login::OtherMethod;
    mysql.asked.as_ref().filter(|plugin| ended && wanted(plugin))
}

fn native(evidence: &Evidence) -> Option<Found> {
    asked(evidence, |plugin| *plugin == Plugin::Native)?;
    let sql = format!("ALTER USER {} {PLUGIN};", user(evidence));
    Some(
        Found::certain("the server asked for mysql_native_password, and an IAM user is asked for mysql_clear_password")
            .also("ALTER USER ends the password login of the user")
            .remedy(Remedy::sql("mysql", sql))
            .remedy(Remedy::action(
                "If the account has another host part than %, name that one: SELECT user, host, plugin FROM mysql.user",
            )),
    )
}

fn caching_sha2(evidence: &Evidence) -> Option<Found> {
    asked(evidence, |plugin| *plugin == Plugin::CachingSha2)?;
    let name = literal(evidence.user());
    let user = user(evidence);
    let sql = format!(
        "SELECT user, host, plugin FROM mysql.user WHERE user = {name};\nCREATE USER IF NOT EXISTS {user} {PLUGIN};\nALTER USER {user} {PLUGIN};"
    );
    Some(
        Found::certain("the server asked for caching_sha2_password, and an IAM user is asked for mysql_clear_password")
            .also("names of users are case-sensitive, and the host part must match this machine's address")
            .remedy(Remedy::sql("mysql", sql))
            .remedy(Remedy::action(format!(
                "Or correct MYSQL_USER, if {:?} is not how the user's name is written",
                evidence.user()
            ))),
    )
}

fn another(evidence: &Evidence) -> Option<Found> {
    let plugin = asked(evidence, |plugin| matches!(plugin, Plugin::Other(_)))?;
    Some(
        Found::certain(format!("the server asked for {}", plugin.name()))
            .remedy(Remedy::sql("mysql", format!("CREATE USER '<a new user>'@'%' {PLUGIN};")))
            .remedy(Remedy::variable("MYSQL_USER", "<the new user>")),
    )
}

fn open_account(evidence: &Evidence) -> Option<Found> {
    let mysql = &evidence.mysql;
    let open = evidence.attempt.login == Login::Works && mysql.asked != Some(Plugin::Clear);
    open.then(|| {
        let sql = format!(
            "-- An anonymous account shadows others: DROP USER ''@'localhost', ''@'%';\nALTER USER {} {PLUGIN};",
            user(evidence)
        );
        Found::certain("the server asked for no token, and opened a session")
            .remedy(Remedy::sql("mysql", sql))
    })
}

fn unasked(evidence: &Evidence) -> Option<Found> {
    let mysql = &evidence.mysql;
    (mysql.denied() && mysql.asked.is_none()).then(|| {
        let sql = format!("SHOW GRANTS FOR {0};\nCREATE USER {0} {PLUGIN};", user(evidence));
        Found::certain("the server refused the user without a question")
            .remedy(Remedy::sql("mysql", sql))
    })
}

/// The database that was meant, if one that the user may use has a similar name.
fn near(evidence: &Evidence) -> Option<&str> {
    let wanted = &evidence.config()?.database;
    let distance = |name: &&String| strsim::damerau_levenshtein(name, wanted);
    let near = evidence.mysql.databases.iter().min_by_key(distance)?;
    (distance(&near) <= wanted.chars().count() / 3 + 1).then_some(near)
}

/// The databases that the user may use, as evidence.
fn with_databases(evidence: &Evidence, found: Found) -> Found {
    match evidence.mysql.databases.as_slice() {
        [] => found,
        names => found.also(format!("the user may use {}", names.join(", "))),
    }
}

fn database_denied(evidence: &Evidence) -> Option<Found> {
    if !evidence.mysql.refused(code::DATABASE_DENIED) {
        return None;
    }
    let database = &evidence.config()?.database;
    let sql = format!("GRANT SELECT ON {}.* TO {};", quoted(database), user(evidence));
    let seen = format!("the token is accepted, and the user has no right on {database}");
    let found = match near(evidence) {
        Some(_) => Found::possible(seen),
        None => Found::certain(seen),
    };
    Some(with_databases(evidence, found).remedy(Remedy::sql("mysql", sql)))
}

fn database_unknown(evidence: &Evidence) -> Option<Found> {
    let wanted = &evidence.config()?.database;
    let near = near(evidence);
    let found = match evidence.mysql.error {
        Some(code::NO_DATABASE) => {
            Found::certain(format!("the token is accepted, and there is no database {wanted:?}"))
        }
        Some(code::DATABASE_DENIED) if near.is_some() => Found::likely(format!(
            "error 1044 for {wanted:?}: without a global privilege, MySQL says so of a database that does not exist, too"
        )),
        _ => return None,
    };
    let names = evidence.mysql.databases.join(", ");
    let value = match near {
        Some(near) => near.to_owned(),
        None if names.is_empty() => "<a database that exists>".to_owned(),
        None => format!("<one of {names}>"),
    };
    Some(with_databases(evidence, found).remedy(Remedy::variable("MYSQL_DATABASE", value)))
}

fn user_limit(evidence: &Evidence) -> Option<Found> {
    evidence.mysql.refused(code::TOO_MANY_OF_USER).then(|| {
        let sql = format!(
            "ALTER USER {} WITH MAX_USER_CONNECTIONS 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_QUERIES_PER_HOUR 0;",
            user(evidence)
        );
        Found::certain("error 1226: a limit that the account itself has")
            .remedy(Remedy::sql("mysql", sql))
    })
}

fn users_limit(evidence: &Evidence) -> Option<Found> {
    evidence.mysql.refused(code::TOO_MANY_OF_ANY_USER).then(|| {
        Found::certain("error 1203: max_user_connections is reached").remedy(Remedy::action(
            "Raise max_user_connections in the parameter group, or give each function a user of its own",
        ))
    })
}

fn locked(evidence: &Evidence) -> Option<Found> {
    code::LOCKED.iter().any(|code| evidence.mysql.refused(*code)).then(|| {
        Found::certain("the server says that the account is locked")
            .remedy(Remedy::sql("mysql", format!("ALTER USER {} ACCOUNT UNLOCK;", user(evidence))))
    })
}

fn expired(evidence: &Evidence) -> Option<Found> {
    code::PASSWORD_EXPIRED.iter().any(|code| evidence.mysql.refused(*code)).then(|| {
        let sql = format!("ALTER USER {} {PLUGIN} PASSWORD EXPIRE NEVER;", user(evidence));
        Found::certain(
            "the account has a password, which has expired: an account with the plugin alone has none",
        )
        .remedy(Remedy::sql("mysql", sql))
    })
}

fn offline(evidence: &Evidence) -> Option<Found> {
    evidence.mysql.refused(code::OFFLINE).then(|| {
        Found::certain("error 3032: only administrators may connect")
            .remedy(Remedy::sql("mysql", "SET GLOBAL offline_mode = OFF;"))
    })
}

fn other(evidence: &Evidence) -> Option<Found> {
    let error = evidence.mysql.error?;
    let known = [
        code::TOO_MANY,
        code::DATABASE_DENIED,
        code::DENIED,
        code::NO_DATABASE,
        code::SHUTDOWN,
        code::HOST_BLOCKED,
        code::HOST_UNKNOWN,
        code::TOO_MANY_OF_ANY_USER,
        code::TOO_MANY_OF_USER,
        code::DENIED_WITHOUT,
        code::OFFLINE,
    ];
    let known = known.iter().chain(&code::PASSWORD_EXPIRED).chain(&code::LOCKED);
    (!known.into_iter().any(|code| *code == error)).then(|| {
        Found::certain(format!("error {error}")).remedy(Remedy::action(format!(
            "Look for {error} in the server's error log, which has the message"
        )))
    })
}
