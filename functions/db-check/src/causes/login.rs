//! The login and its refusals.

use std::net::IpAddr;

use rds_iam::config::Dial;
use rds_iam::endpoint::EndpointKind;

use super::credentials::token_refused;
use super::tls::{rds_name, under_its_name};
use super::{Cause, Found};
use crate::evidence::{Evidence, Login, Rds, Refusal};
use crate::remedy::{Remedy, identifier, literal};

pub(super) const CAUSES: &[Cause] = &[
    Cause {
        id: "iam-off",
        title: "IAM authentication is not switched on for the database",
        seen: "RDS says that it is off, or that the change is pending",
        remedy: "switch it on; if it is pending, wait or reboot",
        find: iam_off,
    },
    Cause {
        id: "other-account",
        title: "the database belongs to another account than the caller",
        seen: "the token is refused, and RDS knows the database in another account",
        remedy: "a role of that account in `DB_ROLE_ARN`",
        find: other_account,
    },
    Cause {
        id: "token-region",
        title: "the token is signed for another region than the database's",
        seen: "the token is refused, and the name in the certificate tells another region",
        remedy: "`DB_REGION`",
        find: token_region,
    },
    Cause {
        id: "token-host",
        title: "the token is signed for an alias, and not for the RDS endpoint's own name",
        seen: "the token is refused, and the certificate holds a name of RDS that is not `PGHOST`",
        remedy: "the RDS name into `PGHOST`, and the other into `DB_TUNNEL` or `PGHOSTADDR`",
        find: token_host,
    },
    Cause {
        id: "token-port",
        title: "the token is signed for another port than the database's",
        seen: "the token is refused, and RDS says another port; or the connection goes to a tunnel and `PGPORT` is the tunnel's",
        remedy: "the database's port into `PGPORT`, and the tunnel's into `DB_TUNNEL`",
        find: token_port,
    },
    Cause {
        id: "user-case",
        title: "the user's name is written in another case",
        seen: "the token is taken for a password or refused, and `PGUSER` holds capitals",
        remedy: "`PGUSER` in small letters, as PostgreSQL stores names that were not quoted",
        find: user_case,
    },
    Cause {
        id: "policy",
        title: "no policy of the caller allows rds-db:connect as this user on this database",
        seen: "the token is refused, its signer is known to STS, and nothing else is wrong",
        remedy: "the policy, with account, region, resource id and user",
        find: policy,
    },
    Cause {
        id: "throttled",
        title: "RDS throttles the logins",
        seen: "the token is refused now and then, or for many sandboxes that start at once",
        remedy: "keep connections, or put RDS Proxy in front",
        find: throttled,
    },
    Cause {
        id: "not-granted",
        title: "rds_iam is not granted to the user, or there is no such user",
        seen: "`password authentication failed` (28P01): the token was taken for a password",
        remedy: "the statements that create the user if it is missing, and grant",
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

fn failed(evidence: &Evidence) -> bool {
    !matches!(evidence.login, Login::Works | Login::Unknown)
}

fn iam_off(evidence: &Evidence) -> Option<Found> {
    let database = evidence.database()?;
    let off = database.iam == Some(false) || database.iam_pending;
    if !off || !failed(evidence) {
        return None;
    }
    let id = evidence.host().split('.').next().unwrap_or_default();
    let found = if database.iam_pending {
        Found::certain("RDS says that the change is pending")
    } else {
        Found::certain("RDS says that it is off")
    };
    Some(match evidence.config.as_ref()?.endpoint.kind {
        EndpointKind::Proxy => found.remedy(Remedy::action(
            "Set IAM authentication to REQUIRED in the authentication of the proxy",
        )),
        EndpointKind::Instance => found.remedy(Remedy::command(format!(
            "aws rds modify-db-instance --db-instance-identifier {id} --enable-iam-database-authentication --apply-immediately"
        ))),
        _ => found.remedy(Remedy::command(format!(
            "aws rds modify-db-cluster --db-cluster-identifier {id} --enable-iam-database-authentication --apply-immediately"
        ))),
    })
}

fn other_account(evidence: &Evidence) -> Option<Found> {
    if !token_refused(evidence) {
        return None;
    }
    let caller = evidence.caller.account()?;
    let owner = evidence.database().and_then(|database| database.account.clone());
    let found = match owner {
        Some(owner) if owner != caller => Found::certain(format!(
            "the database is account {owner}'s, and the caller account {caller}'s"
        ))
        .remedy(Remedy::variable(
            "DB_ROLE_ARN",
            format!("arn:aws:iam::{owner}:role/<a role that may connect>"),
        )),
        None if matches!(evidence.rds, Rds::NotFound { .. }) => Found::likely(format!(
            "account {caller} has no such database in this region"
        ))
        .remedy(Remedy::variable(
            "DB_ROLE_ARN",
            "arn:aws:iam::<the database's account>:role/<a role that may connect>",
        )),
        _ => return None,
    };
    Some(found.also("a token of another account is refused, whatever its policies say"))
}

fn token_region(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config.as_ref()?;
    let real = rds_name(evidence)?.region?;
    if !token_refused(evidence) || real == config.region {
        return None;
    }
    let seen = format!(
        "signed for {}; the certificate is for {}",
        config.region,
        rds_name(evidence)?.host
    );
    let found = Found::certain(seen).remedy(Remedy::variable("DB_REGION", real));
    // Where PGHOST is an alias too, the name alone puts both right.
    Some(if config.endpoint.kind == EndpointKind::Other {
        under_its_name(evidence, found, &rds_name(evidence)?.host)
    } else {
        found
    })
}

fn token_host(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config.as_ref()?;
    let real = rds_name(evidence)?;
    let names = &evidence.presented()?.names;
    let named = config.endpoint.kind != EndpointKind::Other
        && names.iter().any(|name| *name == config.endpoint.host || name.starts_with('*'));
    if !token_refused(evidence)
        || named
        || real.host == config.endpoint.host
        || real.region.as_ref() != Some(&config.region)
    {
        return None;
    }
    let seen = format!("signed for {}; the certificate is for {}", config.endpoint.host, real.host);
    Some(under_its_name(evidence, Found::certain(seen), &real.host))
}

fn token_port(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config.as_ref()?;
    let port = config.endpoint.port;
    if !token_refused(evidence) {
        return None;
    }
    let loopback = match &config.dial {
        Dial::Address(address) => address.is_loopback(),
        Dial::Endpoint => evidence.tcp.iter().all(|(address, _)| address.ip().is_loopback()),
        Dial::Tunnel(..) => false,
    };
    if let Some(right) = evidence.database()?.port.filter(|right| *right != i32::from(port)) {
        let found =
            Found::certain(format!("signed for port {port}; RDS says that the port is {right}"))
                .remedy(Remedy::variable("PGPORT", right.to_string()));
        let old = match (&config.dial, loopback) {
            (Dial::Address(address), _) => Some(tunnel(*address, port)),
            (Dial::Endpoint, true) => Some(format!("{}:{port}", config.endpoint.host)),
            _ => None,
        };
        return Some(match old {
            Some(old) => found.remedy(Remedy::variable("DB_TUNNEL", old)),
            None => found,
        });
    }
    None
}

fn tunnel(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn user_case(evidence: &Evidence) -> Option<Found> {
    let user = evidence.user();
    let small = user.to_lowercase();
    let refused = evidence.refused(Refusal::Password) || token_refused(evidence);
    (refused && small != user).then(|| {
        Found::likely(format!("PGUSER is {user}; unless it was quoted, PostgreSQL stored {small}"))
            .remedy(Remedy::variable("PGUSER", small))
    })
}

/// The resource that a policy must name, with what is not known in `<…>`.
fn resource(evidence: &Evidence) -> String {
    let config = evidence.config.as_ref();
    let region = config.map_or("<region>", |config| &config.region);
    let kind = config.map_or(EndpointKind::Instance, |config| config.endpoint.kind);
    let placeholder = match kind {
        EndpointKind::Proxy => "<prx-…>",
        EndpointKind::Instance | EndpointKind::Other => "<db-…>",
        _ => "<cluster-…>",
    };
    let database = evidence.database();
    let id = database.and_then(|d| d.resource_id.as_deref()).unwrap_or(placeholder);
    let account = database.and_then(|d| d.account.as_deref()).or(evidence.caller.account());
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!(
        "arn:{partition}:rds-db:{region}:{}:dbuser:{id}/{}",
        account.unwrap_or("<account>"),
        evidence.user()
    )
}

fn policy(evidence: &Evidence) -> Option<Found> {
    if !token_refused(evidence) {
        return None;
    }
    let resource = resource(evidence);
    let mut found = Found::likely("TLS and rds_iam are right, and the token was refused");
    if evidence.caller.account().is_some() {
        found = found.also("STS knows its signer, so the keys are good");
    }
    found = found.also("RDS gives the true reason in its log iam-db-auth-error only");
    let found = found.remedy(Remedy::allow(evidence.principal(), "rds-db:connect", &resource));
    Some(if resource.contains('<') {
        let id = evidence.host().split('.').next().unwrap_or_default();
        found.remedy(Remedy::command(format!(
            "aws rds describe-db-instances --db-instance-identifier {id} --query 'DBInstances[0].DbiResourceId'"
        )))
    } else {
        found
    })
}

fn throttled(evidence: &Evidence) -> Option<Found> {
    token_refused(evidence).then(|| {
        Found::possible("a throttled login gets the same answer as a refused token")
            .remedy(Remedy::action("Try again after a second; let fewer sandboxes start at once, or put RDS Proxy in front"))
    })
}

fn not_granted(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::Password) {
        return None;
    }
    let config = evidence.config.as_ref()?;
    let (user, name) = (identifier(&config.user), literal(&config.user));
    let sql = format!(
        "DO $$ BEGIN\n  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN CREATE ROLE {user} LOGIN; END IF;\nEND $$;\nGRANT rds_iam TO {user};"
    );
    let mut found = Found::likely(
        "the server took the token for a password: it asks only members of rds_iam for a token",
    );
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
    Some(found.remedy(Remedy::sql(&config.database, sql)))
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

fn no_login(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoLogin) {
        return None;
    }
    let config = evidence.config.as_ref()?;
    Some(Found::certain(format!("the token is accepted, and {} has no LOGIN", config.user)).remedy(
        Remedy::sql(&config.database, format!("ALTER ROLE {} LOGIN;", identifier(&config.user))),
    ))
}

fn no_database(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoDatabase) {
        return None;
    }
    let wanted = &evidence.config.as_ref()?.database;
    let found = Found::certain(format!("the token is accepted, and there is no database {wanted}"));
    let others: Vec<&String> =
        evidence.databases.iter().filter(|name| *name != "rdsadmin").collect();
    // The one that is meant is rarely the one that every server has.
    let distance =
        |name: &&&String| (name.as_str() == "postgres", strsim::damerau_levenshtein(name, wanted));
    Some(match others.iter().min_by_key(distance) {
        Some(near) => {
            let list: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
            let found = found.also(format!("the user may connect to {}", list.join(", ")));
            found.remedy(Remedy::variable("PGDATABASE", near.as_str()))
        }
        None => found.remedy(Remedy::variable("PGDATABASE", "<a database that exists>")),
    })
}

fn no_connect(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::NoConnect) {
        return None;
    }
    let config = evidence.config.as_ref()?;
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
    let database = &evidence.config.as_ref()?.database;
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true;", identifier(database));
    Some(Found::certain("SQLSTATE 55000").remedy(Remedy::sql("postgres", sql)))
}

