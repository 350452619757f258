//! doctor on variables that were pasted or filled in wrongly, in the many ways in which people do.

use crate::common;

use std::net::{IpAddr, Ipv4Addr};

use common::REVERSED;
use common::broken_setup::{BrokenSetup, Changes, Fill, USER};
use rds_local::{DATABASE, HOST, Options};

#[tokio::test]
async fn pasted_values_are_named_and_cleaned() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let port = setup.healthy["PGPORT"].clone();
    let user_and_line = format!("{USER}\n");
    let quoted = format!("\"{USER}\"");
    let spaced = format!(" {DATABASE} ");
    let host_and_port = format!(" {HOST}:{port} ");
    let network = "127.0.0.1/32".to_owned();
    let cases: &[(&str, Changes<'_>)] = &[
        ("a line break", &[("PGUSER", &user_and_line)]),
        ("quotes", &[("PGUSER", &quoted)]),
        ("spaces", &[("PGDATABASE", &spaced)]),
        ("spaces and a port", &[("PGHOST", &host_and_port), ("PGPORT", "")]),
        ("a network", &[("PGHOSTADDR", &network)]),
        ("an en dash", &[("PGHOST", "rds\u{2013}local")]),
    ];
    let fill: Fill<'_> = &[("database's endpoint", HOST)];
    for (name, changes) in cases {
        setup.repair_variables(name, "configuration", changes, fill).await;
    }
    for form in ["http://localhost:P/", "127.0.0.1 P", "127.0.0.1: P", ":P", "P"] {
        let tunnel = form.replace('P', &port);
        let changes = [("PGHOSTADDR", ""), ("DB_TUNNEL", tunnel.as_str())];
        setup.repair_variables("a tunnel", "configuration", &changes, &[]).await;
    }
    let good = format!("127.0.0.1:{port}");
    let fill: Fill<'_> = &[("of the tunnel", &good)];
    let changes = [("PGHOSTADDR", ""), ("DB_TUNNEL", "localhost:abc")];
    setup.repair_variables("no tunnel", "configuration", &changes, fill).await;
    println!("{} staged", setup.close().await);
}

/// A title is a whole phrase, wherever the problem has its commas.
#[tokio::test]
async fn titles_are_whole() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let variables = setup.with(&[("PGHOST", "not a host")]);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["title"], "PGHOST is not a host name", "{report:#}");
    let variables = setup.with(&[("DB_TUNNEL", "localhost:abc")]);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["title"], "DB_TUNNEL is not host:port", "{report:#}");
    setup.close().await;
}

/// The usual mistake with a tunnel: its port in PGPORT, for which the token is signed then. The database
/// has its usual port at an address of the loopback network that nothing else uses.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_token_for_the_tunnels_port_is_told_by_one_for_the_databases() {
    let listen = IpAddr::V4(Ipv4Addr::new(127, 83, 68, 5));
    let mut setup = BrokenSetup::open(|options| Options { port: 5432, listen, ..options }).await;
    let tunnel = common::forward(setup.server.address).await.to_string();
    let changes = [("PGHOSTADDR", "127.0.0.1"), ("PGPORT", tunnel.as_str())];
    let variables = setup.with(&changes);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["likelihood"], "certain", "{report:#}");
    setup.repair_variables("a tunnel's port", "token-port", &changes, &[]).await;
    setup.close().await;
}

/// Half a second for each answer is no failure: a function logs in too, and doctor waits as long.
#[tokio::test]
async fn a_slow_network_is_no_failure() {
    let latency = std::time::Duration::from_millis(250);
    let mut setup = BrokenSetup::open(|options| Options { latency, ..options }).await;
    let variables = setup.with(&[]);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["ok"], true, "{report:#}");
    setup.close().await;
}

/// AWS's SDK ends a process over these, which are nothing to a login without a role.
#[tokio::test]
async fn settings_of_the_sdk_are_no_panic() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let role = setup.healthy["DB_ROLE_ARN_EXAMPLE"].clone();
    let external = setup.healthy["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone();
    let assumed = [("DB_ROLE_ARN", role.as_str()), ("DB_ROLE_EXTERNAL_ID", external.as_str())];
    for changes in
        [("AWS_RETRY_MODE", "legacy"), ("AWS_MAX_ATTEMPTS", ""), ("AWS_MAX_ATTEMPTS", "0")]
    {
        let variables = setup.with(&[&assumed[..], &[changes]].concat());
        let report = setup.doctor(&variables).await;
        assert_eq!(report["ok"], true, "{changes:?}: {report:#}");
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let variables = setup.with(&[(name, "/nowhere")]);
        let report = setup.doctor(&variables).await;
        assert_eq!(report["ok"], true, "{report:#}");
        let found = common::aws::step(&report, "caller");
        assert!(found.contains(name), "{found}");
        let variables = setup.with(&[&assumed[..], &[(name, "/nowhere")]].concat());
        let report = setup.doctor(&variables).await;
        assert_eq!(report["causes"][0]["cause"], "configuration", "{report:#}");
    }
    setup.close().await;
}

/// Reversed in the build of reversed-words.sh: every other test shows then that no diagnosis is read out of one.
#[tokio::test]
async fn messages_have_their_words_in_the_order_of_the_build() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let variables = setup.with(&[("PGHOST", "not a host")]);
    let report = setup.doctor(&variables).await;
    let seen = report["causes"][0]["evidence"][0].as_str().unwrap();
    assert!(seen.contains("PGHOST"), "{report:#}");
    assert_eq!(seen.starts_with("PGHOST"), !REVERSED, "{report:#}");
    setup.close().await;
}
