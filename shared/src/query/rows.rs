//! Rows as PostgreSQL rendered them: raw JSON, decoded by nobody on the way.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};

/// Lambda's limit for a synchronous response
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>), less room for
/// what stands around the rows.
pub const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 - 1024;

/// The rows of an answer, each a JSON object. Serialises as an array of them.
#[derive(Clone, Default)]
pub struct Rows {
    rows: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each row's JSON text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.get())
    }

    /// Adds one row, as `row_to_json` rendered it.
    pub(crate) fn push(&mut self, query: &str, json: &str) -> Result<(), Error> {
        // With the comma between rows.
        self.bytes += json.len() + 1;
        if self.bytes > MAX_RESPONSE_BYTES {
            return Err(Error::new(
                ErrorKind::ResultTooLarge,
                format!("the rows of query {query} do not fit into a response"),
            )
            .because(format!("Lambda's limit is 6 MB, reached after {} rows", self.rows.len()))
            .remedy("Select fewer rows or columns, aggregate in SQL, or add a LIMIT"));
        }
        let row = RawValue::from_string(json.to_owned()).map_err(|_| {
            Error::new(ErrorKind::QueryFailed, format!("query {query} gave a row that is not JSON"))
        })?;
        if self.rows.is_empty()
            && let Some(name) = duplicate_key(&row)
        {
            return Err(Error::new(
                ErrorKind::QueryInvalid,
                format!("query {query} has two columns named {name}"),
            )
            .because("a JSON object can hold one of them only")
            .remedy("Give each column its own name with AS"));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// The one row of an answer, as `row_to_json` rendered it.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Row(Box<RawValue>);

impl Row {
    /// Its JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl Rows {
    /// The only row, if there is no other.
    pub(crate) fn into_one(mut self) -> Option<Row> {
        if self.rows.len() == 1 { self.rows.pop().map(Row) } else { None }
    }
}

/// See [`Rows`].
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row(_)")
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            seq.serialize_element(row)?;
        }
        seq.end()
    }
}

/// Rows are the database's data, which no log may show.
impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({})", self.rows.len())
    }
}

/// The first key that stands twice at the top level of an object.
fn duplicate_key(row: &RawValue) -> Option<String> {
    struct Keys;
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut seen = std::collections::HashSet::new();
            let mut duplicate = None;
            while let Some(key) = map.next_key::<String>()? {
                map.next_value::<serde::de::IgnoredAny>()?;
                if !seen.insert(key.clone()) {
                    duplicate.get_or_insert(key);
                }
            }
            Ok(duplicate)
        }
    }
    serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_str(row.get()), Keys)
        .ok()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_pass_through_as_they_are() {
        let mut rows = Rows::default();
        rows.push("q", r#"{"n":1.10,"big":1234567890123456789012345678901234567890}"#).unwrap();
        rows.push("q", r#"{"n":null,"big":0}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&rows).unwrap(),
            r#"[{"n":1.10,"big":1234567890123456789012345678901234567890},{"n":null,"big":0}]"#
        );
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let error = Rows::default().push("q", r#"{"a":{"a":1},"b":1,"b":2}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryInvalid);
        assert!(error.to_string().contains("named b"), "{error}");
    }

    #[test]
    fn more_than_a_response_holds_is_refused() {
        let mut rows = Rows::default();
        let row = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
        let error = (0..10).find_map(|_| rows.push("q", &row).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::ResultTooLarge);
        assert!(rows.len() == 5, "{}", rows.len());
    }
}
