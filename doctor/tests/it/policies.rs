//! doctor on policies, where the caller may ask IAM what they say: which policy refuses, and what helps.

use crate::common;

use std::collections::BTreeMap;
use std::path::Path;

use common::aws::{Aws, cause, doctor, first, step};
use rds_local::testing::ports::free_port;
use rds_local::{Options, Server};
use serde_json::{Value, json};

/// A statement that lets a principal ask IAM about itself.
fn may_ask() -> Value {
    json!({ "Effect": "Allow", "Action": ["iam:SimulatePrincipalPolicy", "iam:GetRole"], "Resource": "*" })
}

fn policy(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Users and a role that may not connect, each for another reason.
fn principals() -> Value {
    let connect =
        |effect: &str| json!({ "Effect": effect, "Action": "rds-db:connect", "Resource": "*" });
    let everything = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let elsewhere = json!({ "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*",
        "Condition": { "IpAddress": { "aws:SourceIp": "203.0.113.0/24" } } });
    json!({
        "users": {
            "lacking": { "policies": [policy(&[may_ask()])] },
            "denied": { "policies": [policy(&[everything.clone(), connect("Deny")])] },
            "bounded": { "policies": [policy(&[everything])], "boundary": policy(&[may_ask()]) },
            "elsewhere": { "policies": [policy(&[may_ask(), elsewhere])] },
            "silent": {},
        },
        "roles": {
            "team/app/reader": {
                "trust": { "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
                    "Principal": { "AWS": "arn:aws:iam::123456789012:root" }, "Action": "sts:AssumeRole" }] },
                "policies": [policy(&[may_ask()])],
            },
        },
    })
}

/// The variables with a user's long-term key.
fn of_user(server: &Server, folder: &Path, aws: &Aws, user: &str) -> BTreeMap<String, String> {
    let mut variables = aws.beside(server);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        variables.remove(name);
    }
    let file = folder.join("credentials").display().to_string();
    variables.insert("AWS_SHARED_CREDENTIALS_FILE".into(), file);
    variables.insert("AWS_PROFILE".into(), user.into());
    variables
}

#[tokio::test]
async fn iam_says_which_policy_refuses() {
    let aws = Aws::start().await;
    let port = free_port();
    let resource_id = aws.create_instance(port).await;
    let resource =
        format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:{resource_id}/iam_ro_user");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), principals().to_string()).unwrap();
    let policies = vec![file.path().to_path_buf()];
    let (server, folder) =
        common::start(|options| Options { port, resource_id, policies, ..options }).await;
    let arn = |user: &str| format!("arn:aws:iam::123456789012:user/{user}");
    let as_user =
        async |user: &str| doctor(&of_user(&server, folder.path(), &aws, user), &[]).await;

    let report = as_user("lacking").await;
    assert_eq!(cause(&report), ("policy", "certain"), "{report:#}");
    assert_eq!(first(&report)["remedies"][0]["attach_to"], arn("lacking"));

    // Another Allow would change nothing.
    let report = as_user("denied").await;
    assert_eq!(cause(&report), ("policy-denies", "certain"), "{report:#}");
    let text = first(&report)["remedies"][0]["text"].as_str().unwrap();
    assert!(text.contains(&arn("denied")) && text.contains(&resource), "{text}");
    assert!(!report["causes"].to_string().contains("\"policy\""), "{report:#}");

    let report = as_user("bounded").await;
    assert_eq!(cause(&report), ("policy-denies", "certain"), "{report:#}");
    let place = format!("the permissions boundary of {}", arn("bounded"));
    assert_eq!(first(&report)["remedies"][0]["attach_to"], place);

    // The simulation does not know where the login comes from.
    let report = as_user("elsewhere").await;
    assert_eq!(cause(&report), ("policy", "likely"), "{report:#}");
    assert!(step(&report, "iam-simulation").contains("aws:sourceip"), "{report:#}");

    let report = as_user("silent").await;
    let found = step(&report, "iam-simulation");
    assert_eq!(found, "the caller may not call iam:SimulatePrincipalPolicy");
    assert_eq!(cause(&report), ("policy", "likely"), "{report:#}");

    // STS leaves the path of a role out.
    let mut variables = of_user(&server, folder.path(), &aws, "denied");
    let role = "arn:aws:iam::123456789012:role/team/app/reader";
    variables.insert("DB_ROLE_ARN".into(), role.into());
    let report = doctor(&variables, &[]).await;
    assert_eq!(cause(&report), ("policy", "certain"), "{report:#}");
    assert_eq!(first(&report)["remedies"][0]["attach_to"], role);
    server.stop().await.unwrap();
}
