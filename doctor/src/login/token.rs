//! The token is refused, although TLS and the user are right.

use std::net::IpAddr;

use rds_iam::config::Dial;
use rds_iam::endpoint::EndpointKind;
use rds_iam::postgres::Refusal;

use crate::aws::evidence::{Counts, Rds};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::network::causes::list_command;
use crate::remedy::Remedy;
use crate::tls::causes_certificate::{database_port, rds_name, under_its_name};

pub(crate) const CAUSES: &[Cause] = &[
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
        remedy: "the name of RDS into `PGHOST`, or `DB_REGION`",
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
        id: "token-invalid",
        title: "RDS does not take the token for one of its own endpoint, port and user",
        seen: "the token is refused, and RDS's log says InvalidToken or ExpiredToken, or its metrics count invalid tokens alone",
        remedy: "compare `PGHOST` and `PGPORT` with RDS's; for an expired one, the clock",
        find: token_invalid,
    },
    Cause {
        id: "user-case",
        title: "the user's name is written in another case",
        seen: "the token is taken for a password, and `PGUSER` holds capitals",
        remedy: "`PGUSER` in small letters, as PostgreSQL stores names that were not quoted",
        find: user_case,
    },
];

fn iam_off(evidence: &Evidence) -> Option<Found> {
    let database = evidence.database()?;
    let refused = evidence.refused(Refusal::Token) || evidence.refused(Refusal::Password);
    if database.iam != Some(false) || !refused {
        return None;
    }
    let id = &database.id;
    let found = if database.iam_pending {
        Found::certain("RDS says that it is off, and that the change is pending")
    } else {
        Found::certain("RDS says that it is off")
    };
    Some(match evidence.config()?.endpoint.kind {
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
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let caller = evidence.aws.caller.account()?;
    let owner = evidence.database().and_then(|database| database.account.clone());
    let found = match owner {
        Some(owner) if owner != caller => Found::certain(format!(
            "the database is account {owner}'s, and the caller account {caller}'s"
        ))
        .remedy(Remedy::variable(
            "DB_ROLE_ARN",
            format!("arn:aws:iam::{owner}:role/<a role that may connect>"),
        )),
        None if matches!(evidence.aws.rds, Rds::NotFound { .. }) => Found::likely(format!(
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
    let config = evidence.config()?;
    let real = rds_name(evidence)?.region?;
    if !evidence.refused(Refusal::Token) || real == config.common.region {
        return None;
    }
    let seen = format!(
        "signed for {}; the certificate is for {}",
        config.common.region,
        rds_name(evidence)?.host
    );
    let found = Found::certain(seen);
    let name = rds_name(evidence)?.host;
    Some(if config.endpoint.kind == EndpointKind::Other {
        // An alias, whose name has to go too.
        let found = found.remedy(Remedy::variable("DB_REGION", real));
        under_its_name(evidence, found, &name)
    } else {
        // The region is the one in the name, whatever the variables say.
        under_its_name(evidence, found, &name)
    })
}

fn token_host(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config()?;
    let real = rds_name(evidence)?;
    let names = &evidence.presented()?.names;
    let named = config.endpoint.kind != EndpointKind::Other
        && names.iter().any(|name| *name == config.endpoint.host || name.starts_with('*'));
    if !evidence.refused(Refusal::Token)
        || named
        || real.host == config.endpoint.host
        || real.region.as_ref() != Some(&config.common.region)
    {
        return None;
    }
    let seen = format!("signed for {}; the certificate is for {}", config.endpoint.host, real.host);
    Some(under_its_name(evidence, Found::certain(seen), &real.host))
}

fn token_port(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config()?;
    let port = config.endpoint.port;
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let loopback = evidence.network.tcp.iter().all(|(address, _)| address.ip().is_loopback());
    let known = evidence.database().and_then(|database| database.port);
    let (found, right) = match (evidence.attempt.accepted_port, known) {
        (Some(accepted), _) => {
            let seen = format!("signed for port {port}; a token for port {accepted} is accepted");
            (Found::certain(seen), accepted.to_string())
        }
        (_, Some(right)) if right != i32::from(port) => {
            let seen = format!("signed for port {port}; RDS says that the port is {right}");
            (Found::certain(seen), right.to_string())
        }
        (_, None) if matches!(&config.dial, Dial::Tunnel(_, other) if *other == port) => {
            let seen = format!("signed for port {port}, which is the tunnel's too");
            (Found::likely(seen), database_port(evidence))
        }
        (_, None) if loopback && !matches!(config.dial, Dial::Tunnel(..)) => {
            let seen = format!(
                "signed for port {port}; the connection goes to this machine, so the port may be a tunnel's"
            );
            (Found::possible(seen), database_port(evidence))
        }
        _ => return None,
    };
    let found = found.remedy(Remedy::variable("PGPORT", right));
    let old = match (&config.dial, loopback) {
        (Dial::Address(address), _) => Some(tunnel(*address, port)),
        (Dial::Endpoint, true) => Some(format!("{}:{port}", config.endpoint.host)),
        _ => None,
    };
    Some(match old {
        Some(old) => found.remedy(Remedy::variable("DB_TUNNEL", old)),
        None => found,
    })
}

fn tunnel(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn token_invalid(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let alone = |counts: &&Counts| {
        counts.invalid_token > 0 && counts.insufficient_permissions + counts.throttling == 0
    };
    let found = match (evidence.logged(), evidence.counted().filter(alone)) {
        (Some(("ExpiredToken", said)), _) => {
            return Some(
                Found::likely(said)
                    .titled("RDS takes the token for one that has expired")
                    .remedy(Remedy::action("Set the clock of this machine, and keep it synchronised: timedatectl set-ntp true; sign a new token for each login")),
            );
        }
        (Some(("InvalidToken", said)), _) => Found::likely(said),
        (None, Some(_)) => Found::likely(evidence.said_count()?),
        _ => return None,
    };
    let list = list_command(evidence)?;
    Some(found.remedy(Remedy::command(list)).remedy(Remedy::action(
        "Set PGHOST and PGPORT to what it prints: a token is signed for both",
    )))
}

fn user_case(evidence: &Evidence) -> Option<Found> {
    let user = evidence.user();
    let small = user.to_lowercase();
    // A server that asks for a token has found the user.
    let plain = user.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    (evidence.refused(Refusal::Password) && small != user && plain).then(|| {
        Found::likely(format!("PGUSER is {user}; unless it was quoted, PostgreSQL stored {small}"))
            .remedy(Remedy::variable("PGUSER", small))
    })
}
