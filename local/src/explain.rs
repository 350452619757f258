//! What a token says: offline, for whoever was refused with one. Its secret parts, the signature and
//! the session token, are never shown.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use rds_iam::credentials::key_kind;
use rds_iam::endpoint::{Endpoint, EndpointKind};

use crate::Result;
use crate::sigv4::{self, Scope};

/// RDS takes no token for longer, whatever it says.
const LONGEST: u64 = 900;

/// Explains a token, as lines of text. Fails when it is not a token at all.
pub fn explain(token: &str, now: SystemTime) -> Result<String> {
    let not_a_token = |why: &str| {
        format!(
            "this is not an RDS IAM token: {why}. A token begins host:port/?Action=connect&DBUser=… \
             (rds-local token, or aws rds generate-db-auth-token, print one)"
        )
    };
    let (address, query) =
        token.split_once("/?").ok_or_else(|| not_a_token("it is no host:port/?parameters"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| not_a_token("it names no port"))?;
    let port: u16 = port.parse().map_err(|_| not_a_token("its port is no number"))?;
    let endpoint =
        Endpoint::parse(host, port).map_err(|why| not_a_token(&format!("its host {why}")))?;
    let params = sigv4::parse_query(query, false).ok_or_else(|| {
        not_a_token("a percent escape is broken: it was cut, or altered by a shell")
    })?;
    let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let get = |name: &str| {
        find(name).ok_or_else(|| not_a_token(&format!("{name} is missing: it was cut off")))
    };
    let user = get("DBUser")?;
    let scope = Scope::parse(get("X-Amz-Credential")?)
        .ok_or_else(|| not_a_token("X-Amz-Credential is malformed"))?;
    let signed_at = sigv4::parse_amz_date(get("X-Amz-Date")?)
        .ok_or_else(|| not_a_token("X-Amz-Date is malformed"))?;
    let seconds: u64 =
        get("X-Amz-Expires")?.parse().map_err(|_| not_a_token("X-Amz-Expires is no number"))?;
    get("X-Amz-Signature")?;

    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12} {}", printable(value));
    };
    line("endpoint", &format!("{}:{port}", endpoint.host));
    line("user", user);
    line("region", scope.region);
    let ends_at = signed_at + Duration::from_secs(seconds.min(LONGEST));
    let left = sigv4::seconds_between(now, ends_at);
    line("signed", &sigv4::iso8601(signed_at));
    let until = sigv4::iso8601(ends_at);
    line(
        "works until",
        &match left {
            1.. => format!("{until}, for {left} s more, unless its credentials expire sooner"),
            _ => format!("{until}: it expired {} s ago; sign one for each login", -left),
        },
    );
    let kind = key_kind(scope.access_key_id);
    line("signed with", kind);

    for (problem, applies) in [
        ("the service is not rds-db", scope.service != "rds-db"),
        ("Action is not connect", find("Action") != Some("connect")),
        ("X-Amz-Expires is over 900 s", seconds > LONGEST),
        (
            "it was signed in the future: a clock is off",
            sigv4::seconds_between(now, signed_at) > 300,
        ),
        (
            "temporary credentials without a session token (AWS_SESSION_TOKEN was not set)",
            kind.starts_with("temporary") && find("X-Amz-Security-Token").is_none(),
        ),
        (
            "the region is not the one in the endpoint's name",
            endpoint.region.as_ref().is_some_and(|region| region != scope.region),
        ),
        (
            "the endpoint is not an RDS name: sign for RDS's own name, and dial elsewhere by PGHOSTADDR or DB_TUNNEL",
            endpoint.kind == EndpointKind::Other,
        ),
        (
            "a parameter stands twice",
            params
                .iter()
                .enumerate()
                .any(|(i, (name, _))| params[..i].iter().any(|(n, _)| n == name)),
        ),
    ] {
        if applies {
            line("PROBLEM", problem);
        }
    }

    let partition = match scope.region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let id = match endpoint.kind {
        EndpointKind::Proxy => "prx-…",
        EndpointKind::Instance | EndpointKind::Other => "db-…",
        _ => "cluster-…",
    };
    let resource =
        format!("arn:{partition}:rds-db:{}:<account>:dbuser:<{id}>/{user}", scope.region);
    let policy =
        serde_json::json!({ "Effect": "Allow", "Action": "rds-db:connect", "Resource": resource });
    line("needs policy", &policy.to_string());
    line("needs grant", &format!("GRANT rds_iam TO \"{}\";", user.replace('"', "\"\"")));
    Ok(out)
}

/// A token may come from anywhere, and a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "db.c1a2b3.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=a%22b\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20261123%2Fus-east-1%2Frds-db%2Faws4_request\
        &X-Amz-Date=20261123T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Security-Token=s3ssion&X-Amz-Signature=s1gnature";

    fn at(text: &str) -> SystemTime {
        sigv4::parse_amz_date(text).unwrap()
    }

    #[test]
    fn a_good_token_says_what_it_is_for_and_needs() {
        let told = explain(TOKEN, at("20261123T120500Z")).unwrap();
        for part in [
            "db.c1a2b3.us-east-1.rds.amazonaws.com:5432",
            "2026-11-23T12:15:00Z, for 600 s more",
            "ASIA…",
            "arn:aws:rds-db:us-east-1:<account>:dbuser:<db-…>/a\\\"b",
            "GRANT rds_iam TO \"a\"\"b\";",
        ] {
            assert!(told.contains(part), "{part} is missing in:\n{told}");
        }
        assert!(!told.contains("PROBLEM"), "{told}");
        for secret in ["s3ssion", "s1gnature", "ASIAEXAMPLE"] {
            assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let now = at("20261123T120500Z");
        for (from, to, problem) in [
            ("X-Amz-Date=20261123T120000Z", "X-Amz-Date=20261123T110000Z", "expired 3000 s ago"),
            ("X-Amz-Date=20261123T120000Z", "X-Amz-Date=20261123T130000Z", "clock is off"),
            ("X-Amz-Expires=900", "X-Amz-Expires=3600", "over 900"),
            ("%2Fus-east-1", "%2Feu-west-1", "region is not the one"),
            ("rds-db%2F", "rds%2F", "service is not rds-db"),
            ("&X-Amz-Security-Token=s3ssion", "", "without a session token"),
            ("db.c1a2b3.us-east-1.rds.amazonaws.com", "10.0.0.5", "not an RDS name"),
        ] {
            let told = explain(&TOKEN.replace(from, to), now).unwrap();
            assert!(told.contains(problem), "{problem} is missing in:\n{told}");
        }
    }

    #[test]
    fn what_is_no_token_is_an_error_that_does_not_repeat_it() {
        for text in ["", "s3cret", "s3cret:1/?", "h:s3cret/?a=1", &TOKEN[..150]] {
            let error = explain(text, SystemTime::UNIX_EPOCH).unwrap_err();
            assert!(error.contains("not an RDS IAM token") && !error.contains("s3cret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,300}", edit in any::<prop::sample::Index>(), byte in any::<char>()) {
            let _ = explain(&text, SystemTime::UNIX_EPOCH);
            let mut token: Vec<char> = TOKEN.chars().collect();
            let place = edit.index(token.len());
            token[place] = byte;
            if let Ok(told) = explain(&token.into_iter().collect::<String>(), SystemTime::UNIX_EPOCH) {
                prop_assert!(!told.chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}
