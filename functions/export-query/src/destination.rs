//! Where an object goes: a key template, filled in, and always below the function's own prefix.
//!
//! A key has ASCII letters, digits and `-_.=+@` in segments between `/`. What else a parameter's value
//! holds becomes `_`, so a value never makes a segment of its own.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rds_iam::query::{DATE_FORMS, date_at};
use rds_iam::{Error, ErrorKind};

use crate::format::{self, Compression, Format};

/// The variable that names the prefix.
pub(crate) const VARIABLE: &str = "EXPORT_PREFIX";
/// Used when neither the event nor the query file says where to.
pub(crate) const DEFAULT: &str = "{query}/{date}/{run}.ndjson.gz";
/// The same for several objects.
pub(crate) const DEFAULT_SPLIT: &str = "{query}/{date}/{run}.{part}.ndjson.gz";
/// S3's limit, in bytes.
const LONGEST_KEY: usize = 1024;

/// The bucket, and the beginning of every key: `s3://bucket/`, or `s3://bucket/exports/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    bucket: String,
    prefix: String,
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) content_type: &'static str,
}

impl Destination {
    /// The manifest's key: the key without the part number, ending in `.json`.
    pub(crate) fn into_manifest(self, wrong: ErrorKind) -> Result<Self, Error> {
        let key = format!("{}.json", format::without_ending(&self.key));
        if key.len() > LONGEST_KEY {
            return Err(too_long(wrong));
        }
        Ok(Self { key, content_type: "application/json", ..self })
    }
}

/// The text for each `{name}` of a template, beside dates; `None` is NULL.
pub(crate) type Values<'a> = BTreeMap<&'a str, Option<&'a str>>;

impl Prefix {
    /// Reads the value of `EXPORT_PREFIX`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Error> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::ConfigInvalid, format!("{VARIABLE} cannot be used"))
                .because(why)
                .remedy("Set it to s3://BUCKET/ or s3://BUCKET/FOLDER/: the function writes nothing elsewhere")
        };
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| invalid("it is not set"))?;
        let path =
            text.strip_prefix("s3://").ok_or_else(|| invalid("it does not begin with s3://"))?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(letter) {
            return Err(invalid("it does not name a bucket"));
        }
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        if let Some(folders) = prefix.strip_suffix('/') {
            check_segments(folders).map_err(|why| invalid(&why))?;
        }
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }

    /// Fills in a template, whose dates count from `time`. `wrong` is the kind of error that a wrong one is.
    pub(crate) fn locate(
        &self,
        template: &str,
        values: &Values<'_>,
        time: SystemTime,
        wrong: ErrorKind,
    ) -> Result<Destination, Error> {
        let invalid = |why: &str, remedy: &str| {
            Error::new(wrong, "the rows cannot be written there").because(why).remedy(remedy)
        };
        let allowed = format!("s3://{}/{}", self.bucket, self.prefix);
        let inside = match template.strip_prefix("s3://") {
            None => template,
            Some(_) => template.strip_prefix(&*allowed).ok_or_else(|| {
                invalid(
                    "it is outside of the prefix that the function may write",
                    &format!("Send a key without s3://, which lies in {VARIABLE}, or begin it with that prefix"),
                )
            })?,
        };
        let key = format!("{}{}", self.prefix, fill_in(inside, values, time)?);
        check_segments(&key)
            .map_err(|why| invalid(&why, "Correct \"to\", in the event or the query file"))?;
        if key.len() > LONGEST_KEY {
            return Err(too_long(wrong));
        }
        let (format, compression) = format::of_key(&key)
            .ok_or_else(|| invalid("the key ends with no format that is known", format::ENDINGS))?;
        let content_type = format.content_type(compression);
        Ok(Destination { bucket: self.bucket.clone(), key, format, compression, content_type })
    }
}

fn too_long(wrong: ErrorKind) -> Error {
    Error::new(wrong, "the rows cannot be written there")
        .because("the key is longer than 1,024 bytes")
        .remedy("Shorten \"to\", or a parameter in it")
}

fn fill_in(template: &str, values: &Values<'_>, time: SystemTime) -> Result<String, Error> {
    let mut key = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            // Checked with the rest, where a brace is no legal character.
            break;
        };
        key.push_str(before);
        rest = after;
        // A parameter of that name is the more specific one.
        let Some(value) = values.get(name) else {
            if let Some(date) = date_at(name, time) {
                key.push_str(&date);
                continue;
            }
            let names: Vec<&str> = values.keys().copied().collect();
            return Err(Error::new(
                ErrorKind::EventInvalid,
                "to has a name in braces that is unknown",
            )
            .because("it is neither a parameter of the query nor one of the function's own")
            .remedy(format!("The names here are {}; a date is {DATE_FORMS}", names.join(", "))));
        };
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            let what = format!("parameter {name} cannot be a part of the key");
            return Err(Error::new(ErrorKind::QueryBadParameter, what)
                .because("it is NULL or empty")
                .remedy("Send a value, give the parameter a default, or take it out of to"));
        };
        key.extend(value.chars().map(|c| if is_legal(c) { c } else { '_' }));
    }
    key.push_str(rest);
    Ok(key)
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.=+@".contains(c)
}

