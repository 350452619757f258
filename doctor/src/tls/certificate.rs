//! The content of a certificate.

use std::time::SystemTime;

use rds_iam::Config;
use rds_iam::roots::Roots;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::evidence::{Presented, Verdict};

pub(crate) fn read(
    version: &str,
    chain: &[Vec<u8>],
    config: &Config,
    now: SystemTime,
) -> Presented {
    let parsed: Vec<X509Certificate<'_>> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate))
        .collect();
    let now = OffsetDateTime::from(now).unix_timestamp();
    let leaf = parsed.first();
    let issuer = parsed.last().map(|top| name(top.issuer())).unwrap_or_default();
    let root = parsed.last().and_then(|top| root_of(config.roots.pem(), top));
    let built_in = match (&root, parsed.last()) {
        (None, Some(top)) => built_in_of(top),
        _ => None,
    };
    Presented {
        version: version.to_owned(),
        chain: parsed.iter().map(|certificate| name(certificate.subject())).collect(),
        issuer,
        names: leaf.map(names).unwrap_or_default(),
        seconds_left: leaf.map_or(0, |l| l.validity().not_after.timestamp() - now),
        seconds_old: leaf.map_or(0, |l| now - l.validity().not_before.timestamp()),
        root,
        built_in,
        verdict: Verdict::Other,
    }
}

/// The common name, or the whole name where it has none.
fn name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|cn| cn.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    // It may come from anywhere, and a terminal obeys control characters.
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(san)) = leaf.subject_alternative_name() else { return Vec::new() };
    let legal =
        |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
    let mut names = Vec::new();
    for entry in &san.value.general_names {
        match entry {
            GeneralName::DNSName(name) => {
                names.extend(Some(*name).filter(legal).map(str::to_ascii_lowercase));
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
                names.extend(v4.or(v6).ok().map(|address| address.to_string()));
            }
            _ => {}
        }
    }
    names.truncate(20);
    names
}

/// The root in this PEM that the top of a chain leads to, by its name.
fn root_of(pem: &str, top: &X509Certificate<'_>) -> Option<String> {
    Pem::iter_from_buffer(pem.as_bytes()).flatten().find_map(|pem| {
        let root = pem.parse_x509().ok()?;
        let same = root.subject().as_raw() == top.issuer().as_raw();
        same.then(|| name(root.subject()))
    })
}

/// The region whose built-in roots a chain leads to, or RDS Proxy.
pub(crate) fn built_in(chain: &[Vec<u8>]) -> Option<String> {
    built_in_of(&X509Certificate::from_der(chain.last()?).ok()?.1)
}

fn built_in_of(top: &X509Certificate<'_>) -> Option<String> {
    let leads =
        |roots: Result<Roots, rds_iam::Flaw>| roots.is_ok_and(|r| root_of(r.pem(), top).is_some());
    if leads(Roots::built_in("", true)) {
        return Some("RDS Proxy".into());
    }
    Roots::built_in_regions().find(|region| leads(Roots::built_in(region, false))).map(Into::into)
}

/// OpenSSL's words for a chain that does not end in a trusted root, or in another of the same name.
const ROOT_WORDS: [&str; 4] = ["self-signed", "self signed", "issuer", "signature failure"];

/// The objection of the functions' TLS: the certificate's dates and names decide, and the TLS's words only what they
/// leave open.
pub(crate) fn verdict(why: &str, presented: &Presented) -> Verdict {
    let why = why.to_ascii_lowercase();
    if why.contains("not yet valid") || presented.seconds_old < 0 {
        Verdict::NotYetValid
    } else if presented.seconds_left < 0 {
        Verdict::Expired
    } else if why.contains("has expired") {
        Verdict::RootExpired
    } else if why.contains("mismatch") {
        Verdict::Name
    } else if presented.root.is_none() || ROOT_WORDS.iter().any(|word| why.contains(word)) {
        Verdict::Root
    } else {
        Verdict::Other
    }
}

pub(crate) fn said(presented: &Presented) -> String {
    let Presented { version, chain, issuer, names, seconds_left, root, verdict, .. } = presented;
    let days = seconds_left.div_euclid(86_400);
    let verdict = match verdict {
        Verdict::Trusted => "trusted",
        Verdict::Name => "NOT TRUSTED: it names another host",
        Verdict::Expired => "NOT TRUSTED: it has expired",
        Verdict::RootExpired => "NOT TRUSTED: a certificate above it has expired",
        Verdict::NotYetValid => "NOT TRUSTED: it is not valid yet",
        Verdict::Root => "NOT TRUSTED: its root is not one of the configured ones",
        Verdict::Other => "NOT TRUSTED",
    };
    let root = root.as_deref().unwrap_or(issuer);
    format!(
        "{version}, {verdict}; for {}; {} < {root}; {days} days left",
        names.join(", "),
        chain.join(" < ")
    )
}
