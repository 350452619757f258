//! The table of verdicts in tests/corpus/policies/cases.json, which a simulator of others answers
//! too (tests/it/policy_oracle.rs); and documents that are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::context::Context;
use super::{Caller, Kind, Policies, Policy, Request};

#[derive(Deserialize)]
struct Case {
    name: String,
    principal: String,
    identity: Vec<Value>,
    boundary: Option<Value>,
    session: Option<Value>,
    trust: Option<Value>,
    action: String,
    resource: String,
    account: String,
    context: BTreeMap<String, Value>,
    verdict: String,
}

impl Case {
    fn verdict(&self) -> &'static str {
        let parse = |document: &Value, kind| {
            Policy::parse(&document.to_string(), kind)
                .unwrap_or_else(|why| panic!("{}: {why}", self.name))
        };
        let identity: Vec<Policy> =
            self.identity.iter().map(|document| parse(document, Kind::Identity)).collect();
        let some = |document: &Option<Value>, kind| document.as_ref().map(|d| parse(d, kind));
        let boundary = some(&self.boundary, Kind::Identity);
        let session = some(&self.session, Kind::Identity);
        let trust = some(&self.trust, Kind::Trust);
        let caller = self.caller();
        let policies = Policies {
            identity: &identity,
            boundary: boundary.as_ref(),
            session: session.as_ref(),
            trust: trust.as_ref(),
            same_account: caller.account == self.account,
        };
        let context = self.context();
        let (action, resource) = (self.action.as_str(), self.resource.as_str());
        match policies.evaluate(Request { action, resource, caller: &caller, context: &context }) {
            Ok(()) => "allowed",
            Err(denial) if denial.is_explicit() => "explicitly denied",
            Err(_) => "implicitly denied",
        }
    }

    fn caller(&self) -> Caller {
        let account = self.principal.split(':').nth(4).unwrap().to_owned();
        let role = self.principal.split_once(":assumed-role/").map(|(_, session)| {
            format!("arn:aws:iam::{account}:role/{}", session.split('/').next().unwrap())
        });
        Caller { arn: self.principal.clone(), role, account, federated: None }
    }

    fn context(&self) -> Context {
        let mut context = Context::default();
        for (key, value) in &self.context {
            match value {
                Value::Array(values) => context.set_all(
                    key,
                    values.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
                ),
                value => context.set(key, value.as_str().unwrap()),
            }
        }
        context
    }
}

