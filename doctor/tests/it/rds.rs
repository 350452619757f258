//! doctor on RDS's own word, as moto's RDS API gives it: somebody else's implementation of the API.

use crate::common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::aws::{Aws, boto3, cause, doctor, first, step};
use rds_local::gate::Fault;
use rds_local::iam::Identity;
use rds_local::testing::imitations::Ministack;
use rds_local::testing::ports::free_port;
use rds_local::{Options, Server};
use serde_json::Value;

/// The variables of an identity's key.
fn keys(id: &str) -> [(&str, &str); 3] {
    [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "s3"), ("AWS_SESSION_TOKEN", "")]
}

#[tokio::test]
async fn rds_says_what_a_client_cannot_know() {
    let aws = Aws::start().await;
    let port = free_port();
    let id = aws.create_instance(port).await;
    let resource_id = id.clone();
    let (mut server, _folder): (Server, _) =
        common::start(|options| Options { port, resource_id, ..options }).await;
    let variables = aws.beside(&server);

    let report = doctor(&variables, &[]).await;
    assert_eq!(report["ok"], true, "{report:#}");
    let found = step(&report, "rds");
    assert!(found.contains("IAM authentication on") && found.contains(&id), "{found}");

    a_policys_resource_is_known_to_the_last_letter(&server, &variables, &id).await;
    the_log_settles_why_a_token_was_refused(&server, &aws, &variables).await;
    metrics_and_policies_tell_reasons_apart(&server, &variables, &id).await;
    a_tunnels_port_is_not_the_databases(&variables, port).await;

    clusters_and_proxies_are_described_too(&aws, &variables).await;
    a_database_beyond_the_first_page_is_found(&aws, &variables).await;
    a_stopped_database_is_named_whatever_answers(&mut server, &aws, &variables).await;

    // IAM authentication off: the gate cannot have it off, so a refused token stands for it.
    aws.call("rds.modify_db_instance(DBInstanceIdentifier='rds-local', EnableIAMDatabaseAuthentication=False, ApplyImmediately=True)").await;
    let report = doctor(&variables, &[("PGUSER", "nobody_made_this")]).await;
    assert_eq!(first(&report)["cause"], "iam-off", "{report:#}");
    let command = first(&report)["remedies"][0]["command"].as_str().unwrap();
    assert!(command.contains("--db-instance-identifier rds-local"), "{command}");
    server.stop().await.unwrap();
}

/// A tunnel accepts connections for a database that is not there.
async fn a_stopped_database_is_named_whatever_answers(
    server: &mut Server,
    aws: &Aws,
    variables: &BTreeMap<String, String>,
) {
    aws.call("rds.stop_db_instance(DBInstanceIdentifier='rds-local')").await;
    for fault in [Fault::Refuse, Fault::Reset] {
        server.inject(fault).await.unwrap();
        let report = doctor(variables, &[]).await;
        assert_eq!(cause(&report), ("database-stopped", "certain"), "{report:#}");
        let command = first(&report)["remedies"][0]["command"].as_str().unwrap();
        assert_eq!(command, "aws rds start-db-instance --db-instance-identifier rds-local");
    }
    server.inject(Fault::None).await.unwrap();
    aws.call("rds.start_db_instance(DBInstanceIdentifier='rds-local')").await;
    assert_eq!(doctor(variables, &[]).await["ok"], true);
}

