//! Queries and values that the tests of parameters are given.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Query;

pub(super) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

pub(super) fn query(front: &str) -> Query {
    Query::parse("q", &format!("/*+++\n{front}\n+++*/ SELECT $1")).unwrap()
}

pub(super) fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, Box<RawValue>> {
    pairs.iter().map(|(name, json)| ((*name).to_owned(), raw(json))).collect()
}
