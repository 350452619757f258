//! AWS Signature Version 4, checked rather than made, from its specification
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//! It shares nothing with the signer that it checks.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const AMZ_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// What a credential scope says: `AKID/20261123/us-east-1/rds-db/aws4_request`.
pub(crate) struct Scope<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> Scope<'a> {
    pub(crate) fn parse(credential: &'a str) -> Option<Self> {
        let parts: Vec<&str> = credential.split('/').collect();
        match parts.as_slice() {
            [access_key_id, date, region, service, "aws4_request"] => {
                Some(Self { access_key_id, date, region, service })
            }
            _ => None,
        }
    }

    /// Whether its date is the day of this `X-Amz-Date`.
    pub(crate) fn is_of(&self, amz_date: &str) -> bool {
        amz_date.split('T').next() == Some(self.date)
    }
}

/// The parts of a request that are signed.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Decoded names and values.
    pub(crate) query: &'a [(String, String)],
    /// Lower-case names, in order, with their values.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a [u8],
}

impl Request<'_> {
    fn canonical(&self) -> String {
        let headers: Vec<(&str, String)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), trimmed(value))).collect();
        canonical_request(
            self.method,
            "/",
            &canonical_query(self.query),
            &headers,
            &sha256_hex(self.body),
        )
    }

    /// Whether `signature` is what this secret makes of this request.
    pub(crate) fn is_signed_by(
        &self,
        secret: &str,
        scope: &Scope<'_>,
        amz_date: &str,
        signature: &str,
    ) -> bool {
        signature_of(&self.canonical(), secret, scope, amz_date) == signature
    }
}

/// The canonical request: its path and query are canonical already, and its headers in order.
pub(crate) fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, String)],
    payload_hash: &str,
) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    [method, path, query, &lines, &names.join(";"), payload_hash].join("\n")
}

/// Decoded names and values as the canonical query: encoded, and sorted by name, then by value.
pub(crate) fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A header's value without spaces at its ends, and with one for several inside.
pub(crate) fn trimmed(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The signature that this secret makes of a canonical request.
pub(crate) fn signature_of(
    canonical: &str,
    secret: &str,
    scope: &Scope<'_>,
    amz_date: &str,
) -> String {
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{amz_date}\n{}/{}/{}/aws4_request\n{}",
        scope.date,
        scope.region,
        scope.service,
        sha256_hex(canonical.as_bytes())
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in [scope.date, scope.region, scope.service, "aws4_request"] {
        key = hmac(&key, step.as_bytes());
    }
    // Compared not in constant time: the secrets here guard demo data on one's own machine.
    hex(&hmac(&key, to_sign.as_bytes()))
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    #[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261123T133459Z` as a time.
pub(crate) fn parse_amz_date(text: &str) -> Option<SystemTime> {
    PrimitiveDateTime::parse(text, AMZ_DATE).ok().map(|time| time.assume_utc().into())
}

/// A time in the form of `X-Amz-Date`.
pub(crate) fn amz_date(time: SystemTime) -> String {
    iso8601(time).replace(['-', ':'], "")
}

/// A time as ISO 8601 in whole seconds: `2026-11-23T13:34:59Z`.
pub(crate) fn iso8601(time: SystemTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(seconds_between(SystemTime::UNIX_EPOCH, time))
        .ok()
        .and_then(|time| time.format(FORMAT).ok())
        .unwrap_or_else(|| "beyond the year 9999".into())
}

/// Whole seconds from `earlier` to `later`, negative if it is the other way around.
pub(crate) fn seconds_between(earlier: SystemTime, later: SystemTime) -> i64 {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match later.duration_since(earlier) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// Splits `a=1&b=2` and decodes percent escapes. `None` when an escape is broken or not UTF-8.
pub(crate) fn parse_query(text: &str, plus_is_space: bool) -> Option<Vec<(String, String)>> {
    let decode = |part: &str| -> Option<String> {
        let part = if plus_is_space { part.replace('+', " ") } else { part.to_owned() };
        let bytes = part.as_bytes();
        let whole = bytes.iter().enumerate().filter(|(_, b)| **b == b'%').all(|(i, _)| {
            bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        });
        if !whole {
            return None;
        }
        percent_encoding::percent_decode_str(&part).decode_utf8().ok().map(Into::into)
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}
