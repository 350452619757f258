//! The subnets that the functions get, and the security group of the database that lets them in.

use std::collections::BTreeMap;

use super::database::Database;
use super::ec2::{Ec2, Element};
use super::note::{Note, Refusal, Right};

/// Lambda takes no more.
const MOST_SUBNETS: usize = 16;

/// Leaves the private ones of the database's subnets, and puts the security group first that already has a
/// rule for the database's port. Where EC2 cannot be asked, all of them stay, and a note says so.
pub(super) async fn choose(ec2: &Ec2, database: &mut Database, notes: &mut Vec<Note>) {
    if let Some(vpc) = database.vpc.clone()
        && let Err((right, refusal)) = private_subnets(ec2, database, vpc, notes).await
    {
        notes.push(Note::Unasked(right, refusal));
    }
    database.subnets.truncate(MOST_SUBNETS);
    if database.security_groups.len() > 1 {
        if let Err(refusal) = group_of_the_port(ec2, database).await {
            notes.push(Note::Unasked(Right::DescribeSecurityGroups, refusal));
        }
        notes.push(Note::SeveralGroups(database.security_groups.clone()));
    }
}

async fn private_subnets(
    ec2: &Ec2,
    database: &mut Database,
    vpc: String,
    notes: &mut Vec<Note>,
) -> Result<(), (Right, Refusal)> {
    let vpc = ("vpc-id", &[vpc][..]);
    let right = Right::DescribeRouteTables;
    let tables = ec2.list(right, "routeTableSet", vpc).await.map_err(|refusal| (right, refusal))?;
    let (private, public): (Vec<_>, Vec<_>) =
        database.subnets.drain(..).partition(|subnet| is_private(subnet, &tables));
    database.subnets = if private.is_empty() { public } else { private };
    if database.subnets.iter().any(|subnet| is_private(subnet, &tables)) {
        return Ok(());
    }
    let right = Right::DescribeSubnets;
    let all = ec2.list(right, "subnetSet", vpc).await.map_err(|refusal| (right, refusal))?;
    // One in each availability zone is enough.
    let mut others = BTreeMap::new();
    for subnet in all.iter().filter(|subnet| is_private(subnet.text("subnetId"), &tables)) {
        others.entry(subnet.text("availabilityZone")).or_insert(subnet.text("subnetId").to_owned());
    }
    notes.push(Note::PublicSubnets { has_others: !others.is_empty() });
    if !others.is_empty() {
        database.subnets = others.into_values().collect();
    }
    Ok(())
}

/// Whether no route of the subnet leads to an internet gateway.
fn is_private(subnet: &str, tables: &[Element]) -> bool {
    let with = |name: &str, value: &str| {
        tables.iter().find(|table| {
            table.items("associationSet").any(|association| association.text(name) == value)
        })
    };
    // A subnet without a route table of its own has the VPC's main one.
    let table = with("subnetId", subnet).or_else(|| with("main", "true"));
    table.is_some_and(|table| {
        !table.items("routeSet").any(|route| route.text("gatewayId").starts_with("igw-"))
    })
}

async fn group_of_the_port(ec2: &Ec2, database: &mut Database) -> Result<(), Refusal> {
    let filter = ("group-id", &database.security_groups[..]);
    let groups = ec2.list(Right::DescribeSecurityGroups, "securityGroupInfo", filter).await?;
    let lets_in = |rule: &Element| {
        let [from, to] = ["fromPort", "toPort"].map(|name| rule.text(name).parse::<i32>().ok());
        rule.text("ipProtocol") == "-1" || (from <= database.port && database.port <= to)
    };
    let chosen = groups.iter().find(|group| group.items("ipPermissions").any(lets_in));
    if let Some(chosen) = chosen {
        // The others keep their order.
        database.security_groups.sort_by_key(|group| *group != chosen.text("groupId"));
    }
    Ok(())
}
