//! The server refuses the login, for another reason than the token.

use rds_iam::postgres::Refusal;

use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::remedy::{Remedy, identifier, literal};

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "not-granted",
        title: "rds_iam is not granted to the user, or there is no such user",
        seen: "`password authentication failed` (28P01): the token was taken for a password",
        remedy: "the name of the user that is meant, if a user of sql/roles.sql with nearly that name may log in; else the statements that create the user if it is missing, and grant",
        find: not_granted,
    },
    Cause {
        id: "proxy-secret",
        title: "RDS Proxy has no credentials for the user",
        seen: "the proxy says so",
        remedy: "a secret for the user in the proxy's authentication",
        find: proxy_secret,
    },
    Cause {
        id: "access-rules",
        title: "the server's access rules (pg_hba) reject the connection",
        seen: "28000, over TLS: it is another server than the database itself, or a user that RDS reserves",
        remedy: "the database's own endpoint, and a user with `rds_iam`",
        find: hba,
    },
    Cause {
        id: "other-proof",
        title: "the server asks the user for another proof than a token, such as Kerberos",
        seen: "the login needs GSSAPI, SSPI or another method: the user is a member of rds_ad, or the server is not RDS",
        remedy: "`REVOKE rds_ad`, `GRANT rds_iam`",
        find: other_proof,
    },
    Cause {
        id: "no-login",
        title: "the role may not log in",
        seen: "`role … is not permitted to log in`",
        remedy: "`ALTER ROLE … LOGIN`",
        find: no_login,
    },
    Cause {
        id: "database-unknown",
        title: "the database of PGDATABASE does not exist",
        seen: "3D000, after the token was accepted",
        remedy: "the database that the user may connect to",
        find: no_database,
    },
    Cause {
        id: "connect-denied",
        title: "the user may not connect to the database",
        seen: "42501, after the token was accepted",
        remedy: "`GRANT CONNECT ON DATABASE …`",
        find: no_connect,
    },
    Cause {
        id: "database-closed",
        title: "the database accepts no connections",
        seen: "55000, after the token was accepted",
        remedy: "`ALTER DATABASE … ALLOW_CONNECTIONS true`",
        find: not_accepting,
    },
    Cause {
        id: "connections-full",
        title: "there are too many connections",
        seen: "53300: of the server, of the user, or of the database",
        remedy: "the limit, or fewer connections",
        find: too_many,
    },
    Cause {
        id: "starting",
        title: "the server is starting, stopping or failing over",
        seen: "57P01 to 57P03",
        remedy: "wait",
        find: starting,
    },
    Cause {
        id: "login-closed",
        title: "the server closes the connection during the login",
        seen: "TLS is up, and the connection ends before an answer",
        remedy: "look at the server: it restarts, fails over or is out of memory",
        find: closed,
    },
    Cause {
        id: "login-slow",
        title: "the server does not answer the login in time",
        seen: "TLS is up, and no answer comes within 3 seconds",
        remedy: "Aurora Serverless resumes, or the server is short of memory for IAM authentication",
        find: slow,
    },
    Cause {
        id: "login-other",
        title: "the server refuses the login for a reason of its own",
        seen: "another SQLSTATE",
        remedy: "look for the SQLSTATE in the server's log",
        find: other,
    },
];

/// Names of master users, who would lock themselves out.
const ADMINISTRATORS: [&str; 5] = ["postgres", "rdsadmin", "root", "admin", "administrator"];

/// The meanings of the SQLSTATE classes that a login can end with
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const PREFIXES: [(&str, &str); 8] = [
    (
        "08P01",
        "a protocol violation: PgBouncer and other poolers answer so if they cannot log in themselves",
    ),
    ("08", "a connection exception"),
    ("22", "a setting of the session, of its role or of its database has a wrong value"),
    ("42", "a setting of the role or of the database names something that does not exist"),
    ("53", "the server is short of memory, disk or connections"),
    ("58P01", "a file is missing on the server, such as a library of session_preload_libraries"),
    ("58", "a system error of the server, such as one of its disk"),
    ("XX", "an internal error of the server"),
];