/// No certificate names them here, so the steps after TLS do not run; RDS is asked all the same.
async fn clusters_and_proxies_are_described_too(aws: &Aws, variables: &BTreeMap<String, String>) {
    let cluster = aws
        .call(
            "rds.create_db_cluster(DBClusterIdentifier='prod', Engine='aurora-postgresql', \
             MasterUsername='postgres', MasterUserPassword='secret99', Port=5432, \
             EnableIAMDatabaseAuthentication=True)['DBCluster']['DbClusterResourceId']",
        )
        .await;
    let proxy = aws
        .call(
            "rds.create_db_proxy(DBProxyName='front', EngineFamily='POSTGRESQL', \
             VpcSubnetIds=[client('ec2').describe_subnets()['Subnets'][0]['SubnetId']], \
             RoleArn='arn:aws:iam::123456789012:role/proxy', Auth=[{'AuthScheme': 'SECRETS', \
             'SecretArn': 'arn:aws:secretsmanager:us-east-1:123456789012:secret:s', 'IAMAuth': 'REQUIRED'}])\
             ['DBProxy']['DBProxyArn'].split(':')[-1]",
        )
        .await;
    let on = "IAM authentication on";
    let none = "the caller's account has no such database";
    for (host, expected) in [
        ("prod.cluster-c0ffee.us-east-1.rds.amazonaws.com", [on, &cluster]),
        ("prod.cluster-ro-c0ffee.us-east-1.rds.amazonaws.com", [on, &cluster]),
        ("front.proxy-c0ffee.us-east-1.rds.amazonaws.com", [on, &proxy]),
        ("pord.cluster-c0ffee.us-east-1.rds.amazonaws.com", [none, "in this region"]),
        ("font.proxy-c0ffee.us-east-1.rds.amazonaws.com", [none, "in this region"]),
    ] {
        let report = doctor(variables, &[("PGHOST", host)]).await;
        let found = step(&report, "rds");
        assert!(expected.iter().all(|part| found.contains(part)), "{host}: {found}");
    }
}

/// RDS lists a hundred at a time.
async fn a_database_beyond_the_first_page_is_found(
    aws: &Aws,
    variables: &BTreeMap<String, String>,
) {
    let last = aws
        .call(
            "[rds.create_db_instance(DBInstanceIdentifier=f'db{n}', Engine='postgres', \
             DBInstanceClass='db.t3.micro', MasterUsername='postgres', MasterUserPassword='secret99', \
             AllocatedStorage=20)['DBInstance']['DbiResourceId'] for n in range(120)][-1]",
        )
        .await;
    let host = "db119.c0ffee.us-east-1.rds.amazonaws.com";
    let report = doctor(variables, &[("PGHOST", host)]).await;
    assert!(step(&report, "rds").contains(&last), "{report:#}");
}

