//! MariaDB behind the gate, and what a client of it needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::MysqlConfig;
use rds_iam::query::{Answer, Parameters, Query};
use rds_iam::token::AuthToken;
use rds_local::database::Engine;
use rds_local::{DATABASE, Options, Server};
use serde_json::value::RawValue;
use tempfile::TempDir;

pub const TEN_SECONDS: Duration = Duration::from_secs(10);

pub async fn start() -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { engine: Engine::Mysql, ..Options::new(folder.path()) };
    (Server::start(options).await.unwrap(), folder)
}

pub fn config(server: &Server, user: &str) -> MysqlConfig {
    let variables = server.variables();
    let get = |name: &str| variables.get(name).map(OsString::from);
    let mut config = MysqlConfig::from_vars(get).unwrap();
    config.user = user.into();
    config
}

/// The keys of the environment file.
pub fn credentials(server: &Server) -> Credentials {
    let variables = server.variables();
    Credentials::new(
        &variables["AWS_ACCESS_KEY_ID"],
        &variables["AWS_SECRET_ACCESS_KEY"],
        Some(variables["AWS_SESSION_TOKEN"].clone()),
        None,
        "test",
    )
}

pub fn token(server: &Server, user: &str) -> AuthToken {
    let signer = config(server, user).token_signer();
    signer.sign(&credentials(server), SharedTimeSource::default().now()).unwrap()
}

pub fn bind(query: &Query, values: &[(&str, &str)]) -> Parameters {
    let values: BTreeMap<String, Box<RawValue>> = values
        .iter()
        .map(|(name, json)| ((*name).into(), RawValue::from_string((*json).into()).unwrap()))
        .collect();
    Parameters::bind(query, &values).unwrap()
}

pub fn json(answer: &Answer) -> String {
    serde_json::to_string(answer).unwrap()
}

pub async fn count(server: &Server, table: &str) -> String {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    server.database.mariadb().unwrap().run(DATABASE, &sql).await.unwrap().trim().to_owned()
}
