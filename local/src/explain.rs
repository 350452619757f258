//! What a token says: offline, for whoever was refused with one. Its secret parts, the signature and
//! the session token, are never shown.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use rds_iam::credentials::KeyKind;
use rds_iam::endpoint::{Endpoint, EndpointKind, partition};

use crate::Result;
use crate::sigv4::{self, Scope};
use crate::token_text::{Form, TokenText};

/// RDS accepts no token for longer, whatever its X-Amz-Expires says.
const LONGEST: u64 = 900;

/// A token's parts that may be shown.
struct Token<'a> {
    endpoint: Endpoint,
    form: Form,
    params: &'a [(String, String)],
    user: &'a str,
    scope: Scope<'a>,
    signed_at: SystemTime,
    seconds: u64,
}

/// Explains a token, as lines of text. Fails when it is not a token at all.
pub fn explain(token: &str, now: SystemTime) -> Result<String> {
    let text = TokenText::split(token)
        .ok_or_else(|| not_a_token("it is not of the form host:port/?parameters"))?;
    let params = sigv4::parse_query(text.query, false).ok_or_else(|| {
        not_a_token("a percent escape is broken: it was cut, or altered by a shell")
    })?;
    let token = Token::read(&text, &params)?;

    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12} {}", printable(value));
    };
    line("endpoint", &format!("{}:{}", token.endpoint.host, token.endpoint.port));
    line(
        "form",
        match token.form {
            Form::Full => "host:port/?…, as most SDKs write it",
            Form::Short => {
                "host:port?…, without the slash, as older versions of Go's SDK write it; some endpoints refuse it"
            }
        },
    );
    line("user", token.user);
    line("region", token.scope.region);
    let age = sigv4::seconds_between(token.signed_at, now);
    line("signed", &format!("{}, {}", sigv4::iso8601(token.signed_at), when(age)));
    line("works until", &token.end(now));
    line("signed with", &KeyKind::of(token.scope.access_key_id).to_string());
    for problem in token.problems(now) {
        line("PROBLEM", problem);
    }
    line("needs policy", &token.policy());
    for (name, statement) in token.grants() {
        line(name, &statement);
    }
    Ok(out)
}

fn not_a_token(why: &str) -> String {
    format!(
        "this is not an RDS IAM token: {why}. A token begins host:port/?Action=connect&DBUser=… \
         (rds-local token, or aws rds generate-db-auth-token, print one)"
    )
}

impl<'a> Token<'a> {
    fn read(text: &TokenText<'a>, params: &'a [(String, String)]) -> Result<Self> {
        let (host, port) =
            text.address.rsplit_once(':').ok_or_else(|| not_a_token("it names no port"))?;
        let port = port.parse().map_err(|_| not_a_token("its port is not a number"))?;
        let endpoint =
            Endpoint::parse(host, port).map_err(|why| not_a_token(&format!("its host {why}")))?;
        let get = |name: &str| {
            find(params, name)
                .ok_or_else(|| not_a_token(&format!("{name} is missing: it was cut off")))
        };
        let user = get("DBUser")?;
        let scope = Scope::parse(get("X-Amz-Credential")?)
            .ok_or_else(|| not_a_token("X-Amz-Credential is malformed"))?;
        let signed_at = sigv4::parse_amz_date(get("X-Amz-Date")?)
            .ok_or_else(|| not_a_token("X-Amz-Date is malformed"))?;
        let seconds = get("X-Amz-Expires")?
            .parse()
            .map_err(|_| not_a_token("X-Amz-Expires is not a number"))?;
        get("X-Amz-Signature")?;
        Ok(Self { endpoint, form: text.form, params, user, scope, signed_at, seconds })
    }

    fn end(&self, now: SystemTime) -> String {
        let ends_at = self.signed_at + Duration::from_secs(self.seconds.min(LONGEST));
        let until = sigv4::iso8601(ends_at);
        match sigv4::seconds_between(now, ends_at) {
            left @ 1.. => {
                format!("{until}, {} from now, unless its credentials expire sooner", span(left))
            }
            left => format!("{until}: it expired {} ago; sign one for each login", span(-left)),
        }
    }

    /// The region that the endpoint's name holds, or else the one that the token is signed for.
    fn region(&self) -> &str {
        self.endpoint.region.as_deref().unwrap_or(self.scope.region)
    }

