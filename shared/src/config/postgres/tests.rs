//! Environments, and the configurations that they give.

use super::*;
use crate::error::ErrorKind;
use std::collections::HashMap;

const GOOD: [(&str, &str); 3] = [
    ("PGHOST", "db.c1a2b3.us-east-1.rds.amazonaws.com"),
    ("PGDATABASE", "sample_db"),
    ("PGUSER", "iam_ro_user"),
];

fn config(extra: &[(&str, &str)]) -> Result<Config, Error> {
    let vars: HashMap<&str, &str> = GOOD.iter().chain(extra).copied().collect();
    Config::from_vars(|name| vars.get(name).map(OsString::from))
}

fn refused(extra: &[(&str, &str)]) -> String {
    let error = config(extra).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    error.to_string()
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = config(&[]).unwrap();
    assert_eq!(config.endpoint.port, 5432);
    assert_eq!(config.common.region, "us-east-1");
    assert_eq!(config.dial, Dial::Endpoint);
    assert_eq!(config.ssl_mode, SslMode::VerifyFull);
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.login_attempts, 4);
    assert!(!config.proxy && config.common.role.is_none());
}

#[test]
fn every_problem_is_reported_at_once_by_name() {
    let error = Config::from_vars(|name| match name {
        "PGPORT" => Some("x".into()),
        "PGSSLMODE" => Some("require".into()),
        "DB_TUNNEL" => Some("nowhere".into()),
        _ => None,
    })
    .unwrap_err()
    .to_string();
    for name in ["PGHOST", "PGDATABASE", "PGUSER", "PGPORT", "PGSSLMODE", "DB_TUNNEL"] {
        assert!(error.contains(name), "{name} is missing in: {error}");
    }
}

#[test]
fn empty_means_unset() {
    let config = config(&[("PGPORT", ""), ("DB_ROLE_ARN", ""), ("PGSSLROOTCERT", "")]).unwrap();
    assert_eq!(config.endpoint.port, 5432);
    assert!(config.common.role.is_none());
}

#[test]
fn the_region_comes_from_the_name_then_from_variables() {
    let roots = ("PGSSLROOTCERT", include_str!("../../../roots/amazon.pem"));
    let alias = ("PGHOST", "db.example.com");
    assert!(refused(&[roots, alias]).contains("DB_REGION"));
    let aws = ("AWS_REGION", "eu-west-1");
    assert_eq!(config(&[roots, alias, aws]).unwrap().common.region, "eu-west-1");
    let db = ("DB_REGION", "eu-north-1");
    assert_eq!(config(&[roots, alias, aws, db]).unwrap().common.region, "eu-north-1");
    assert_eq!(config(&[aws, db]).unwrap().common.region, "us-east-1");
    assert!(refused(&[alias, ("DB_REGION", "us-east-1a")]).contains("DB_REGION"));
}

#[test]
fn the_tunnel_wins_over_the_address() {
    let address = ("PGHOSTADDR", "10.0.0.5");
    assert_eq!(config(&[address]).unwrap().dial, Dial::Address([10, 0, 0, 5].into()));
    let both = config(&[address, ("DB_TUNNEL", "localhost:15432")]).unwrap();
    assert_eq!(both.dial, Dial::Tunnel("localhost".into(), 15432));
    let v6 = config(&[("DB_TUNNEL", "[::1]:15432")]).unwrap();
    assert_eq!(v6.dial, Dial::Tunnel("::1".into(), 15432));
}

#[test]
fn weak_tls_is_refused_with_the_reason() {
    for mode in ["disable", "allow", "prefer", "require"] {
        let error = refused(&[("PGSSLMODE", mode)]);
        assert!(error.contains("verify-full or verify-ca") && error.contains("token"), "{error}");
    }
}

#[test]
fn a_region_without_built_in_roots_names_pgsslrootcert() {
    let error = refused(&[("PGHOST", "db.c1a2b3.rds.cn-north-1.amazonaws.com.cn")]);
    assert!(error.contains("PGSSLROOTCERT") && error.contains("cn-north-1"), "{error}");
}

#[test]
fn a_proxy_is_known_by_its_name_or_by_db_proxy() {
    let proxy = ("PGHOST", "p.proxy-c1a2b3.us-west-2.rds.amazonaws.com");
    assert!(config(&[proxy]).unwrap().proxy);
    assert!(!config(&[proxy, ("DB_PROXY", "false")]).unwrap().proxy);
    assert!(config(&[("DB_PROXY", "true")]).unwrap().proxy);
    assert!(refused(&[("DB_PROXY", "yes")]).contains("true or false"));
    assert!(refused(&[("DB_METRICS", "off")]).contains("DB_METRICS"));
}

#[test]
fn a_role_has_a_session_name_that_sts_accepts() {
    let arn = ("DB_ROLE_ARN", "arn:aws:iam::123456789012:role/reader");
    let function = ("AWS_LAMBDA_FUNCTION_NAME", "daily report/é");
    let role = config(&[arn, function]).unwrap().common.role.unwrap();
    assert_eq!(role.session_name, "daily-report--");
    assert!(refused(&[arn, ("DB_ROLE_SESSION_NAME", "a b")]).contains("DB_ROLE_SESSION_NAME"));
    assert!(refused(&[("DB_ROLE_ARN", "reader")]).contains("DB_ROLE_ARN"));
    assert!(refused(&[("DB_ROLE_EXTERNAL_ID", "x")]).contains("without DB_ROLE_ARN"));
    let sts = ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1");
    assert_eq!(config(&[arn, sts]).unwrap().common.sts_endpoint.as_deref(), Some(sts.1));
    assert_eq!(config(&[arn, ("AWS_ENDPOINT_URL_STS", "")]).unwrap().common.sts_endpoint, None);
    assert!(refused(&[("AWS_ENDPOINT_URL_STS", "sts")]).contains("not a URL"));
    for here in
        ["http://localhost:1/", "http://[::1]:1", "http://127.0.0.2", "https://sts.example.com"]
    {
        assert!(config(&[("AWS_ENDPOINT_URL_STS", here)]).is_ok(), "{here}");
    }
    for elsewhere in [
        "http://10.0.0.1:80",
        "http://sts.example.com",
        "http://localhost.example.com",
        "http://localhost@evil.example",
        "http://127.0.0.1:80@evil.example",
        "http://127.0.0.1:1:2",
    ] {
        let told = refused(&[("AWS_ENDPOINT_URL_STS", elsewhere)]);
        assert!(told.contains("in the clear"), "{elsewhere}: {told}");
    }
}

#[test]
fn a_proxys_public_roots_need_the_name_checked() {
    let proxy = ("PGHOST", "p.proxy-c1a2b3.us-east-1.rds.amazonaws.com");
    let ca = ("PGSSLMODE", "verify-ca");
    assert!(refused(&[proxy, ca]).contains("PGSSLROOTCERT is not set"));
    assert!(config(&[proxy]).is_ok());
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/roots/amazon.pem");
    assert!(config(&[proxy, ca, ("PGSSLROOTCERT", roots)]).is_ok());
    assert!(config(&[ca]).is_ok());
}
