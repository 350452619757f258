//! A statement's conditions
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>).

use std::net::IpAddr;

use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::context::{Context, is_multiple, key_of_condition};
use super::json::Json;
use super::pattern::Pattern;

/// One key under one operator, with the values that it is compared with.
pub(super) struct Condition {
    key: String,
    set: Option<Set>,
    if_exists: bool,
    negated: bool,
    test: Test,
}

/// How the values of a key with several are taken.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    Any,
    All,
}

#[derive(Clone, Copy)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The values that a request's value is compared with: it passes if it agrees with one of these.
enum Test {
    Text(Vec<Pattern>),
    TextIgnoringCase(Vec<Pattern>),
    Arn(Vec<Pattern>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<OffsetDateTime>),
    Bool(Vec<bool>),
    Ip(Vec<IpNet>),
    /// Whether the key must be absent.
    Null(Vec<bool>),
}

impl Condition {
    /// Parses one operator's block: `{"key": value or values, …}`.
    pub(super) fn parse(
        operator: &str,
        block: &Json,
        variables: bool,
    ) -> Result<Vec<Self>, String> {
        let Json::Object(keys) = block else {
            return Err(format!(
                "Condition {operator:?} is {}, not an object of keys",
                block.kind()
            ));
        };
        keys.iter()
            .map(|(key, values)| {
                Self::parse_key(operator, key, values, variables)
                    .map_err(|why| format!("Condition {operator:?}: {key:?}: {why}"))
            })
            .collect()
    }

    fn parse_key(
        operator: &str,
        key: &str,
        values: &Json,
        variables: bool,
    ) -> Result<Self, String> {
        let (set, name) = match operator.split_once(':') {
            Some(("ForAnyValue", name)) => (Some(Set::Any), name),
            Some(("ForAllValues", name)) => (Some(Set::All), name),
            _ => (None, operator),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some("Null") => return Err("Null has no …IfExists".into()),
            Some(name) => (name, true),
            None => (name, false),
        };
        let key = key_of_condition(key)?;
        if set.is_none() && is_multiple(&key) && name != "Null" {
            return Err(
                "this key has several values: write ForAnyValue: or ForAllValues: before the operator"
                    .into(),
            );
        }
        let values: Vec<String> = values
            .one_or_many()
            .iter()
            .map(|value| value.scalar().ok_or_else(|| format!("a value is {}", value.kind())))
            .collect::<Result<_, _>>()?;
        if values.is_empty() {
            return Err("the list of values is empty".into());
        }
        let (test, negated) = Test::parse(name, &values, variables)?;
        Ok(Self { key, set, if_exists, negated, test })
    }

    /// Its key, if the request has no value for it.
    pub(super) fn missing(&self, context: &Context) -> Option<String> {
        context.values(&self.key).is_empty().then(|| self.key.clone())
    }

    /// Whether the request meets it.
    pub(super) fn is_met(&self, context: &Context) -> bool {
        let values = context.values(&self.key);
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_empty());
        }
        // A negated operator holds if the value agrees with none of the policy's.
        let agrees = |value: &String| self.test.agrees(value, context) != self.negated;
        match self.set {
            _ if values.is_empty() && self.if_exists => true,
            Some(Set::All) => values.iter().all(agrees),
            Some(Set::Any) => values.iter().any(agrees),
            None => values.first().map_or(self.negated, agrees),
        }
    }
}

impl Test {
    /// The comparison that an operator makes, and whether it is negated.
    fn parse(name: &str, values: &[String], variables: bool) -> Result<(Self, bool), String> {
        let exact = || patterns(values, |value| Pattern::exact(value, variables));
        let wild = || patterns(values, |value| Pattern::wild(value, variables));
        let (test, negated) = match name {
            "StringEquals" => (Self::Text(exact()?), false),
            "StringNotEquals" => (Self::Text(exact()?), true),
            "StringEqualsIgnoreCase" => (Self::TextIgnoringCase(exact()?), false),
            "StringNotEqualsIgnoreCase" => (Self::TextIgnoringCase(exact()?), true),
            "StringLike" => (Self::Text(wild()?), false),
            "StringNotLike" => (Self::Text(wild()?), true),
            "ArnEquals" | "ArnLike" => (Self::Arn(arns(wild()?)?), false),
            "ArnNotEquals" | "ArnNotLike" => (Self::Arn(arns(wild()?)?), true),
            "Bool" => (Self::Bool(each(values, boolean)?), false),
            "Null" => (Self::Null(each(values, boolean)?), false),
            "IpAddress" => (Self::Ip(each(values, network)?), false),
            "NotIpAddress" => (Self::Ip(each(values, network)?), true),
            _ => return Self::parse_order(name, values),
        };
        Ok((test, negated))
    }

