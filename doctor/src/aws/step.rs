//! Asks AWS who signs, what time it is, and how RDS describes the database. A right that is missing
//! is not an error here.

use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::time::SharedTimeSource;
use aws_types::SdkConfig;
use rds_iam::Config;
use rds_iam::credentials::RawProvider;
use tokio::time::{Instant, timeout_at};

use super::client::{Dates, endpoint, sdk};
use super::rds;
use crate::aws::evidence::{Aws, Caller};
use crate::clock::evidence::Clock;
use crate::environment::Environment;
use crate::report::{Status, Step};
use crate::times::bound;

const LONGEST: Duration = Duration::from_millis(1500);

/// Codes that STS documents; others are not repeated.
const CODES: [&str; 7] = [
    "AccessDenied",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "RegionDisabledException",
];

#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) aws: Aws,
    pub(crate) clock: Option<Clock>,
    pub(crate) sdk: Option<SdkConfig>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) async fn ask(
    environment: &Environment,
    config: Option<&Config>,
    keys: Option<&Keys>,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> Answers {
    let until = bound(deadline, LONGEST);
    if let Some(why) = environment.without_sdk() {
        let unknown = |name| Step::new(name, Status::Unknown, Duration::ZERO, why.clone());
        return Answers { steps: ["caller", "rds"].map(unknown).into(), ..Answers::default() };
    }
    let region = match config {
        Some(config) => config.common.sts_region.clone(),
        None => environment.get("AWS_REGION").unwrap_or("us-east-1").to_owned(),
    };
    let dates = Dates::beside(clock);
    let base = base_keys(config, keys, &region, until).await;
    let before_role = keys.is_none() && base.is_some();
    let Some(keys) = keys.cloned().or(base) else {
        let steps = ["caller", "rds"].map(|name| Step::skipped(name, "there are no credentials"));
        return Answers { steps: steps.into(), ..Answers::default() };
    };
    let sdk = sdk(&region, keys).await;
    let (caller, rds) = tokio::join!(
        identity(environment, &sdk, before_role, &dates, until),
        rds::describe(environment, config, &sdk, &dates, until),
    );
    let (caller, caller_step) = caller;
    let (rds, rds_step) = rds;
    let clock = dates.last();
    Answers { aws: Aws { caller, rds }, clock, sdk: Some(sdk), steps: vec![caller_step, rds_step] }
}

/// The credentials that a role was to be assumed with, if that failed: whom its trust policy must name.
async fn base_keys(
    config: Option<&Config>,
    keys: Option<&Keys>,
    region: &str,
    until: Instant,
) -> Option<Keys> {
    if keys.is_some() || config?.common.role.is_none() {
        return None;
    }
    let provider = RawProvider::for_region(region);
    timeout_at(until, provider.provide_credentials()).await.ok()?.ok()
}

async fn identity(
    environment: &Environment,
    sdk: &SdkConfig,
    before_role: bool,
    dates: &Dates,
    until: Instant,
) -> (Caller, Step) {
    let start = Instant::now();
    let mut builder = sdk.clone().into_builder();
    builder.set_endpoint_url(endpoint(environment, "STS"));
    let client = aws_sdk_sts::Client::new(&builder.build());
    let call = client.get_caller_identity().customize().interceptor(dates.clone()).send();
    let caller = match timeout_at(until, call).await {
        Ok(Ok(answer)) => match (answer.arn(), answer.account()) {
            (Some(arn), Some(account)) => {
                Caller::Is { arn: arn.to_owned(), account: account.to_owned(), before_role }
            }
            _ => Caller::Unreachable,
        },
        Ok(Err(SdkError::ServiceError(refusal))) => {
            let code = refusal.err().code().unwrap_or_default();
            let known = CODES.iter().find(|known| **known == code);
            Caller::Refused(known.map_or("another code", |code| *code).to_owned())
        }
        _ => Caller::Unreachable,
    };
    let (status, found) = match &caller {
        Caller::Is { arn, before_role: false, .. } => (Status::Ok, arn.clone()),
        Caller::Is { arn, .. } => (Status::Ok, format!("{arn}, before the role")),
        Caller::Refused(code) => (Status::Failed, format!("STS refused the credentials: {code}")),
        _ => (Status::Unknown, "STS cannot be reached".to_owned()),
    };
    (caller, Step::new("caller", status, start.elapsed(), found))
}
