//! Causes that show before a login to MySQL, and after it.

use rds_iam::config::Dial;

use super::evidence::{Facts, Greeting, code};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::remedy::Remedy;

pub(crate) use super::causes_login::CAUSES as LOGIN;

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "mysql-other-server",
        title: "what answers on the port is not MySQL",
        seen: "the first bytes are another protocol's, or the server waits for its client as PostgreSQL does",
        remedy: "the port of the MySQL database, 3306 by default",
        find: other,
    },
    Cause {
        id: "mysql-no-tls",
        title: "what answers is a MySQL without TLS, so it is not the RDS database",
        seen: "the server's greeting offers no TLS; RDS always does",
        remedy: "the database's own endpoint: a local server or a proxy answers instead",
        find: no_tls,
    },
    Cause {
        id: "mysql-host-blocked",
        title: "the server blocks this host: too many connections ended before a login",
        seen: "error 1129 in the place of the greeting; health checks and port scans cause it",
        remedy: "`TRUNCATE TABLE performance_schema.host_cache`, a higher `max_connect_errors`, and no health check by TCP",
        find: host_blocked,
    },
    Cause {
        id: "mysql-host-unknown",
        title: "no account of the server may connect from this host",
        seen: "error 1130: the accounts have other host parts, such as 'app'@'10.0.%'",
        remedy: "`RENAME USER … TO …@'%'`",
        find: host_unknown,
    },
    Cause {
        id: "mysql-full",
        title: "the server has too many connections",
        seen: "error 1040 in the place of the greeting, or at the login",
        remedy: "end connections that sleep; limit the function's concurrency",
        find: full,
    },
    Cause {
        id: "mysql-starting",
        title: "the server is shutting down, or fails over",
        seen: "error 1053",
        remedy: "wait until RDS says that it is available",
        find: starting,
    },
    Cause {
        id: "mysql-greeting-other",
        title: "the server refuses every connection for a reason of its own",
        seen: "another error in the place of the greeting",
        remedy: "look the code up in MySQL's manual, and look into the server's error log",
        find: greeting_other,
    },
    Cause {
        id: "mysql-closed",
        title: "the server closes the connection during the login",
        seen: "TLS is up, and the connection ends before an answer",
        remedy: "look at the database's events and its free memory",
        find: closed,
    },
    Cause {
        id: "mysql-slow",
        title: "the server does not answer the login in time",
        seen: "TLS is up, and no answer comes",
        remedy: "give the server more memory, or check again when Aurora Serverless has resumed",
        find: slow,
    },
];

/// Causes that show after a login.
pub(crate) const AFTER: &[Cause] = &[
    Cause {
        id: "mysql-reader",
        title: "the server takes no writes: a reader, or the old writer after a failover",
        seen: "the login works, and `read_only` or `innodb_read_only` is on",
        remedy: "the cluster's (writer) endpoint",
        find: reader,
    },
    Cause {
        id: "mysql-no-tables",
        title: "the user sees no table of the database",
        seen: "the login works, and the database shows no table to the user",
        remedy: "the statements that show the tables and the user's grants",
        find: no_tables,
    },
    Cause {
        id: "mysql-insecure",
        title: "the server takes passwords and tokens without TLS",
        seen: "the login works, and `require_secure_transport` is off: a client without TLS sends its token in the clear",
        remedy: "`require_secure_transport` on, or `ALTER USER … REQUIRE SSL`",
        find: insecure,
    },
    Cause {
        id: "mysql-connections-few",
        title: "few connections are left",
        seen: "more than 80 % of `max_connections` are in use",
        remedy: "a larger `max_connections`, or RDS Proxy in front",
        find: few,
    },
];

fn other(evidence: &Evidence) -> Option<Found> {
    let Greeting::Other(what) = evidence.mysql.greeting else { return None };
    let found = Found::certain(format!("it is {what}"));
    let port = evidence.database().and_then(|database| database.port);
    Some(match port {
        Some(port) => found
            .also(format!("RDS says that its port is {port}"))
            .remedy(Remedy::variable("MYSQL_TCP_PORT", port.to_string())),
        None => found.remedy(Remedy::variable(
            "MYSQL_TCP_PORT",
            "<the MySQL database's port, 3306 by default>",
        )),
    })
}

fn no_tls(evidence: &Evidence) -> Option<Found> {
    let Greeting::WithoutTls(version) = &evidence.mysql.greeting else { return None };
    let found = Found::certain(format!("MySQL {version} offers no TLS, so the token is not sent"));
    let dial = evidence.config().map(|config| &config.dial);
    Some(match dial {
        Some(Dial::Tunnel(..)) => found
            .remedy(Remedy::variable("DB_TUNNEL", "<host:port of a tunnel to the RDS database>")),
        Some(Dial::Address(_)) => found.remedy(Remedy::variable(
            "MYSQL_HOSTADDR",
            "<the address of the RDS database, or nothing>",
        )),
        _ => found.remedy(Remedy::variable("MYSQL_HOST", "<the endpoint of the RDS database>")),
    })
}

/// Whether this error is the greeting, or ends the login.
fn says(evidence: &Evidence, code: u16) -> bool {
    evidence.mysql.greeting == Greeting::Error(code) || evidence.mysql.refused(code)
}

