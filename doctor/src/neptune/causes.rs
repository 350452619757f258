//! What a cluster refuses, and what answers instead of one.

use rds_iam::endpoint::EndpointKind;

use super::evidence::{Answer, Engine};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::tls::evidence::{Protocol, Tls};

/// What the name alone tells: TLS fails then, too.
pub(crate) const NAME: &[Cause] = &[Cause {
    id: "neptune-not-a-cluster",
    title: "NEPTUNE_HOST names an RDS database, and not a Neptune cluster",
    seen: "the name ends in rds.amazonaws.com; Neptune's ends in neptune.amazonaws.com",
    remedy: "the cluster's endpoint into `NEPTUNE_HOST`; the command lists them",
    find: rds_host,
}];

pub(crate) const CAUSES: &[Cause] = &[
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
    Cause {
        id: "neptune-region",
        title: "requests are signed for another region than the cluster's",
        seen: "403, and the name in the certificate tells another region",
        remedy: "`DB_REGION`",
        find: region,
    },
    Cause {
        id: "neptune-alias",
        title: "requests are signed for an alias, and not for the cluster's own name",
        seen: "403, and the certificate holds a name of Neptune that is not `NEPTUNE_HOST`",
        remedy: "the cluster's name into `NEPTUNE_HOST`, and the other into `DB_TUNNEL`",
        find: alias,
    },
    Cause {
        id: "neptune-port",
        title: "requests are signed for another port than the cluster's",
        seen: "403, and `NEPTUNE_PORT` is not the port that RDS says, or is the tunnel's",
        remedy: "8182, or what RDS says, into `NEPTUNE_PORT`",
        find: port,
    },
    Cause {
        id: "neptune-signature",
        title: "the cluster refuses the signature, and STS accepts the keys",
        seen: "403 without an action, and clock, keys, region and name are right",
        remedy: "look what changes requests on the way: a proxy that rewrites headers or the Host",
        find: signature,
    },
    Cause {
        id: "neptune-policy",
        title: "no policy of the caller allows anything on this cluster",
        seen: "403 with the action for every request: no policy, `neptune-db:connect` alone, or another cluster's resource id",
        remedy: "the policy, with account, region and resource id",
        find: policy,
    },
    Cause {
        id: "neptune-policy-opencypher",
        title: "no policy of the caller allows queries in openCypher",
        seen: "403 with the action for openCypher, and SPARQL answers: the policy has a condition on neptune-db:QueryLanguage",
        remedy: "`OpenCypher` into the condition",
        find: policy_cypher,
    },
    Cause {
        id: "neptune-policy-sparql",
        title: "no policy of the caller allows queries in SPARQL",
        seen: "403 with the action for SPARQL, and openCypher answers",
        remedy: "`Sparql` into the condition",
        find: policy_sparql,
    },
    Cause {
        id: "neptune-policy-queries",
        title: "no policy of the caller allows queries in any language",
        seen: "403 with neptune-db:ReadDataViaQuery, and /status answers",
        remedy: "`neptune-db:ReadDataViaQuery` in the policy",
        find: policy_queries,
    },
    Cause {
        id: "neptune-policy-status",
        title: "no policy of the caller allows /status",
        seen: "403 with neptune-db:GetEngineStatus, and queries answer",
        remedy: "`neptune-db:GetEngineStatus` in the policy",
        find: policy_status,
    },
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

/// What shows although requests work.
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

/// The name of Neptune in the certificate, and its region.
fn certified(evidence: &Evidence) -> Option<(&str, &str)> {
    let names = evidence.presented()?.names.iter();
    let mut named = names.filter(|name| !name.contains('*') && name.contains(".neptune."));
    let name = named.next()?;
    let (before, _) = name.split_once(".neptune.")?;
    Some((name, before.rsplit('.').next()?))
}

fn region(evidence: &Evidence) -> Option<Found> {
    let (name, real) = certified(evidence)?;
    let region = &evidence.config()?.common.region;
    (evidence.neptune.signature_refused() && real != region && name != evidence.host()).then(|| {
        let seen = format!("signed for {region}; the certificate is for {name}");
        under(evidence, Found::certain(seen).remedy(Remedy::variable("DB_REGION", real)), name)
    })
}

fn alias(evidence: &Evidence) -> Option<Found> {
    let (name, real) = certified(evidence)?;
    let config = evidence.config()?;
    (evidence.neptune.signature_refused()
        && real == config.common.region
        && name != config.endpoint.host)
        .then(|| {
            let seen =
                format!("signed for {}; the certificate is for {name}", config.endpoint.host);
            under(evidence, Found::certain(seen), name)
        })
}

/// `NEPTUNE_HOST` set to a name, with the connection going where it goes now.
fn under(evidence: &Evidence, found: Found, name: &str) -> Found {
    let found = found.remedy(Remedy::variable("NEPTUNE_HOST", name));
    match evidence.config() {
        Some(config) if config.dial == rds_iam::config::Dial::Endpoint => {
            let old = format!("{}:{}", config.endpoint.host, config.endpoint.port);
            found.remedy(Remedy::variable("DB_TUNNEL", old))
        }
        _ => found,
    }
}

fn port(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config()?;
    let port = config.endpoint.port;
    if !evidence.neptune.signature_refused()
        || certified(evidence).is_some_and(|(name, _)| name != evidence.host())
    {
        return None;
    }
    let right = match evidence.database().and_then(|database| database.port) {
        Some(right) if right != i32::from(port) => right.to_string(),
        None if port != 8182 => "8182".to_owned(),
        _ => return None,
    };
    Some(
        Found::likely(format!("the Host of a request is signed, and it holds the port {port}"))
            .remedy(Remedy::variable("NEPTUNE_PORT", right)),
    )
}

fn signature(evidence: &Evidence) -> Option<Found> {
    let explained = [region, alias, port].iter().any(|rule| rule(evidence).is_some());
    (evidence.neptune.signature_refused() && !explained).then(|| {
        Found::likely("every signed request is refused without naming an action").remedy(
            Remedy::action(
                "Send the request past every proxy and load balancer, which may rewrite the Host, the path or a header; another client must sign for the service neptune-db (--client awscurl)",
            ),
        )
    })
}

fn resource(evidence: &Evidence) -> String {
    let database = evidence.database();
    let account = database.and_then(|d| d.account.as_deref()).or(evidence.aws.caller.account());
    let id = database.and_then(|d| d.resource_id.as_deref()).unwrap_or("<cluster-…>");
    let region = evidence.config().map_or("<region>", |config| &config.common.region);
    let partition = rds_iam::endpoint::partition(region);
    format!("arn:{partition}:neptune-db:{region}:{}:{id}/*", account.unwrap_or("<account>"))
}

/// The resource id for a policy, where RDS does not tell it.
fn with_id(evidence: &Evidence, found: Found) -> Found {
    let id = evidence.host().split('.').next().unwrap_or_default();
    match evidence.database().and_then(|database| database.resource_id.as_ref()) {
        Some(_) => found,
        None => found.remedy(Remedy::command(format!(
            "aws neptune describe-db-clusters --db-cluster-identifier {id} --query 'DBClusters[0].DbClusterResourceId'"
        ))),
    }
}

fn policy(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    let all = neptune.answers().iter().all(|(_, answer)| neptune.denied(answer));
    all.then(|| {
        let found = Found::certain("every request is denied by its action: the signature is right")
            .also("a policy for another cluster's resource id denies the same")
            .remedy(Remedy::allow(evidence.principal(), "neptune-db:*", &resource(evidence)));
        with_id(evidence, found)
    })
}

fn language(evidence: &Evidence, name: &str) -> Remedy {
    Remedy::Policy {
        attach_to: evidence.principal(),
        document: serde_json::json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "neptune-db:ReadDataViaQuery",
            "Resource": resource(evidence),
            "Condition": { "StringEquals": { "neptune-db:QueryLanguage": name } } }] })
        .to_string(),
    }
}

