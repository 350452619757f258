//! Parameters as tokio-postgres binds them: in text format, with no type declared. Answers of the simple protocol, which
//! are text too.

use std::error::Error as StdError;
use std::fmt;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::query::Parameters;

/// One value, bound in text format. tokio-postgres may print parameters with `Debug`.
pub(super) struct Text<'a>(Option<&'a str>);

/// A statement's values with their types, as tokio-postgres takes them.
pub(super) type Typed<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// The values of one run, in the order of `$1…$n`.
pub(super) fn texts(parameters: &Parameters) -> Vec<Text<'_>> {
    parameters.texts().map(Text).collect()
}

/// The same with the type `unknown`, so that PostgreSQL takes each type from the statement.
pub(super) fn typed<'a>(texts: &'a [Text<'a>]) -> Typed<'a> {
    texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::UNKNOWN)).collect()
}

/// The first row of an answer of the simple protocol.
pub(super) fn first_row(answer: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", Text(Some("s3cret"))), "<hidden>");
    }
}
