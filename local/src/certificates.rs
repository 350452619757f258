//! The gate's certificate, and the certificate authority that signs it: both new at each start.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Result;

/// The root that clients must trust, and the server's TLS settings.
#[derive(Debug)]
pub struct Certificates {
    /// The root, as PEM.
    pub root_pem: String,
    /// TLS 1.2 and 1.3, with the ALPN name of PostgreSQL 17's direct TLS.
    pub server: Arc<ServerConfig>,
}

impl Certificates {
    /// Creates a root and a certificate for these names. Keys stay in memory.
    pub fn issue(names: &[&str], now: std::time::SystemTime) -> Result<Self> {
        let failed = |error: rcgen::Error| format!("cannot create a certificate: {error}");
        let day = time::Duration::DAY;
        let now = time::OffsetDateTime::from(now);
        let validity = |params: &mut CertificateParams| {
            params.not_before = now - day;
            params.not_after = now + day * 90;
        };

        let mut root = CertificateParams::default();
        validity(&mut root);
        root.distinguished_name.push(DnType::CommonName, "rds-local root, for development only");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_key = KeyPair::generate().map_err(failed)?;
        let root_pem = root.self_signed(&root_key).map_err(failed)?.pem();
        let issuer = Issuer::new(root, root_key);

        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(names.clone()).map_err(failed)?;
        validity(&mut leaf);
        leaf.distinguished_name.push(DnType::CommonName, "rds-local");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
            })
            .map_err(|error| format!("cannot set up TLS: {error}"))?;
        server.alpn_protocols = vec![b"postgresql".to_vec()];
        // PostgreSQL sends no session tickets either.
        server.send_tls13_tickets = 0;
        Ok(Self { root_pem, server: Arc::new(server) })
    }
}
