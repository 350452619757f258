//! Databases of RDS: lists and describes instances and clusters. Aurora Serverless and Multi-AZ clusters are
//! clusters, and so are Neptune's, which RDS lists too.

use aws_sdk_rds::Client;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_rds::types::{
    DbCluster, DbInstance, DbProxy, DbSubnetGroup, VpcSecurityGroupMembership,
};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use rds_iam::endpoint::Endpoint;

use super::database::{Database, Iam, Kind, RdsEngine};
use super::note::{Note, Refusal, Right};

/// How the database is asked for.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) reader: bool,
    pub(super) region: &'a str,
}

/// The databases that the caller sees in the region.
pub(super) struct Seen {
    instances: Vec<DbInstance>,
    clusters: Vec<DbCluster>,
    pub(super) proxies: Vec<DbProxy>,
}

/// A database that has the name, and the endpoint, if that was the name.
pub(super) enum Found<'a> {
    Instance(&'a DbInstance),
    Cluster(&'a DbCluster, Option<String>),
    Proxy(&'a DbProxy),
}

/// Every page of a list, as [`allowed`].
pub(super) async fn all<T, E: ProvideErrorMetadata>(
    pages: PaginationStream<Result<T, SdkError<E>>>,
    right: Right,
    notes: &mut Vec<Note>,
) -> Result<Vec<T>, String> {
    allowed(pages.collect().await, right, notes)
}

/// An answer, or nothing and a note if the caller may not ask.
fn allowed<T, E: ProvideErrorMetadata>(
    answer: Result<Vec<T>, SdkError<E>>,
    right: Right,
    notes: &mut Vec<Note>,
) -> Result<Vec<T>, String> {
    match answer.map_err(refusal) {
        Ok(items) => Ok(items),
        Err(denied @ Refusal::Denied) => {
            notes.push(Note::Unasked(right, denied));
            Ok(Vec::new())
        }
        Err(Refusal::Failed(why)) => Err(format!(
            "RDS {why} ({right}): rds-doctor says what is wrong with credentials and clocks"
        )),
    }
}

pub(super) fn refusal<E: ProvideErrorMetadata>(error: SdkError<E>) -> Refusal {
    const DENIED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];
    let SdkError::ServiceError(error) = error else {
        return Refusal::Failed("cannot be reached".to_owned());
    };
    let code = error.err().code();
    // An endpoint's policy answers without a code.
    if error.raw().status().as_u16() == 403 && code.is_none_or(|code| DENIED.contains(&code)) {
        return Refusal::Denied;
    }
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '.';
    let code: String = code.unwrap_or("UnknownError").chars().filter(plain).collect();
    Refusal::Failed(format!("answered {code}"))
}

impl Found<'_> {
    pub(super) fn address(&self) -> Option<&str> {
        match self {
            Self::Instance(instance) => instance.endpoint()?.address(),
            Self::Cluster(cluster, _) => cluster.endpoint(),
            Self::Proxy(proxy) => proxy.endpoint(),
        }
    }
}

impl Seen {
    pub(super) async fn list(client: &Client, notes: &mut Vec<Note>) -> Result<Self, String> {
        let instances = client.describe_db_instances().into_paginator().items().send();
        let clusters = client.describe_db_clusters().into_paginator().items().send();
        let proxies = client.describe_db_proxies().into_paginator().items().send();
        Ok(Self {
            instances: all(instances, Right::DescribeDBInstances, notes).await?,
            clusters: all(clusters, Right::DescribeDBClusters, notes).await?,
            proxies: all(proxies, Right::DescribeDBProxies, notes).await?,
        })
    }

