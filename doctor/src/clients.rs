//! Settings that other clients need for a login with a token. The doctor sees its own login only, and does not
//! know another client's options.

use crate::engine::Engine;
use crate::environment::Environment;
use crate::remedy::{Remedy, word};
use crate::report::{Finding, Likelihood};

/// A client that is not the functions' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "terminal", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Client {
    /// Oracle's mysql
    Mysql,
    /// MariaDB's mariadb, and its mysql
    Mariadb,
    /// mysql2 of Node.js
    Mysql2,
    /// MySQL Connector/Python
    ConnectorPython,
    /// PyMySQL, aiomysql and asyncmy
    Pymysql,
    /// MySQL Connector/J
    ConnectorJ,
    /// go-sql-driver/mysql
    GoSqlDriver,
    /// awscurl, for Neptune
    Awscurl,
    /// curl, for Neptune
    Curl,
    /// boto3's neptunedata
    Boto3,
}

impl Client {
    /// Its name on the command line, and what it has to be told.
    fn advice(self, environment: &Environment) -> (&'static str, Vec<Remedy>) {
        let value = |name: &str| environment.get(name).map_or(format!("<{name}>"), str::to_owned);
        let (host, port) = (value("MYSQL_HOST"), value("MYSQL_TCP_PORT"));
        let (user, ca) = (value("MYSQL_USER"), value("MYSQL_SSL_CA"));
        let graph = format!("https://{}:{}/status", value("NEPTUNE_HOST"), value("NEPTUNE_PORT"));
        let region = value("AWS_REGION");
        let token = "\"$(aws rds generate-db-auth-token …)\"";
        match self {
            Self::Mysql => (
                "mysql",
                vec![
                    Remedy::command(format!(
                        "MYSQL_PWD={token} mysql --enable-cleartext-plugin --ssl-mode=VERIFY_IDENTITY --ssl-ca={} --host={host} --port={port} --user={}",
                        word(&ca),
                        word(&user)
                    )),
                    Remedy::action(
                        "Without --enable-cleartext-plugin it ends with error 2059: the plugin mysql_clear_password is not enabled. LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN=Y does the same",
                    ),
                ],
            ),
            Self::Mariadb => (
                "mariadb",
                vec![
                    Remedy::command(format!(
                        "MYSQL_PWD={token} mariadb --default-auth=mysql_clear_password --ssl-verify-server-cert --ssl-ca={} --host={host} --port={port} --user={}",
                        word(&ca),
                        word(&user)
                    )),
                    Remedy::action(
                        "It has no --enable-cleartext-plugin (obsolete), and without --ssl-ca and without -p it does not verify the certificate",
                    ),
                ],
            ),
            Self::Mysql2 => (
                "mysql2",
                vec![Remedy::action(
                    "Pass enableCleartextPlugin: true (from version 3.22) and ssl: { ca: fs.readFileSync(CA) }; without the first it ends with MYSQL_CLEAR_PASSWORD_NOT_ENABLED",
                )],
            ),
            Self::ConnectorPython => (
                "connector-python",
                vec![Remedy::action(
                    "Pass auth_plugin='mysql_clear_password', ssl_ca=CA, ssl_verify_cert=True and ssl_verify_identity=True to connect(); the C extension ends with error 2059 without auth_plugin",
                )],
            ),
            Self::Pymysql => (
                "pymysql",
                vec![Remedy::action(
                    "Pass ssl=ssl.create_default_context(cafile=CA) to connect(): it answers the request for the token by itself, and without an SSLContext it verifies nothing, or uses no TLS at all",
                )],
            ),
            Self::ConnectorJ => (
                "connector-j",
                vec![Remedy::action(
                    "Set sslMode=VERIFY_IDENTITY, trustCertificateKeyStoreUrl, and authenticationPlugins=com.mysql.cj.protocol.a.authentication.MysqlClearPasswordPlugin: it is on with TLS only",
                )],
            ),
            Self::GoSqlDriver => (
                "go-sql-driver",
                vec![Remedy::action(
                    "Set allowCleartextPasswords=true and tls=NAME in the DSN, with a tls.Config of the roots registered under that name",
                )],
            ),
            Self::Awscurl => (
                "awscurl",
                vec![Remedy::command(format!(
                    "awscurl --service neptune-db --region {region} {graph}"
                ))],
            ),
            Self::Curl => (
                "curl",
                vec![Remedy::command(format!(
                    "curl --aws-sigv4 aws:amz:{region}:neptune-db --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" --header \"x-amz-security-token: $AWS_SESSION_TOKEN\" {graph}"
                ))],
            ),
            Self::Boto3 => (
                "boto3",
                vec![Remedy::action(
                    "Create the client with endpoint_url='https://NEPTUNE_HOST:NEPTUNE_PORT' and the cluster's region_name: boto3.client('neptunedata', …); it signs for neptune-db by itself",
                )],
            ),
        }
    }

    fn engine(self) -> Engine {
        match self {
            Self::Awscurl | Self::Curl | Self::Boto3 => Engine::Neptune,
            _ => Engine::Mysql,
        }
    }

    /// The advice as a finding, beside what the check found.
    pub fn finding(self, environment: &Environment) -> Finding {
        let (name, remedies) = self.advice(environment);
        let mut evidence =
            vec![format!("the check cannot see the options of {name}: this is what it needs")];
        evidence.extend(match self.engine() {
            Engine::Mysql => vec![
                "\"using password: NO\" in its error: it sent no token, because the clear-text plugin is off or the password is empty".to_owned(),
                "\"using password: YES\": it sent one; without TLS, the server still refuses it, where the user has REQUIRE SSL".to_owned(),
            ],
            _ => vec![
                "a 403 with another service than neptune-db, or with a key that kept the quotes of jq without -r, says the same as one with a wrong secret".to_owned(),
            ],
        });
        Finding {
            cause: "other-client",
            title: format!("{name} needs options of its own"),
            likelihood: Likelihood::Warning,
            evidence,
            remedies,
        }
    }
}
