//! Finds a database by the name of an instance, a cluster or a proxy, or by an endpoint's.

use aws_sdk_rds::Client;

use super::database::Database;
use super::note::Note;
use super::proxy;
use super::rds::{Found, Seen, Wanted, subnet_group};

/// Describes the database. What the caller may not ask is a note.
pub(super) async fn find(
    client: &Client,
    wanted: &Wanted<'_>,
    notes: &mut Vec<Note>,
) -> Result<Database, String> {
    let seen = Seen::list(client, notes).await?;
    let region = wanted.region.to_owned();
    match seen.named(wanted.name).as_slice() {
        [Found::Instance(_)] if wanted.reader => {
            Err(format!("--reader is for clusters and proxies, and {} is neither", wanted.name))
        }
        [Found::Instance(instance)] => Ok(Database { region, ..seen.instance(instance)? }),
        [Found::Cluster(cluster, host)] => {
            let host = match (wanted.reader, cluster.reader_endpoint()) {
                (false, _) => host.clone(),
                (true, Some(reader)) => Some(reader.to_owned()),
                (true, None) => return Err(format!("{} has no reader endpoint", wanted.name)),
            };
            let database = seen.cluster(cluster, host)?;
            let (vpc, subnets) = subnet_group(client, cluster, notes).await?;
            Ok(Database { region, vpc, subnets, ..database })
        }
        [Found::Proxy(proxy)] => proxy::describe(client, &seen, proxy, wanted, notes).await,
        [] => match proxy::at_endpoint(client, &seen, wanted, notes).await? {
            Some(database) => Ok(database),
            None => seen.nothing(wanted, notes),
        },
        several => Err(format!(
            "{} is the name of several: give the endpoint's name, which is one of {}",
            wanted.name,
            several.iter().filter_map(Found::address).collect::<Vec<_>>().join(", ")
        )),
    }
}
