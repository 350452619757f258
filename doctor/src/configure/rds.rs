//! Finds a database in RDS by the name of an instance, a cluster or a proxy, or by an endpoint's. Aurora
//! Serverless and Multi-AZ clusters are clusters, and so are Neptune's, which RDS lists too.

use aws_sdk_rds::Client;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_rds::types::{
    DbCluster, DbInstance, DbProxy, DbSubnetGroup, IamAuthMode, UserAuthConfigInfo,
    VpcSecurityGroupMembership,
};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use rds_iam::endpoint::Endpoint;

use super::database::{Database, Engine, Iam, Kind};
use super::note::{Note, Refusal, Right};

/// How the database is asked for.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) reader: bool,
    pub(super) region: &'a str,
}

/// What the caller sees in the region.
struct Seen {
    instances: Vec<DbInstance>,
    clusters: Vec<DbCluster>,
    proxies: Vec<DbProxy>,
}

/// A database that has the name, and the endpoint, if that was the name.
enum Found<'a> {
    Instance(&'a DbInstance),
    Cluster(&'a DbCluster, Option<String>),
    Proxy(&'a DbProxy),
}

/// Describes the database. What the caller may not ask is a note.
pub(super) async fn find(
    client: &Client,
    wanted: &Wanted<'_>,
    notes: &mut Vec<Note>,
) -> Result<Database, String> {
    let seen = Seen::list(client, notes).await?;
    let found = seen.named(wanted.name);
    let region = wanted.region.to_owned();
    match found.as_slice() {
        [Found::Instance(_) | Found::Proxy(_)] if wanted.reader => {
            Err(format!("--reader is for clusters, and {} is none", wanted.name))
        }
        [Found::Instance(instance)] => Ok(Database { region, ..seen.instance(instance)? }),
        [Found::Cluster(cluster, host)] => {
            let reader = cluster.reader_endpoint().filter(|_| wanted.reader).map(str::to_owned);
            let database = seen.cluster(cluster, reader.or_else(|| host.clone()))?;
            let (vpc, subnets) = subnet_group(client, cluster, notes).await?;
            Ok(Database { region, vpc, subnets, ..database })
        }
        [Found::Proxy(found)] => {
            let mut database = Database { region, ..proxy(found)? };
            behind(client, &seen, &mut database, notes).await?;
            Ok(database)
        }
        [] => seen.nothing(wanted, notes),
        _ => Err(format!(
            "{} is the name of several: give the endpoint's name, which is one of {}",
            wanted.name,
            found.iter().filter_map(Found::address).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Every page of a list, as [`allowed`].
async fn all<T, E: ProvideErrorMetadata>(
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
    const DENIED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];
    let error = match answer {
        Ok(items) => return Ok(items),
        Err(error) => error,
    };
    let why = match error {
        SdkError::ServiceError(error) => {
            let code = error.err().code();
            // An endpoint's policy answers without a code.
            if error.raw().status().as_u16() == 403
                && code.is_none_or(|code| DENIED.contains(&code))
            {
                notes.push(Note::Unasked(right, Refusal::Denied));
                return Ok(Vec::new());
            }
            let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '.';
            let code: String = code.unwrap_or("UnknownError").chars().filter(plain).collect();
            format!("answered {code}")
        }
        _ => "cannot be reached".to_owned(),
    };
    Err(format!("RDS {why} ({right}): rds-doctor says what is wrong with credentials and clocks"))
}

impl Found<'_> {
    fn address(&self) -> Option<&str> {
        match self {
            Self::Instance(instance) => instance.endpoint()?.address(),
            Self::Cluster(cluster, _) => cluster.endpoint(),
            Self::Proxy(proxy) => proxy.endpoint(),
        }
    }
}

impl Seen {
    async fn list(client: &Client, notes: &mut Vec<Note>) -> Result<Self, String> {
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
    fn named(&self, name: &str) -> Vec<Found<'_>> {
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

    fn instance(&self, instance: &DbInstance) -> Result<Database, String> {
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
            database = Database { kind: Kind::Cluster, id, resource_id, name, iam, ..database };
        }
        Ok(database)
    }

    fn cluster(&self, cluster: &DbCluster, host: Option<String>) -> Result<Database, String> {
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

    fn nothing(&self, wanted: &Wanted<'_>, notes: &[Note]) -> Result<Database, String> {
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
        for note in notes {
            why += &format!("\n{note}");
        }
        Err(why)
    }
}

fn proxy(proxy: &DbProxy) -> Result<Database, String> {
    let id = proxy.db_proxy_name().unwrap_or_default();
    if proxy.engine_family() != Some("POSTGRESQL") {
        return Err(format!(
            "{id} is a proxy for {}, and only PostgreSQL's functions use one: name the cluster behind it",
            proxy.engine_family().unwrap_or("an unknown engine")
        ));
    }
    let status = proxy.status().map(|status| status.as_str());
    let own = proxy.endpoint().ok_or_else(|| no_endpoint(id, status))?;
    let by_secret = |auth: &UserAuthConfigInfo| {
        auth.iam_auth().is_some_and(|mode| *mode != IamAuthMode::Disabled)
    };
    let on = proxy.default_auth_scheme() == Some("IAM_AUTH") || proxy.auth().iter().any(by_secret);
    Ok(Database {
        kind: Kind::Proxy,
        id: id.to_owned(),
        engine: Some(Engine::Postgres),
        host: own.to_owned(),
        // A proxy listens on its engine's own port, whatever the database's is.
        port: Some(5432),
        resource_id: proxy.db_proxy_arn().and_then(|arn| arn.rsplit(':').next()).map(str::to_owned),
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
    database: &mut Database,
    notes: &mut Vec<Note>,
) -> Result<(), String> {
    let targets = client.describe_db_proxy_targets().db_proxy_name(&database.id).into_paginator();
    let targets = all(targets.items().send(), Right::DescribeDBProxyTargets, notes).await?;
    for id in targets.iter().filter_map(|target| target.rds_resource_id()) {
        let cluster = seen.clusters.iter().find(|c| c.db_cluster_identifier() == Some(id));
        let instance = seen.instances.iter().find(|i| i.db_instance_identifier() == Some(id));
        let target = match (cluster, instance) {
            (Some(cluster), _) => seen.cluster(cluster, None)?,
            (None, Some(instance)) => seen.instance(instance)?,
            (None, None) => continue,
        };
        let Database { engine, version, name, administrator, .. } = target;
        (database.engine, database.version) = (engine, version);
        (database.name, database.administrator) = (name, administrator);
    }
    Ok(())
}

/// VPC and subnets of a cluster, whose description has the name of its subnet group only.
async fn subnet_group(
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

fn network(group: &DbSubnetGroup) -> (Option<String>, Vec<String>) {
    let subnets = group.subnets().iter().filter_map(|subnet| subnet.subnet_identifier());
    (group.vpc_id().map(str::to_owned), subnets.map(str::to_owned).collect())
}

fn engine(id: &str, name: Option<&str>) -> Result<Engine, String> {
    let name = name.unwrap_or("an unknown engine");
    let no_function = || format!("{id} runs {name}, which no function speaks to");
    Engine::named(name).ok_or_else(no_function)
}

fn iam(enabled: Option<bool>, pending: Option<bool>) -> Option<Iam> {
    match (enabled?, pending) {
        (false, Some(true)) => Some(Iam::Pending),
        (false, _) => Some(Iam::Off),
        (true, _) => Some(Iam::On),
    }
}

fn groups(memberships: &[VpcSecurityGroupMembership]) -> Vec<String> {
    memberships.iter().filter_map(|m| m.vpc_security_group_id().map(str::to_owned)).collect()
}

fn no_endpoint(id: &str, status: Option<&str>) -> String {
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
