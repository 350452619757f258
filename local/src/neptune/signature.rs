//! The check of an HTTP request's Signature Version 4, in its header or in its query string, with code
//! of its own
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::refusal::Refusal;
use crate::iam::Identity;
use crate::sigv4::{self, Scope};

/// The longest life of a signature in a query string, a week.
const LONGEST: i64 = 604_800;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
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

/// A request's signature, before its body has been read.
pub(super) struct Signature {
    credential: String,
    pub(super) date: String,
    /// How long it lives, for one in a query string.
    pub(super) expires: Option<i64>,
    pub(super) signed_headers: Vec<String>,
    pub(super) session_token: Option<String>,
    signature: String,
    /// The decoded query, without the signature itself.
    query: Vec<(String, String)>,
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

    pub(super) fn scope(&self) -> Result<Scope<'_>, Refusal> {
        Scope::parse(&self.credential).ok_or_else(|| {
            Refusal::denied(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got another",
                "the credential is malformed",
            )
        })
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
pub(super) fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
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

pub(super) fn mismatch(reason: String) -> Refusal {
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
