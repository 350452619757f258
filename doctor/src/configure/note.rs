//! Notes for a person about the database, beside the values that are written.

use std::fmt;

/// An action of IAM that `configure` calls.
#[allow(clippy::enum_variant_names, reason = "they are AWS's own names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    DescribeDBInstances,
    DescribeDBClusters,
    DescribeDBProxies,
    DescribeDBProxyEndpoints,
    DescribeDBProxyTargets,
    DescribeDBSubnetGroups,
    DescribeRouteTables,
    DescribeSubnets,
    DescribeSecurityGroups,
}

impl Right {
    fn is_of_ec2(self) -> bool {
        matches!(
            self,
            Self::DescribeRouteTables | Self::DescribeSubnets | Self::DescribeSecurityGroups
        )
    }

    /// The consequence of missing it.
    fn loss(self) -> &'static str {
        match self {
            Self::DescribeDBInstances => {
                "instances and the certificate authority of clusters are unknown"
            }
            Self::DescribeDBClusters => {
                "clusters and the resource ids of instances in clusters are unknown"
            }
            Self::DescribeDBProxies => "proxies are unknown",
            Self::DescribeDBProxyEndpoints => "the further endpoints of proxies are unknown",
            Self::DescribeDBProxyTargets => "the database behind the proxy is unknown",
            Self::DescribeDBSubnetGroups => "VPC and subnets are unknown",
            Self::DescribeRouteTables => {
                "SubnetIds are all of the database's subnets, public ones too"
            }
            Self::DescribeSubnets => {
                "SubnetIds are the database's subnets, all of which are public"
            }
            Self::DescribeSecurityGroups => "the first of the security groups is used",
        }
    }
}

/// As policies write it: `rds:DescribeDBInstances`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self:?}", if self.is_of_ec2() { "ec2" } else { "rds" })
    }
}

/// Why an action has no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The caller's policies do not allow it.
    Denied,
    Failed(String),
}

#[derive(Debug)]
pub(super) enum Note {
    Unasked(Right, Refusal),
    /// The command switches it on.
    IamOff {
        command: String,
    },
    IamPending,
    UnknownRoot {
        ca: String,
        region: String,
    },
    ResourceIdChanged {
        before: String,
        after: String,
    },
    /// The database's subnets are. Others of the VPC are private, or none is.
    PublicSubnets {
        has_others: bool,
    },
    /// The first is used.
    SeveralGroups(Vec<String>),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked(right, Refusal::Denied) => {
                write!(f, "The right {right} is missing: {}.", right.loss())
            }
            Self::Unasked(right, Refusal::Failed(why)) => {
                write!(f, "{right} has no answer ({why}): {}.", right.loss())
            }
            Self::IamOff { command } => {
                write!(f, "Switch IAM authentication on, or no token works:  {command}")
            }
            Self::IamPending => f.write_str(
                "The change of IAM authentication is pending: wait for the maintenance window, or apply it now.",
            ),
            Self::UnknownRoot { ca, region } => write!(
                f,
                "No built-in root is known for the authority {ca}: put \
                 truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem into certificates/ and its path into \
                 the function's PGSSLROOTCERT (MySQL: MYSQL_SSL_CA)."
            ),
            Self::ResourceIdChanged { before, after } => write!(
                f,
                "The resource id changed from {before} to {after}, as after a restore or a blue/green switch: \
                 deploy every function of this database again, and correct policies that name {before}."
            ),
            Self::PublicSubnets { has_others: true } => f.write_str(
                "The database's subnets are public: SubnetIds are private subnets of its VPC.",
            ),
            Self::PublicSubnets { has_others: false } => f.write_str(
                "The VPC has no private subnet: SubnetIds are the database's own, and functions there have no public address.",
            ),
            Self::SeveralGroups(groups) => write!(
                f,
                "The database has {} security groups: {} gets the rule that lets the functions in.",
                groups.len(),
                groups.first().map_or("", String::as_str)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Right::*;

    /// docs/deploy.md has the smallest policy, so the actions that `configure` calls.
    #[test]
    fn the_documented_policy_is_what_is_called() {
        let document = include_str!("../../../docs/deploy.md");
        let (_, section) = document.split_once("\n## Configure\n").unwrap();
        let (_, block) = section.split_once("```json\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let policy: serde_json::Value = serde_json::from_str(block).unwrap();
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Resource"], "*");
        let called = [
            DescribeDBInstances,
            DescribeDBClusters,
            DescribeDBProxies,
            DescribeDBProxyEndpoints,
            DescribeDBProxyTargets,
            DescribeDBSubnetGroups,
            DescribeRouteTables,
            DescribeSubnets,
            DescribeSecurityGroups,
        ];
        assert_eq!(statement["Action"], serde_json::json!(called.map(|right| right.to_string())));
    }
}
