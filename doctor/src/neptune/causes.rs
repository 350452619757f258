//! Causes of failures with a Neptune cluster, but for refused requests: other servers that answer, errors of the
//! cluster, and settings that show although requests work.

use rds_iam::endpoint::EndpointKind;

use super::evidence::{Answer, EngineStatus};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::tls::evidence::{Protocol, Tls};

/// Causes that the name alone shows: TLS fails then, too.
pub(crate) const NAME: &[Cause] = &[Cause {
    id: "neptune-not-a-cluster",
    title: "NEPTUNE_HOST names an RDS database, and not a Neptune cluster",
    seen: "the name ends in rds.amazonaws.com; Neptune's ends in neptune.amazonaws.com",
    remedy: "the cluster's endpoint into `NEPTUNE_HOST`; the command lists them",
    find: rds_host,
}];

/// Causes before a request: another protocol answers.
pub(crate) const INSTEAD: &[Cause] = &[
    Cause {
        id: "neptune-http",
        title: "the server answers HTTP without TLS",
        seen: "TLS fails, and the same port answers plain HTTP: a proxy, a tunnel that ends TLS, or an engine before 1.0.4",
        remedy: "the cluster's own port, without a proxy that ends TLS",
        find: http,
    },
    Cause {
        id: "neptune-other-engine",
        title: "what answers on the port is a database of another engine",
        seen: "the first bytes are MySQL's, or the answer to PostgreSQL's request for TLS is PostgreSQL's",
        remedy: "Neptune's port, 8182 by default",
        find: other_engine,
    },
];

/// Causes in the answers of a server that reads requests and does not refuse them.
pub(crate) const FAILING: &[Cause] = &[
    Cause {
        id: "neptune-not-neptune",
        title: "what answers over HTTPS is not Neptune",
        seen: "/status is 404, or is not Neptune's answer",
        remedy: "`NEPTUNE_HOST` and `NEPTUNE_PORT` of the cluster, or `DB_TUNNEL`",
        find: not_neptune,
    },
    Cause {
        id: "neptune-gateway",
        title: "a gateway on the way does not reach the cluster",
        seen: "502, 503 or 504 without a code of Neptune's",
        remedy: "the target of the load balancer or proxy",
        find: gateway,
    },
    Cause {
        id: "neptune-throttled",
        title: "the cluster has too much to do",
        seen: "ThrottlingException, TooManyRequestsException or status 429",
        remedy: "a larger instance, or fewer sandboxes",
        find: throttled,
    },
    Cause {
        id: "neptune-failing",
        title: "the cluster answers with an error of its own",
        seen: "another status than 200 and 403, with a code of Neptune's, or /status is not healthy",
        remedy: "look at the cluster's events; restart it if it lasts",
        find: failing,
    },
    Cause {
        id: "neptune-slow",
        title: "the cluster does not answer a request in time",
        seen: "TLS is up, and no answer comes within 2 seconds",
        remedy: "the running queries, and the cluster's CPU",
        find: slow,
    },
];

/// Causes that show although requests work.
pub(crate) const AFTER: &[Cause] = &[
    Cause {
        id: "neptune-iam-off",
        title: "IAM authentication is off: the cluster answers anyone who reaches it",
        seen: "200 to /status without a signature",
        remedy: "`aws neptune modify-db-cluster … --enable-iam-database-authentication`",
        find: iam_off,
    },
    Cause {
        id: "neptune-reader",
        title: "the instance takes no writes: a reader, or the old writer after a failover",
        seen: "/status says the role reader",
        remedy: "the cluster's endpoint, without `-ro`",
        find: reader,
    },
];

fn rds_host(evidence: &Evidence) -> Option<Found> {
    let host = evidence.host();
    let region = &evidence.config()?.common.region;
    (host.contains(".rds.") && host.contains("amazonaws")).then(|| {
        Found::certain(format!("NEPTUNE_HOST is {host}"))
            .remedy(Remedy::command(format!(
                "aws neptune describe-db-clusters --region {region} --filters Name=engine,Values=neptune --query 'DBClusters[].[Endpoint,Port]'"
            )))
            .remedy(Remedy::variable("NEPTUNE_HOST", "<one of them>"))
    })
}

fn http(evidence: &Evidence) -> Option<Found> {
    (evidence.neptune.instead == Some(Protocol::Http)).then(|| {
        Found::certain("the port answers plain HTTP, and does not answer TLS; a signature goes over TLS only")
            .remedy(Remedy::action(
                "Take out the proxy that ends TLS, and forward TCP to the cluster's port instead: ssh -L, or AWS Systems Manager",
            ))
    })
}

