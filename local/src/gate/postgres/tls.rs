//! The gate's TLS as PostgreSQL's clients see it: the name of the protocol that direct TLS needs,
//! and what `pg_stat_ssl` shows of a session.

use rustls::{ServerConnection, SupportedCipherSuite};

/// The session's own parameter that holds [`describe`]'s text, for the view in `pg_stat_ssl.sql`.
pub(super) const PARAMETER: &str = "rds_local.tls";

/// How a connection came to its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The client asked for it in PostgreSQL's protocol.
    Requested,
    /// The same, but data came between the request and TLS: PostgreSQL then refuses, inside TLS.
    Injected,
    /// The client began with it, as `sslnegotiation=direct` does.
    Direct,
}

impl Start {
    /// Whether the client has named the protocol by ALPN where PostgreSQL insists on that.
    pub(super) fn is_satisfied(self, connection: &ServerConnection) -> bool {
        self != Self::Direct || connection.alpn_protocol().is_some()
    }
}

/// Version, cipher and the bits of its key, in OpenSSL's words and with blanks between.
pub(super) fn describe(connection: &ServerConnection, version: Option<&str>) -> String {
    let suite = connection.negotiated_cipher_suite();
    let cipher = suite.map(cipher).unwrap_or_default();
    let bits = if cipher.contains("128") && !cipher.contains("CHACHA20") { 128 } else { 256 };
    format!("{} {cipher} {bits}", version.unwrap_or_default())
}

fn cipher(suite: SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    if let Some(name) = name.strip_prefix("TLS13_") {
        return format!("TLS_{name}");
    }
    let name = name.trim_start_matches("TLS_").replace("_WITH_", "_").replace("AES_", "AES");
    // The hash of this one goes without saying.
    let name = if name.contains("CHACHA20") { name.trim_end_matches("_SHA256") } else { &name };
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_have_openssls_names() {
        let mut names: Vec<String> =
            rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().map(cipher).collect();
        names.sort();
        let expected = [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ];
        assert_eq!(names, expected);
    }
}
