//! One object of S3, written so that it appears whole or not at all.
//!
//! A small object is one PutObject. A larger one is a multipart upload: the object appears when the
//! last request, CompleteMultipartUpload, succeeds, and [`Upload::abort`] leaves nothing behind. S3
//! checks each part against its SHA-256.

use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rds_iam::{Error, ErrorKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::destination::Destination;
use crate::s3_error::{self, Failure};

/// The size of a part, which the last may not reach. S3 demands 5 MiB, and allows 10,000 parts: 78 GiB.
pub(crate) const PART: usize = 8 * 1024 * 1024;
const MOST_PARTS: i32 = 10_000;
/// Parts on their way at once, while the next is filled.
const IN_FLIGHT: usize = 2;
/// How often the last request is sent, if its answer is lost.
const COMPLETE_ATTEMPTS: u32 = 3;

pub(crate) struct Upload<'a> {
    client: &'a Client,
    pub(crate) destination: Destination,
    overwrite: bool,
    /// The request id, which becomes metadata of the object.
    run: &'a str,
    /// When the object must be there.
    bound: Instant,
    id: Option<String>,
    /// What is left to be sent with the last request: the whole of a small object.
    rest: Vec<u8>,
    in_flight: JoinSet<Result<CompletedPart, Failure>>,
    done: Vec<CompletedPart>,
    next: i32,
    bytes: u64,
    sha256: digest::Context,
}

/// An object that was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) parts: i32,
}

impl<'a> Upload<'a> {
    /// Sends nothing yet.
    pub(crate) fn new(
        client: &'a Client,
        destination: Destination,
        overwrite: bool,
        run: &'a str,
        bound: Instant,
    ) -> Self {
        Self {
            client,
            destination,
            overwrite,
            run,
            bound,
            id: None,
            rest: Vec::new(),
            in_flight: JoinSet::new(),
            done: Vec::new(),
            next: 1,
            bytes: 0,
            sha256: digest::Context::new(&SHA256),
        }
    }

    /// Sends a part, once fewer than [`IN_FLIGHT`] are on their way.
    pub(crate) async fn part(&mut self, body: Vec<u8>) -> Result<(), Error> {
        self.count(&body);
        self.send(body).await
    }

    /// Takes an object that is small enough for one request.
    pub(crate) fn whole(&mut self, body: Vec<u8>) {
        self.count(&body);
        self.rest = body;
    }

    /// Sends the last part, and waits until S3 has every one. The object does not appear yet.
    pub(crate) async fn seal(&mut self, rest: Vec<u8>) -> Result<(), Error> {
        if self.id.is_none() {
            self.whole(rest);
            return Ok(());
        }
        self.count(&rest);
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while !self.in_flight.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Makes the object appear.
    pub(crate) async fn publish(&mut self) -> Result<Written, Error> {
        if self.id.is_none() {
            let body = std::mem::take(&mut self.rest);
            self.put(body).await?;
        } else {
            self.complete().await?;
        }
        let digest = self.sha256.clone().finish();
        let sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written { bytes: self.bytes, sha256, parts: (self.next - 1).max(1) })
    }

