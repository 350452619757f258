//! The TLS connector: it trusts the configured roots and nothing else.

use native_tls::{Protocol, TlsConnector};
use postgres_native_tls::MakeTlsConnector;

use crate::config::{Config, SslMode, SslNegotiation};
use crate::error::{Error, ErrorKind};

/// A connector for the configured endpoint: TLS 1.2 or later, the configured roots and no other.
///
/// # Errors
/// [`ConfigInvalid`](ErrorKind::ConfigInvalid) if a root is not a certificate.
pub fn tls_connector(config: &Config) -> Result<MakeTlsConnector, Error> {
    let build = || -> Result<TlsConnector, native_tls::Error> {
        let mut builder = TlsConnector::builder();
        builder.min_protocol_version(Some(Protocol::Tlsv12)).disable_built_in_roots(true);
        for certificate in config.roots.certificates()? {
            builder.add_root_certificate(certificate);
        }
        if config.ssl_mode == SslMode::VerifyCa {
            builder.danger_accept_invalid_hostnames(true);
        }
        if config.ssl_negotiation == SslNegotiation::Direct {
            postgres_native_tls::set_postgresql_alpn(&mut builder);
        }
        builder.build()
    };
    build().map(MakeTlsConnector::new).map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, "TLS cannot be set up")
            .because(error.to_string())
            .remedy("Check PGSSLROOTCERT")
    })
}
