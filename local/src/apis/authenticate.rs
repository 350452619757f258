//! The check of a request's signature: who asks. The signature stands in the `Authorization` header, or
//! in the query of a presigned URL.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Method};

use super::refusal::Refusal;
use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Request, Scope};

/// How far a request's `X-Amz-Date` may be off, in seconds, as AWS documents it.
const CLOCK_SKEW: i64 = 300;
/// The longest life of a presigned URL, in seconds.
const LONGEST: i64 = 604_800;

/// A request as it arrived.
pub(super) struct Received<'a> {
    pub(super) method: &'a Method,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// The signature that a request carries.
struct Signature {
    credential: String,
    names: String,
    signature: String,
    date: String,
    session_token: Option<String>,
    /// How long a presigned URL lives.
    expires: Option<i64>,
}

/// The identity that signed a request, or AWS's refusal of it.
pub(super) fn authenticate(
    iam: &Iam,
    now: SystemTime,
    received: &Received<'_>,
    service: &str,
) -> Result<Identity, Refusal> {
    let mut query =
        sigv4::parse_query(received.query, false).ok_or_else(|| incomplete("a broken query"))?;
    let sent = match header(received, "authorization") {
        Some(authorization) => Signature::of_header(received, authorization)?,
        None => Signature::of_query(&query)?,
    };
    let scope = Scope::parse(&sent.credential)
        .ok_or_else(|| incomplete("Credential must have five parts"))?;
    let identity = find(iam, &scope, sent.session_token.as_deref(), now)?;
    sent.check_time(&scope, now)?;
    if scope.service != service {
        let why = format!("Credential should be scoped to correct service: '{service}'.");
        return Err(mismatch(&why));
    }
    let mut signed = Vec::new();
    for name in sent.names.split(';') {
        let value = header(received, name)
            .ok_or_else(|| mismatch(&format!("the signed header {name} was not sent")))?;
        signed.push((name.to_owned(), value.to_owned()));
    }
    if !signed.iter().any(|(name, _)| name == "host") {
        return Err(mismatch(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    query.retain(|(name, _)| name != "X-Amz-Signature");
    let (method, body) = (received.method.as_str(), received.body);
    let request = Request { method, query: &query, headers: &signed, body };
    let secret = &identity.secret_access_key;
    if !request.is_signed_by(secret, &scope, &sent.date, &sent.signature) {
        return Err(mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    Ok(identity)
}

fn header<'a>(received: &Received<'a>, name: &str) -> Option<&'a str> {
    received.headers.get(name).and_then(|value| value.to_str().ok())
}

fn mismatch(why: &str) -> Refusal {
    Refusal::denied("SignatureDoesNotMatch", why)
}

fn incomplete(why: &str) -> Refusal {
    Refusal::denied("IncompleteSignature", why)
}

impl Signature {
    fn of_header(received: &Received<'_>, authorization: &str) -> Result<Self, Refusal> {
        let fields = authorization.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(missing)?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (Some(credential), Some(names), Some(signature), Some(date)) = (
            field("Credential"),
            field("SignedHeaders"),
            field("Signature"),
            header(received, "x-amz-date"),
        ) else {
            return Err(incomplete("The Authorization header is incomplete"));
        };
        Ok(Self {
            credential: credential.to_owned(),
            names: names.to_owned(),
            signature: signature.to_owned(),
            date: date.to_owned(),
            session_token: header(received, "x-amz-security-token").map(str::to_owned),
            expires: None,
        })
    }

    fn of_query(query: &[(String, String)]) -> Result<Self, Refusal> {
        let get = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let signature = get("X-Amz-Signature").ok_or_else(missing)?;
        let (Some(credential), Some(names), Some(date), Some(expires)) = (
            get("X-Amz-Credential"),
            get("X-Amz-SignedHeaders"),
            get("X-Amz-Date"),
            get("X-Amz-Expires").and_then(|seconds| seconds.parse().ok()),
        ) else {
            return Err(incomplete("The query has no complete signature"));
        };
        let session_token = get("X-Amz-Security-Token");
        Ok(Self { credential, names, signature, date, session_token, expires: Some(expires) })
    }

    fn check_time(&self, scope: &Scope<'_>, now: SystemTime) -> Result<(), Refusal> {
        let Self { date, expires, .. } = self;
        let signed_at = sigv4::parse_amz_date(date)
            .ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
        if !scope.is_of(date) {
            return Err(mismatch(&format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{date}'.",
                scope.date,
                date.split('T').next().unwrap_or_default()
            )));
        }
        if expires.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            return Err(incomplete("X-Amz-Expires must be between 1 and 604800 seconds"));
        }
        let life = expires.unwrap_or(CLOCK_SKEW);
        let age = sigv4::seconds_between(signed_at, now);
        let (today, limit) = (sigv4::amz_date(now), Duration::from_secs(life.unsigned_abs()));
        if age > life {
            return Err(mismatch(&format!(
                "Signature expired: {date} is now earlier than {} ({today} - {} min.)",
                sigv4::amz_date(now - limit),
                life / 60
            )));
        }
        if age < -CLOCK_SKEW {
            let limit = Duration::from_secs(CLOCK_SKEW.unsigned_abs());
            return Err(mismatch(&format!(
                "Signature not yet current: {date} is still later than {} ({today} + {} min.)",
                sigv4::amz_date(now + limit),
                CLOCK_SKEW / 60
            )));
        }
        Ok(())
    }
}

fn missing() -> Refusal {
    Refusal::denied("MissingAuthenticationToken", "Request is missing Authentication Token")
}

fn find(
    iam: &Iam,
    scope: &Scope<'_>,
    session_token: Option<&str>,
    now: SystemTime,
) -> Result<Identity, Refusal> {
    let unknown = |reason: &str| {
        Refusal::denied(
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        )
        .because(reason)
    };
    let identity = iam.find(scope.access_key_id).ok_or_else(|| {
        let quoted = scope.access_key_id.contains(['"', '\'', ' ']);
        unknown(if quoted {
            "unknown access key: it has quotes or spaces around it"
        } else {
            "unknown access key"
        })
    })?;
    if session_token != identity.session_token.as_deref() {
        return Err(unknown(match (session_token, &identity.session_token) {
            (None, _) => "the session token is missing",
            (_, None) => "a session token was sent with a key that has none",
            _ => "the session token is not the one that was issued with this key",
        }));
    }
    if identity.has_expired(now) {
        return Err(Refusal::denied(
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    Ok(identity)
}
