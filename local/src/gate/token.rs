//! The check of a token, as RDS makes it, with nothing taken from the signer.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Request, Scope};
use crate::token_text::{Form, TokenText};

/// RDS's limit for `X-Amz-Expires`.
const LONGEST: i64 = 900;
/// How far a signer's clock may be ahead.
const CLOCK_SKEW: i64 = 300;

const NAMES: [&str; 8] = [
    "Action",
    "DBUser",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];
const SESSION_TOKEN: &str = "X-Amz-Security-Token";

/// The endpoint and user that a token must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The endpoint's name, in lower case.
    pub host: &'a str,
    /// The endpoint's port.
    pub port: u16,
    /// The database's region.
    pub region: &'a str,
    /// The user who logs in.
    pub user: &'a str,
    /// Whether the short form `host:port?…`, which older versions of Go's SDK write, is refused.
    pub strict: bool,
    /// The client's address, for policies.
    pub source_ip: Option<IpAddr>,
}

/// Who signed the token, or why it is refused, for the gate's log only.
pub fn verify(
    token: &str,
    expected: Expected<'_>,
    iam: &Iam,
    now: SystemTime,
) -> Result<Identity, String> {
    let text = TokenText::split(token).ok_or("not a token but a plain password")?;
    if token.ends_with(char::is_whitespace) {
        return Err("the token has a space or a line end after it".into());
    }
    check_endpoint(&text, &expected)?;
    let token = Parameters::parse(text.query)?;
    token.check_request(&expected)?;
    let scope = token.scope(&expected)?;
    token.check_time(&scope, now)?;
    let identity = token.find_signer(&scope, iam, now)?;
    token.check_signatures_form()?;
    if !token.is_signed_by(&identity, &scope, &expected)? {
        return Err(
            "the signature does not match: wrong secret key, or altered after signing".into()
        );
    }
    iam.may_connect(&identity, expected.user, expected.region, expected.source_ip, now)?;
    Ok(identity)
}

fn check_endpoint(text: &TokenText<'_>, expected: &Expected<'_>) -> Result<(), String> {
    let endpoint = expected.endpoint();
    if text.address.to_ascii_lowercase() != endpoint {
        return Err(format!("signed for endpoint {:?}, not {endpoint}", text.address));
    }
    if text.form == Form::Short && expected.strict {
        return Err("the short form host:port?…, as older versions of Go's SDK write it: this \
                    endpoint takes host:port/?… only (--strict)"
            .into());
    }
    Ok(())
}

impl Expected<'_> {
    fn endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The parameters of a token, each of which stands once and is known.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, String> {
        let params = sigv4::parse_query(query, false).ok_or("a percent escape is broken")?;
        for (i, (name, _)) in params.iter().enumerate() {
            if params[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("duplicate parameter {name}"));
            }
            if !NAMES.contains(&name.as_str()) && name != SESSION_TOKEN {
                return Err(format!("unknown parameter {name:?}"));
            }
        }
        Ok(Self(params))
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Result<&str, String> {
        self.find(name).ok_or_else(|| format!("{name} is missing: the token is truncated"))
    }

    fn check_request(&self, expected: &Expected<'_>) -> Result<(), String> {
        for (name, wanted) in [
            ("Action", "connect"),
            ("DBUser", expected.user),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-SignedHeaders", "host"),
        ] {
            let value = self.get(name)?;
            if value != wanted {
                return Err(format!("{name} is {value:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    fn scope(&self, expected: &Expected<'_>) -> Result<Scope<'_>, String> {
        let scope = Scope::parse(self.get("X-Amz-Credential")?);
        let scope = scope.ok_or("X-Amz-Credential is malformed")?;
        if scope.region != expected.region {
            return Err(format!("signed for region {:?}, not {}", scope.region, expected.region));
        }
        if scope.service != "rds-db" {
            return Err(format!("signed for service {:?}, not rds-db", scope.service));
        }
        Ok(scope)
    }

    fn check_time(&self, scope: &Scope<'_>, now: SystemTime) -> Result<(), String> {
        let date = self.get("X-Amz-Date")?;
        let signed_at = sigv4::parse_amz_date(date).ok_or("X-Amz-Date is malformed")?;
        if !scope.is_of(date) {
            return Err("the dates of X-Amz-Date and X-Amz-Credential differ".into());
        }
        let expires = self.get("X-Amz-Expires")?.parse();
        let expires: i64 = expires.map_err(|_| "X-Amz-Expires is malformed")?;
        if !(1..=LONGEST).contains(&expires) {
            return Err(format!("X-Amz-Expires is {expires} s, and {LONGEST} are the most"));
        }
        let age = sigv4::seconds_between(signed_at, now);
        if age < -CLOCK_SKEW {
            return Err(format!("signed {} s in the future: clock skew", -age));
        }
        if age >= expires {
            return Err(format!("expired: signed {age} s ago, valid for {expires} s"));
        }
        Ok(())
    }

    /// Tells a token that a shell or an editor has damaged from one with another's signature.
    fn check_signatures_form(&self) -> Result<(), String> {
        let signature = self.get("X-Amz-Signature")?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if signature.len() == 64 && signature.bytes().all(hex) {
            return Ok(());
        }
        Err("X-Amz-Signature is not 64 hexadecimal digits: the token was cut, or has other text after it"
            .into())
    }

    fn find_signer(
        &self,
        scope: &Scope<'_>,
        iam: &Iam,
        now: SystemTime,
    ) -> Result<Identity, String> {
        let identity = iam.find(scope.access_key_id).ok_or("unknown access key")?;
        match (&identity.session_token, self.find(SESSION_TOKEN)) {
            (Some(_), None) => return Err("session token missing".into()),
            (Some(issued), Some(sent)) if issued != sent => {
                return Err("wrong session token".into());
            }
            (None, Some(_)) => return Err("session token sent with a key that has none".into()),
            _ => {}
        }
        if identity.has_expired(now) {
            return Err("the credentials' session has expired".into());
        }
        Ok(identity)
    }

    fn is_signed_by(
        &self,
        identity: &Identity,
        scope: &Scope<'_>,
        expected: &Expected<'_>,
    ) -> Result<bool, String> {
        let (date, signature) = (self.get("X-Amz-Date")?, self.get("X-Amz-Signature")?);
        let signed: Vec<(String, String)> =
            self.0.iter().filter(|(name, _)| name != "X-Amz-Signature").cloned().collect();
        let endpoint = expected.endpoint();
        // The Host header leaves out HTTPS's default port.
        let host = endpoint.strip_suffix(":443").unwrap_or(&endpoint).to_owned();
        let headers = [("host".to_owned(), host)];
        // A request for no path is one for "/": both forms are signed alike.
        let request = Request { method: "GET", query: &signed, headers: &headers, body: b"" };
        Ok(request.is_signed_by(&identity.secret_access_key, scope, date, signature))
    }
}
