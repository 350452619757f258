//! A database as RDS and EC2 describe it, and the parameters of a template that it fills.

use std::fmt;

use rds_iam::roots::Roots;
use serde::Serialize;
use x509_parser::pem::Pem;

/// A database as a template needs it. `None` is what nobody could tell.
#[derive(Debug, Default, Serialize)]
pub(super) struct Database {
    pub(super) kind: Kind,
    /// Its name in RDS.
    pub(super) id: String,
    pub(super) engine: Option<RdsEngine>,
    pub(super) version: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<i32>,
    pub(super) resource_id: Option<String>,
    /// The database that RDS created in it.
    pub(super) name: Option<String>,
    pub(super) region: String,
    /// The administrator's user name, and the host that lets the administrator in.
    pub(super) administrator: Option<(String, String)>,
    pub(super) vpc: Option<String>,
    pub(super) subnets: Vec<String>,
    pub(super) security_groups: Vec<String>,
    pub(super) iam: Option<Iam>,
    /// The certificate authority of the server's certificate.
    pub(super) ca: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Instance,
    Cluster,
    Proxy,
}

/// An engine by the name that RDS has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RdsEngine {
    Postgres,
    AuroraPostgresql,
    Mysql,
    AuroraMysql,
    Mariadb,
    Neptune,
}

/// IAM authentication of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Iam {
    On,
    Off,
    /// A change waits for the maintenance window or a restart.
    Pending,
}

impl RdsEngine {
    /// By the name that RDS has for it; `None` if no function speaks its language.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "postgres" => Some(Self::Postgres),
            "aurora-postgresql" => Some(Self::AuroraPostgresql),
            "mysql" => Some(Self::Mysql),
            "aurora-mysql" => Some(Self::AuroraMysql),
            "mariadb" => Some(Self::Mariadb),
            "neptune" => Some(Self::Neptune),
            _ => None,
        }
    }

    /// The function that is configured if none is named.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Postgres | Self::AuroraPostgresql => "scheduled-query",
            Self::Mysql | Self::AuroraMysql | Self::Mariadb => "mysql-query",
            Self::Neptune => "neptune-query",
        }
    }

    /// Whether a function speaks the engine's language.
    pub(super) fn serves(self, function: &str) -> bool {
        match function {
            "mysql-query" | "neptune-query" => self.function() == function,
            _ => self.function() == "scheduled-query",
        }
    }
}

impl fmt::Display for RdsEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::AuroraPostgresql => "Aurora PostgreSQL",
            Self::Mysql => "MySQL",
            Self::AuroraMysql => "Aurora MySQL",
            Self::Mariadb => "MariaDB",
            Self::Neptune => "Neptune",
        })
    }
}

impl Database {
    /// The value of a template's parameter: `None` if no database gives it, `Some(None)` if this one's is
    /// unknown.
    pub(super) fn parameter(&self, name: &str) -> Option<Option<String>> {
        Some(match name {
            "DatabaseHost" => Some(self.host.clone()),
            "DatabasePort" => self.port.map(|port| port.to_string()),
            "DatabaseResourceId" => self.resource_id.clone(),
            "DatabaseName" => self.name.clone(),
            "VpcId" => self.vpc.clone(),
            "SubnetIds" => (!self.subnets.is_empty()).then(|| self.subnets.join(",")),
            "DatabaseSecurityGroupId" => self.security_groups.first().cloned(),
            _ => return None,
        })
    }

    /// The command that switches IAM authentication on.
    pub(super) fn enable_iam(&self) -> String {
        let Self { id, region, .. } = self;
        let on = "--enable-iam-database-authentication --apply-immediately";
        match (self.kind, self.engine) {
            (Kind::Proxy, _) => format!(
                "aws rds modify-db-proxy --db-proxy-name {id} --default-auth-scheme IAM_AUTH --region {region}"
            ),
            (Kind::Instance, _) => format!(
                "aws rds modify-db-instance --db-instance-identifier {id} {on} --region {region}"
            ),
            (Kind::Cluster, engine) => {
                let service = if engine == Some(RdsEngine::Neptune) { "neptune" } else { "rds" };
                format!(
                    "aws {service} modify-db-cluster --db-cluster-identifier {id} {on} --region {region}"
                )
            }
        }
    }

    /// Whether the built-in roots verify the server's certificate. Proxies and Neptune have Amazon's own.
    pub(super) fn has_built_in_root(&self) -> bool {
        let Some(ca) = &self.ca else { return true };
        if self.kind == Kind::Proxy || self.engine == Some(RdsEngine::Neptune) {
            return true;
        }
        // `rds-ca-rsa2048-g1` chains to `Amazon RDS us-east-1 Root CA RSA2048 G1`.
        let algorithm = ca.trim_start_matches("rds-ca-").replace('-', " ").to_uppercase();
        let subject = format!("Amazon RDS {} Root CA {algorithm}", self.region);
        let Ok(roots) = Roots::built_in(&self.region, false) else { return false };
        Pem::iter_from_buffer(roots.pem().as_bytes()).flatten().any(|pem| {
            let Ok(root) = pem.parse_x509() else { return false };
            root.subject().iter_common_name().any(|name| name.as_str() == Ok(subject.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_of_rds_are_built_in_where_their_region_is() {
        let known = |region: &str, ca: &str| {
            let (region, ca) = (region.to_owned(), Some(ca.to_owned()));
            Database { region, ca, ..Database::default() }.has_built_in_root()
        };
        for ca in ["rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1"] {
            assert!(known("eu-central-1", ca), "{ca}");
            assert!(!known("cn-north-1", ca), "{ca}");
        }
        assert!(!known("us-east-1", "rds-ca-2019"));
    }
}