fn host_blocked(evidence: &Evidence) -> Option<Found> {
    says(evidence, code::HOST_BLOCKED).then(|| {
        Found::certain("error 1129: max_connect_errors is reached for this address")
            .also("a connection that ends before a login counts, a wrong password does not")
            .remedy(Remedy::sql("mysql", "TRUNCATE TABLE performance_schema.host_cache;\n-- MariaDB: FLUSH HOSTS;"))
            .remedy(Remedy::action(
                "Raise max_connect_errors in the parameter group, and let no load balancer or monitor check the port by TCP alone",
            ))
    })
}

fn host_unknown(evidence: &Evidence) -> Option<Found> {
    says(evidence, code::HOST_UNKNOWN).then(|| {
        let user = crate::remedy::literal(evidence.user());
        Found::certain("error 1130: no account's host part matches this address").remedy(
            Remedy::sql(
                "mysql",
                format!("RENAME USER {user}@'<its host part now>' TO {user}@'%';"),
            ),
        )
    })
}

fn full(evidence: &Evidence) -> Option<Found> {
    says(evidence, code::TOO_MANY).then(|| {
        Found::certain("error 1040: max_connections is reached")
            .also("the server keeps one connection more for an administrator")
            .remedy(Remedy::sql(
                "mysql",
                "-- Shows the connections that sleep, the longest first; end one with CALL mysql.rds_kill(id), or KILL id.\nSELECT id, user, host, time FROM information_schema.processlist WHERE command = 'Sleep' ORDER BY time DESC LIMIT 20;",
            ))
            .remedy(Remedy::action(
                "Limit the function's concurrency: each sandbox holds one connection",
            ))
    })
}

fn starting(evidence: &Evidence) -> Option<Found> {
    says(evidence, code::SHUTDOWN).then(|| {
        Found::certain("error 1053: the server says so")
            .remedy(Remedy::action("Wait until RDS says that it is available, and check again"))
    })
}

fn greeting_other(evidence: &Evidence) -> Option<Found> {
    let Greeting::Error(error) = evidence.mysql.greeting else { return None };
    let known = [code::TOO_MANY, code::SHUTDOWN, code::HOST_BLOCKED, code::HOST_UNKNOWN];
    (!known.contains(&error)).then(|| {
        Found::certain(format!("error {error} in the place of the greeting")).remedy(
            Remedy::action(format!(
                "Look {error} up in MySQL's manual, and look into the server's error log"
            )),
        )
    })
}

fn closed(evidence: &Evidence) -> Option<Found> {
    (evidence.attempt.login == Login::Closed).then(|| {
        Found::certain("TLS was established, and the connection ended before the login had an answer")
            .remedy(Remedy::action(
                "Look at the database's events and its free memory: it restarts, fails over or is out of memory; a proxy or firewall on the way does so too",
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

fn facts(evidence: &Evidence) -> Option<&Facts> {
    evidence.mysql.facts.as_ref()
}

fn reader(evidence: &Evidence) -> Option<Found> {
    facts(evidence)?.read_only.then_some(())?;
    let host = evidence.host();
    let found = Found::warning("read_only or innodb_read_only is on")
        .also("a query with mode = \"write\" fails here, and reads work");
    Some(match host.split_once(".cluster-ro-") {
        Some((name, rest)) => {
            found.remedy(Remedy::variable("MYSQL_HOST", format!("{name}.cluster-{rest}")))
        }
        None => found
            .remedy(Remedy::variable("MYSQL_HOST", "<the cluster's endpoint, if it is to write>")),
    })
}

fn no_tables(evidence: &Evidence) -> Option<Found> {
    let facts = facts(evidence)?;
    (facts.tables == 0).then(|| {
        let database = evidence.config().map_or("<database>", |config| &config.database);
        let account = account(&facts.account);
        let sql = format!("SHOW TABLES FROM {};\nSHOW GRANTS FOR {account};", quoted(database));
        Found::warning(format!("{} sees no table of {database}", facts.account))
            .remedy(Remedy::sql("mysql", sql))
            .remedy(Remedy::action(
                "If the database has tables, grant the user SELECT on them; else set MYSQL_DATABASE to the one that has them",
            ))
    })
}

fn insecure(evidence: &Evidence) -> Option<Found> {
    let facts = facts(evidence)?;
    facts.insecure.then(|| {
        let sql = format!(
            "SET GLOBAL require_secure_transport = ON;\n-- Or, for this user only: ALTER USER {} REQUIRE SSL;",
            account(&facts.account)
        );
        Found::warning("require_secure_transport is off")
            .also("the functions never send a token without TLS; other clients may")
            .remedy(Remedy::action("On RDS, set require_secure_transport to 1 in the parameter group"))
            .remedy(Remedy::sql("mysql", sql))
    })
}

fn few(evidence: &Evidence) -> Option<Found> {
    let facts = facts(evidence)?;
    (facts.max_connections > 0 && facts.connections * 5 > facts.max_connections * 4).then(|| {
        let seen =
            format!("{} of {} connections are in use", facts.connections, facts.max_connections);
        Found::warning(seen).remedy(Remedy::action(
            "Raise max_connections in the parameter group, or put RDS Proxy in front",
        ))
    })
}

/// A name of MySQL, in backquotes.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `user@host` as the server names an account, quoted.
fn account(name: &str) -> String {
    let (user, host) = name.rsplit_once('@').unwrap_or((name, "%"));
    format!("{}@{}", crate::remedy::literal(user), crate::remedy::literal(host))
}