    /// Every database with this name, or with an endpoint of this name.
    pub(super) fn named(&self, name: &str) -> Vec<Found<'_>> {
        let is = |text: Option<&str>| text.is_some_and(|text| text.eq_ignore_ascii_case(name));
        let mut found = Vec::new();
        for instance in &self.instances {
            if is(instance.db_instance_identifier())
                || is(instance.endpoint().and_then(|e| e.address()))
            {
                found.push(Found::Instance(instance));
            }
        }
        for cluster in &self.clusters {
            let further = cluster.custom_endpoints().iter().map(String::as_str);
            let mut all = further.chain(cluster.reader_endpoint()).chain(cluster.endpoint());
            let host = all.find(|host| is(Some(host))).map(str::to_owned);
            if is(cluster.db_cluster_identifier()) || host.is_some() {
                found.push(Found::Cluster(cluster, host));
            }
        }
        for proxy in &self.proxies {
            if is(proxy.db_proxy_name()) || is(proxy.endpoint()) {
                found.push(Found::Proxy(proxy));
            }
        }
        found
    }

    pub(super) fn instance(&self, instance: &DbInstance) -> Result<Database, String> {
        let id = instance.db_instance_identifier().unwrap_or_default();
        let endpoint = instance.endpoint();
        let host = endpoint.and_then(|endpoint| endpoint.address());
        let host = host.ok_or_else(|| no_endpoint(id, instance.db_instance_status()))?;
        let user = instance.master_username();
        let pending = instance.pending_modified_values();
        let (vpc, subnets) = instance.db_subnet_group().map(network).unwrap_or_default();
        let mut database = Database {
            kind: Kind::Instance,
            id: id.to_owned(),
            engine: Some(engine(id, instance.engine())?),
            version: instance.engine_version().map(str::to_owned),
            host: host.to_owned(),
            port: endpoint.and_then(|endpoint| endpoint.port()),
            resource_id: instance.dbi_resource_id().map(str::to_owned),
            name: instance.db_name().map(str::to_owned),
            administrator: user.map(|user| (user.to_owned(), host.to_owned())),
            vpc,
            subnets,
            security_groups: groups(instance.vpc_security_groups()),
            iam: iam(
                instance.iam_database_authentication_enabled(),
                pending.and_then(|pending| pending.iam_database_authentication_enabled()),
            ),
            ca: instance.ca_certificate_identifier().map(str::to_owned),
            ..Database::default()
        };
        // Policies name the cluster of an instance in one, which also has the setting.
        if let Some(owner) = instance.db_cluster_identifier() {
            let cluster = self.clusters.iter().find(|c| c.db_cluster_identifier() == Some(owner));
            let of_cluster = match cluster {
                Some(cluster) => self.cluster(cluster, None)?,
                None => Database { id: owner.to_owned(), ..Database::default() },
            };
            let Database { id, resource_id, name, iam, .. } = of_cluster;
            // Only the writer takes the administrator's scripts.
            let administrator = of_cluster.administrator.or(database.administrator);
            database = Database {
                kind: Kind::Cluster,
                id,
                resource_id,
                name,
                iam,
                administrator,
                ..database
            };
        }
        Ok(database)
    }

    pub(super) fn cluster(
        &self,
        cluster: &DbCluster,
        host: Option<String>,
    ) -> Result<Database, String> {
        let id = cluster.db_cluster_identifier().unwrap_or_default();
        let writer = cluster.endpoint().ok_or_else(|| no_endpoint(id, cluster.status()))?;
        let members = self.instances.iter().filter(|i| i.db_cluster_identifier() == Some(id));
        let of_member = members.filter_map(|i| i.ca_certificate_identifier()).next();
        let own = cluster.certificate_details().and_then(|details| details.ca_identifier());
        let pending = cluster.pending_modified_values();
        let user = cluster.master_username();
        Ok(Database {
            kind: Kind::Cluster,
            id: id.to_owned(),
            engine: Some(engine(id, cluster.engine())?),
            version: cluster.engine_version().map(str::to_owned),
            host: host.unwrap_or_else(|| writer.to_owned()),
            port: cluster.port(),
            resource_id: cluster.db_cluster_resource_id().map(str::to_owned),
            name: cluster.database_name().map(str::to_owned),
            administrator: user.map(|user| (user.to_owned(), writer.to_owned())),
            security_groups: groups(cluster.vpc_security_groups()),
            iam: iam(
                cluster.iam_database_authentication_enabled(),
                pending.and_then(|pending| pending.iam_database_authentication_enabled()),
            ),
            ca: own.or(of_member).map(str::to_owned),
            ..Database::default()
        })
    }

    /// The cluster or instance with this name.
    pub(super) fn behind(&self, id: &str) -> Result<Option<Database>, String> {
        let cluster = self.clusters.iter().find(|c| c.db_cluster_identifier() == Some(id));
        let instance = self.instances.iter().find(|i| i.db_instance_identifier() == Some(id));
        match (cluster, instance) {
            (Some(cluster), _) => self.cluster(cluster, None).map(Some),
            (None, Some(instance)) => self.instance(instance).map(Some),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn nothing(&self, wanted: &Wanted<'_>, notes: &[Note]) -> Result<Database, String> {
        let Wanted { name, region, .. } = *wanted;
        let denied = notes.iter().any(|note| matches!(note, Note::Unasked(_, Refusal::Denied)));
        if denied && region_of(name).is_some() {
            let (host, region) = (name.to_ascii_lowercase(), region.to_owned());
            return Ok(Database { id: host.clone(), host, region, ..Database::default() });
        }
        let names = self.instances.iter().filter_map(|i| i.db_instance_identifier());
        let names = names.chain(self.clusters.iter().filter_map(|c| c.db_cluster_identifier()));
        let names = names.chain(self.proxies.iter().filter_map(|p| p.db_proxy_name()));
        let close = |other: &&str| strsim::jaro_winkler(other, name) > 0.85;
        let mut why = format!("{region} has no instance, cluster or proxy {name}");
        if let Some(other) = names.into_iter().find(close) {
            why += &format!("; did you mean {other}?");
        }
        Err(with_notes(why, notes))
    }
}

/// VPC and subnets of a cluster, whose description has the name of its subnet group only.
pub(super) async fn subnet_group(
    client: &Client,
    cluster: &DbCluster,
    notes: &mut Vec<Note>,
) -> Result<(Option<String>, Vec<String>), String> {
    let name = cluster.db_subnet_group().unwrap_or_default();
    let answer = client.describe_db_subnet_groups().db_subnet_group_name(name).send().await;
    let groups = answer.map(|answer| answer.db_subnet_groups.unwrap_or_default());
    let groups = allowed(groups, Right::DescribeDBSubnetGroups, notes)?;
    Ok(groups.first().map(network).unwrap_or_default())
}

/// A reason to stop, with the notes that may explain it.
pub(super) fn with_notes(why: String, notes: &[Note]) -> String {
    notes.iter().fold(why, |why, note| format!("{why}\n{note}"))
}

fn network(group: &DbSubnetGroup) -> (Option<String>, Vec<String>) {
    let subnets = group.subnets().iter().filter_map(|subnet| subnet.subnet_identifier());
    (group.vpc_id().map(str::to_owned), subnets.map(str::to_owned).collect())
}

fn engine(id: &str, name: Option<&str>) -> Result<RdsEngine, String> {
    let name = name.unwrap_or("an unknown engine");
    let no_function = || format!("{id} runs {name}, which no function speaks to");
    RdsEngine::named(name).ok_or_else(no_function)
}

pub(super) fn iam(enabled: Option<bool>, pending: Option<bool>) -> Option<Iam> {
    match (enabled?, pending) {
        (false, Some(true)) => Some(Iam::Pending),
        (false, _) => Some(Iam::Off),
        (true, _) => Some(Iam::On),
    }
}

fn groups(memberships: &[VpcSecurityGroupMembership]) -> Vec<String> {
    memberships.iter().filter_map(|m| m.vpc_security_group_id().map(str::to_owned)).collect()
}

pub(super) fn no_endpoint(id: &str, status: Option<&str>) -> String {
    format!("{id} has no endpoint yet: it is {}", status.unwrap_or("being created"))
}

/// The region in an endpoint's name.
pub(super) fn region_of(name: &str) -> Option<String> {
    let endpoint = Endpoint::parse(name, 5432).ok()?;
    let labels: Vec<&str> = endpoint.host.split('.').collect();
    let neptune = labels.iter().position(|label| *label == "neptune");
    let before =
        neptune.and_then(|at| labels.get(at.checked_sub(1)?)).map(|&label| label.to_owned());
    endpoint.region.or(before)
}
