//! RDS IAM authentication tokens: an AWS Signature Version 4 query string that serves as the
//! password of one login.
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>. Signing
//! is local and costs microseconds; the credentials are what is worth caching.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::identity::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credentials;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};

/// RDS accepts a token for at most 15 minutes.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// Signature Version 4 leaves only RFC 3986's unreserved characters as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs tokens for one user at one endpoint.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use aws_credential_types::Credentials;
/// use rds_iam::token::TokenSigner;
///
/// let signer = TokenSigner {
///     host: "prod-instance.us-east-1.rds.amazonaws.com".into(),
///     port: 3306,
///     region: "us-east-1".into(),
///     user: "peccy".into(),
/// };
/// # let credentials = Credentials::new("akid", "secret", None, None, "test");
/// # let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_709_600);
/// let token = signer.sign(&credentials, now)?;
/// assert!(token.as_str().starts_with("prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect"));
/// # Ok::<(), rds_iam::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSigner {
    /// The endpoint's name. Signed in lower case, as RDS checks it, and written as given.
    pub host: String,
    /// The endpoint's port.
    pub port: u16,
    /// The database's region.
    pub region: String,
    /// The database user.
    pub user: String,
}

impl TokenSigner {
    /// A signer for a user at an endpoint.
    pub fn new(endpoint: &Endpoint, region: &str, user: &str) -> Self {
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        Self { host, port, region: region.to_owned(), user: user.to_owned() }
    }

    /// Signs a token. It can be used from `now` on, for [`TOKEN_LIFETIME`] or until the
    /// credentials expire, whichever comes first.
    ///
    /// # Errors
    /// [`CredentialsExpired`](ErrorKind::CredentialsExpired) if the credentials have expired;
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) if the host or the credentials cannot be signed.
    pub fn sign(&self, credentials: &Credentials, now: SystemTime) -> Result<AuthToken, Error> {
        let mut expires_at = now + TOKEN_LIFETIME;
        if let Some(expiry) = credentials.expiry() {
            if expiry <= now {
                return Err(Error::new(ErrorKind::CredentialsExpired, "no token was signed")
                    .because("the AWS credentials have expired")
                    .remedy(
                        "Renew them; in Lambda this means that STS could not be reached in time",
                    ));
            }
            expires_at = expires_at.min(expiry);
        }
        let text = self.text(credentials, now).map_err(|why| {
            Error::new(ErrorKind::ConfigInvalid, "no token could be signed").because(why).remedy(
                "Check the endpoint's host and port, the database user and the AWS credentials",
            )
        })?;
        Ok(AuthToken { text, expires_at })
    }

    /// Resolves credentials without blocking, then signs: for callers that need a token and no
    /// [`Session`](crate::Session). Give it a [`CachingProvider`](crate::credentials::CachingProvider),
    /// or every token may cost a call to STS.
    ///
    /// # Errors
    /// [`CredentialsUnavailable`](ErrorKind::CredentialsUnavailable) if there are none; otherwise as
    /// [`TokenSigner::sign`].
    pub async fn token(
        &self,
        provider: &impl ProvideCredentials,
        clock: &impl TimeSource,
    ) -> Result<AuthToken, Error> {
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| credentials::unavailable(&error))?;
        self.sign(&credentials, clock.now())
    }

    fn text(&self, credentials: &Credentials, now: SystemTime) -> Result<String, String> {
        Endpoint::parse(&self.host, self.port).map_err(|why| format!("the host {why}"))?;
        let user = utf8_percent_encode(&self.user, ENCODED);
        let host = self.host.to_ascii_lowercase();
        let query = format!("Action=connect&DBUser={user}");
        // The signed header leaves out HTTPS's default port, as botocore does; aws-sigv4 sees to it.
        let url = format!("https://{host}:{}/?{query}", self.port);

        let mut settings = SigningSettings::default();
        settings.expires_in = Some(TOKEN_LIFETIME);
        settings.signature_location = SignatureLocation::QueryParams;
        let identity = Identity::from(credentials.clone());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("rds-db")
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let request =
            SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
                .map_err(|_| "the host name is not valid in a URL".to_owned())?;
        let (signed, _) = sign(request, &params)
            .map_err(|_| "the credentials hold characters that no AWS key has".to_owned())?
            .into_parts();

        let mut text = format!("{}:{}/?{query}", self.host, self.port);
        // The signature last, where readers of tokens look for it.
        let (signature, rest): (Vec<_>, Vec<_>) =
            signed.params().iter().partition(|(name, _)| *name == "X-Amz-Signature");
        for (name, value) in rest.into_iter().chain(signature) {
            text.extend(["&", name, "="]);
            text.extend(utf8_percent_encode(value, ENCODED));
        }
        Ok(text)
    }
}

