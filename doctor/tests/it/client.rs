//! doctor on what is wrong with the client: its variables, keys, role and clock.

use crate::common;

use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use common::clinic::{Changes, Clinic, Fill, USER, nothing};
use common::staged::Off;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{DATABASE, HOST, Options, Server};

/// A user with a key of its own.
const OPS: &str = "arn:aws:iam::123456789012:user/ops";
const OPS_KEY: &str = "AKIAOPSOPSOPSOPS";

#[tokio::test]
async fn variables_and_keys() {
    let mut clinic = Clinic::open(|options| options).await;
    wrong_settings(&mut clinic).await;
    incomplete_keys(&mut clinic).await;
    keys_of_others(&mut clinic).await;
    refused_keys(&mut clinic).await;
    no_such_profile(&mut clinic).await;
    roles(&mut clinic).await;
    println!("{} staged", clinic.close().await);
}

async fn wrong_settings(clinic: &mut Clinic) {
    let port = clinic.healthy["PGPORT"].clone();
    let root = clinic.healthy["PGSSLROOTCERT"].clone();
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
        clinic.treat_variables(name, "configuration", changes, fill).await;
    }
}

async fn incomplete_keys(clinic: &mut Clinic) {
    let secret = clinic.healthy["AWS_SECRET_ACCESS_KEY"].clone();
    let session = clinic.healthy["AWS_SESSION_TOKEN"].clone();
    for (name, value) in
        [("quoted secret", format!("\"{secret}\"")), ("line break", format!("{secret}\n"))]
    {
        let changes = [("AWS_SECRET_ACCESS_KEY", value.as_str())];
        clinic.treat_variables(name, "keys-pasted", &changes, &[]).await;
    }
    let cases = [
        ("id without secret", "AWS_SECRET_ACCESS_KEY", ("belongs to AWS_ACCESS_KEY_ID", &secret)),
        ("no session token", "AWS_SESSION_TOKEN", ("issued with the key", &session)),
    ];
    for (name, variable, (part, value)) in cases {
        clinic.treat_variables(name, "keys-incomplete", &[(variable, "")], &[(part, value)]).await;
    }
}

/// A key that is right, beside the session token of another.
async fn keys_of_others(clinic: &mut Clinic) {
    let allowed = [dbuser_arn(USER)];
    clinic.server.iam.add(Identity::with_key(OPS_KEY, "opssecret", None, OPS, &allowed));
    let stale = [("AWS_ACCESS_KEY_ID", OPS_KEY), ("AWS_SECRET_ACCESS_KEY", "opssecret")];
    clinic.treat_variables("another's session token", "keys-incomplete", &stale, &[]).await;
}

/// The remedy's command gets new credentials: here the test has them already.
async fn refused_keys(clinic: &mut Clinic) {
    let allowed = [dbuser_arn(USER)];
    let before = SharedTimeSource::default().now() - Duration::from_secs(60);
    let dead = Identity::session(OPS.into(), Some(before), allowed.to_vec());
    clinic.server.iam.add(dead.clone());
    let expired = [
        ("AWS_ACCESS_KEY_ID", dead.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &dead.secret_access_key),
        ("AWS_SESSION_TOKEN", dead.session_token.as_deref().unwrap()),
    ];
    let variables = clinic.with(&expired);
    let revive = async |server: &mut Server| {
        let mut alive = dead.clone();
        alive.expires_at = None;
        server.iam.add(alive);
    };
    clinic.treat("expired session", "credentials-expired", variables, &[], revive).await;

    for (name, cause, id, secret) in [
        ("deleted key", "keys-unknown", "AKIADELETED", "x"),
        ("wrong secret", "secret-wrong", OPS_KEY, "opssecreT"),
    ] {
        let variables = clinic.with(&[
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_SESSION_TOKEN", ""),
        ]);
        let correct = async |server: &mut Server| {
            server.iam.add(Identity::with_key(id, secret, None, OPS, &allowed));
        };
        clinic.treat(name, cause, variables, &[], correct).await;
    }
    assert!(clinic.server.iam.find(&clinic.healthy["AWS_ACCESS_KEY_ID"]).is_some());
}

async fn no_such_profile(clinic: &mut Clinic) {
    let none =
        [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SESSION_TOKEN", "")];
    let mut variables = clinic.with(&none);
    let file = clinic.folder.path().join("credentials");
    variables.insert("AWS_SHARED_CREDENTIALS_FILE".into(), file.display().to_string());
    variables.insert("AWS_PROFILE".into(), "nobody".into());
    let profiles = std::fs::read_to_string(&file).unwrap();
    let profile = if profiles.contains("developer") { "developer" } else { "default" };
    let fill: Fill<'_> = &[("a profile", profile)];
    clinic.treat("no such profile", "credentials-missing", variables, fill, nothing).await;
}

/// The role of another owner, its external id, and an STS that is not reached.
async fn roles(clinic: &mut Clinic) {
    let role = clinic.healthy["DB_ROLE_ARN_EXAMPLE"].clone();
    let external = clinic.healthy["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone();
    let changes = [("DB_ROLE_ARN", role.as_str()), ("DB_ROLE_EXTERNAL_ID", "wrong-id")];
    let fill: Fill<'_> = &[
        ("role's ARN", &role),
        ("owner gave you", &external),
        ("DB_ROLE_EXTERNAL_ID holds", &external),
    ];
    clinic.treat_variables("external id", "role-refused", &changes, fill).await;
    let sts = clinic.healthy["AWS_ENDPOINT_URL_STS"].clone();
    let changes = [
        ("DB_ROLE_ARN", role.as_str()),
        ("DB_ROLE_EXTERNAL_ID", &external),
        ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
    ];
    let fill: Fill<'_> = &[("URL of an STS", &sts)];
    clinic.treat_variables("STS unreachable", "sts-unreachable", &changes, fill).await;
}

#[tokio::test]
async fn clocks() {
    for (name, off) in [("an hour behind", 3600), ("an hour ahead", -3600)] {
        let clock = Off::default();
        clock.set(off);
        let shared = SharedTimeSource::new(clock.clone());
        let mut clinic = Clinic::open(|options| Options { clock: shared, ..options }).await;
        let variables = clinic.with(&[]);
        // This machine's clock cannot be set: the other one is.
        let set = async |_: &mut Server| clock.set(0);
        clinic.treat(name, "clock", variables, &[], set).await;
        clinic.close().await;
    }
}