    fn problems(&self, now: SystemTime) -> Vec<&'static str> {
        let Self { endpoint, params, scope, .. } = self;
        let temporary = KeyKind::of(scope.access_key_id) == KeyKind::Temporary;
        let twice = |(i, (name, _)): (usize, &(String, String))| {
            params[..i].iter().any(|(earlier, _)| earlier == name)
        };
        let found = [
            ("the service is not rds-db", scope.service != "rds-db"),
            ("Action is not connect", find(params, "Action") != Some("connect")),
            ("X-Amz-Expires is over 900 s", self.seconds > LONGEST),
            (
                "it was signed in the future: a clock is off",
                sigv4::seconds_between(now, self.signed_at) > 300,
            ),
            (
                "temporary credentials without a session token (AWS_SESSION_TOKEN was not set)",
                temporary && find(params, "X-Amz-Security-Token").is_none(),
            ),
            (
                "the region is not the one in the endpoint's name: sign for that one, which the policy below names",
                self.region() != scope.region,
            ),
            (
                "the endpoint is not an RDS name: sign for RDS's own name, and dial elsewhere by PGHOSTADDR or DB_TUNNEL",
                endpoint.kind == EndpointKind::Other,
            ),
            ("a parameter stands twice", params.iter().enumerate().any(twice)),
        ];
        found.into_iter().filter(|(_, applies)| *applies).map(|(problem, _)| problem).collect()
    }

    /// The policy document that lets its signer log in.
    fn policy(&self) -> String {
        let (region, user) = (self.region(), self.user);
        let partition = partition(region);
        let id = match self.endpoint.kind {
            EndpointKind::Proxy => "prx-…",
            EndpointKind::Instance | EndpointKind::Other => "db-…",
            _ => "cluster-…",
        };
        let resource = format!("arn:{partition}:rds-db:{region}:<account>:dbuser:<{id}>/{user}");
        // In the order in which people write it; serde_json would sort the names.
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"rds-db:connect","Resource":{}}}]}}"#,
            serde_json::Value::from(resource)
        )
    }

    /// What the database needs: the port implies the engine.
    fn grants(&self) -> Vec<(&'static str, String)> {
        let postgres = format!("GRANT rds_iam TO \"{}\";", self.user.replace('"', "\"\""));
        let mysql = format!(
            "CREATE USER '{}' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';",
            self.user.replace('\\', "\\\\").replace('\'', "''")
        );
        match self.endpoint.port {
            5432 => vec![("needs grant", postgres)],
            3306 => vec![("needs user", mysql)],
            _ => vec![
                ("needs grant", format!("{postgres} (PostgreSQL)")),
                ("or user", format!("{mysql} (MySQL, MariaDB)")),
            ],
        }
    }
}

fn find<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// When something happened, by its age in seconds.
fn when(age: i64) -> String {
    match age {
        0.. => format!("{} ago", span(age)),
        _ => format!("{} from now", span(-age)),
    }
}

/// A length of time as people say it: `10 minutes`, `8 years`.
fn span(seconds: i64) -> String {
    let units = [
        (31_557_600, "year"),
        (2_629_800, "month"),
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ];
    // Below two of a unit, the next smaller one says more: 90 minutes, not 1 hour.
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    match unit {
        Some((length, name)) => format!("{} {name}s", seconds / length),
        None if seconds == 1 => "1 second".into(),
        None => format!("{seconds} seconds"),
    }
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
            "host:port/?…, as most SDKs write it",
            "2026-11-23T12:00:00Z, 5 minutes ago",
            "2026-11-23T12:15:00Z, 10 minutes from now",
            "ASIA…",
            "arn:aws:rds-db:us-east-1:<account>:dbuser:<db-…>/a\\\"b",
            "GRANT rds_iam TO \"a\"\"b\";",
        ] {
            assert!(told.contains(part), "{part} is missing in:\n{told}");
        }
        assert!(!told.contains("PROBLEM") && !told.contains("CREATE USER"), "{told}");
        for secret in ["s3ssion", "s1gnature", "ASIAEXAMPLE"] {
            assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn the_port_gives_the_engine() {
        let told = |port: &str| explain(&TOKEN.replace(":5432", port), at("20261123T120500Z"));
        let mysql = "CREATE USER 'a\"b' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';";
        let told_3306 = told(":3306").unwrap();
        assert!(told_3306.contains(mysql) && !told_3306.contains("GRANT"), "{told_3306}");
        let told_other = told(":39039").unwrap();
        assert!(told_other.contains(mysql) && told_other.contains("GRANT rds_iam"), "{told_other}");
    }

    #[test]
    fn the_policy_is_for_the_region_of_the_endpoint() {
        let now = at("20261123T120500Z");
        for (host, signed, wanted) in [
            ("db.c1a2b3.us-east-1.rds.amazonaws.com", "eu-west-1", "arn:aws:rds-db:us-east-1:"),
            (
                "db.c1a2b3.rds.cn-north-1.amazonaws.com.cn",
                "us-east-1",
                "arn:aws-cn:rds-db:cn-north-1:",
            ),
            // No region in its name.
            ("10.0.0.5", "eu-west-1", "arn:aws:rds-db:eu-west-1:"),
        ] {
            let token = TOKEN.replace("db.c1a2b3.us-east-1.rds.amazonaws.com", host);
            let token = token.replace("%2Fus-east-1", &format!("%2F{signed}"));
            let told = explain(&token, now).unwrap();
            assert!(told.contains(wanted), "{wanted} is missing in:\n{told}");
            assert!(told.contains(&format!("region       {signed}\n")), "{told}");
            let flagged = told.contains("sign for that one, which the policy below names");
            assert_eq!(flagged, host.starts_with("db."), "{told}");
        }
    }

    #[test]
    fn ages_are_said_as_people_do() {
        for (seconds, wanted) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (600, "10 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (86_400 * 10, "10 days"),
            (86_400 * 100, "3 months"),
            (86_400 * 365 * 8 + 86_400 * 3, "8 years"),
        ] {
            assert_eq!(span(seconds), wanted);
        }
        let told = explain(TOKEN, at("20341201T000000Z")).unwrap();
        assert!(told.contains("it expired 8 years ago"), "{told}");
    }

    #[test]
    fn errors_name_the_defect() {
        let now = at("20261123T120500Z");
        for (from, to, problem) in [
            (
                "X-Amz-Date=20261123T120000Z",
                "X-Amz-Date=20261123T110000Z",
                "expired 50 minutes ago",
            ),
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
    fn a_text_that_is_not_a_token_is_not_repeated() {
        for text in ["", "s3cret", "s3cret:1/?", "s3cret:1?x", "h:s3cret/?a=1", &TOKEN[..150]] {
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
