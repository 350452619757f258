//! The checks of a signature's claims: host, key, region, service, time and signed headers. The signature itself
//! covers the body too, which is read only for a request that passes these.

use std::time::SystemTime;

use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::refusal::Refusal;
use super::signature::{Signature, mismatch, single};
use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Scope};

/// How far a request's date may be off, in seconds.
const CLOCK_SKEW: i64 = 300;
const SERVICE: &str = "neptune-db";

/// The cluster and the time that a signature must be for.
pub(super) struct Expected<'a> {
    /// `host:port`, in lower case.
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    pub(super) now: SystemTime,
}

impl Signature {
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
}
