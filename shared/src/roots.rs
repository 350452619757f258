//! The root certificates that the database server's certificate may chain to.
//!
//! Only the roots of the database's own region are used, never the system's store. They come from
//! AWS's bundle
//! (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html>); `make roots`
//! renews `shared/roots/rds.pem`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use native_tls::Certificate;

use crate::flaw::Flaw;

/// One section for each region, under a line `# region`.
const RDS_ROOTS: &str = include_str!("../roots/rds.pem");
/// Amazon Root CA 1–4, which RDS Proxy's certificates chain to.
const AMAZON_ROOTS: &str = include_str!("../roots/amazon.pem");

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The largest file of roots, in bytes: the global bundle of RDS has 170 KB.
const LARGEST: u64 = 4 << 20;

/// The root certificates that the server's certificate may chain to, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Roots(Arc<str>);

impl Roots {
    /// The built-in roots of a region, or of RDS Proxy.
    ///
    /// # Errors
    /// The flaw of a region that has none.
    pub fn built_in(region: &str, proxy: bool) -> Result<Self, Flaw> {
        if proxy {
            return Ok(Self(AMAZON_ROOTS.into()));
        }
        section(region).map(|pem| Self(pem.into())).ok_or_else(|| {
            Flaw::new("is not set", format!(
                ", and there are no built-in RDS roots for {region}: put that region's PEM \
                 bundle (truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem, or the \
                 partition's own trust store) into certificates/ and set it to certificates/FILE.pem"
            ))
        })
    }

    /// The public roots of Amazon Trust Services, which Neptune's certificates chain to: Amazon Root CA
    /// 1–4, and Starfield's, which older chains end in.
    #[cfg(feature = "neptune")]
    pub fn amazon() -> Self {
        Self(
            concat!(include_str!("../roots/amazon.pem"), include_str!("../roots/starfield.pem"))
                .into(),
        )
    }

    /// The regions whose roots are built in.
    pub fn built_in_regions() -> impl Iterator<Item = &'static str> {
        RDS_ROOTS.lines().filter_map(|line| line.strip_prefix("# "))
    }

    /// The value of `PGSSLROOTCERT`: the path of a PEM file, or the PEM text itself.
    ///
    /// # Errors
    /// The flaw of a value that is neither.
    pub fn from_variable(value: &str) -> Result<Self, Flaw> {
        if value.contains(BEGIN_CERTIFICATE) {
            return Self::checked(value, "the PEM text");
        }
        if value.contains("-----BEGIN") || value.contains('\n') {
            // Nothing of it is repeated: it may be a private key.
            return Err(Flaw::new(
                "is text without a certificate",
                "; give the path of a PEM file, or the PEM text of certificates",
            ));
        }
        let unreadable = |why: &dyn std::fmt::Display| {
            let hint = format!(" ({value}: {why}); give the path of a PEM file, or the PEM text");
            Flaw::new("names a file that cannot be read", hint)
        };
        let path = Path::new(value);
        let file = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        // A pipe or a device would never end.
        if !file.is_file() || file.len() > LARGEST {
            return Err(unreadable(&"it is not a file of 4 MB at most"));
        }
        let pem = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Self::checked(&pem, value)
    }

    fn checked(pem: &str, origin: &str) -> Result<Self, Flaw> {
        match Certificate::stack_from_pem(pem.as_bytes()) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self(pem.into())),
            Ok(_) => Err(Flaw::new("holds no certificate", format!(" ({origin})"))),
            Err(_) => Err(Flaw::new("holds no readable PEM certificate", format!(" ({origin})"))),
        }
    }

    /// The certificates as PEM, for your own driver.
    pub fn pem(&self) -> &str {
        &self.0
    }

    /// The certificates, parsed.
    #[cfg(feature = "postgres")]
    pub(crate) fn certificates(&self) -> Result<Vec<Certificate>, native_tls::Error> {
        Certificate::stack_from_pem(self.0.as_bytes())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({} certificates)", self.0.matches(BEGIN_CERTIFICATE).count())
    }
}

fn section(region: &str) -> Option<&'static str> {
    let heading = format!("# {region}\n");
    let start = RDS_ROOTS.find(&heading)? + heading.len();
    let rest = &RDS_ROOTS[start..];
    Some(rest.find("\n# ").map_or(rest, |end| &rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_roots_that_parse() {
        let regions: Vec<&str> = Roots::built_in_regions().collect();
        assert!(regions.len() >= 27, "only {} regions", regions.len());
        for region in regions {
            let roots = Roots::built_in(region, false).unwrap();
            let certificates = roots.certificates().unwrap();
            assert!(!certificates.is_empty(), "{region} has no root");
            assert_eq!(roots.0.matches(BEGIN_CERTIFICATE).count(), certificates.len(), "{region}");
        }
    }

    #[test]
    fn a_proxy_is_trusted_by_amazons_roots() {
        assert_eq!(Roots::built_in("us-east-1", true).unwrap().certificates().unwrap().len(), 4);
    }

    #[test]
    fn a_region_without_roots_is_an_error() {
        assert!(
            Roots::built_in("cn-north-1", false).unwrap_err().to_string().contains("cn-north-1")
        );
        assert!(Roots::built_in("us-east", false).is_err());
    }

    #[test]
    fn given_roots_are_pem_text_or_a_file() {
        assert!(Roots::from_variable(AMAZON_ROOTS).is_ok());
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/roots/amazon.pem");
        assert!(Roots::from_variable(file).is_ok());
        assert!(
            Roots::from_variable("missing.pem").unwrap_err().to_string().contains("missing.pem")
        );
        let broken = format!("{BEGIN_CERTIFICATE}\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(Roots::from_variable(&broken).is_err());
        let key = "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----";
        let error = Roots::from_variable(key).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let no_certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(
            Roots::from_variable(no_certificate).unwrap_err().to_string().contains("certificate")
        );
    }
}
