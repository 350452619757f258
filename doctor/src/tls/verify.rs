//! Whether a certificate is trusted, judged apart from the handshake, so that the connection that showed it can
//! be used further. MySQL counts connections that end before a login, and blocks a host that has too many.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rds_iam::Config;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::certificate;
use super::step::{Seen, Stop};
use crate::tls::evidence::{Presented, Tls, Verdict};

/// The evidence of a handshake, with a verdict on its certificate.
pub(crate) fn tls(config: &Config, seen: Result<&Seen, &Stop>, now: SystemTime) -> Tls {
    let seen = match seen {
        Ok(seen) => seen,
        Err(Stop::Silent) => return Tls::Silent,
        Err(Stop::SilentAfterStart) => return Tls::SilentAfterStart,
        Err(Stop::TooOld) => return Tls::TooOld,
        Err(Stop::Handshake) => return Tls::Failed,
        Err(_) => return Tls::Closed { answers_postgres: false },
    };
    let mut presented = certificate::read(&seen.version, &seen.chain, config, now);
    presented.verdict = verdict(config, &seen.chain, now, &presented);
    if presented.verdict == Verdict::RootExpired {
        presented.built_in = certificate::built_in(&seen.chain);
    }
    Tls::Presented(presented)
}

fn verdict(config: &Config, chain: &[Vec<u8>], now: SystemTime, presented: &Presented) -> Verdict {
    match verify(config, chain, now) {
        Some(Ok(())) => Verdict::Trusted,
        Some(Err(Error::InvalidCertificate(error))) => match error {
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Verdict::NotYetValid
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
                if presented.seconds_left < 0 =>
            {
                Verdict::Expired
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Verdict::RootExpired
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Verdict::Name
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Verdict::Root,
            _ => Verdict::Other,
        },
        _ => Verdict::Other,
    }
}

/// `None` if there is nothing to verify with.
fn verify(config: &Config, chain: &[Vec<u8>], now: SystemTime) -> Option<Result<(), Error>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(config.roots.pem().as_bytes()) {
        roots.add(root.ok()?).ok()?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let certificates: Vec<CertificateDer<'_>> =
        chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (first, between) = certificates.split_first()?;
    let name = ServerName::try_from(config.endpoint.host.as_str()).ok()?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).ok()?);
    Some(verifier.verify_server_cert(first, between, &name, &[], now).map(|_| ()))
}
