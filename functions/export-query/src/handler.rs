//! Event to query, rows to an object, and the object's facts to a response.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use rds_iam::deadline::Deadline;
use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Library, Parameters, Query, ResultKind};
use rds_iam::session::RowStream;
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use crate::destination::{self, Destination, Prefix, VARIABLE, Values};
use crate::encode::Encoder;
use crate::event::{self, Event};
use crate::objects::{Objects, Published};
use crate::rounded::Rounded;

/// A gateway endpoint is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A part that takes longer is sent again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The function: its database, its query files, and the place for its objects.
pub(crate) struct ExportQuery {
    session: Session,
    library: Library,
    s3: Client,
    prefix: Prefix,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Response {
    query: String,
    bucket: String,
    /// The object's, or that of the manifest of several.
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<usize>,
    rows: u64,
    /// Of the objects, compressed or not.
    bytes: u64,
    /// Of the bytes behind `key`, in hexadecimal.
    sha256: String,
    parts: i32,
    seconds: f64,
}

impl ExportQuery {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        let prefix = Prefix::parse(std::env::var(VARIABLE).ok().as_deref())?;
        let retry =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(LONGEST_PAUSE);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let shared = aws_config::defaults(BehaviorVersion::latest());
        let shared = shared.retry_config(retry).timeout_config(timeouts).load().await;
        if shared.region().is_none() {
            return Err(Error::new(ErrorKind::ConfigInvalid, "S3 needs a region")
                .because("AWS_REGION is not set")
                .remedy("Set it to the region of the bucket; Lambda sets it itself"));
        }
        Ok(Self {
            library: config.common.library(),
            session: Session::new(config)?,
            s3: client(&shared),
            prefix,
        })
    }

    /// Where an object goes: the only one, or that of a number, or their manifest.
    fn destination(
        &self,
        event: &Event,
        query: &Query,
        parameters: &Parameters,
        run: &str,
        number: Option<usize>,
    ) -> Result<Destination, Error> {
        let time = OffsetDateTime::from(event.time);
        let time = time.format(format_description!("[hour][minute][second]")).unwrap_or_default();
        let mut values: Values<'_> =
            [("query", query.name.as_str()), ("time", time.as_str()), ("run", run)]
                .map(|(name, value)| (name, Some(value)))
                .into();
        // A parameter of one of those names is the more specific one.
        let named = query.params.iter().map(|param| param.name.as_str());
        values.extend(named.zip(parameters.texts()));
        let part = number.map_or("manifest".to_owned(), |number| format!("{number:05}"));
        let (template, wrong) = match (&event.to, &query.to) {
            (Some(to), _) => (to.as_str(), ErrorKind::EventInvalid),
            (None, Some(to)) => (to.as_str(), ErrorKind::QueryInvalid),
            (None, None) if event.split.is_some() => {
                (destination::DEFAULT_SPLIT, ErrorKind::EventInvalid)
            }
            (None, None) => (destination::DEFAULT, ErrorKind::EventInvalid),
        };
        if event.split.is_some() {
            if !template.contains("{part}") {
                return Err(Error::new(wrong, "the rows cannot be written there")
                    .because("with split_mb there are several objects, and to has no {part}")
                    .remedy("Put {part} where their numbers go: orders/{run}.{part}.csv.gz"));
            }
            values.insert("part", Some(&part));
        }
        self.prefix.locate(template, &values, event.time, wrong)
    }
}