fn policy_cypher(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    (neptune.denied(&neptune.cypher) && neptune.sparql == Answer::Ok).then(|| {
        Found::certain("SPARQL is allowed, and openCypher is not")
            .remedy(language(evidence, "OpenCypher"))
    })
}

fn policy_sparql(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    (neptune.denied(&neptune.sparql) && neptune.cypher == Answer::Ok).then(|| {
        Found::certain("openCypher is allowed, and SPARQL is not")
            .remedy(language(evidence, "Sparql"))
    })
}

fn policy_queries(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    let both = neptune.denied(&neptune.sparql) && neptune.denied(&neptune.cypher);
    (both && neptune.status == Answer::Ok).then(|| {
        let action = "neptune-db:ReadDataViaQuery";
        Found::certain("/status is allowed, and queries are not").remedy(Remedy::allow(
            evidence.principal(),
            action,
            &resource(evidence),
        ))
    })
}

fn policy_status(evidence: &Evidence) -> Option<Found> {
    let neptune = &evidence.neptune;
    (neptune.denied(&neptune.status) && neptune.works()).then(|| {
        let action = "neptune-db:GetEngineStatus";
        Found::warning("queries are allowed, and /status is not, which functions do not need")
            .remedy(Remedy::allow(evidence.principal(), action, &resource(evidence)))
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
    let named = |engine: &Engine| !engine.version.is_empty();
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
