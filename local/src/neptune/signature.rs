//! The check of an HTTP request's Signature Version 4, in its header or in its query string, with code
//! of its own
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use std::time::SystemTime;

use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::refusal::Refusal;
use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Scope};

/// How far a request's date may be off.
const CLOCK_SKEW: i64 = 300;
/// The longest life of a signature in a query string, a week.
const LONGEST: i64 = 604_800;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "neptune-db";
/// The parameters of a signature in a query string; all but the last are signed themselves.
const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];

/// What a request's signature says, before its body has been read.
pub(super) struct Signature {
    credential: String,
    date: String,
    /// How long it lives, for one in a query string.
    expires: Option<i64>,
    signed_headers: Vec<String>,
    session_token: Option<String>,
    signature: String,
    /// The decoded query, without the signature itself.
    query: Vec<(String, String)>,
}

/// What a signature must be for.
pub(super) struct Expected<'a> {
    /// `host:port`, in lower case.
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    pub(super) now: SystemTime,
}

impl Signature {
    /// Finds a request's signature.
    pub(super) fn find(parts: &Parts) -> Result<Self, Refusal> {
        let text = parts.uri.query().unwrap_or_default();
        let query = sigv4::parse_query(text, false).ok_or_else(|| {
            Refusal::bad_request("The query string is malformed", "a percent escape is broken")
        })?;
        let presigned = query.iter().any(|(name, _)| PARAMETERS.contains(&name.as_str()));
        match (single(&parts.headers, "authorization")?, presigned) {
            (Some(_), true) => Err(Refusal::denied(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, or the Authorization header should be specified",
                "signed twice: in the header and in the query string",
            )),
            (Some(header), false) => Self::in_header(parts, &header, query),
            (None, true) => Self::in_query(query),
            (None, false) => {
                Err(Refusal::denied("Missing Authentication Token", "the request is not signed"))
            }
        }
    }