    fn parse_order(name: &str, values: &[String]) -> Result<(Self, bool), String> {
        let unsupported = || "this operator is not supported; docs/iam.md lists those that are";
        let (dates, comparison) = match (name.strip_prefix("Date"), name.strip_prefix("Numeric")) {
            (Some(comparison), _) => (true, comparison),
            (_, Some(comparison)) => (false, comparison),
            _ => return Err(unsupported().into()),
        };
        let (order, negated) = match comparison {
            "Equals" => (Order::Equal, false),
            "NotEquals" => (Order::Equal, true),
            "LessThan" => (Order::Less, false),
            "LessThanEquals" => (Order::LessOrEqual, false),
            "GreaterThan" => (Order::Greater, false),
            "GreaterThanEquals" => (Order::GreaterOrEqual, false),
            _ => return Err(unsupported().into()),
        };
        let test = if dates {
            Self::Date(order, each(values, date)?)
        } else {
            Self::Number(order, each(values, number)?)
        };
        Ok((test, negated))
    }

    fn agrees(&self, value: &str, context: &Context) -> bool {
        match self {
            Self::Text(patterns) => patterns.iter().any(|p| p.matches(value, context)),
            Self::TextIgnoringCase(patterns) => {
                patterns.iter().any(|p| p.matches_ignoring_case(value, context))
            }
            Self::Arn(patterns) => patterns.iter().any(|p| p.matches_arn(value, context)),
            Self::Bool(wanted) => boolean(value).is_ok_and(|value| wanted.contains(&value)),
            Self::Number(order, wanted) => {
                number(value).is_ok_and(|value| wanted.iter().any(|w| order.holds(&value, w)))
            }
            Self::Date(order, wanted) => {
                date(value).is_ok_and(|value| wanted.iter().any(|w| order.holds(&value, w)))
            }
            Self::Ip(networks) => value.parse::<IpAddr>().is_ok_and(|address| {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }),
            // It looks at the key, not at a value.
            Self::Null(_) => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

fn each<T>(values: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    values.iter().map(|value| parse(value)).collect()
}

fn patterns(
    values: &[String],
    parse: impl Fn(&str) -> Result<Pattern, String>,
) -> Result<Vec<Pattern>, String> {
    each(values, parse)
}

fn arns(patterns: Vec<Pattern>) -> Result<Vec<Pattern>, String> {
    if patterns.iter().all(Pattern::is_arn_like) {
        return Ok(patterns);
    }
    Err("a value is not an ARN, arn:partition:service:region:account:resource, or *".into())
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("a value is neither true nor false".into()),
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("a value is not a number".into()),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "a value is not an IP address or a CIDR range, as 203.0.113.0/24".into())
}

/// A date of ISO 8601, with or without a time, or seconds since 1970.
fn date(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| "a value is not a date: it is beyond the year 9999".into());
    }
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339);
    parse(text)
        .or_else(|_| parse(&format!("{text}T00:00:00Z")))
        .or_else(|_| parse(&text.replacen('Z', ":00Z", 1)))
        .map_err(|_| "a value is not a date, as 2026-11-24T12:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(operator: &str, key: &str, value: &str, request: Option<&str>) -> bool {
        let block = Json::parse(&format!("{{{key:?}: {value}}}")).unwrap();
        let mut context = Context::default();
        if let Some(request) = request {
            context.set(key, request);
        }
        Condition::parse(operator, &block, true).unwrap()[0].is_met(&context)
    }

    /// The table of AWS's guide: what each kind of operator makes of a key that is absent.
    #[test]
    fn an_absent_key() {
        for (operator, value, wanted) in [
            ("StringEquals", r#""x""#, false),
            ("StringNotEquals", r#""x""#, true),
            ("StringEqualsIfExists", r#""x""#, true),
            ("StringNotEqualsIfExists", r#""x""#, true),
            ("ForAnyValue:StringEquals", r#""x""#, false),
            ("ForAllValues:StringEquals", r#""x""#, true),
            ("ForAnyValue:StringNotEquals", r#""x""#, false),
            ("Null", "true", true),
            ("Null", "false", false),
        ] {
            assert_eq!(met(operator, "aws:PrincipalTag/a", value, None), wanted, "{operator}");
        }
        assert!(!met("Bool", "aws:SecureTransport", "false", None));
        assert!(met("NotIpAddress", "aws:SourceIp", r#""10.0.0.0/8""#, None));
    }

    #[test]
    fn dates_are_taken_in_every_form_that_aws_takes() {
        let now = Some("2026-11-24T12:00:00Z");
        for value in
            ["2026-11-24", "2026-11-24T11:59Z", "2026-11-24T11:59:59Z", "2026-11-24T12:59:59+01:00"]
        {
            let value = format!("{value:?}");
            assert!(met("DateGreaterThan", "aws:CurrentTime", &value, now), "{value}");
        }
        assert!(met("DateGreaterThan", "aws:CurrentTime", "1700000000", now));
        assert!(met("NumericLessThan", "aws:EpochTime", "1800000000", Some("1795435260")));
    }

    #[test]
    fn an_ipv4_client_on_a_socket_for_both_is_ipv4() {
        let range = r#""127.0.0.0/8""#;
        assert!(met("IpAddress", "aws:SourceIp", range, Some("::ffff:127.0.0.1")));
    }
}