fn not_granted(evidence: &Evidence) -> Option<Found> {
    let unknown = evidence.refused(Refusal::NoRole);
    if !unknown && !evidence.refused(Refusal::Password) {
        return None;
    }
    let config = evidence.config()?;
    if let Some(meant) = evidence.attempt.accepted_user {
        return Some(
            Found::certain(format!(
                "there is no login as {:?}, and {meant} may log in",
                config.user
            ))
            .titled("PGUSER is misspelt")
            .remedy(Remedy::variable("PGUSER", meant)),
        );
    }
    let (user, name) = (identifier(&config.user), literal(&config.user));
    let sql = format!(
        "DO $$ BEGIN\n  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN CREATE ROLE {user} LOGIN; END IF;\nEND $$;\nGRANT rds_iam TO {user};"
    );
    let mut found = Found::likely(if unknown {
        "the server says that there is no such role"
    } else {
        "the server took the token for a password: it asks only members of rds_iam for a token"
    });
    if evidence.database().is_some_and(|database| database.iam == Some(true)) {
        found = found.also("RDS says that IAM authentication is on");
    }
    if ADMINISTRATORS.contains(&config.user.as_str()) {
        let found =
            found.also("GRANT rds_iam ends the password login of a user: not for an administrator");
        return Some(
            found.remedy(Remedy::variable("PGUSER", "<a user that has been granted rds_iam>")),
        );
    }
    let found = found.also("GRANT rds_iam ends the password login of the user");
    // A role is the whole server's, and the configured database may not exist.
    Some(found.remedy(Remedy::sql("postgres", sql)).remedy(Remedy::action(format!(
        "Or correct PGUSER, if {:?} is not how the user's name is written",
        config.user
    ))))
}

fn proxy_secret(evidence: &Evidence) -> Option<Found> {
    evidence.refused(Refusal::ProxySecret).then(|| {
        Found::certain("the proxy says that it has no credentials for the role")
            .remedy(Remedy::action(format!("Add a secret for {} to the proxy's authentication, or set its DefaultAuthScheme to IAM_AUTH", evidence.user())))
    })
}

fn hba(evidence: &Evidence) -> Option<Found> {
    evidence.refused(Refusal::Hba).then(|| {
        Found::certain("SQLSTATE 28000, which is not about the token")
            .remedy(Remedy::variable("PGUSER", "<a user that has been granted rds_iam>"))
            .remedy(Remedy::variable("PGHOST", "<the database's own endpoint>"))
    })
}

fn other_proof(evidence: &Evidence) -> Option<Found> {
    if evidence.attempt.login != Login::OtherMethod {
        return None;
    }
    let user = identifier(&evidence.config()?.user);
    let sql = format!("REVOKE rds_ad FROM {user};\nGRANT rds_iam TO {user};");
    Some(
        Found::certain("the server asks for something that is not a password")
            .remedy(Remedy::sql("postgres", sql))
            .remedy(Remedy::variable(
                "PGHOST",
                "<the endpoint of the RDS database, if this one is another server's>",
            )),
    )
}

fn no_login(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoLogin) {
        return None;
    }
    let config = evidence.config()?;
    Some(
        Found::certain(format!("the token is accepted, and {} has no LOGIN", config.user)).remedy(
            Remedy::sql("postgres", format!("ALTER ROLE {} LOGIN;", identifier(&config.user))),
        ),
    )
}