/// A token: the password of one login, so a secret. It has no `Display`, and its `Debug` shows
/// only until when it can be used.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken {
    text: String,
    expires_at: SystemTime,
}

impl AuthToken {
    /// The token's text, for the password field of a login and for nothing else.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it stops working: 900 s after signing, or when the credentials expire if that is sooner.
    /// RDS looks at it only during a login.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(region: &str, host: &str, port: u16, user: &str) -> TokenSigner {
        TokenSigner { host: host.into(), port, region: region.into(), user: user.into() }
    }

    fn at(epoch: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(epoch)
    }

    fn signature(token: &AuthToken) -> &str {
        token.as_str().rsplit_once("X-Amz-Signature=").unwrap().1
    }

    /// Vectors that other implementations publish: aws-sdk-rust, aws-sdk-go, the Java and .NET
    /// SDKs, and pgjdbc's IAM plugin.
    #[test]
    fn published_vectors() {
        let prod = "prod-instance.us-east-1.rds.amazonaws.com";
        let cases = [
            (
                ("akid", "secret", None),
                1_724_709_600,
                signer("us-east-1", prod, 3306, "peccy"),
                "dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89",
            ),
            (
                ("akid", "skid", None),
                1_478_540_373,
                signer("us-east-1", prod, 3306, "someusername"),
                "d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61",
            ),
            (
                ("access_key", "secret_key", None),
                1_478_540_373,
                signer("us-east-1", "host.us-east-1.amazonaws.com", 3306, "mySQLUser"),
                "87ab58107ef49f1c311a412f98b7f976b0b5152ffb559f0d36c6c9a0c5e0e362",
            ),
            (
                ("akid", "secret", None),
                0,
                signer("us-east-1", "db.us-east-1.amazonaws.com", 8000, "test"),
                "6f2b4daa29668c1c264d7af7927d9d2a706768e35d92d76b461aedbaca14b6ad",
            ),
            (
                ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Some("SeSsIoNtOkEn")),
                1_537_372_962,
                signer("eu-west-1", "dbhost.xyz.eu-west-1.amazonaws.com", 3306, "iam_user"),
                "0c5925dc554b2e175d58dcb96d9ad71cf85c81ba0835a523291f9f6ce90096ca",
            ),
        ];
        for ((key, secret, session), time, signer, expected) in cases {
            let credentials =
                Credentials::new(key, secret, session.map(str::to_owned), None, "test");
            let token = signer.sign(&credentials, at(time)).unwrap();
            assert_eq!(signature(&token), expected, "{signer:?}");
        }
    }

    #[test]
    fn a_token_dies_with_its_credentials() {
        let signer = signer("us-east-1", "db.example.com", 5432, "u");
        let expiring = |after| {
            Credentials::new(
                "akid",
                "secret",
                None,
                Some(at(1000) + Duration::from_secs(after)),
                "t",
            )
        };
        let long = signer.sign(&expiring(3600), at(1000)).unwrap();
        assert_eq!(long.expires_at(), at(1900));
        let short = signer.sign(&expiring(60), at(1000)).unwrap();
        assert_eq!(short.expires_at(), at(1060));
        let error = signer.sign(&expiring(0), at(1000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CredentialsExpired);
    }

    #[test]
    fn debug_masks_the_token() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "secret", Some("session".into()), None, "test");
        let token =
            signer("us-east-1", "db.example.com", 5432, "u").sign(&credentials, at(0)).unwrap();
        let debug = format!("{token:?}");
        for secret in ["AKIDEXAMPLE", "session", signature(&token)] {
            assert!(!debug.contains(secret), "{debug}");
        }
    }

    #[test]
    fn impossible_hosts_are_errors_and_not_panics() {
        for host in ["", " ", "a b", "[", "a/b", "a?b", "a#b", "user@a", "é", "a:1"] {
            let result = signer("us-east-1", host, 5432, "u")
                .sign(&Credentials::new("akid", "secret", None, None, "test"), at(0));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ConfigInvalid, "{host}");
        }
    }
}