impl Handler for ExportQuery {
    type Response = Response;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<Response, Error> {
        let start = Instant::now();
        let event = event::parse(event)?;
        let query = self.library.load(event.direct.query.as_deref())?;
        invocation.query = Some(query.name.clone());
        check_result(&query)?;
        let parameters = Parameters::bind_at(&query, &event.direct.params, Some(event.time))?;
        let run = invocation.request_id.clone();
        let locate = |number: Option<usize>| {
            let found = self.destination(&event, &query, &parameters, &run, number)?;
            if number.is_none() { found.into_manifest(ErrorKind::EventInvalid) } else { Ok(found) }
        };
        let first = locate(Some(1))?;
        if event.split.is_some() {
            // Its key is the longest: better now than after the objects.
            locate(None)?;
        }
        let budget = Budget::new(invocation.work.deadline);
        invocation.work.deadline = budget.rows;

        let form = first.format.row_form();
        let how = (event.split, event.overwrite);
        let mut objects = Objects::new(&self.s3, &locate, how, &run, budget.upload);
        let mut rows = self.session.stream(&query, &parameters, form, &mut invocation.work).await?;
        let copied = copy(&mut rows, &query, &first, &mut objects).await;
        invocation.work.report.query = Some(start.elapsed());
        let published = match copied {
            Ok(published) => published,
            Err(error) => {
                let left = objects.abort(budget.abort).await;
                rows.stop().await;
                return Err(left.into_iter().fold(error, |error, left| error.also(&left)));
            }
        };
        invocation.row_count = usize::try_from(published.rows).ok();
        invocation.counters.push(("exported_bytes", published.bytes));
        Ok(Response {
            query: query.name,
            bucket: published.destination.bucket,
            key: published.destination.key,
            objects: published.objects,
            rows: published.rows,
            bytes: published.bytes,
            sha256: published.sha256,
            parts: published.parts,
            seconds: (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        })
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}

fn client(shared: &aws_config::SdkConfig) -> Client {
    // The SDK would take an empty variable for an endpoint, and SAM cannot leave one out.
    let given = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    let mut config = aws_sdk_s3::config::Builder::from(shared);
    config.set_endpoint_url(given("AWS_ENDPOINT_URL_S3").or_else(|| given("AWS_ENDPOINT_URL")));
    Client::from_conf(config.build())
}

/// Moves the rows into the objects. Memory holds one part that fills, and those on their way.
async fn copy(
    rows: &mut RowStream<'_>,
    query: &Query,
    Destination { format, compression, .. }: &Destination,
    objects: &mut Objects<'_>,
) -> Result<Published, Error> {
    let columns = rows.columns().to_vec();
    let begin = || Encoder::new(*format, *compression, &columns);
    let mut encoder = begin()?;
    let mut rounded = Rounded::default();
    while let Some(row) = rows.next().await? {
        encoder.row(&row, &columns, query, &mut rounded)?;
        if !encoder.is_full() {
            continue;
        }
        if let Some(part) = encoder.pack().await? {
            objects.part(part).await?;
        }
        if objects.is_full(encoder.ready()) {
            objects.seal(std::mem::replace(&mut encoder, begin()?)).await?;
        }
    }
    // Without rows there is an object too, but none after the last row.
    if encoder.rows() > 0 || objects.is_empty() {
        objects.seal(encoder).await?;
    }
    rounded.warn(&query.name);
    objects.publish().await
}

fn check_result(query: &Query) -> Result<(), Error> {
    if query.result == ResultKind::Rows {
        return Ok(());
    }
    Err(Error::new(ErrorKind::QueryInvalid, format!("query {} cannot be exported", query.name))
        .because("its result is not \"rows\"")
        .remedy("Export a query without result in its front matter"))
}

/// The shares of an invocation's time: most is for the rows. What they leave is for the last parts,
/// and then for the abort, should it come to that.
struct Budget {
    rows: Deadline,
    upload: Instant,
    abort: Instant,
}

impl Budget {
    fn new(deadline: Deadline) -> Self {
        let left = deadline.remaining();
        let reserve = (left / 5).clamp(Duration::from_secs(1), Duration::from_secs(15));
        let reserve = reserve.min(left / 2);
        let abort = deadline.answer_by();
        let upload = abort.checked_sub(reserve / 2).unwrap_or(abort);
        Self { rows: deadline.earlier(reserve), upload, abort }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_upload_and_the_abort_have_time_of_their_own() {
        for (left, reserve) in [(900, 15_000), (30, 5_800), (3, 1_000), (1, 450)] {
            let deadline = Deadline::after(Duration::from_secs(left));
            let budget = Budget::new(deadline);
            let rows = deadline.answer_by() - budget.rows.answer_by();
            assert!((reserve - 20..=reserve).contains(&rows.as_millis()), "{left} s: {rows:?}");
            assert!(budget.upload < budget.abort && budget.upload > budget.rows.answer_by());
        }
    }
}