fn no_database(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoDatabase) {
        return None;
    }
    let wanted = &evidence.config()?.database;
    let found =
        Found::certain(format!("the token is accepted, and there is no database {wanted:?}"));
    let others: Vec<&String> =
        evidence.attempt.databases.iter().filter(|name| *name != "rdsadmin").collect();
    // The one that is meant is rarely the one that every server has.
    let distance =
        |name: &&&String| (name.as_str() == "postgres", strsim::damerau_levenshtein(name, wanted));
    Some(match others.iter().min_by_key(distance) {
        Some(near) => {
            let list: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
            let list = list.join(", ");
            let found = found.also(format!("the user may connect to {list}"));
            let far = strsim::damerau_levenshtein(near, wanted) > wanted.chars().count() / 3 + 1;
            found.remedy(if far && others.len() > 1 {
                Remedy::variable("PGDATABASE", format!("<one of {list}>"))
            } else {
                Remedy::variable("PGDATABASE", near.as_str())
            })
        }
        None => found.remedy(Remedy::variable("PGDATABASE", "<a database that exists>")),
    })
}

fn no_connect(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoConnect) {
        return None;
    }
    let config = evidence.config()?;
    let (database, user) = (&config.database, &config.user);
    let sql =
        format!("GRANT CONNECT ON DATABASE {} TO {};", identifier(database), identifier(user));
    let seen = format!("the token is accepted, and {user} has no CONNECT on {database}");
    Some(Found::certain(seen).remedy(Remedy::sql(database, sql)))
}

fn not_accepting(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NotAccepting) {
        return None;
    }
    let database = &evidence.config()?.database;
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true;", identifier(database));
    Some(Found::certain("SQLSTATE 55000").remedy(Remedy::sql("postgres", sql)))
}

fn too_many(evidence: &Evidence) -> Option<Found> {
    let Login::Refused { refusal, .. } = &evidence.attempt.login else { return None };
    let config = evidence.config()?;
    Some(match refusal {
        Refusal::TooManyOfRole => {
            let sql = format!("ALTER ROLE {} CONNECTION LIMIT -1;", identifier(&config.user));
            Found::certain("the limit of the user is reached")
                .titled("the user has too many connections")
                .remedy(Remedy::sql("postgres", sql))
        }
        Refusal::TooManyOfDatabase => {
            let sql = format!("ALTER DATABASE {} CONNECTION LIMIT -1;", identifier(&config.database));
            Found::certain("the limit of the database is reached")
                .titled("the database has too many connections")
                .remedy(Remedy::sql("postgres", sql))
        }
        Refusal::TooMany => Found::certain("max_connections is reached")
            .titled("the server has too many connections")
            .remedy(Remedy::sql(
                "postgres",
                "-- Ends the five connections that have been idle for longest.\nSELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND backend_type = 'client backend' ORDER BY state_change LIMIT 5;",
            ))
            .remedy(Remedy::action("Limit the function's concurrency, raise max_connections, or put RDS Proxy in front")),
        _ => return None,
    })
}

fn starting(evidence: &Evidence) -> Option<Found> {
    evidence.refused(Refusal::Starting).then(|| {
        Found::certain("the server says so")
            .remedy(Remedy::action("Wait for it to come up, and check again"))
    })
}

fn closed(evidence: &Evidence) -> Option<Found> {
    (evidence.attempt.login == Login::Closed).then(|| {
        Found::certain("TLS was established, and the connection ended before the login had an answer").remedy(Remedy::action(
            "Look at the database's events and its free memory: it restarts, fails over, or is out of memory; a proxy or firewall on the way does so too",
        ))
    })
}

fn slow(evidence: &Evidence) -> Option<Found> {
    (evidence.attempt.login == Login::Silent).then(|| {
        Found::certain("TLS was established, and the login got no answer").remedy(Remedy::action(
            "Check again in a minute, if it is Aurora Serverless that resumes; else give the server more memory, which IAM authentication needs",
        ))
    })
}

fn other(evidence: &Evidence) -> Option<Found> {
    let Login::Refused { refusal: Refusal::Other, code } = &evidence.attempt.login else {
        return None;
    };
    let class = PREFIXES.iter().find(|(prefix, _)| code.starts_with(prefix));
    let meaning = class.map(|(_, meaning)| format!(": {meaning}")).unwrap_or_default();
    Some(
        Found::certain(format!("SQLSTATE {code}{meaning}"))
            .remedy(Remedy::action(format!("Look for {code} in the server's log"))),
    )
}
