//! doctor on what answers in place of the database, and on certificates that nobody should have: servers
//! that are staged here, because no setting of the gate makes them.

use crate::common;

use std::sync::Arc;

use common::broken_setup::{BrokenSetup, Changes};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rds_local::HOST;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Agrees to TLS, and presents this certificate.
async fn presenting(certificate: &rcgen::Certificate, key: &KeyPair) -> String {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    common::serving(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = stream.read(&mut [0; 8]).await;
            let _ = stream.write_all(b"S").await;
            let _ = acceptor.accept(stream).await;
        }
    })
    .await
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from(aws_smithy_async::time::SharedTimeSource::default().now())
}

/// A certificate for the gate's name, its root as PEM, and its key; each with its days from and to now.
fn issued(root: (i64, i64), leaf: (i64, i64)) -> (rcgen::Certificate, String, KeyPair) {
    let between = |params: &mut CertificateParams, (from, to): (i64, i64)| {
        params.not_before = now() + Duration::days(from);
        params.not_after = now() + Duration::days(to);
    };
    let mut ca = CertificateParams::default();
    between(&mut ca, root);
    ca.distinguished_name.push(DnType::CommonName, "A corporate root");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    between(&mut params, leaf);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    (certificate, pem, key)
}

async fn named(setup: &mut BrokenSetup, changes: Changes<'_>, cause: &str) -> Value {
    let variables = setup.with(changes);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["cause"], cause, "{report:#}");
    report["causes"][0].clone()
}

#[tokio::test]
async fn what_answers_is_told_apart() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let ssh = common::saying(b"SSH-2.0-OpenSSH_9.6\r\n", b"").await;
    let first = named(&mut setup, &[("PGPORT", &ssh)], "other-server").await;
    assert!(first["evidence"].to_string().contains("SSH"), "{first}");

    let full = common::saying(b"E\0\0\0\x0asorry\0", b"").await;
    named(&mut setup, &[("PGPORT", &full)], "error-before-tls").await;
    let lossy = common::saying(b"S", b"").await;
    named(&mut setup, &[("PGPORT", &lossy)], "packets-lost").await;
    // An alert: protocol version.
    let old = common::saying(b"S", b"\x15\x03\x01\0\x02\x02\x46").await;
    named(&mut setup, &[("PGPORT", &old)], "tls-old").await;
    setup.close().await;
}

#[tokio::test]
async fn certificates_of_a_wrong_time_are_told_apart() {
    let mut setup = BrokenSetup::open(|options| options).await;
    for (root, leaf, cause) in [
        ((-9, 9), (2, 9), "certificate-early"),
        ((-9, 9), (-9, -2), "certificate-expired"),
        ((-9, -2), (-9, 9), "root-expired"),
    ] {
        let (certificate, pem, key) = issued(root, leaf);
        let port = presenting(&certificate, &key).await;
        let changes = [("PGPORT", port.as_str()), ("PGSSLROOTCERT", pem.as_str())];
        let first = named(&mut setup, &changes, cause).await;
        assert_eq!(first["likelihood"], "certain", "{first}");
    }
    setup.close().await;
}

/// `PGHOST` is a database's name that somebody chose: what leads elsewhere is the tunnel.
#[tokio::test]
async fn a_tunnel_to_another_database_is_the_tunnels_fault() {
    let mut setup = BrokenSetup::open(|options| options).await;
    let tunnel = setup.server.address.to_string();
    let other = "orders.c0ffee000000.us-east-1.rds.amazonaws.com";
    let changes = [("PGHOST", other), ("PGHOSTADDR", ""), ("DB_TUNNEL", tunnel.as_str())];
    let first = named(&mut setup, &changes, "certificate-name").await;
    assert_eq!(first["title"], "DB_TUNNEL leads to another database than PGHOST names");
    assert_eq!(first["remedies"][0]["name"], "DB_TUNNEL", "{first}");
    setup.close().await;
}
