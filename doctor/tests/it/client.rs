//! doctor on what is wrong with the client: its variables, keys, role and clock.

use crate::common;

use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use common::broken_setup::{BrokenSetup, Changes, Fill, USER, nothing};
use common::staged::Off;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{DATABASE, HOST, Options, Server};

/// A user with a key of its own.
const OPS: &str = "arn:aws:iam::123456789012:user/ops";
const OPS_KEY: &str = "AKIAOPSOPSOPSOPS";

#[tokio::test]
async fn variables_and_keys() {
    let mut setup = BrokenSetup::open(|options| options).await;
    wrong_settings(&mut setup).await;
    incomplete_keys(&mut setup).await;
    keys_of_others(&mut setup).await;
    refused_keys(&mut setup).await;
    no_such_profile(&mut setup).await;
    roles(&mut setup).await;
    println!("{} staged", setup.close().await);
}

async fn wrong_settings(setup: &mut BrokenSetup) {
    let port = setup.healthy["PGPORT"].clone();
    let root = setup.healthy["PGSSLROOTCERT"].clone();
    let host_and_port = format!("{HOST}:{port}");
    let url = format!("postgres://{USER}@{HOST}:{port}/{DATABASE}");
    let fill: Fill<'_> = &[
        ("database's endpoint", HOST),
        ("granted rds_iam", USER),
        ("database's name", DATABASE),
        ("PEM file", &root),
    ];
    let cases: &[(&str, Changes<'_>)] = &[
        ("no host", &[("PGHOST", "")]),
        ("host with port", &[("PGHOST", &host_and_port), ("PGPORT", "")]),
        ("URL as host", &[("PGHOST", &url), ("PGPORT", "")]),
        ("no user, no database", &[("PGUSER", ""), ("PGDATABASE", "")]),
        ("sslmode require", &[("PGSSLMODE", "require")]),
        ("name in PGHOSTADDR", &[("PGHOSTADDR", "localhost")]),
        ("root file missing", &[("PGSSLROOTCERT", "/nowhere/ca.pem")]),
        ("wish for a primary", &[("PGTARGETSESSIONATTRS", "primary")]),
    ];
    for (name, changes) in cases {
        setup.repair_variables(name, "configuration", changes, fill).await;
    }
}

async fn incomplete_keys(setup: &mut BrokenSetup) {
    let secret = setup.healthy["AWS_SECRET_ACCESS_KEY"].clone();
    let session = setup.healthy["AWS_SESSION_TOKEN"].clone();
    for (name, value) in
        [("quoted secret", format!("\"{secret}\"")), ("line break", format!("{secret}\n"))]
    {
        let changes = [("AWS_SECRET_ACCESS_KEY", value.as_str())];
        setup.repair_variables(name, "keys-pasted", &changes, &[]).await;
    }
    let cases = [
        ("id without secret", "AWS_SECRET_ACCESS_KEY", ("belongs to AWS_ACCESS_KEY_ID", &secret)),
        ("no session token", "AWS_SESSION_TOKEN", ("issued with the key", &session)),
    ];
    for (name, variable, (part, value)) in cases {
        setup.repair_variables(name, "keys-incomplete", &[(variable, "")], &[(part, value)]).await;
    }
}

/// A key that is right, beside the session token of another.
async fn keys_of_others(setup: &mut BrokenSetup) {
    let allowed = [dbuser_arn(USER)];
    setup.server.iam.add(Identity::with_key(OPS_KEY, "opssecret", None, OPS, &allowed));
    let stale = [("AWS_ACCESS_KEY_ID", OPS_KEY), ("AWS_SECRET_ACCESS_KEY", "opssecret")];
    setup.repair_variables("another's session token", "keys-incomplete", &stale, &[]).await;
}

/// The remedy's command gets new credentials: here the test has them already.
async fn refused_keys(setup: &mut BrokenSetup) {
    let allowed = [dbuser_arn(USER)];
    let before = SharedTimeSource::default().now() - Duration::from_secs(60);
    let dead = Identity::session(OPS.into(), Some(before), allowed.to_vec());
    setup.server.iam.add(dead.clone());
    let expired = [
        ("AWS_ACCESS_KEY_ID", dead.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &dead.secret_access_key),
        ("AWS_SESSION_TOKEN", dead.session_token.as_deref().unwrap()),
    ];
    let variables = setup.with(&expired);
    let revive = async |server: &mut Server| {
        let mut alive = dead.clone();
        alive.expires_at = None;
        server.iam.add(alive);
    };
    setup.repair("expired session", "credentials-expired", variables, &[], revive).await;

    for (name, cause, id, secret) in [
        ("deleted key", "keys-unknown", "AKIADELETED", "x"),
        ("wrong secret", "secret-wrong", OPS_KEY, "opssecreT"),
    ] {
        let variables = setup.with(&[
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_SESSION_TOKEN", ""),
        ]);
        let correct = async |server: &mut Server| {
            server.iam.add(Identity::with_key(id, secret, None, OPS, &allowed));
        };
        setup.repair(name, cause, variables, &[], correct).await;
    }
    assert!(setup.server.iam.find(&setup.healthy["AWS_ACCESS_KEY_ID"]).is_some());
}

async fn no_such_profile(setup: &mut BrokenSetup) {
    let none =
        [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SESSION_TOKEN", "")];
    let mut variables = setup.with(&none);
    let file = setup.folder.path().join("credentials");
    variables.insert("AWS_SHARED_CREDENTIALS_FILE".into(), file.display().to_string());
    variables.insert("AWS_PROFILE".into(), "nobody".into());
    let profiles = std::fs::read_to_string(&file).unwrap();
    let profile = if profiles.contains("developer") { "developer" } else { "default" };
    let fill: Fill<'_> = &[("a profile", profile)];
    setup.repair("no such profile", "credentials-missing", variables, fill, nothing).await;
}

/// The role of another owner, its external id, and an STS that is not reached.
async fn roles(setup: &mut BrokenSetup) {
    let role = setup.healthy["DB_ROLE_ARN_EXAMPLE"].clone();
    let external = setup.healthy["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone();
    let changes = [("DB_ROLE_ARN", role.as_str()), ("DB_ROLE_EXTERNAL_ID", "wrong-id")];
    let fill: Fill<'_> = &[
        ("role's ARN", &role),
        ("owner gave you", &external),
        ("DB_ROLE_EXTERNAL_ID holds", &external),
    ];
    setup.repair_variables("external id", "role-refused", &changes, fill).await;
    let sts = setup.healthy["AWS_ENDPOINT_URL_STS"].clone();
    let changes = [
        ("DB_ROLE_ARN", role.as_str()),
        ("DB_ROLE_EXTERNAL_ID", &external),
        ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
    ];
    let fill: Fill<'_> = &[("URL of an STS", &sts)];
    setup.repair_variables("STS unreachable", "sts-unreachable", &changes, fill).await;
}

#[tokio::test]
async fn clocks() {
    for (name, off) in [("an hour behind", 3600), ("an hour ahead", -3600)] {
        let clock = Off::default();
        clock.set(off);
        let shared = SharedTimeSource::new(clock.clone());
        let mut setup = BrokenSetup::open(|options| Options { clock: shared, ..options }).await;
        let variables = setup.with(&[]);
        // This machine's clock cannot be set: the other one is.
        let set = async |_: &mut Server| clock.set(0);
        setup.repair(name, "clock", variables, &[], set).await;
        setup.close().await;
    }
}
