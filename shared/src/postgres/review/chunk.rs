//! Chunks of no rows: a LIMIT of 0 ends a step at once, with every row left.

use crate::error::{Error, ErrorKind};
use crate::query::{Parameters, Query, Token};

/// The number of rows of a LIMIT or FETCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The value of the parameter with this index.
    Parameter(usize),
    /// None.
    Zero,
}

/// Refuses a file whose chunks are empty by its own numbers.
pub(super) fn check_file(query: &Query, tokens: &[Token]) -> Option<Error> {
    let empty = sizes(query, tokens).into_iter().find_map(|limit| match limit {
        Limit::Zero => Some("its LIMIT is 0".to_owned()),
        Limit::Parameter(index) => {
            let param = query.params.get(index)?;
            let default = param.default.as_ref()?.get().trim().trim_matches('"');
            is_empty(default).then(|| format!("the default of {} is {default}", param.name))
        }
    })?;
    let what = format!("query {} has chunks of no rows", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what);
    let error = error.because(format!("{empty}, so its repeat ends at once, with every row left"));
    Some(error.remedy("Give a chunk one row or more, 1000 say"))
}

/// Refuses values of a run that make its chunks empty.
pub(super) fn check_values(
    query: &Query,
    tokens: &[Token],
    parameters: &Parameters,
) -> Result<(), Error> {
    let values: Vec<Option<&str>> = parameters.texts().collect();
    for limit in sizes(query, tokens) {
        let Limit::Parameter(index) = limit else {
            return check_file(query, tokens).map_or(Ok(()), Err);
        };
        let (Some(Some(value)), Some(param)) = (values.get(index), query.params.get(index)) else {
            continue;
        };
        if is_empty(value) {
            let what = format!("query {} refuses parameter {}", query.name, param.name);
            return Err(Error::new(ErrorKind::QueryBadParameter, what)
                .because("it is the size of a chunk, and below 1: the job would end at once, with every row left")
                .remedy("Send 1 or more"));
        }
    }
    Ok(())
}

/// The sizes of the statement's chunks: of each LIMIT, and the parameter that is adapted.
fn sizes(query: &Query, tokens: &[Token]) -> Vec<Limit> {
    let mut found = Vec::new();
    limits(tokens, &mut found);
    let adapt = query.repeat.as_ref().and_then(|repeat| repeat.adapt.as_ref());
    found.extend(adapt.map(|adapt| Limit::Parameter(adapt.param)));
    found
}

fn limits(tokens: &[Token], found: &mut Vec<Limit>) {
    for (at, token) in tokens.iter().enumerate() {
        if let Token::Group(inner) = token {
            limits(inner, found);
        }
        let after = match token {
            token if token.is("limit") => 1,
            token if token.is("fetch") => 2,
            _ => continue,
        };
        found.extend(tokens.get(at + after..).and_then(number));
    }
}

/// What a LIMIT that begins so says, if it is a parameter or 0 and no expression.
fn number(tokens: &[Token]) -> Option<Limit> {
    let (limit, length) = match tokens.first()? {
        Token::Parameter(number) => (Limit::Parameter(number.checked_sub(1)?), 1),
        Token::Number(text) if is_empty(text) => (Limit::Zero, 1),
        Token::Group(inner) => (number(inner)?, 1),
        cast if cast.is("cast") => (number(tokens.get(1)?.group()?)?, 2),
        _ => return None,
    };
    match tokens.get(length) {
        Some(Token::Symbol(sign)) if sign != "::" && sign != ";" => None,
        _ => Some(limit),
    }
}

/// Whether a value is a whole number below 1, in PostgreSQL's spellings.
fn is_empty(value: &str) -> bool {
    let value = value.trim();
    if value.parse().is_ok_and(|number: i128| number < 1) {
        return true;
    }
    let digits = value.trim_start_matches(['+', '-']);
    let digits = match digits.get(..2) {
        Some("0x" | "0X" | "0o" | "0O" | "0b" | "0B") => &digits[2..],
        _ => digits,
    };
    !digits.is_empty() && digits.chars().all(|c| matches!(c, '0' | '_'))
}
