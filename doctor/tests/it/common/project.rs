//! A project to configure, beside somebody else's RDS and EC2.

use std::any::Any;
use std::collections::BTreeMap;
use std::process::Output;

use rds_local::testing::imitations::{Ministack, Moto};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::aws::python;

/// Those whose template is beside their code.
pub const FUNCTIONS: [&str; 6] =
    ["batch-job", "db-check", "event-query", "export-query", "mysql-query", "neptune-query"];

/// Somebody else's RDS and EC2 with databases, and a project to configure.
pub struct World {
    pub url: String,
    /// The ids of what the script made, and the keys of its user.
    pub made: Value,
    /// Ends when it is dropped.
    _services: Box<dyn Any>,
    pub project: TempDir,
}

pub struct Ran {
    pub ok: bool,
    pub out: String,
    pub error: String,
}

impl World {
    pub async fn start() -> Self {
        let moto = Moto::start(&super::root()).await;
        Self::made(moto.url.clone(), include_str!("../configure.py"), Box::new(moto)).await
    }

    /// moto has no endpoints of proxies.
    pub async fn with_endpoints() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ministack = Ministack::start(&super::root(), folder.path()).await;
        let (url, script) = (ministack.url.clone(), include_str!("../configure_endpoints.py"));
        Self::made(url, script, Box::new((ministack, folder))).await
    }

    async fn made(url: String, set_up: &str, services: Box<dyn Any>) -> Self {
        let made = serde_json::from_str(&script(&url, set_up).await).unwrap();
        Self { url, made, _services: services, project: project() }
    }

    /// The same with another project.
    pub fn anew(&mut self) -> &Self {
        self.project = project();
        self
    }

    pub fn id(&self, name: &str) -> &str {
        self.made[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.made))
    }

    pub fn file(&self) -> String {
        std::fs::read_to_string(self.project.path().join("samconfig.toml")).unwrap()
    }

    pub async fn configure(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rds-doctor"));
        command.arg("configure").args(arguments);
        self.run(command).await
    }

    pub async fn run(&self, mut command: Command) -> Ran {
        command.current_dir(self.project.path()).env_clear().kill_on_drop(true);
        command.envs([("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", &self.url)]);
        command.env("AWS_ACCESS_KEY_ID", self.id("key")).env("HOME", self.project.path());
        command.env("AWS_SECRET_ACCESS_KEY", self.id("secret"));
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        let ran =
            Ran { ok: status.success(), out: super::text(&stdout), error: super::text(&stderr) };
        for secret in ["secret99", self.id("secret")] {
            assert!(!format!("{}{}{}", ran.out, ran.error, self.file()).contains(secret));
        }
        ran
    }

    /// The report as JSON.
    pub async fn report(&self, arguments: &[&str]) -> Value {
        let ran = self.configure(&[arguments, &["--json", "--yes"]].concat()).await;
        assert!(ran.ok, "{arguments:?}: {}{}", ran.out, ran.error);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// The parameters that SAM takes from samconfig.toml.
    pub async fn parameters(&self, environment: &str) -> BTreeMap<String, String> {
        let folder = self.project.path().display();
        let read = format!(
            "import json; from samcli.cli.types import CfnParameterOverridesType as Type; \
             from samcli.lib.config.samconfig import SamConfig; \
             found = SamConfig('{folder}').get_all(['deploy'], 'parameters', '{environment}'); \
             print(json.dumps(Type().convert(found['parameter_overrides'], None, None)))"
        );
        serde_json::from_str(&python(&read).await).unwrap()
    }
}

/// Runs a script with boto3's clients of the services at this address.
pub async fn script(url: &str, text: &str) -> String {
    let clients = format!(
        "import boto3, json, functools\nclient = functools.partial(boto3.client, region_name='us-east-1', \
         endpoint_url='{url}', aws_access_key_id='123456789012', aws_secret_access_key='x')\n"
    );
    python(&(clients + text)).await
}

/// The repository's templates and its samconfig.toml.
fn project() -> TempDir {
    let project = tempfile::tempdir().unwrap();
    let copy = |path: &str| {
        let to = project.path().join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(super::root().join(path), to).unwrap();
    };
    copy("template.yaml");
    copy("samconfig.toml");
    for function in FUNCTIONS {
        copy(&format!("functions/{function}/template.yaml"));
    }
    project
}