async fn a_policys_resource_is_known_to_the_last_letter(
    server: &Server,
    variables: &BTreeMap<String, String>,
    id: &str,
) {
    let arn = "arn:aws:iam::123456789012:user/reporter";
    server.iam.add(Identity::with_key("AKIAREPORTERREPO", "s3", None, arn, &[]));
    let keys = keys("AKIAREPORTERREPO");
    let report = doctor(variables, &keys).await;
    assert_eq!(first(&report)["cause"], "policy", "{report:#}");
    let document = first(&report)["remedies"][0]["document"].as_str().unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let resource = document["Statement"][0]["Resource"].as_str().unwrap().to_owned();
    assert_eq!(resource, format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:{id}/iam_ro_user"));
    server.iam.add(Identity::with_key("AKIAREPORTERREPO", "s3", None, arn, &[resource]));
    assert_eq!(doctor(variables, &keys).await["ok"], true);
}

/// The lines are in the form that AWS documents.
async fn the_log_settles_why_a_token_was_refused(
    server: &Server,
    aws: &Aws,
    variables: &BTreeMap<String, String>,
) {
    let arn = "arn:aws:iam::123456789012:user/auditor";
    server.iam.add(Identity::with_key("AKIAAUDITORAUDIT", "s3", None, arn, &[]));
    let keys = keys("AKIAAUDITORAUDIT");
    let of_log = |report: &Value| step(report, "rds-log").to_owned();
    let report = doctor(variables, &keys).await;
    assert_eq!(of_log(&report), "no line about this user in 15 minutes");
    assert_eq!(cause(&report), ("policy", "likely"), "{report:#}");

    let group = "logGroupName='/aws/rds/instance/rds-local/iam-db-auth-error'";
    aws.call(&format!("client('logs').create_log_group({group})")).await;
    aws.call(&format!("client('logs').create_log_stream({group}, logStreamName='s')")).await;
    let log = async |line: &str, seconds_ago: i64| {
        let at = format!("int(__import__('time').time() - {seconds_ago}) * 1000");
        let event = format!("{{'timestamp': {at}, 'message': \"\"\"{line}\"\"\"}}");
        aws.call(&format!(
            "client('logs').put_log_events({group}, logStreamName='s', logEvents=[{event}])"
        ))
        .await;
    };
    log("[ERROR] Failed to authenticate the connection request for user another_user because the token is s3cret (Status Code: 400, Error Code: InvalidToken)", 20).await;
    log(&format!("[ERROR] Failed to authorize the connection request for user iam_ro_user because the IAM policy assumed by the caller '{arn}' is not authorized to perform `rds-db:connect` on the DB instance (Status Code: 403, Error Code: NotAuthorized)"), 90).await;
    // Nor is another caller's failure this one's, nor that of a longer name.
    for (user, caller) in [("iam_ro_user", "somebody"), ("'iam_ro_user_2'", "auditor")] {
        log(&format!("[ERROR] Failed to authorize the connection request for user {user} because the IAM policy assumed by the caller 'arn:aws:iam::123456789012:user/{caller}' is not authorized to perform `rds-db:connect` on the DB instance (Status Code: 403, Error Code: NotAuthorized)"), 30).await;
    }
    let report = doctor(variables, &keys).await;
    let found = of_log(&report);
    let age = found.strip_prefix(&format!("NotAuthorized for {arn}, "));
    let age: u64 = age.and_then(|age| age.strip_suffix(" s ago")).unwrap().parse().unwrap();
    assert!(age >= 90, "the lines of others are younger: {found}");
    assert_eq!(cause(&report), ("policy", "certain"), "{report:#}");
    assert_eq!(first(&report)["remedies"][0]["attach_to"], arn);

    // The last line about the user counts, and no text of it is repeated.
    log("[ERROR] Failed to authorize the connection request for user iam_ro_user because s3cret (Status Code: 429, Error Code: ThrottlingException)", 10).await;
    let report = doctor(variables, &keys).await;
    assert_eq!(cause(&report), ("throttled", "certain"), "{report:#}");
    assert!(!report.to_string().contains("s3cret"));

    let nowhere =
        [keys[0], keys[1], keys[2], ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:1")];
    let found = of_log(&doctor(variables, &nowhere).await);
    assert!(found.starts_with("CloudWatch Logs cannot be reached"), "{found}");
    // Where STS is this machine's and no CloudWatch is, the keys go nowhere else.
    let unset = [keys[0], keys[1], keys[2], ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "")];
    let found = of_log(&doctor(variables, &unset).await);
    assert!(found.starts_with("CloudWatch Logs cannot be reached"), "{found}");
}

/// By another imitation, which speaks the protocol that AWS's SDK for Rust has for CloudWatch.
async fn metrics_and_policies_tell_reasons_apart(
    server: &Server,
    variables: &BTreeMap<String, String>,
    id: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let ministack = Ministack::start(&common::root(), folder.path()).await;
    let arn = "arn:aws:iam::123456789012:user/counted";
    server.iam.add(Identity::with_key("AKIACOUNTEDCOUNT", "s3", None, arn, &[]));
    let mut variables = variables.clone();
    // Only what is asked here counts.
    variables.insert("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS".into(), "http://127.0.0.1:1".into());
    variables.insert("AWS_ENDPOINT_URL_IAM".into(), "http://127.0.0.1:1".into());
    variables.insert("AWS_ENDPOINT_URL_CLOUDWATCH".into(), ministack.url.clone());
    let keys = keys("AKIACOUNTEDCOUNT");
    the_metrics_make_a_cause_likely(&ministack, &variables, &keys).await;
    variables.insert("AWS_ENDPOINT_URL_CLOUDWATCH".into(), "http://127.0.0.1:1".into());
    let report = doctor(&variables, &keys).await;
    assert_eq!(step(&report, "rds-metrics"), "CloudWatch cannot be reached");

    variables.insert("AWS_ENDPOINT_URL_IAM".into(), ministack.url.clone());
    let iam = async |call: &str| boto3(&ministack.url, &format!("client('iam').{call}")).await;
    iam("create_user(UserName='counted')").await;
    let report = answered(&variables, &keys, "iam-simulation").await;
    assert_eq!(cause(&report), ("policy", "certain"), "{report:#}");
    let statements = ["Allow", "Deny"].map(|effect| {
        let resource = format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:{id}/*");
        serde_json::json!({ "Effect": effect, "Action": "rds-db:connect", "Resource": resource })
    });
    for (count, expected) in [(1, ("throttled", "likely")), (2, ("policy-denies", "certain"))] {
        let policy =
            serde_json::json!({ "Version": "2012-10-17", "Statement": statements[..count] });
        let put = format!(
            "put_user_policy(UserName='counted', PolicyName='p', PolicyDocument='{policy}')"
        );
        iam(&put).await;
        let report = answered(&variables, &keys, "iam-simulation").await;
        assert_eq!(cause(&report), expected, "{report:#}");
    }
}

/// They are one number for all users, so that they make a cause likely, and none certain.
async fn the_metrics_make_a_cause_likely(
    ministack: &Ministack,
    variables: &BTreeMap<String, String>,
    keys: &[(&str, &str)],
) {
    let report = answered(variables, keys, "rds-metrics").await;
    assert_eq!(step(&report, "rds-metrics"), "they count no login in 15 minutes");
    let count = async |metric: &str, count: u32| {
        let data = format!(
            "{{'MetricName': 'IamDbAuthConnection{metric}', 'Value': {count}, 'Dimensions': [{{'Name': 'DBInstanceIdentifier', 'Value': 'rds-local'}}]}}"
        );
        let call = "client('cloudwatch').put_metric_data(Namespace='AWS/RDS', MetricData=";
        boto3(&ministack.url, &format!("{call}[{data}])")).await;
    };
    count("Requests", 7).await;
    count("FailureThrottling", 3).await;
    let report = answered(variables, keys, "rds-metrics").await;
    let found = step(&report, "rds-metrics");
    assert_eq!(found, "in 15 minutes 7 logins with a token, 3 refused for throttling");
    assert_eq!(cause(&report), ("throttled", "likely"), "{report:#}");
    count("FailureInsufficientPermissions", 2).await;
    assert_eq!(cause(&answered(variables, keys, "rds-metrics").await), ("policy", "likely"));
}

/// doctor's report once this service has answered it. An imitation in Python loads what it needs at its first
/// request, and on a busy machine that takes longer than the second which doctor gives it.
async fn answered(
    variables: &BTreeMap<String, String>,
    changes: &[(&str, &str)],
    service: &str,
) -> Value {
    for _ in 0..20 {
        let report = doctor(variables, changes).await;
        if !step(&report, service).ends_with("cannot be reached") {
            return report;
        }
    }
    panic!("{service} never answered");
}

/// With a tunnel's port in PGPORT, the token is signed for a port that the database does not have.
async fn a_tunnels_port_is_not_the_databases(variables: &BTreeMap<String, String>, port: u16) {
    let tunnel = common::forward((Ipv4Addr::LOCALHOST, port).into()).await.to_string();
    let report = doctor(variables, &[("PGPORT", &tunnel)]).await;
    assert_eq!(first(&report)["cause"], "token-port", "{report:#}");
    let remedies = first(&report)["remedies"].as_array().unwrap();
    let applied: Vec<(&str, &str)> = remedies
        .iter()
        .map(|r| (r["name"].as_str().unwrap(), r["value"].as_str().unwrap()))
        .collect();
    let report = doctor(variables, &applied).await;
    assert_eq!(report["ok"], true, "{applied:?}: {report:#}");
}
