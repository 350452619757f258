//! How RDS describes the database: an instance, a cluster or a proxy.

use aws_sdk_rds::Client;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_rds::operation::describe_db_instances::DescribeDBInstancesError;
use aws_sdk_rds::types::{DbCluster, IamAuthMode, VpcSecurityGroupMembership};
use aws_types::SdkConfig;
use rds_iam::Config;
use rds_iam::endpoint::EndpointKind;
use tokio::time::{Instant, timeout_at};

use super::client::{Dates, for_service};
use crate::aws::evidence::{Database, Rds};
use crate::environment::Environment;
use crate::report::{Status, Step};

pub(crate) async fn describe(
    environment: &Environment,
    config: Option<&Config>,
    sdk: &SdkConfig,
    dates: &Dates,
    until: Instant,
) -> (Rds, Step) {
    let start = Instant::now();
    let Some(config) = config.filter(|config| config.endpoint.kind != EndpointKind::Other) else {
        return (Rds::Unknown, Step::skipped("rds", "PGHOST is not a name of RDS"));
    };
    if config.endpoint.kind == EndpointKind::Global {
        let why = "a global endpoint does not name the cluster behind it";
        return (Rds::Unknown, Step::skipped("rds", why));
    }
    let Some(sdk) = for_service(environment, sdk, config, "RDS") else {
        let why =
            "STS is this machine's, so the keys are not AWS's: set AWS_ENDPOINT_URL_RDS to ask";
        return (Rds::Unknown, Step::skipped("rds", why));
    };
    let settings = aws_sdk_rds::config::Builder::from(&sdk).interceptor(dates.clone());
    let client = Client::from_conf(settings.build());
    let rds = match timeout_at(until, of_kind(&client, config)).await {
        Err(_) => Rds::Unreachable,
        Ok(rds) => rds,
    };
    let (status, found) = said(&rds);
    (rds, Step::new("rds", status, start.elapsed(), found))
}

async fn of_kind(client: &Client, config: &Config) -> Rds {
    let id = config.endpoint.host.split('.').next().unwrap_or_default();
    match config.endpoint.kind {
        EndpointKind::Proxy => proxy(client, id).await,
        EndpointKind::Instance => instance(client, id).await,
        _ => cluster(client, id, &config.endpoint.host).await,
    }
}

async fn instance(client: &Client, id: &str) -> Rds {
    let asked = client.describe_db_instances().db_instance_identifier(id).send().await;
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) if is_unknown(&error) => return other_instances(client).await,
        Err(error) => return failed(&error),
    };
    let Some(found) = asked.db_instances().first() else { return other_instances(client).await };
    let pending = found.pending_modified_values();
    let mut database = Database {
        id: id.to_owned(),
        address: found.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
        resource_id: found.dbi_resource_id().map(str::to_owned),
        account: found.db_instance_arn().and_then(account),
        iam: found.iam_database_authentication_enabled(),
        iam_pending: pending.is_some_and(|p| p.iam_database_authentication_enabled().is_some()),
        status: found.db_instance_status().unwrap_or_default().to_owned(),
        port: found.endpoint().and_then(|endpoint| endpoint.port()),
        public: found.publicly_accessible(),
        ca: found.ca_certificate_identifier().map(str::to_owned),
        security_groups: groups(found.vpc_security_groups()),
        auth_log: auth_log("instance", id, found.enabled_cloudwatch_logs_exports()),
        dimension: Some(("DBInstanceIdentifier", id.to_owned())),
    };
    // An instance of Aurora is reached under its cluster's resource id, which has the log too.
    if let Some(cluster_id) = found.db_cluster_identifier()
        && let Rds::Is(cluster) = cluster(client, cluster_id, "").await
    {
        database.resource_id = cluster.resource_id;
        database.iam = cluster.iam;
        database.auth_log = cluster.auth_log;
    }
    Rds::Is(Box::new(database))
}

/// The instances that there are: a name that does not exist may be a misspelling of one that does.
async fn other_instances(client: &Client) -> Rds {
    let pages = client.describe_db_instances().into_paginator().items().send();
    match pages.collect::<Result<Vec<_>, _>>().await {
        Ok(all) => {
            let endpoints = all.iter().filter_map(|i| i.endpoint()?.address());
            Rds::NotFound { endpoints: endpoints.map(str::to_owned).collect() }
        }
        Err(error) => failed(&error),
    }
}

fn is_unknown<R>(error: &SdkError<DescribeDBInstancesError, R>) -> bool {
    error.as_service_error().is_some_and(DescribeDBInstancesError::is_db_instance_not_found_fault)
}

