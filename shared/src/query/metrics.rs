//! `result = "metric"`: numeric columns become CloudWatch metrics, text columns their dimensions.
//!
//! A value that CloudWatch would refuse, or drop silently, is an error here.

use std::time::SystemTime;

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

use super::{Query, Rows};
use crate::emf::{
    Directive, MAX_DIMENSION_NAME, MAX_DIMENSION_VALUE, MAX_DIMENSIONS, MAX_DOCUMENT, MAX_METRICS,
    Metadata, Metric, NAMESPACE,
};
use crate::error::{Error, ErrorKind};
use crate::json::Object;

/// How rows become metrics, as the front matter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricOptions {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The unit of columns that `units` does not name.
    pub unit: String,
    /// Units by column.
    pub units: Vec<(String, String)>,
    /// The columns that are dimensions; without it, every text column.
    pub dimensions: Option<Vec<String>>,
}

impl Default for MetricOptions {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.into(),
            unit: "None".into(),
            units: Vec::new(),
            dimensions: None,
        }
    }
}

/// The metrics of an answer: one document a row, and more for rows of over a hundred metrics.
#[derive(Clone, Default)]
pub struct Metrics {
    options: MetricOptions,
    documents: Vec<Document>,
}

#[derive(Clone, Default)]
struct Document {
    dimensions: Vec<(String, String)>,
    metrics: Vec<(String, Box<RawValue>)>,
}

/// CloudWatch takes values of this magnitude at most, and at least its inverse:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.
fn largest() -> f64 {
    2f64.powi(360)
}

impl Metrics {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.documents.iter().map(|document| document.metrics.len()).sum()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each document as one line of JSON, for standard output.
    pub fn lines(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.documents.iter().filter_map(move |document| {
            serde_json::to_string(&Line { document, options: &self.options, now }).ok()
        })
    }

    /// Makes metrics of a query's rows.
    ///
    /// # Errors
    /// [`QueryInvalid`](ErrorKind::QueryInvalid) if CloudWatch would refuse or drop a value. The
    /// message names the row and the column, and no value.
    pub fn from_rows(query: &Query, options: &MetricOptions, rows: &Rows) -> Result<Self, Error> {
        let refused = |index: usize, why: &str| {
            Error::new(
                ErrorKind::QueryInvalid,
                format!("query {} returned a value that cannot be a metric", query.name),
            )
            .because(format!("row {}: {why}", index + 1))
            .remedy("Cast columns to numbers or text, list the dimensions in the front matter, and use COALESCE where NULL may come; docs/queries.md has the rules")
        };
        let mut documents = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let mut document =
                Document::from_row(row, options).map_err(|why| refused(index, &why))?;
            if document.size() > MAX_DOCUMENT {
                return Err(refused(index, "it is larger than the format's 1 MB"));
            }
            while document.metrics.len() > MAX_METRICS {
                let metrics = document.metrics.split_off(document.metrics.len() - MAX_METRICS);
                documents.push(Document { dimensions: document.dimensions.clone(), metrics });
            }
            if !document.metrics.is_empty() {
                documents.push(document);
            }
        }
        Ok(Self { options: options.clone(), documents })
    }
}

impl Document {
    /// The approximate length of its lines together: each name occurs twice.
    fn size(&self) -> usize {
        let dimensions = self.dimensions.iter().map(|(name, value)| 2 * name.len() + value.len());
        let metrics = self.metrics.iter().map(|(name, value)| 2 * name.len() + value.get().len());
        dimensions.chain(metrics).map(|length| length + 50).sum()
    }

    /// Fails with a phrase that names the column, and no value.
    fn from_row(row: &str, options: &MetricOptions) -> Result<Self, String> {
        let columns = Object::parse(row).ok_or("it is not an object")?;
        let mut document = Self::default();
        for (name, value) in columns.members() {
            let name = name.to_owned();
            if name.is_empty() || !name.is_ascii() || name == "_aws" {
                return Err(format!("column {name:?} has a name that CloudWatch does not take"));
            }
            let listed = options.dimensions.as_ref().map(|names| names.contains(&name));
            match (value.get().as_bytes().first(), listed) {
                (Some(b'n'), Some(true)) => return Err(format!("dimension {name} is NULL")),
                // No value, so no data point.
                (Some(b'n'), _) => {}
                (Some(b'"'), Some(false)) => {
                    return Err(format!("column {name} is neither a number nor a dimension"));
                }
                (Some(b'"'), _) => {
                    let text: String =
                        serde_json::from_str(value.get()).map_err(|_| "it is not valid Unicode")?;
                    check_dimension(&name, &text)?;
                    document.dimensions.push((name, text));
                }
                (Some(b'-' | b'0'..=b'9'), Some(true)) => {
                    document.dimensions.push((name, value.get().to_owned()));
                }
                (Some(b'-' | b'0'..=b'9'), _) => {
                    check_number(&name, value.get())?;
                    document.metrics.push((name, value.to_owned()));
                }
                _ => return Err(format!("column {name} is neither a number nor text")),
            }
        }
        if document.dimensions.len() > MAX_DIMENSIONS {
            return Err(format!("it has more than {MAX_DIMENSIONS} dimensions"));
        }
        if let Some(missing) = options
            .dimensions
            .iter()
            .flatten()
            .find(|listed| document.dimensions.iter().all(|(name, _)| name != *listed))
        {
            return Err(format!("there is no column {missing}, which is listed as a dimension"));
        }
        Ok(document)
    }
}

fn check_number(name: &str, text: &str) -> Result<(), String> {
    let value: f64 = text.parse().map_err(|_| format!("column {name} is not a number"))?;
    let magnitude = value.abs();
    if magnitude > largest() || (magnitude > 0.0 && magnitude < largest().recip()) {
        return Err(format!("column {name} is beyond the values that CloudWatch takes (2^±360)"));
    }
    Ok(())
}

