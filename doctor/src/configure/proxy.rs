//! RDS Proxy: a proxy, its further endpoints, and the database behind it.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{
    DbProxy, DbProxyEndpoint, DbProxyEndpointTargetRole, IamAuthMode, UserAuthConfigInfo,
};

use super::database::{Database, Kind, RdsEngine};
use super::note::{Note, Right};
use super::rds::{Seen, Wanted, all, iam, no_endpoint, refusal, with_notes};

/// Describes a proxy at its own endpoint, or at its read-only one.
pub(super) async fn describe(
    client: &Client,
    seen: &Seen,
    proxy: &DbProxy,
    wanted: &Wanted<'_>,
    notes: &mut Vec<Note>,
) -> Result<Database, String> {
    let database = own(proxy, wanted)?;
    let database = if wanted.reader {
        let endpoints = endpoints(client, proxy.db_proxy_name(), notes).await;
        let readers: Vec<_> = endpoints.iter().filter(|endpoint| reads(endpoint)).collect();
        match readers.as_slice() {
            [reader] => at(reader, database)?,
            [] => {
                let why = format!("{} has no read-only endpoint", database.id);
                return Err(with_notes(why, notes));
            }
            several => {
                let hosts: Vec<_> = several.iter().filter_map(|e| e.endpoint()).collect();
                return Err(format!(
                    "{} has several read-only endpoints: name one of {}",
                    database.id,
                    hosts.join(", ")
                ));
            }
        }
    } else {
        database
    };
    behind(client, seen, database, notes).await
}

/// Describes the proxy that has a further endpoint of this name.
pub(super) async fn at_endpoint(
    client: &Client,
    seen: &Seen,
    wanted: &Wanted<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<Database>, String> {
    let endpoints = endpoints(client, None, notes).await;
    let named = |text: Option<&str>| text.is_some_and(|t| t.eq_ignore_ascii_case(wanted.name));
    let is_meant = |e: &&DbProxyEndpoint| named(e.db_proxy_endpoint_name()) || named(e.endpoint());
    let Some(endpoint) = endpoints.iter().find(is_meant) else { return Ok(None) };
    let is_owner = |proxy: &&DbProxy| proxy.db_proxy_name() == endpoint.db_proxy_name();
    let Some(proxy) = seen.proxies.iter().find(is_owner) else { return Ok(None) };
    if wanted.reader && !reads(endpoint) {
        return Err(format!("{} is not a read-only endpoint: leave --reader out", wanted.name));
    }
    let database = at(endpoint, own(proxy, wanted)?)?;
    behind(client, seen, database, notes).await.map(Some)
}

/// The further endpoints of one proxy, or of all. Without an answer, there is a note and none of them.
async fn endpoints(
    client: &Client,
    proxy: Option<&str>,
    notes: &mut Vec<Note>,
) -> Vec<DbProxyEndpoint> {
    let call = client.describe_db_proxy_endpoints().set_db_proxy_name(proxy.map(str::to_owned));
    let answer: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let mut endpoints = answer.unwrap_or_else(|error| {
        notes.push(Note::Unasked(Right::DescribeDBProxyEndpoints, refusal(error)));
        Vec::new()
    });
    // A proxy's own endpoint is listed too.
    endpoints.retain(|endpoint| endpoint.is_default() != Some(true));
    endpoints
}

fn reads(endpoint: &DbProxyEndpoint) -> bool {
    endpoint.target_role() == Some(&DbProxyEndpointTargetRole::ReadOnly)
}

/// The proxy at one of its further endpoints, which may be in another VPC. Policies name the proxy.
fn at(endpoint: &DbProxyEndpoint, proxy: Database) -> Result<Database, String> {
    let name = endpoint.db_proxy_endpoint_name().unwrap_or_default();
    let status = endpoint.status().map(|status| status.as_str());
    Ok(Database {
        host: endpoint.endpoint().ok_or_else(|| no_endpoint(name, status))?.to_owned(),
        vpc: endpoint.vpc_id().map(str::to_owned),
        subnets: endpoint.vpc_subnet_ids().to_vec(),
        security_groups: endpoint.vpc_security_group_ids().to_vec(),
        ..proxy
    })
}

fn own(proxy: &DbProxy, wanted: &Wanted<'_>) -> Result<Database, String> {
    let id = proxy.db_proxy_name().unwrap_or_default();
    if proxy.engine_family() != Some("POSTGRESQL") {
        return Err(format!(
            "{id} is a proxy for {}, and only PostgreSQL's functions use one: name the cluster behind it",
            proxy.engine_family().unwrap_or("an unknown engine")
        ));
    }
    let status = proxy.status().map(|status| status.as_str());
    let by_secret = |auth: &UserAuthConfigInfo| {
        auth.iam_auth().is_some_and(|mode| *mode != IamAuthMode::Disabled)
    };
    let on = proxy.default_auth_scheme() == Some("IAM_AUTH") || proxy.auth().iter().any(by_secret);
    Ok(Database {
        kind: Kind::Proxy,
        id: id.to_owned(),
        engine: Some(RdsEngine::Postgres),
        host: proxy.endpoint().ok_or_else(|| no_endpoint(id, status))?.to_owned(),
        // A proxy listens on its engine's own port, whatever the database's is.
        port: Some(5432),
        resource_id: proxy.db_proxy_arn().and_then(|arn| arn.rsplit(':').next()).map(str::to_owned),
        region: wanted.region.to_owned(),
        vpc: proxy.vpc_id().map(str::to_owned),
        subnets: proxy.vpc_subnet_ids().to_vec(),
        security_groups: proxy.vpc_security_group_ids().to_vec(),
        iam: iam(Some(on), None),
        ..Database::default()
    })
}

/// Adds what only the database behind a proxy knows.
async fn behind(
    client: &Client,
    seen: &Seen,
    mut proxy: Database,
    notes: &mut Vec<Note>,
) -> Result<Database, String> {
    let targets = client.describe_db_proxy_targets().db_proxy_name(&proxy.id).into_paginator();
    let targets = all(targets.items().send(), Right::DescribeDBProxyTargets, notes).await?;
    for id in targets.iter().filter_map(|target| target.rds_resource_id()) {
        if let Some(Database { engine, version, name, administrator, .. }) = seen.behind(id)? {
            proxy = Database { engine, version, name, administrator, ..proxy };
        }
    }
    Ok(proxy)
}
