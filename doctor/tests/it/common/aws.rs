//! Somebody else's implementation of AWS's services, for what doctor asks them.

use std::collections::BTreeMap;

use rds_local::Server;
use rds_local::testing::imitations::Moto;
use serde_json::Value;
use tokio::process::Command;

/// moto's RDS and CloudWatch Logs, with this machine's gate as RDS's instance `rds-local`.
pub struct Aws {
    pub moto: Moto,
}

impl Aws {
    pub async fn start() -> Self {
        Self { moto: Moto::start(&super::root()).await }
    }

    /// Creates the instance `rds-local`, and returns its resource id.
    pub async fn create_instance(&self, port: u16) -> String {
        self.call(&format!(
            "rds.create_db_instance(DBInstanceIdentifier='rds-local', Engine='postgres', \
             DBInstanceClass='db.t3.micro', MasterUsername='postgres', MasterUserPassword='secret99', \
             AllocatedStorage=20, Port={port}, EnableIAMDatabaseAuthentication=True, \
             EnableCloudwatchLogsExports=['iam-db-auth-error'])\
             ['DBInstance']['DbiResourceId']"
        ))
        .await
    }

    /// The variables of a server's, with these services beside it.
    pub fn beside(&self, server: &Server) -> BTreeMap<String, String> {
        let mut variables = server.variables();
        for service in ["RDS", "CLOUDWATCH_LOGS"] {
            variables.insert(format!("AWS_ENDPOINT_URL_{service}"), self.moto.url.clone());
        }
        variables
    }

    /// Calls a service through boto3, and returns the printed answer.
    pub async fn call(&self, call: &str) -> String {
        boto3(&self.moto.url, call).await
    }
}

/// Calls a service at this address through boto3, and returns the printed answer.
pub async fn boto3(url: &str, call: &str) -> String {
    python(&format!(
        "import boto3; client = lambda name: boto3.client(name, 'us-east-1', endpoint_url='{url}', \
         aws_access_key_id='x', aws_secret_access_key='x'); rds = client('rds'); print({call})"
    ))
    .await
}

/// Runs a script beside the SAM CLI, boto3 and moto, and returns what it prints.
pub async fn python(script: &str) -> String {
    let python = super::root().join("target/venv-sam/bin/python");
    let output = Command::new(python).args(["-c", script]).output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", super::text(&output.stderr));
    super::text(&output.stdout).trim().to_owned()
}

/// doctor's report on these variables.
pub async fn doctor(variables: &BTreeMap<String, String>, changes: &[(&str, &str)]) -> Value {
    let changes = changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut variables = variables.clone();
    variables.extend(changes);
    super::doctor(&variables).await.0
}

/// The cause that it names first.
pub fn first(report: &Value) -> &Value {
    &report["causes"][0]
}

/// The finding of a step.
pub fn step<'a>(report: &'a Value, name: &str) -> &'a str {
    let steps = report["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == name);
    step.unwrap_or_else(|| panic!("no step {name}: {report:#}"))["found"].as_str().unwrap()
}

/// The cause that it names first, and how sure it is.
pub fn cause(report: &Value) -> (&str, &str) {
    let text = |key: &str| first(report)[key].as_str().unwrap_or_default();
    (text("cause"), text("likelihood"))
}