async fn cluster(client: &Client, id: &str, host: &str) -> Rds {
    let pages = client.describe_db_clusters().into_paginator().items().send();
    let all = match pages.collect::<Result<Vec<_>, _>>().await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let is_meant = |cluster: &&DbCluster| {
        cluster.db_cluster_identifier() == Some(id)
            || cluster.custom_endpoints().iter().any(|name| name == host)
    };
    let Some(found) = all.iter().find(is_meant) else {
        let endpoints = all.iter().filter_map(|c| c.endpoint());
        return Rds::NotFound { endpoints: endpoints.map(str::to_owned).collect() };
    };
    let pending = found.pending_modified_values();
    let id = found.db_cluster_identifier().unwrap_or(id);
    let reader = host.contains(".cluster-ro-");
    let address = if reader { found.reader_endpoint() } else { found.endpoint() };
    Rds::Is(Box::new(Database {
        id: id.to_owned(),
        address: address.filter(|_| !host.contains(".cluster-custom-")).map(str::to_owned),
        resource_id: found.db_cluster_resource_id().map(str::to_owned),
        account: found.db_cluster_arn().and_then(account),
        iam: found.iam_database_authentication_enabled(),
        iam_pending: pending.is_some_and(|p| p.iam_database_authentication_enabled().is_some()),
        status: found.status().unwrap_or_default().to_owned(),
        port: found.port(),
        public: found.publicly_accessible(),
        ca: None,
        security_groups: groups(found.vpc_security_groups()),
        auth_log: auth_log("cluster", id, found.enabled_cloudwatch_logs_exports()),
        dimension: Some(("DBClusterIdentifier", id.to_owned())),
    }))
}

async fn proxy(client: &Client, id: &str) -> Rds {
    let pages = client.describe_db_proxies().into_paginator().items().send();
    let all = match pages.collect::<Result<Vec<_>, _>>().await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let named = |name: &str| all.iter().find(|p| p.db_proxy_name() == Some(name));
    let found = match named(id) {
        Some(found) => Some(found),
        None => proxy_of_endpoint(client, id).await.as_deref().and_then(named),
    };
    let Some(found) = found else {
        let endpoints = all.iter().filter_map(|p| p.endpoint());
        return Rds::NotFound { endpoints: endpoints.map(str::to_owned).collect() };
    };
    let disabled = IamAuthMode::Disabled;
    let scheme = found.default_auth_scheme() == Some("IAM_AUTH");
    let iam = scheme || found.auth().iter().any(|a| a.iam_auth().is_some_and(|m| *m != disabled));
    let arn = found.db_proxy_arn();
    Rds::Is(Box::new(Database {
        id: found.db_proxy_name().unwrap_or(id).to_owned(),
        address: found.endpoint().filter(|_| named(id).is_some()).map(str::to_owned),
        resource_id: arn.and_then(|arn| arn.rsplit(':').next()).map(str::to_owned),
        account: arn.and_then(account),
        iam: Some(iam),
        status: found.status().map(|s| s.as_str().to_owned()).unwrap_or_default(),
        security_groups: found.vpc_security_group_ids().to_vec(),
        ..Database::default()
    }))
}

/// The proxy that an additional endpoint belongs to.
async fn proxy_of_endpoint(client: &Client, name: &str) -> Option<String> {
    let all =
        client.describe_db_proxy_endpoints().db_proxy_endpoint_name(name).send().await.ok()?;
    all.db_proxy_endpoints().first()?.db_proxy_name().map(str::to_owned)
}

fn groups(memberships: &[VpcSecurityGroupMembership]) -> Vec<String> {
    memberships.iter().filter_map(|m| m.vpc_security_group_id().map(str::to_owned)).collect()
}

/// The log group of `iam-db-auth-error`, if it is exported.
fn auth_log(kind: &str, id: &str, exports: &[String]) -> Option<String> {
    let exported = exports.iter().any(|export| export == "iam-db-auth-error");
    exported.then(|| format!("/aws/rds/{kind}/{id}/iam-db-auth-error"))
}

fn account(arn: &str) -> Option<String> {
    arn.split(':').nth(4).map(str::to_owned)
}

fn failed<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Rds {
    match error {
        SdkError::ServiceError(_) => Rds::Denied,
        _ => Rds::Unreachable,
    }
}

fn said(rds: &Rds) -> (Status, String) {
    match rds {
        Rds::Unknown => (Status::Skipped, "not asked".into()),
        Rds::Denied => (
            Status::Unknown,
            "the caller may not call rds:Describe…: resource id and IAM authentication are unknown"
                .into(),
        ),
        Rds::Unreachable => (
            Status::Unknown,
            "the RDS API cannot be reached: resource id and IAM authentication are unknown".into(),
        ),
        Rds::NotFound { .. } => {
            (Status::Warning, "the caller's account has no such database in this region".into())
        }
        Rds::Is(database) => {
            let iam = match (database.iam, database.iam_pending) {
                (_, true) => "IAM authentication pending",
                (Some(true), _) => "IAM authentication on",
                (Some(false), _) => "IAM authentication OFF",
                (None, _) => "IAM authentication unknown",
            };
            let mut found = format!("{}, {iam}", database.status);
            for part in [&database.resource_id, &database.ca].into_iter().flatten() {
                found += &format!(", {part}");
            }
            found += match database.public {
                Some(true) => ", public",
                Some(false) => ", private",
                None => "",
            };
            let fine = database.status == "available" && database.iam != Some(false);
            (if fine { Status::Ok } else { Status::Failed }, found)
        }
    }
}
