//! How strict a condition on one column is, beside another on the same column.

use squawk_syntax::SyntaxNode;

/// What a condition asks of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Below,
    Above,
    Equal,
    Differs,
    Null,
    NotNull,
}

impl Test {
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::Above => Self::Below,
            Self::Equal => Self::Differs,
            Self::Differs => Self::Equal,
            Self::Null => Self::NotNull,
            Self::NotNull => Self::Null,
        }
    }

    /// The same with the column on the other side.
    pub(super) fn turned(self) -> Self {
        if matches!(self, Self::Below | Self::Above) { self.opposite() } else { self }
    }
}

/// A column's bound, `< now() - interval '30 days'` say.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) test: Test,
    /// The words of the expression that it is compared with.
    limit: Vec<String>,
}

impl Bound {
    pub(super) fn new(test: Test, limit: Option<&SyntaxNode>) -> Self {
        let tokens = limit.into_iter().flat_map(SyntaxNode::descendants_with_tokens);
        let tokens = tokens.filter_map(|element| element.into_token());
        let words = tokens.filter(|token| !token.kind().is_trivia());
        Self { test, limit: words.map(|token| token.text().to_lowercase()).collect() }
    }

    pub(super) fn opposite(&self) -> Self {
        Self { test: self.test.opposite(), limit: self.limit.clone() }
    }

    /// Whether it certainly lets values through that `other` does not. What cannot be told counts as strict.
    pub(super) fn is_weaker_than(&self, other: &Self) -> bool {
        use Test::{Above, Below, Differs, Equal, NotNull, Null};
        match (self.test, other.test) {
            (_, NotNull) | (Null | Equal, _) | (Below | Above, Differs) => false,
            (Differs, Differs) => self.limit != other.limit,
            (Below, Below) => self.is_beyond(other, "-", "+"),
            (Above, Above) => self.is_beyond(other, "+", "-"),
            (NotNull | Differs | Below | Above, _) => true,
        }
    }

    /// Whether the limit is looser: `now()` beside `now() - x`, or `now() - x` beside `now() - 30 * x`.
    /// `inwards` is the sign that makes a limit stricter.
    fn is_beyond(&self, other: &Self, inwards: &str, outwards: &str) -> bool {
        let (own, other) = (&self.limit, &other.limit);
        let adds = |long: &[String], short: &[String], sign: &str| {
            long.strip_prefix(short).and_then(<[String]>::first).is_some_and(|next| next == sign)
        };
        if adds(other, own, inwards) || adds(own, other, outwards) {
            return true;
        }
        let mut differing = own.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b);
        let (Some((at, (a, b))), None) = (differing.next(), differing.next()) else { return false };
        let Some(order) = compare(a, b).filter(|_| own.len() == other.len()) else { return false };
        let sign = own[..at].iter().rev().find(|word| ["+", "-"].contains(&word.as_str()));
        // What is subtracted moves the limit the other way; and a limit below moves as a limit above does not.
        let order = if sign.is_some_and(|sign| sign == "-") { order.reverse() } else { order };
        if inwards == "-" { order.is_gt() } else { order.is_lt() }
    }
}

/// The order of two numbers, dates or durations as they are written.
fn compare(a: &str, b: &str) -> Option<std::cmp::Ordering> {
    let [a, b] = [a, b].map(|word| word.trim_matches('\''));
    let is_date = |word: &str| word.len() >= 10 && word.as_bytes()[4] == b'-';
    if is_date(a) && is_date(b) {
        return Some(a.cmp(b));
    }
    amount(a)?.partial_cmp(&amount(b)?)
}

/// `30`, or the seconds of `30 days`.
fn amount(word: &str) -> Option<f64> {
    let (number, unit) = word.split_once(' ').unwrap_or((word, ""));
    let seconds = match unit.trim().trim_end_matches('s') {
        "" | "second" => 1.0,
        "minute" => 60.0,
        "hour" => 3_600.0,
        "day" => 86_400.0,
        "week" => 604_800.0,
        "month" => 2_592_000.0,
        "year" => 31_536_000.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * seconds)
}
