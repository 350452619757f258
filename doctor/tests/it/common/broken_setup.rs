//! Failures that are produced for real, each with its true cause. doctor must name that cause first, and
//! the login must work once the test has done what the remedy says.

use std::collections::BTreeMap;
use std::process::Command;

use rds_local::gate::Fault;
use rds_local::iam::Identity;
use rds_local::{Options, Server};
use serde_json::Value;
use tempfile::TempDir;

pub const USER: &str = "iam_ro_user";

pub type Variables = BTreeMap<String, String>;

/// A server, and the clients that do not reach it.
pub struct BrokenSetup {
    pub server: Server,
    pub folder: TempDir,
    /// The variables with which a login works.
    pub healthy: Variables,
    /// The failures that were staged, and whether the true cause came first.
    pub seen: Vec<(&'static str, bool)>,
    outputs: Vec<String>,
}

/// Variables, by name, and their changed values.
pub type Changes<'a> = &'a [(&'a str, &'a str)];

/// Values for a remedy's `<…>`, by a part of its text.
pub type Fill<'a> = &'a [(&'a str, &'a str)];

impl BrokenSetup {
    pub async fn open(change: impl FnOnce(Options) -> Options) -> Self {
        let (server, folder) = super::start(change).await;
        let mut healthy = server.variables();
        for (name, value) in [
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            healthy.insert(name.into(), value.into());
        }
        Self { server, folder, healthy, seen: Vec::new(), outputs: Vec::new() }
    }

    pub fn with(&self, changes: Changes<'_>) -> Variables {
        let mut variables = self.healthy.clone();
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables
    }

    pub async fn doctor(&mut self, variables: &Variables) -> Value {
        let (report, text) = super::doctor(variables).await;
        self.outputs.push(text);
        report
    }

    /// Checks that the doctor names this cause first for these variables, and that the login works after its
    /// remedies. `act` does the part of a remedy that is done elsewhere.
    pub async fn repair(
        &mut self,
        name: &'static str,
        cause: &str,
        mut variables: Variables,
        fill: Fill<'_>,
        act: impl AsyncFnOnce(&mut Server),
    ) {
        let report = self.doctor(&variables).await;
        assert_eq!(report["ok"], false, "{name}: {report:#}");
        let first = &report["causes"][0];
        let right = first["cause"] == cause;
        if !right {
            eprintln!("{name}: {cause} expected, {report:#}");
        }
        self.seen.push((name, right));
        for remedy in first["remedies"].as_array().unwrap() {
            self.apply(name, remedy, &mut variables, fill).await;
        }
        act(&mut self.server).await;
        let after = self.doctor(&variables).await;
        assert_eq!(after["ok"], true, "{name}, after {first:#}: {after:#}");
    }

    /// Like [`BrokenSetup::repair`], for changed variables whose remedies need no other action.
    pub async fn repair_variables(
        &mut self,
        name: &'static str,
        cause: &str,
        changes: Changes<'_>,
        fill: Fill<'_>,
    ) {
        let variables = self.with(changes);
        self.repair(name, cause, variables, fill, nothing).await;
    }

    async fn apply(&self, name: &str, remedy: &Value, variables: &mut Variables, fill: Fill<'_>) {
        let text = |key: &str| filled(remedy[key].as_str().unwrap(), fill);
        match remedy["kind"].as_str().unwrap() {
            "variable" => {
                let value = text("value");
                assert!(!value.contains('<'), "{name}: what is {value}?");
                variables.insert(text("name"), value);
            }
            "sql" => {
                let admin = self.server.database.superuser(&text("database")).await.unwrap();
                admin.batch_execute(&text("sql")).await.unwrap();
            }
            "policy" => self.attach(name, remedy, &variables["AWS_ACCESS_KEY_ID"], fill),
            "command" => export(&text("command"), variables),
            _ => {}
        }
    }

    /// Gives the principal of this key the policy, if it is about database users.
    fn attach(&self, name: &str, remedy: &Value, id: &str, fill: Fill<'_>) {
        let text = |key: &str| filled(remedy[key].as_str().unwrap(), fill);
        let document: Value = serde_json::from_str(&text("document")).unwrap();
        let statement = &document["Statement"][0];
        if statement["Action"] == "rds-db:connect" {
            let resource = statement["Resource"].as_str().unwrap().to_owned();
            let signer = self.server.iam.find(id).unwrap();
            assert!(text("attach_to").ends_with(&signer.arn), "{name}: {remedy}");
            let (secret, session) = (&signer.secret_access_key, signer.session_token.clone());
            let repaired = Identity::with_key(id, secret, session, &signer.arn, &[resource]);
            self.server.iam.add(repaired);
        }
    }

    /// Every cause was the true one, and no output holds a secret.
    pub async fn close(self) -> usize {
        let secrets: Vec<&String> =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
                .iter()
                .map(|name| &self.healthy[*name])
                .collect();
        for output in &self.outputs {
            assert!(!output.contains("X-Amz-Signature"), "{output}");
            for secret in &secrets {
                assert!(!output.contains(secret.as_str()), "{output}");
            }
        }
        let wrong: Vec<&str> =
            self.seen.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect();
        assert!(wrong.is_empty(), "another cause came first: {wrong:?}");
        let count = self.seen.len();
        self.server.stop().await.unwrap();
        drop(self.folder);
        count
    }
}

/// Runs a command that exports a variable, and takes the variable over.
pub fn export(command: &str, variables: &mut Variables) {
    let Some(rest) = command.strip_prefix("export ") else { return };
    let name = rest.split('=').next().unwrap();
    let shell = Command::new("bash")
        .args(["-c", &format!("{command}; printf %s \"${name}\"")])
        .envs(variables.iter())
        .output()
        .unwrap();
    variables.insert(name.to_owned(), super::text(&shell.stdout));
}

pub fn filled(text: &str, fill: Fill<'_>) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find('<') {
        let Some(end) = text[start..].find('>').map(|end| start + end + 1) else { break };
        let known = fill.iter().find(|(part, _)| text[start..end].contains(part));
        let Some((_, value)) = known else { break };
        text.replace_range(start..end, value);
    }
    text
}

/// No action is needed beside what the remedies say.
pub async fn nothing(_: &mut Server) {}

/// The fault ends.
pub async fn clear(server: &mut Server) {
    server.inject(Fault::None).await.unwrap();
}
