//! The check of a token, as RDS makes it, with nothing taken from the signer.

use std::time::SystemTime;

use crate::iam::{Iam, Identity};
use crate::sigv4::{self, Request, Scope};

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

/// What a token must be for.
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
}

/// Who signed the token, or why it is refused, for the gate's log only.
pub fn verify(
    token: &str,
    expected: Expected<'_>,
    iam: &Iam,
    now: SystemTime,
) -> Result<Identity, String> {
    let Some((host, query)) = token.split_once("/?") else {
        return Err("not a token but a plain password".into());
    };
    let endpoint = format!("{}:{}", expected.host, expected.port);
    if host.to_ascii_lowercase() != endpoint {
        return Err(format!("signed for endpoint {host:?}, not {endpoint}"));
    }
    let params = sigv4::parse_query(query, false).ok_or("a percent escape is broken")?;
    for (i, (name, _)) in params.iter().enumerate() {
        if params[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("duplicate parameter {name}"));
        }
        if !NAMES.contains(&name.as_str()) && name != SESSION_TOKEN {
            return Err(format!("unknown parameter {name:?}"));
        }
    }
    let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let get = |name: &str| find(name).ok_or(format!("{name} is missing: the token is truncated"));

    let equals = |name: &str, wanted: &str| match get(name)? {
        value if value == wanted => Ok(()),
        value => Err(format!("{name} is {value:?}, not {wanted:?}")),
    };
    equals("Action", "connect")?;
    equals("DBUser", expected.user)?;
    equals("X-Amz-Algorithm", "AWS4-HMAC-SHA256")?;
    equals("X-Amz-SignedHeaders", "host")?;

    let scope = Scope::parse(get("X-Amz-Credential")?).ok_or("X-Amz-Credential is malformed")?;
    if scope.region != expected.region {
        return Err(format!("signed for region {:?}, not {}", scope.region, expected.region));
    }
    if scope.service != "rds-db" {
        return Err(format!("signed for service {:?}, not rds-db", scope.service));
    }

    let date = get("X-Amz-Date")?;
    let signed_at = sigv4::parse_amz_date(date).ok_or("X-Amz-Date is malformed")?;
    if !date.starts_with(scope.date) {
        return Err("the dates of X-Amz-Date and X-Amz-Credential differ".into());
    }
    let expires: i64 = get("X-Amz-Expires")?.parse().map_err(|_| "X-Amz-Expires is malformed")?;
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

    let identity = iam.find(scope.access_key_id).ok_or("unknown access key")?;
    match (&identity.session_token, find(SESSION_TOKEN)) {
        (Some(_), None) => return Err("session token missing".into()),
        (Some(issued), Some(sent)) if issued != sent => return Err("wrong session token".into()),
        (None, Some(_)) => return Err("session token sent with a key that has none".into()),
        _ => {}
    }
    if identity.has_expired(now) {
        return Err("the credentials' session has expired".into());
    }

    let signature = get("X-Amz-Signature")?;
    let signed: Vec<(String, String)> =
        params.iter().filter(|(name, _)| name != "X-Amz-Signature").cloned().collect();
    // The Host header leaves out HTTPS's default port.
    let host = endpoint.strip_suffix(":443").unwrap_or(&endpoint).to_owned();
    let request =
        Request { method: "GET", query: &signed, headers: &[("host".to_owned(), host)], body: b"" };
    if !request.is_signed_by(&identity.secret_access_key, &scope, date, signature) {
        return Err(
            "the signature does not match: wrong secret key, or altered after signing".into()
        );
    }
    if !identity.may_connect_as(expected.user) {
        return Err(format!(
            "{} has no policy that allows rds-db:connect on {}",
            identity.arn,
            crate::iam::dbuser_arn(expected.user)
        ));
    }
    Ok(identity)
}