fn check_dimension(name: &str, value: &str) -> Result<(), String> {
    // row_to_json writes these numbers as text.
    if matches!(value, "NaN" | "Infinity" | "-Infinity") {
        return Err(format!("column {name} is NaN or infinite, which CloudWatch does not take"));
    }
    if name.len() > MAX_DIMENSION_NAME || name.starts_with(':') {
        return Err(format!("column {name} has a name that cannot be a dimension's"));
    }
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if value.trim().is_empty() || value.len() > MAX_DIMENSION_VALUE || !plain {
        return Err(format!(
            "dimension {name} is empty, not plain ASCII, or longer than {MAX_DIMENSION_VALUE} characters"
        ));
    }
    Ok(())
}

struct Line<'a> {
    document: &'a Document,
    options: &'a MetricOptions,
    now: SystemTime,
}

impl Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { document, options, now } = self;
        let unit = |column: &str| {
            let own = options.units.iter().find(|(name, _)| name == column);
            own.map_or(options.unit.as_str(), |(_, unit)| unit.as_str())
        };
        let directive = Directive {
            namespace: &options.namespace,
            dimensions: vec![document.dimensions.iter().map(|(name, _)| name.as_str()).collect()],
            metrics: document
                .metrics
                .iter()
                .map(|(name, _)| Metric { name, unit: unit(name) })
                .collect(),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("_aws", &Metadata::new(*now, vec![directive]))?;
        for (name, value) in &document.dimensions {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in &document.metrics {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// As an answer: how many values were sent.
impl Serialize for Metrics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.len() as u64)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Metrics({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(options: MetricOptions, row: &str) -> Result<Vec<serde_json::Value>, String> {
        let query = Query::parse("q", "SELECT 1").unwrap();
        let mut rows = Rows::default();
        rows.push("q", row).unwrap();
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);
        Metrics::from_rows(&query, &options, &rows)
            .map(|metrics| {
                metrics.lines(now).map(|line| serde_json::from_str(&line).unwrap()).collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_metrics_and_text_their_dimensions() {
        let options = MetricOptions {
            namespace: "Shop".into(),
            units: vec![("late".into(), "Count".into())],
            ..MetricOptions::default()
        };
        let row = r#"{"region":"eu","orders":12,"late":0,"revenue":1.50,"missing":null}"#;
        let expected = serde_json::json!({
            "_aws": {"Timestamp": 1_700_000_000_123u64, "CloudWatchMetrics": [{
                "Namespace": "Shop", "Dimensions": [["region"]], "Metrics": [
                    {"Name": "orders", "Unit": "None"}, {"Name": "late", "Unit": "Count"},
                    {"Name": "revenue", "Unit": "None"}]}]},
            "region": "eu", "orders": 12, "late": 0, "revenue": 1.5
        });
        assert_eq!(metrics(options, row).unwrap(), [expected]);
    }

    #[test]
    fn more_than_a_hundred_are_split() {
        let columns: Vec<String> = (0..250).map(|n| format!("\"m{n}\":{n}")).collect();
        let row = format!("{{\"d\":\"x\",{}}}", columns.join(","));
        let documents = metrics(MetricOptions::default(), &row).unwrap();
        let mut seen = 0;
        for document in &documents {
            let listed = document["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
            assert!(listed.len() <= MAX_METRICS);
            assert!(
                listed.iter().all(|metric| document[metric["Name"].as_str().unwrap()].is_number())
            );
            assert_eq!(document["d"], "x");
            seen += listed.len();
        }
        assert_eq!((documents.len(), seen), (3, 250));
    }

    #[test]
    fn values_that_cloudwatch_drops_are_errors_without_the_value() {
        let many: Vec<String> = (0..31).map(|n| format!("\"d{n}\":\"s3cret\"")).collect();
        for (row, told) in [
            (r#"{"v":"NaN"}"#.to_owned(), "column v is NaN"),
            (r#"{"v":true}"#.to_owned(), "column v is neither"),
            (r#"{"v":[1]}"#.to_owned(), "column v is neither"),
            (r#"{"v":1e200}"#.to_owned(), "column v is beyond"),
            (r#"{"v":1e-200}"#.to_owned(), "column v is beyond"),
            (r#"{"d":"s3crét","v":1}"#.to_owned(), "dimension d"),
            (r#"{"d":" ","v":1}"#.to_owned(), "dimension d"),
            (format!(r#"{{"d":"{}","v":1}}"#, "x".repeat(1025)), "dimension d"),
            (r#"{"_aws":1}"#.to_owned(), "_aws"),
            (format!("{{{}}}", many.join(",")), "more than 30"),
            (format!(r#"{{"v":1.{}}}"#, "0".repeat(1_000_000)), "1 MB"),
        ] {
            let error = metrics(MetricOptions::default(), &row).unwrap_err();
            assert!(error.contains(told) && !error.contains("s3cr"), "{row}: {error}");
        }
        let listed =
            MetricOptions { dimensions: Some(vec!["d".into()]), ..MetricOptions::default() };
        for (row, told) in [
            (r#"{"d":null,"v":1}"#, "dimension d is NULL"),
            (r#"{"v":1}"#, "no column d"),
            (r#"{"d":"x","e":"y","v":1}"#, "column e is neither"),
        ] {
            let error = metrics(listed.clone(), row).unwrap_err();
            assert!(error.contains(told), "{row}: {error}");
        }
        let dimension = metrics(listed, r#"{"d":7,"v":1}"#).unwrap();
        assert_eq!(dimension[0]["d"], "7");
    }
}