    /// How many bytes went into it so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the upload without an object, by this time. Returns whether nothing of it is left.
    pub(crate) async fn abort(&mut self, bound: Instant) -> bool {
        self.in_flight.shutdown().await;
        let Some(id) = self.id.take() else { return true };
        let Destination { bucket, key, .. } = &self.destination;
        let abort = self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id);
        match timeout_at(bound, abort.send()).await {
            Ok(Ok(_)) => true,
            // It has ended already.
            Ok(Err(error)) => error.as_service_error().is_some_and(|e| e.is_no_such_upload()),
            Err(_) => false,
        }
    }

    fn count(&mut self, body: &[u8]) {
        self.bytes += body.len() as u64;
        self.sha256.update(body);
    }

    async fn send(&mut self, body: Vec<u8>) -> Result<(), Error> {
        if self.next > MOST_PARTS {
            return Err(Error::new(ErrorKind::ExportFailed, "the object has too many parts")
                .because("S3 takes 10,000, which hold 78 GiB here")
                .remedy("Export less at once, by a parameter"));
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.create().await?,
        };
        while self.in_flight.len() >= IN_FLIGHT {
            self.wait_for_one().await?;
        }
        let Destination { bucket, key, .. } = &self.destination;
        let (number, checksum) = (self.next, checksum(&body));
        let request = self
            .client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(body));
        self.next += 1;
        self.in_flight.spawn(async move {
            let sent = request.send().await.map_err(|error| s3_error::explain(&error))?;
            let part = CompletedPart::builder().part_number(number).checksum_sha256(checksum);
            Ok(part.set_e_tag(sent.e_tag).build())
        });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), Error> {
        match timeout_at(self.bound, self.in_flight.join_next()).await {
            Ok(Some(Ok(Ok(part)))) => self.done.push(part),
            Ok(Some(Ok(Err(failure)))) => return Err(failure.error),
            Ok(Some(Err(_))) => {
                return Err(Error::new(ErrorKind::InternalPanic, "the upload of a part panicked"));
            }
            Ok(None) => {}
            Err(_) => return Err(s3_error::too_slow()),
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<String, Error> {
        let Destination { bucket, key, content_type, .. } = &self.destination;
        let create = self
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .content_type(*content_type)
            .metadata("run", self.run)
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        let created = timeout_at(self.bound, create.send()).await;
        let created = created.map_err(|_| s3_error::too_slow())?;
        let created = created.map_err(|error| s3_error::explain(&error).error)?;
        let id = created.upload_id.ok_or_else(|| {
            Error::new(ErrorKind::ExportFailed, "S3 began an upload and did not name it")
        })?;
        self.id = Some(id.clone());
        Ok(id)
    }

    async fn put(&mut self, body: Vec<u8>) -> Result<(), Error> {
        let checksum = checksum(&body);
        let mut unknown = false;
        for attempt in 1..=COMPLETE_ATTEMPTS {
            let Destination { bucket, key, content_type, .. } = &self.destination;
            let put = self
                .client
                .put_object()
                .bucket(bucket)
                .key(key)
                .content_type(*content_type)
                .metadata("run", self.run)
                .checksum_sha256(&checksum)
                .set_if_none_match((!self.overwrite).then(|| "*".to_owned()))
                .body(ByteStream::from(body.clone()))
                .customize()
                .config_override(once());
            let sent = timeout_at(self.bound, put.send()).await;
            let sent = sent.map(|sent| sent.map_err(|error| s3_error::explain(&error)));
            if self.settled(sent, &mut unknown, attempt).await? {
                return Ok(());
            }
        }
        Err(s3_error::outcome_unknown())
    }

    async fn complete(&mut self) -> Result<(), Error> {
        self.done.sort_by_key(CompletedPart::part_number);
        let parts = std::mem::take(&mut self.done);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut unknown = false;
        for attempt in 1..=COMPLETE_ATTEMPTS {
            let Destination { bucket, key, .. } = &self.destination;
            let complete = self
                .client
                .complete_multipart_upload()
                .bucket(bucket)
                .key(key)
                .set_upload_id(self.id.clone())
                .multipart_upload(parts.clone())
                .mpu_object_size(self.bytes.cast_signed())
                .set_if_none_match((!self.overwrite).then(|| "*".to_owned()))
                .customize()
                .config_override(once());
            let sent = timeout_at(self.bound, complete.send()).await;
            let sent = sent.map(|sent| sent.map_err(|error| s3_error::explain(&error)));
            if self.settled(sent, &mut unknown, attempt).await? {
                self.id = None;
                return Ok(());
            }
        }
        Err(s3_error::outcome_unknown())
    }

    /// What became of the request that makes the object appear. After an answer was lost, S3's refusal
    /// of the next attempt may mean that the first one succeeded.
    async fn settled<T, E>(
        &self,
        sent: Result<Result<T, Failure>, E>,
        unknown: &mut bool,
        attempt: u32,
    ) -> Result<bool, Error> {
        match sent {
            Ok(Ok(_)) => Ok(true),
            Err(_) => Err(s3_error::outcome_unknown()),
            Ok(Err(_)) if *unknown => Err(s3_error::outcome_unknown()),
            Ok(Err(failure)) if failure.ambiguous => {
                *unknown = true;
                let pause = Duration::from_millis(100) * 2_u32.pow(attempt);
                // An answer may come too late, but no later than the bound.
                let _ = timeout_at(self.bound, sleep(pause)).await;
                Ok(false)
            }
            Ok(Err(failure)) if failure.error.kind() == ErrorKind::ExportUnavailable => {
                let pause = Duration::from_millis(100) * 2_u32.pow(attempt);
                let _ = timeout_at(self.bound, sleep(pause)).await;
                if attempt < COMPLETE_ATTEMPTS { Ok(false) } else { Err(failure.error) }
            }
            Ok(Err(failure)) => Err(failure.error),
        }
    }
}

/// The requests that make the object appear are repeated here, where the meaning of a lost answer is
/// known, and not by the SDK.
fn once() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new()
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
}

fn checksum(body: &[u8]) -> String {
    BASE64.encode(digest::digest(&SHA256, body))
}
