//! Rows as PostgreSQL rendered them: raw JSON, passed on without decoding.

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::json::Object;

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
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each row's JSON text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.get())
    }

    /// The rows as a type of yours, by its `Deserialize`.
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if a row is not of that type. The message names the row
    /// and no value.
    ///
    /// ```no_run
    /// # use rds_iam::query::Rows;
    /// #[derive(serde::Deserialize)]
    /// struct Customer {
    ///     name: String,
    ///     age: Option<i32>,
    /// }
    /// # fn example(rows: Rows) -> Result<(), rds_iam::Error> {
    /// let customers: Vec<Customer> = rows.deserialize()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.rows.iter().enumerate().map(|(index, row)| from_json(row, index)).collect()
    }

    /// Adds one row, as the database rendered it.
    ///
    /// # Errors
    /// [`ResultTooLarge`](ErrorKind::ResultTooLarge) beyond [`MAX_RESPONSE_BYTES`];
    /// [`QueryFailed`](ErrorKind::QueryFailed) if it is not JSON;
    /// [`QueryInvalid`](ErrorKind::QueryInvalid) if two columns of the first row have one name.
    pub fn push(&mut self, query: &str, json: &str) -> Result<(), Error> {
        // With the comma between rows.
        self.bytes += json.len() + 1;
        if self.bytes > MAX_RESPONSE_BYTES {
            let rows = self.rows.len();
            return Err(too_large(
                query,
                &format!("Lambda's limit is 6 MB, reached after {rows} rows"),
            ));
        }
        let row = RawValue::from_string(json.to_owned()).map_err(|_| {
            Error::new(ErrorKind::QueryFailed, format!("query {query} gave a row that is not JSON"))
        })?;
        if self.rows.is_empty()
            && let Some(name) = Object::parse(row.get()).as_ref().and_then(Object::duplicate)
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

/// The error of rows that do not fit into a response.
pub(crate) fn too_large(query: &str, why: &str) -> Error {
    let what = format!("the rows of query {query} do not fit into a response");
    Error::new(ErrorKind::ResultTooLarge, what)
        .because(why)
        .remedy("Select fewer rows or columns, aggregate in SQL, or add a LIMIT")
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

    /// The row as a type of yours, by its `Deserialize`.
    ///
    /// # Errors
    /// As [`Rows::deserialize`].
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Error> {
        from_json(&self.0, 0)
    }
}

fn from_json<T: DeserializeOwned>(row: &RawValue, index: usize) -> Result<T, Error> {
    // The parser's own message may quote a value.
    serde_json::from_str(row.get()).map_err(|error| {
        let what = format!("row {} is not of the type that it was read as", index + 1);
        Error::new(ErrorKind::QueryFailed, what)
            .because(format!(
                "{} misses a column, or has one of another type (column {} of its JSON)",
                std::any::type_name::<T>(),
                error.column()
            ))
            .remedy("Compare the query's columns with the type's fields; a column that can be NULL needs an Option")
    })
}

impl Rows {
    /// The only row; `None` if there is none or more than one.
    pub fn into_one(mut self) -> Option<Row> {
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
    fn rows_become_types_and_errors_show_no_value() {
        #[derive(serde::Deserialize)]
        struct Customer {
            name: String,
            age: Option<u8>,
        }
        let mut rows = Rows::default();
        rows.push("q", r#"{"name":"Ann","age":null}"#).unwrap();
        rows.push("q", r#"{"name":"Bob","age":25}"#).unwrap();
        let customers: Vec<Customer> = rows.deserialize().unwrap();
        assert_eq!((customers[1].name.as_str(), customers[0].age), ("Bob", None));
        rows.push("q", r#"{"name":"Eve","age":"s3cret"}"#).unwrap();
        let error = rows.deserialize::<Customer>().err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with("row 3 ") && !text.contains("s3cret"), "{text}");
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
