//! `make roots` rebuilds the built-in roots from a bundle, without what has expired.

use crate::common;

use std::path::Path;
use std::process::{Command, Output};

use common::{root, text};
use rcgen::{CertificateParams, DnType, KeyPair};

/// Runs the script in a separate folder, with these bundles.
fn update(folder: &Path, bundles: &[&Path]) -> Output {
    let script = folder.join("update.sh");
    std::fs::copy(root().join("shared/roots/update.sh"), &script).unwrap();
    Command::new("bash").arg(script).args(bundles).output().unwrap()
}

fn certificate(name: &str, not_after: time::OffsetDateTime) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = time::OffsetDateTime::UNIX_EPOCH;
    params.not_after = not_after;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

#[test]
fn the_script_reproduces_the_committed_roots() {
    let folder = tempfile::tempdir().unwrap();
    let committed = root().join("shared/roots/rds.pem");
    let output = update(folder.path(), &[&committed]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made = std::fs::read_to_string(folder.path().join("rds.pem")).unwrap();
    let expired = text(&output.stdout).contains("expired:");
    assert!(expired || made == std::fs::read_to_string(committed).unwrap());
}

#[test]
fn expired_and_foreign_certificates_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (past, future) = (
        time::macros::datetime!(2024-08-22 0:00 UTC),
        time::macros::datetime!(2061-05-21 0:00 UTC),
    );
    let bundle = folder.path().join("bundle.pem");
    let certificates = [
        certificate("Amazon RDS eu-west-1 Root CA RSA2048 G1", future),
        certificate("Amazon RDS eu-west-1 2019 CA", past),
        certificate("Amazon RDS us-gov-west-1 Root CA ECC384 G1", future),
        certificate("Amazon RDS Beta us-east-1 Root CA RSA2048 G1", future),
        certificate("Somebody else", future),
    ];
    std::fs::write(&bundle, certificates.concat()).unwrap();
    let output = update(folder.path(), &[&bundle]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made = std::fs::read_to_string(folder.path().join("rds.pem")).unwrap();
    let headings: Vec<&str> = made.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        headings,
        [
            "# eu-west-1",
            "## Amazon RDS eu-west-1 Root CA RSA2048 G1",
            "# us-gov-west-1",
            "## Amazon RDS us-gov-west-1 Root CA ECC384 G1",
        ]
    );
    assert!(text(&output.stdout).contains("expired: Amazon RDS eu-west-1 2019 CA"));
}

#[test]
fn a_bundle_without_rds_roots_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = update(folder.path(), &[&root().join("shared/roots/amazon.pem")]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no RDS root"), "{}", text(&output.stderr));
    assert!(!folder.path().join("rds.pem").exists());
}
