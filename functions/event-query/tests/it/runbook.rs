//! The runbook of docs/events.md, command by command, with the AWS CLI against moto: from the alarm to the
//! message, its lines in the log, and the end of it.

use std::fmt::Write;
use std::process::Command;

use rds_local::testing::imitations::Moto;
use serde_json::{Value, json};

use crate::common::{root, start};

/// Neither moto nor ministack has them.
const NOT_IMITATED: [&str; 2] = ["start-message-move-task", "list-message-move-tasks"];

/// The commands of the section, each on one line.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/events.md")).unwrap();
    let (_, section) = text.split_once("### A message in the dead-letter queue\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let lines = section.replace("\\\n", " ");
    lines.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// Runs a script with the AWS CLI, and returns what it printed.
fn shell(moto: &Moto, script: &str) -> String {
    let path = format!(
        "{}:{}",
        root().join("target/venv/bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("bash")
        // Version 1 of the CLI takes no AWS_ENDPOINT_URL for SQS.
        .args(["-euo", "pipefail", "-c"])
        .arg(format!("aws() {{ command aws --endpoint-url {} \"$@\"; }}; {script}", moto.url))
        .env("PATH", path)
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_PAGER", "")])
        .output()
        .unwrap();
    let (printed, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{printed}\n{told}");
    printed.into_owned()
}

/// In milliseconds, as CloudWatch has it; it refuses lines of more than two weeks ago.
fn time_of_line(line: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap();
    let time = rds_iam::query::time_of(line["timestamp"].as_str().unwrap()).unwrap();
    u64::try_from(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_leads_from_the_alarm_to_the_message_and_its_cause() {
    let moto = Moto::start(&root()).await;
    let world = start().await;
    // A queue that moto's CloudFormation makes has a URL of AWS's own.
    let queue =
        shell(&moto, "aws sqs create-queue --queue-name poison --query QueueUrl --output text");
    let stack = json!({
        "Resources": { "Topic": { "Type": "AWS::SNS::Topic" } },
        "Outputs": { "PoisonMessagesUrl": { "Value": queue.trim() } },
    });
    let create = "aws cloudformation create-stack --stack-name rds-iam-event-query --template-body";
    shell(&moto, &format!("{create} '{stack}'"));
    let mut commands = commands().into_iter();
    let find_queue = commands.next().unwrap();
    let send = |body: &str| {
        let send = format!(
            "{find_queue}; aws sqs send-message --queue-url \"$POISON\" --message-body '{body}' \
             --query MessageId --output text"
        );
        shell(&moto, &send).trim().to_owned()
    };
    let (not_json, negative) = ("order o-1", r#"{"orderId": "o-2", "total": -1}"#);
    let ids = [send(not_json), send(negative)];
    let record =
        |id: &str, body: &str| json!({ "messageId": id, "body": body, "eventSource": "aws:sqs" });
    let event = json!({ "Records": [record(&ids[0], not_json), record(&ids[1], negative)] });
    let mut function = world.function().await;
    let response = function.ok(event.to_string()).await;
    assert_eq!(response["batchItemFailures"].as_array().unwrap().len(), 2);
    let log = function.stop().await;
    let lines: Vec<Value> = log
        .iter()
        .map(|line| json!({ "timestamp": time_of_line(line), "message": line }))
        .collect();
    let events = world.folder().join("events.json");
    std::fs::write(&events, json!(lines).to_string()).unwrap();
    let of = "--log-group-name /aws/lambda/rds-iam-event-query";
    shell(
        &moto,
        &format!(
            "aws logs create-log-group {of}; aws logs create-log-stream {of} --log-stream-name s; \
             aws logs put-log-events {of} --log-stream-name s --log-events file://{}",
            events.display()
        ),
    );

    let mut script = String::new();
    let mut skipped = 0;
    for command in [find_queue].into_iter().chain(commands) {
        if NOT_IMITATED.iter().any(|name| command.contains(name)) {
            skipped += 1;
            continue;
        }
        // The document's id stands for that of a message.
        let command = if command.starts_with("ID=") { format!("ID={}", ids[0]) } else { command };
        let _ = writeln!(script, "{command}\necho \"== ${{HANDLE:-}}\"");
    }
    assert_eq!(skipped, NOT_IMITATED.len());
    // The other one is left; the receive before the deletion hides it for a while.
    script.push_str(
        "aws sqs get-queue-attributes --queue-url \"$POISON\" --attribute-names All --output text \
         --query 'Attributes.[ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible]'; \
         echo \"arn $ARN\"",
    );
    let printed = shell(&moto, &script);
    let parts: Vec<&str> = printed.split("== ").collect();
    assert!(parts[1].contains(&ids[0]) && parts[1].contains(not_json), "{printed}");
    assert!(parts[1].contains(&ids[1]) && parts[1].contains("o-2"), "{printed}");
    let line = parts[3];
    assert!(
        line.contains("record failed") && line.contains("the message is not JSON (line 1"),
        "{line}"
    );
    assert!(!line.contains(&ids[1]) && !line.contains("o-1"), "{line}");
    let after = parts.last().unwrap();
    let left: Vec<&str> = after.lines().filter(|line| line.contains('\t')).collect();
    assert!(matches!(left[..], ["0\t1" | "1\t0"]), "{printed}");
    assert!(after.contains("arn arn:aws:sqs:us-east-1:"), "{printed}");
    world.stop().await;
}
