//! The check of a request's signature: who asks.

use std::time::SystemTime;

use axum::http::{HeaderMap, Method};

use super::Refusal;
use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Request, Scope};

/// How far a request's `X-Amz-Date` may be off, as AWS documents it.
const CLOCK_SKEW: i64 = 300;

/// The identity that signed a request, or AWS's refusal of it.
pub(super) fn authenticate(
    iam: &Iam,
    now: SystemTime,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Identity, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let incomplete =
        || Refusal::denied("MissingAuthenticationToken", "Request is missing Authentication Token");
    let authorization = header("authorization").ok_or_else(incomplete)?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(incomplete)?;
    let field = |name: &str| {
        fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let (Some(credential), Some(names), Some(signature), Some(date)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"), header("x-amz-date"))
    else {
        return Err(Refusal::denied(
            "IncompleteSignature",
            "The Authorization header is incomplete",
        ));
    };
    let scope = Scope::parse(credential)
        .ok_or_else(|| Refusal::denied("IncompleteSignature", "Credential must have five parts"))?;
    let identity = find(iam, &scope, header("x-amz-security-token"), now)?;

    let mismatch = |why: &str| Refusal::denied("SignatureDoesNotMatch", why);
    let skewed = sigv4::parse_amz_date(date)
        .is_none_or(|time| sigv4::seconds_between(time, now).abs() > CLOCK_SKEW);
    if skewed || !date.starts_with(scope.date) {
        return Err(mismatch(&format!("Signature expired or not yet current: {date}")));
    }
    if scope.service != "sts" {
        return Err(mismatch("Credential should be scoped to correct service: 'sts'."));
    }
    let mut signed = Vec::new();
    for name in names.split(';') {
        let value = header(name)
            .ok_or_else(|| mismatch(&format!("the signed header {name} was not sent")))?;
        signed.push((name.to_owned(), value.to_owned()));
    }
    let request = Request { method: method.as_str(), query: &[], headers: &signed, body };
    if !request.is_signed_by(&identity.secret_access_key, &scope, date, signature) {
        return Err(mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    Ok(identity)
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
            "the access key is not known: it has quotes or spaces around it"
        } else {
            "the access key is not known"
        })
    })?;
    if session_token != identity.session_token.as_deref() {
        return Err(unknown("the session token is not the one that was issued with the key"));
    }
    if identity.has_expired(now) {
        return Err(Refusal::denied(
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    Ok(identity)
}