/// Refuses keys that some tool might take for another key, or for another folder.
fn check_segments(key: &str) -> Result<(), String> {
    if let Some(c) = key.chars().find(|c| !is_legal(*c) && *c != '/') {
        let shown = if matches!(c, '{' | '}') { " (a brace without its other)" } else { "" };
        return Err(format!("it has a character other than letters, digits, / and -_.=+@{shown}"));
    }
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it has an empty segment, or one that is . or ..".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(pairs: &[(&'a str, &'a str)]) -> Values<'a> {
        pairs.iter().map(|(name, value)| (*name, Some(*value))).collect()
    }

    fn key(template: &str, pairs: &[(&str, &str)]) -> Result<String, Error> {
        let prefix = Prefix::parse(Some("s3://bucket/exports")).unwrap();
        let time = rds_iam::query::time_of("2026-11-24T02:00:00Z").unwrap();
        let found = prefix.locate(template, &values(pairs), time, ErrorKind::EventInvalid);
        found.map(|destination| destination.key)
    }

    #[test]
    fn templates_are_filled_in_below_the_prefix() {
        let pairs = [("day", "2026-01-01"), ("empty", "")];
        assert_eq!(key("o/{date}.csv", &pairs).unwrap(), "exports/o/2026-11-24.csv");
        let yesterday = key("day={date-1d}/o.csv", &pairs).unwrap();
        assert_eq!(yesterday, "exports/day=2026-11-23/o.csv");
        assert_eq!(key("{date-1d-05:00}.csv", &pairs).unwrap(), "exports/2026-11-22.csv");
        assert_eq!(key("{date}.csv", &[("date", "own")]).unwrap(), "exports/own.csv");
        let full = "s3://bucket/exports/dt={day}/x.parquet";
        assert_eq!(key(full, &pairs).unwrap(), "exports/dt=2026-01-01/x.parquet");
        let error = key("{empty}.csv", &pairs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryBadParameter);
        let error = key("{month}.csv", &pairs).unwrap_err().to_string();
        assert!(
            error.contains("The names here are day, empty; a date is {date}, {date-1d}"),
            "{error}"
        );
        for wrong in ["{date-1}.csv", "{date-1d+25:00}.csv", "{dat}.csv"] {
            assert_eq!(key(wrong, &pairs).unwrap_err().kind(), ErrorKind::EventInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_value_never_leaves_its_segment() {
        for (value, expected) in [
            ("../../etc", ".._.._etc"),
            ("a/b", "a_b"),
            ("é😀\u{0}\n", "____"),
            ("a b?c#d%2e\\", "a_b_c_d_2e_"),
            ("{date}", "_date_"),
        ] {
            assert_eq!(
                key("x-{v}.csv", &[("v", value)]).unwrap(),
                format!("exports/x-{expected}.csv")
            );
        }
        for template in ["{v}/x.csv", "{v}{v}/x.csv", "a/{v}/{v}.csv"] {
            let refused = key(template, &[("v", ".")]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::EventInvalid, "{template}");
        }
    }

    #[test]
    fn nothing_is_written_outside_the_prefix() {
        for template in [
            "s3://other/exports/x.csv",
            "s3://bucket/x.csv",
            "s3://bucket/exports-of-others/x.csv",
            "s3://bucket.evil/exports/x.csv",
            "s3://BUCKET/exports/x.csv",
            "s3://{v}/exports/x.csv",
            "s3://bucket/exports/../x.csv",
            "../x.csv",
            "/x.csv",
            "a//x.csv",
            "a/./x.csv",
            "a/x.csv/",
            "",
            "a\u{0}.csv",
            "a\n.csv",
            "é.csv",
            "a\u{202e}vsc.csv",
            "https://example.com/x.csv",
            "{v.csv",
            "v}.csv",
            "x.txt",
        ] {
            let error = key(template, &[("v", "bucket")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{template:?}");
        }
        let long = "x".repeat(1024 - "exports/.csv".len());
        assert_eq!(key("{v}.csv", &[("v", &long)]).unwrap().len(), 1024);
        let error = key("{v}x.csv", &[("v", &long)]).unwrap_err();
        assert!(
            error.to_string().contains("1,024") && !error.to_string().contains("xx"),
            "{error}"
        );
    }

    #[test]
    fn a_prefix_is_a_bucket_and_folders() {
        let prefix = |text: &str| Prefix::parse(Some(text)).map(|p| (p.bucket, p.prefix));
        assert_eq!(prefix("s3://bucket").unwrap(), ("bucket".into(), String::new()));
        assert_eq!(prefix("s3://bucket/").unwrap(), ("bucket".into(), String::new()));
        assert_eq!(prefix("s3://bucket/a/b").unwrap(), ("bucket".into(), "a/b/".into()));
        for wrong in [
            "",
            "bucket",
            "s3:///a",
            "s3://B/",
            "s3://bucket/../a",
            "s3://bucket//",
            "s3://bucket/é",
        ] {
            assert_eq!(
                Prefix::parse(Some(wrong)).unwrap_err().kind(),
                ErrorKind::ConfigInvalid,
                "{wrong}"
            );
        }
    }
}