#[test]
fn every_case_of_the_table() {
    let text = include_str!("../../tests/corpus/policies/cases.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter(|case| case.verdict() != case.verdict)
        .map(|case| format!("{}: {}, not {}", case.name, case.verdict(), case.verdict))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let with_deny_and_conditions =
        |text: &String| text.contains("\"Deny\"") && text.contains("\"Condition\"");
    let documents = cases.iter().map(|case| Value::from(case.identity.clone()).to_string());
    assert!(cases.len() >= 60 && documents.filter(with_deny_and_conditions).count() >= 20);
}

/// An element that IAM refuses, or that only this does not take, is an error that says what and where.
#[test]
fn unsupported_elements_are_errors() {
    let statement = r#""Effect": "Allow", "Action": "rds-db:connect", "Resource": "*""#;
    let condition =
        |condition: &str| format!(r#"{{"Statement": {{{statement}, "Condition": {condition}}}}}"#);
    for (document, told) in [
        ("", "not JSON"),
        ("[]", "JSON object"),
        ("{}", "no Statement"),
        (r#"{"Statement": []}"#, "Statement is empty"),
        (&format!(r#"{{"Version": "2012-10-18", "Statement": {{{statement}}}}}"#), "2012-10-17"),
        (&format!(r#"{{"version": "2012-10-17", "Statement": {{{statement}}}}}"#), "\"version\""),
        (&format!(r#"{{"Statement": {{{statement}, "Effect": "Deny"}}}}"#), "stands twice"),
        (&format!(r#"{{"Statement": {{{statement}, "Principals": "*"}}}}"#), "\"Principals\""),
        (&format!(r#"{{"Statement": {{{statement}, "Principal": "*"}}}}"#), "identity policy"),
        (&format!(r#"{{"Statement": {{{statement}, "NotAction": "x:y"}}}}"#), "exclude each other"),
        (r#"{"Statement": {"Effect": "allow", "Action": "*", "Resource": "*"}}"#, "Effect must"),
        (r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#, "Resource is missing"),
        (r#"{"Statement": {"Effect": "Allow", "Resource": "*"}}"#, "Action is missing"),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "connect", "Resource": "*"}}"#,
            "\"connect\"",
        ),
        (r#"{"Statement": {"Effect": "Allow", "Action": [1], "Resource": "*"}}"#, "a number"),
        (r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "db-A/u"}}"#, "an ARN"),
        (&condition(r#"{"BinaryEquals": {"aws:userid": "eA=="}}"#), "operator is not supported"),
        (&condition(r#"{"StringEqual": {"aws:userid": "x"}}"#), "operator is not supported"),
        (&condition(r#"{"ForSomeValues:StringEquals": {"aws:userid": "x"}}"#), "not supported"),
        (&condition(r#"{"StringEquals": {"aws:SourceVpc": "vpc-1"}}"#), "aws:SourceVpc"),
        (&condition(r#"{"StringEquals": {"rds:Vpc": "x"}}"#), "rds:Vpc"),
        (&condition(r#"{"StringLike": {"aws:PrincipalOrgPaths": "o-a/*"}}"#), "ForAnyValue"),
        (&condition(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}"#), "CIDR"),
        (&condition(r#"{"DateLessThan": {"aws:CurrentTime": "tomorrow"}}"#), "not a date"),
        (&condition(r#"{"NumericEquals": {"aws:EpochTime": "x"}}"#), "not a number"),
        (&condition(r#"{"Bool": {"aws:SecureTransport": "yes"}}"#), "neither true nor false"),
        (&condition(r#"{"ArnLike": {"aws:PrincipalArn": "reader"}}"#), "not an ARN"),
        (&condition(r#"{"NullIfExists": {"aws:userid": "true"}}"#), "Null"),
        (&condition(r#"["x"]"#), "a list"),
        (&condition(r#"{"StringNotEquals": {"aws:userid": []}}"#), "list of values is empty"),
        (&condition(r#"{"StringEquals": {"aws:userid": [["x"]]}}"#), "a value is a list"),
        (&condition(r#"{"StringEquals": {"aws:userid": null}}"#), "a value is null"),
        (r#"{"Statement": {"Effect": "Allow", "Action": [], "Resource": "*"}}"#, "Action is empty"),
    ] {
        let error = Policy::parse(document, Kind::Identity).expect_err(document);
        assert!(error.contains(told), "{document}: {error}");
    }
    let variable = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:rds-db:*:*:dbuser:*/${aws:x}"}}"#;
    assert!(Policy::parse(variable, Kind::Identity).unwrap_err().contains("${aws:x}"));
}

#[test]
fn a_trust_policy_has_its_own_elements() {
    let statement = |rest: &str| {
        format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "sts:AssumeRole", {rest}}}}}"#)
    };
    for (rest, told) in [
        (r#""Resource": "*""#, "no Resource"),
        (r#""Sid": "x""#, "Principal is missing"),
        (r#""NotPrincipal": {"AWS": "*"}"#, "NotPrincipal"),
        (r#""Principal": {"AWS": "alice"}"#, "Invalid principal"),
        (r#""Principal": {"AWS": "arn:aws:iam::123456789012:user/*"}"#, "Invalid principal"),
        (r#""Principal": {"CanonicalUser": "x"}"#, "CanonicalUser"),
    ] {
        let error = Policy::parse(&statement(rest), Kind::Trust).expect_err(rest);
        assert!(error.contains(told), "{rest}: {error}");
    }
    let trust = statement(
        r#""Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"sts:ExternalId": "s3cret"}}"#,
    );
    assert!(!format!("{:?}", Policy::parse(&trust, Kind::Trust).unwrap()).contains("s3cret"));
}

#[test]
fn the_documents_examples_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let document = r#"{ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } }"#;
    for (name, text) in
        [("connect.json", document), ("boundary.json", document), ("keys.json", r#"{"keys": []}"#)]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let examples: Vec<&str> = include_str!("../../../docs/iam.md")
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        if let Err(why) = super::file::parse(example, folder.path()) {
            panic!("{why}: {example}");
        }
    }
}