fn too_many(evidence: &Evidence) -> Option<Found> {
    let Login::Refused { refusal, .. } = &evidence.login else { return None };
    let config = evidence.config.as_ref()?;
    Some(match refusal {
        Refusal::TooManyOfRole => {
            let sql = format!("ALTER ROLE {} CONNECTION LIMIT -1;", identifier(&config.user));
            Found::certain("the limit of the user is reached")
                .titled("the user has too many connections")
                .remedy(Remedy::sql(&config.database, sql))
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
                &config.database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND state_change < now() - interval '10 minutes';",
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
    (evidence.login == Login::Closed).then(|| {
        Found::certain("TLS was established, and the connection ended before the login had an answer").remedy(Remedy::action(
            "Look at the database's events and its free memory: it restarts, fails over, or is out of memory; a proxy or firewall on the way does so too",
        ))
    })
}

fn slow(evidence: &Evidence) -> Option<Found> {
    (evidence.login == Login::Silent).then(|| {
        Found::certain("TLS was established, and the login got no answer").remedy(Remedy::action(
            "Check again in a minute, if it is Aurora Serverless that resumes; else give the server more memory, which IAM authentication needs",
        ))
    })
}

fn other(evidence: &Evidence) -> Option<Found> {
    let Login::Refused { refusal: Refusal::Other, code } = &evidence.login else { return None };
    Some(
        Found::certain(format!("SQLSTATE {code}"))
            .remedy(Remedy::action(format!("Look for {code} in the server's log"))),
    )
}
