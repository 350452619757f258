//! Causes of requests that the cluster refuses with status 403: the signature, and the policies.

use super::evidence::Answer;
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;

pub(crate) const REFUSED: &[Cause] = &[
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
];

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