    fn in_header(
        parts: &Parts,
        header: &str,
        query: Vec<(String, String)>,
    ) -> Result<Self, Refusal> {
        let incomplete = |name: &str| {
            Refusal::denied(
                format!("Authorization header requires '{name}' parameter."),
                format!("the Authorization header lacks {name}, or has it twice"),
            )
        };
        let (algorithm, fields) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(Refusal::denied(
                "Missing Authentication Token",
                "the Authorization header is not of AWS4-HMAC-SHA256",
            ));
        }
        let field = |name: &str| {
            let mut found = fields
                .split(',')
                .filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            let value = found.next().filter(|value| !value.is_empty());
            value.filter(|_| found.next().is_none()).map(str::to_owned)
        };
        let names = field("SignedHeaders").ok_or_else(|| incomplete("SignedHeaders"))?;
        let date = single(&parts.headers, "x-amz-date")?;
        Ok(Self {
            credential: field("Credential").ok_or_else(|| incomplete("Credential"))?,
            date: date.ok_or_else(|| {
                Refusal::denied(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
                    "the header X-Amz-Date is missing",
                )
            })?,
            expires: None,
            signed_headers: names.split(';').map(str::to_owned).collect(),
            session_token: single(&parts.headers, "x-amz-security-token")?,
            signature: field("Signature").ok_or_else(|| incomplete("Signature"))?,
            query,
        })
    }

    fn in_query(query: Vec<(String, String)>) -> Result<Self, Refusal> {
        let find = |name: &str| {
            let mut values = query.iter().filter(|(other, _)| other == name);
            let value = values.next().map(|(_, value)| value.clone());
            if values.next().is_some() {
                let message = format!("AWS query-string parameters must include '{name}' once.");
                return Err(Refusal::denied(message, format!("{name} stands twice")));
            }
            Ok(value)
        };
        let get = |name: &str| {
            find(name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
                Refusal::denied(
                    format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."),
                    format!("the query string lacks {name}"),
                )
            })
        };
        if get("X-Amz-Algorithm")? != ALGORITHM {
            let message = "AWS query-string parameters must include 'X-Amz-Algorithm'. Re-examine the query-string parameters.";
            return Err(Refusal::denied(message, "X-Amz-Algorithm is not AWS4-HMAC-SHA256"));
        }
        let expires: i64 = get("X-Amz-Expires")?.parse().unwrap_or(0);
        if !(1..=LONGEST).contains(&expires) {
            return Err(Refusal::denied(
                "X-Amz-Expires should be a number of seconds between 1 and 604800",
                "X-Amz-Expires is not between 1 and 604800",
            ));
        }
        Ok(Self {
            credential: get("X-Amz-Credential")?,
            date: get("X-Amz-Date")?,
            expires: Some(expires),
            signed_headers: get("X-Amz-SignedHeaders")?.split(';').map(str::to_owned).collect(),
            session_token: find("X-Amz-Security-Token")?,
            signature: get("X-Amz-Signature")?,
            query: query.iter().filter(|(name, _)| name != "X-Amz-Signature").cloned().collect(),
        })
    }

    /// The request's own query, without the parameters of a signature.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let own = |(name, _): &&(String, String)| !PARAMETERS.contains(&name.as_str());
        self.query.iter().filter(own).cloned().collect()
    }

    /// Checks everything but the signature itself, and returns who claims to have signed.
    pub(super) fn check_claims(
        &self,
        parts: &Parts,
        expected: &Expected<'_>,
        iam: &Iam,
    ) -> Result<Identity, Refusal> {
        self.check_host(parts, expected)?;
        let scope = self.scope()?;
        let identity = self.find_signer(&scope, iam, expected.now)?;
        if scope.region != expected.region {
            let region = scope.region;
            return Err(Refusal::denied(
                format!("Credential should be scoped to a valid region, not '{region}'. "),
                format!("signed for region {region:?}, not {}", expected.region),
            ));
        }
        if scope.service != SERVICE {
            let service = scope.service;
            return Err(Refusal::denied(
                format!("Credential should be scoped to correct service: '{SERVICE}'. "),
                format!("signed for service {service:?}, not {SERVICE}"),
            ));
        }
        self.check_time(&scope, expected.now)?;
        self.check_signed_headers(&parts.headers)?;
        Ok(identity)
    }

    fn check_host(&self, parts: &Parts, expected: &Expected<'_>) -> Result<(), Refusal> {
        let host = single(&parts.headers, "host")?.unwrap_or_default();
        if !host.eq_ignore_ascii_case(expected.endpoint) {
            return Err(mismatch(format!("the Host is {host:?}, not {}", expected.endpoint)));
        }
        // A request line with a host of its own would be another request than the signed one.
        if parts.uri.authority().is_some() {
            return Err(Refusal::bad_request("Bad request", "the request line names a host"));
        }
        Ok(())
    }

    fn scope(&self) -> Result<Scope<'_>, Refusal> {
        Scope::parse(&self.credential).ok_or_else(|| {
            Refusal::denied(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got another",
                "the credential is malformed",
            )
        })
    }

    fn find_signer(
        &self,
        scope: &Scope<'_>,
        iam: &Iam,
        now: SystemTime,
    ) -> Result<Identity, Refusal> {
        let invalid = |reason: &str| {
            Refusal::denied("The security token included in the request is invalid.", reason)
        };
        let identity = iam.find(scope.access_key_id).ok_or_else(|| {
            let quoted = scope.access_key_id.contains(['"', '\'', ' ']);
            invalid(if quoted {
                "unknown access key: it has quotes or spaces around it"
            } else {
                "unknown access key"
            })
        })?;
        match (&identity.session_token, &self.session_token) {
            (Some(_), None) => return Err(invalid("session token missing")),
            (Some(issued), Some(sent)) if issued != sent => {
                let quoted = sent.trim_matches(['"', '\'', ' ']) == issued;
                return Err(invalid(if quoted {
                    "wrong session token: it has quotes or spaces around it"
                } else {
                    "wrong session token"
                }));
            }
            (None, Some(_)) => return Err(invalid("session token sent with a key that has none")),
            _ => {}
        }
        if identity.has_expired(now) {
            return Err(Refusal::denied(
                "The security token included in the request is expired",
                "the credentials' session has expired",
            ));
        }
        Ok(identity)
    }

    fn check_time(&self, scope: &Scope<'_>, now: SystemTime) -> Result<(), Refusal> {
        let date = &self.date;
        let signed_at = sigv4::parse_amz_date(date).ok_or_else(|| {
            Refusal::denied(
                "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601",
                "X-Amz-Date is malformed",
            )
        })?;
        if !date.starts_with(scope.date) {
            return Err(Refusal::denied(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP",
                "the dates of X-Amz-Date and of the credential differ",
            ));
        }
        let age = sigv4::seconds_between(signed_at, now);
        if age < -CLOCK_SKEW {
            let message =
                format!("Signature not yet current: {date} is still later than now + 5 min.");
            return Err(Refusal::denied(message, format!("signed {} s in the future", -age)));
        }
        let life = self.expires.unwrap_or(CLOCK_SKEW);
        if age > life {
            let message = format!("Signature expired: {date} is now earlier than now - {life} s.");
            let reason = format!("expired: signed {age} s ago, valid for {life} s");
            return Err(Refusal::denied(message, reason));
        }
        Ok(())
    }

    /// The host and every `x-amz-` header must be signed, and every signed header must be there.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        let sent = headers.keys().map(|name| name.as_str());
        if let Some(name) = sent
            .filter(|name| must(name))
            .find(|name| !self.signed_headers.iter().any(|s| s == name))
        {
            return Err(Refusal::denied(
                format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."),
                format!("the header {name} is not signed"),
            ));
        }
        for name in &self.signed_headers {
            if !headers.contains_key(name.as_str()) || name.to_ascii_lowercase() != *name {
                return Err(mismatch(format!("the signed header {name:?} was not sent")));
            }
        }
        if !self.signed_headers.is_sorted_by(|a, b| a < b) {
            return Err(mismatch("SignedHeaders is not sorted, or holds a name twice".into()));
        }
        Ok(())
    }

    /// Checks the signature, now that the body is known.
    pub(super) fn check(
        &self,
        parts: &Parts,
        body: &[u8],
        identity: &Identity,
    ) -> Result<(), Refusal> {
        let hash = sigv4::sha256_hex(body);
        if let Some(sent) = single(&parts.headers, "x-amz-content-sha256")?
            && sent != hash
        {
            return Err(mismatch("x-amz-content-sha256 is not the body's SHA-256".into()));
        }
        let mut headers = Vec::with_capacity(self.signed_headers.len());
        for name in &self.signed_headers {
            let values: Vec<String> = parts
                .headers
                .get_all(name.as_str())
                .iter()
                .map(|value| sigv4::trimmed(&String::from_utf8_lossy(value.as_bytes())))
                .collect();
            headers.push((name.as_str(), values.join(",")));
        }
        let canonical = sigv4::canonical_request(
            parts.method.as_str(),
            &canonical_path(parts.uri.path()),
            &sigv4::canonical_query(&self.query),
            &headers,
            &hash,
        );
        let secret = &identity.secret_access_key;
        if sigv4::signature_of(&canonical, secret, &self.scope()?, &self.date) != self.signature {
            return Err(mismatch(
                "the signature does not match: wrong secret key, or altered after signing".into(),
            ));
        }
        Ok(())
    }
}

/// A header that may stand once only; `None` without it.
fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let reason = format!("the header {name} stands twice");
        return Err(Refusal::bad_request("Bad request", reason));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => {
            Err(Refusal::bad_request("Bad request", format!("the header {name} is not ASCII")))
        }
    }
}

/// The canonical path: the path as it was sent, without `.`, `..` and double slashes, encoded once more.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let ends_with_slash = !segments.is_empty() && path.ends_with('/');
    let encoded: String =
        segments.iter().map(|segment| format!("/{}", sigv4::encode(segment))).collect();
    match (encoded.is_empty(), ends_with_slash) {
        (true, _) => "/".into(),
        (false, true) => encoded + "/",
        (false, false) => encoded,
    }
}

fn mismatch(reason: String) -> Refusal {
    Refusal::denied(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        reason,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_canonical() {
        for (path, canonical) in [
            ("/", "/"),
            ("/status", "/status"),
            ("/openCypher/status/", "/openCypher/status/"),
            ("/a/./b/../c", "/a/c"),
            ("//a///b", "/a/b"),
            ("/../..", "/"),
            ("/a%20b", "/a%2520b"),
        ] {
            assert_eq!(canonical_path(path), canonical, "{path}");
        }
    }
}
