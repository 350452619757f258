//! The token is refused, although TLS and the user are right.

use std::net::IpAddr;

use rds_iam::config::Dial;
use rds_iam::endpoint::EndpointKind;

use super::credentials::token_refused;
use super::tls::{rds_name, under_its_name};
use super::{Cause, Found};
use crate::evidence::{Evidence, Login, Rds, RdsLog, Refusal};
use crate::remedy::Remedy;

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
        seen: "the token is refused, its signer is known to STS, and nothing else is wrong; RDS's log says NotAuthorized",
        remedy: "the policy, with account, region, resource id and user",
        find: policy,
    },
    Cause {
        id: "throttled",
        title: "RDS throttles the logins",
        seen: "the token is refused now and then, or for many sandboxes that start at once; RDS's log says ThrottlingException",
        remedy: "keep connections, or put RDS Proxy in front",
        find: throttled,
    },
];

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
    let mut found = match evidence.logged() {
        Some(("NotAuthorized", said)) => Found::certain(said),
        Some((_, said)) => Found::possible(said),
        None => Found::likely("TLS and rds_iam are right, and the token was refused"),
    };
    if evidence.caller.account().is_some() {
        found = found.also("STS knows its signer, so the keys are good");
    }
    if evidence.rds_log == RdsLog::NotExported {
        found = found.also(
            "RDS gives the true reason in its log iam-db-auth-error, which it does not export here",
        );
    } else if evidence.logged().is_none() {
        found = found.also("RDS gives the true reason in its log iam-db-auth-error only");
    }
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
        let found = match evidence.logged() {
            Some(("ThrottlingException", said)) => Found::certain(said),
            _ => Found::possible("a throttled login gets the same answer as a refused token"),
        };
        found.remedy(Remedy::action("Try again after a second; let fewer sandboxes start at once, or put RDS Proxy in front"))
    })
}