fn other_engine(evidence: &Evidence) -> Option<Found> {
    let what = evidence.neptune.instead.filter(|what| *what != Protocol::Http)?;
    let found = Found::certain(format!("it is {what}"));
    let dial = evidence.config().map(|config| &config.dial);
    Some(match dial {
        Some(rds_iam::config::Dial::Tunnel(..)) => found.remedy(Remedy::variable(
            "DB_TUNNEL",
            "<host:port of a tunnel to the cluster's port, 8182 by default>",
        )),
        _ => found.remedy(Remedy::variable("NEPTUNE_PORT", "8182")),
    })
}

fn iam_off(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    let is_neptune = evidence.neptune.engine.is_some();
    (neptune.open && is_neptune).then(|| {
        let id = evidence.host().split('.').next().unwrap_or_default();
        Found::warning("/status is answered without a signature")
            .also("functions work all the same: the cluster ignores their signatures")
            .remedy(Remedy::command(format!(
                "aws neptune modify-db-cluster --db-cluster-identifier {id} --enable-iam-database-authentication --apply-immediately"
            )))
    })
}

/// The statuses and codes of answers that are errors.
fn errors(evidence: &Evidence) -> impl Iterator<Item = (u16, &str)> {
    let answers = evidence.neptune.answers().into_iter();
    answers.filter_map(|(_, answer)| match answer {
        Answer::Error(status, code) => Some((*status, code.as_str())),
        _ => None,
    })
}

fn not_neptune(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    let named = |engine: &EngineStatus| !engine.version.is_empty();
    let foreign = neptune.status == Answer::Ok && !neptune.engine.as_ref().is_some_and(named);
    let none = neptune.status == Answer::Error(404, String::new());
    (foreign || none).then(|| {
        let found = Found::certain(if none {
            "/status does not exist there"
        } else {
            "/status is not answered as Neptune answers it"
        });
        let tunnel = evidence.environment.has("DB_TUNNEL");
        let variable = if tunnel { "DB_TUNNEL" } else { "NEPTUNE_HOST" };
        found.remedy(Remedy::variable(variable, "<where the cluster itself is reached>"))
    })
}

fn gateway(evidence: &Evidence) -> Option<Found> {
    let (status, _) =
        errors(evidence).find(|(status, code)| code.is_empty() && (502..=504).contains(status))?;
    Some(Found::certain(format!("HTTP status {status} without a code of Neptune's")).remedy(
        Remedy::action(
            "Look at the targets of the load balancer or proxy on the way, and at the cluster's status",
        ),
    ))
}

const BUSY: [&str; 3] =
    ["ThrottlingException", "TooManyRequestsException", "QueryLimitExceededException"];

fn throttled(evidence: &Evidence) -> Option<Found> {
    let busy = |(status, code): &(u16, &str)| *status == 429 || BUSY.contains(code);
    let (status, code) = errors(evidence).find(busy)?;
    Some(Found::certain(format!("HTTP status {status} {code}")).remedy(Remedy::action(
        "Try again; if it lasts, take a larger instance, or limit the functions' concurrency",
    )))
}

fn failing(evidence: &Evidence) -> Option<Found> {
    let sick = evidence
        .neptune
        .engine
        .as_ref()
        .filter(|engine| !engine.version.is_empty() && engine.status != "healthy");
    let ours =
        |(status, code): &(u16, &str)| *status != 429 && !BUSY.contains(code) && !code.is_empty();
    let found = match (errors(evidence).find(ours), sick) {
        (Some((status, code)), _) => Found::certain(format!("HTTP status {status} {code}")),
        (None, Some(engine)) => Found::warning(format!("/status says {}", engine.status)),
        (None, None) => return None,
    };
    let id = evidence.host().split('.').next().unwrap_or_default();
    let source = match evidence.config()?.endpoint.kind {
        EndpointKind::Instance => "db-instance",
        _ => "db-cluster",
    };
    Some(found.remedy(Remedy::command(format!(
        "aws neptune describe-events --source-type {source} --source-identifier {id}"
    ))))
}

fn slow(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    let silent = neptune.answers().iter().any(|(_, answer)| **answer == Answer::Silent);
    let lost =
        matches!(&evidence.tls, Tls::Presented(_)) && silent && errors(evidence).next().is_none();
    lost.then(|| {
        Found::certain("the request was sent, and no answer came").remedy(Remedy::action(
            "Look at the running queries (GET /openCypher/status, GET /sparql/status) and at CPUUtilization and MainRequestQueuePendingRequests in CloudWatch",
        ))
    })
}

fn reader(evidence: &Evidence) -> Option<Found> {
    let engine = evidence.neptune.engine.as_ref()?;
    (engine.role == "reader").then(|| {
        let found = Found::warning("/status says the role reader")
            .also("a query with mode = \"write\" fails here, and reads work");
        let host = evidence.host().replace(".cluster-ro-", ".cluster-");
        let host = if host == evidence.host() { "<the cluster's endpoint>".into() } else { host };
        found.remedy(Remedy::variable("NEPTUNE_HOST", host))
    })
}
