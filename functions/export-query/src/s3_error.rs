//! What a failed request to S3 means. S3's own message is never passed on: it may quote the request.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::result::DispatchFailure;
use aws_smithy_runtime_api::http::Response;
use rds_iam::endpoint::is_region;
use rds_iam::{Error, ErrorKind};

/// Why a request failed, and whether S3 may have carried it out all the same.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// No definite answer arrived.
    pub(crate) ambiguous: bool,
}

/// The meaning of a failed request.
pub(crate) fn explain<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> Failure {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default();
    let refused = |error| Failure { error, ambiguous: false };
    match (error, status) {
        (SdkError::ConstructionFailure(_), _) => refused(no_request()),
        (SdkError::DispatchFailure(failure), None) if lacks_credentials(failure) => {
            refused(no_credentials())
        }
        (_, None) => Failure { error: unreachable(), ambiguous: true },
        (_, Some(status)) if is_throttling(status, code) => refused(overloaded(status, code)),
        (_, Some(status)) if status >= 500 => {
            Failure { error: overloaded(status, code), ambiguous: true }
        }
        // An error in the body of a 200 answer.
        (_, Some(200..=299)) if code == "InternalError" || code.is_empty() => {
            Failure { error: overloaded(200, code), ambiguous: true }
        }
        (_, Some(status)) => {
            let region = error.raw_response().and_then(region_of_bucket);
            refused(if is_elsewhere(status, code, region.as_deref()) {
                elsewhere(region.as_deref())
            } else {
                by_code(code)
            })
        }
    }
}

/// Whether S3 refused the request because the bucket is in another region than the request was for.
fn is_elsewhere(status: u16, code: &str, region: Option<&str>) -> bool {
    match code {
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => true,
        // Malformed credentials have this code too, and name no region.
        "AuthorizationHeaderMalformed" => region.is_some(),
        _ => matches!(status, 301 | 307 | 308),
    }
}

/// The region that an answer names: in its header, or in an element of its body. The header comes with
/// other refusals too.
fn region_of_bucket(response: &Response) -> Option<String> {
    let header = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let body = response.body().bytes().and_then(|body| std::str::from_utf8(body).ok());
    let element = |name: &str| {
        let (_, rest) = body?.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(text, _)| text.trim().to_owned())
    };
    // my-bucket.s3.eu-west-1.amazonaws.com
    let endpoint =
        || element("Endpoint")?.split('.').rfind(|label| is_region(label)).map(str::to_owned);
    header.or_else(|| element("Region")).filter(|name| is_region(name)).or_else(endpoint)
}

fn elsewhere(region: Option<&str>) -> Error {
    let error = Error::new(ErrorKind::ExportFailed, "S3 refused the object");
    match region {
        Some(region) => error
            .because(format!("the bucket of EXPORT_PREFIX is in {region}, and the request was for another region"))
            .remedy(format!("Deploy the function in {region}, or give it a bucket of its own region; outside Lambda, set AWS_REGION={region}")),
        None => error
            .because("the bucket of EXPORT_PREFIX is in another region, which S3 does not name")
            .remedy("Look at the bucket's region, and deploy the function there, or give it a bucket of its own region"),
    }
}

/// Whether there were no credentials to sign with. The SDK files an answer that it cannot parse under the
/// same kind, and S3 may have carried out that request.
fn lacks_credentials(failure: &DispatchFailure) -> bool {
    let mut next = failure.as_connector_error().and_then(|error| error.source());
    while let Some(cause) = next {
        if cause.is::<CredentialsError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Whether S3, or KMS behind it, took no more requests, and so did not carry this one out.
fn is_throttling(status: u16, code: &str) -> bool {
    let code = code.strip_prefix("KMS.").unwrap_or(code);
    status == 429 || TRANSIENT.contains(&code)
}

/// These come with 400, 503 or, of CompleteMultipartUpload, 200.
const TRANSIENT: [&str; 11] = [
    "SlowDown",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
];

fn by_code(code: &str) -> Error {
    match code {
        "PreconditionFailed" => exists(),
        "AccessDenied" | "AllAccessDisabled" | "InvalidAccessKeyId" | "SignatureDoesNotMatch"
        | "AccountProblem" | "InvalidObjectState" => {
            Error::new(ErrorKind::ExportDenied, "S3 refused access to the object")
                .because(format!("its code is {code}"))
                .remedy("Allow s3:PutObject and s3:AbortMultipartUpload on the prefix to the function's role, in its policy, the bucket's, the endpoint's, and the key's if the bucket has one")
        }
        _ if code.starts_with("KMS.") => {
            Error::new(ErrorKind::ExportDenied, "S3 may not use the object's key of encryption")
                .because(format!("its code is {code}"))
                .remedy("Allow kms:GenerateDataKey and kms:Decrypt on the key to the function's role")
        }
        "ExpiredToken" | "TokenRefreshRequired" => {
            Error::new(ErrorKind::CredentialsExpired, "S3 refused the credentials")
                .because("they have expired")
                .remedy("Run it again; on your own machine, get new ones")
        }
        "RequestTimeTooSkewed" => {
            Error::new(ErrorKind::ExportDenied, "S3 refused the request's signature")
                .because("this machine's clock is more than 15 minutes off")
                .remedy("Set the clock")
        }
        "ConditionalRequestConflict" => {
            Error::new(ErrorKind::ExportUnavailable, "S3 did not write the object")
                .because("another request wrote or deleted the same key at that moment")
                .remedy("Run it again")
        }
        "NoSuchBucket" => Error::new(ErrorKind::ExportFailed, "S3 refused the object")
            .because("the bucket of EXPORT_PREFIX does not exist, or is in another region")
            .remedy("Create it in the function's region, or correct EXPORT_PREFIX"),
        _ => {
            let known = !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric());
            let why = if known { format!("its code is {code}") } else { "it gave no code".into() };
            Error::new(ErrorKind::ExportFailed, "S3 refused the object")
                .because(why)
                .remedy("Look the code up in S3's list of error codes")
        }
    }
}

/// The error of a key that is taken.
pub(crate) fn exists() -> Error {
    Error::new(ErrorKind::ExportExists, "the object was not written")
        .because("one of that key exists")
        .remedy("Put {run} into the key, or send \"overwrite\": true to replace the object")
}

/// The error of an upload that took too long.
pub(crate) fn too_slow() -> Error {
    Error::new(ErrorKind::ExportTimeout, "the object was not uploaded in time")
        .because("S3 took its bytes too slowly for the time that the function has")
        .remedy("Give the function a longer Timeout or more memory, which brings bandwidth; or export less")
}

/// The error of a lost answer to the request that makes the object appear.
pub(crate) fn outcome_unknown() -> Error {
    Error::new(ErrorKind::ExportOutcomeUnknown, "it is unknown whether the object was written")
        .because("the last request was sent, and S3's answer was lost")
        .remedy("Look at the object: it is complete if it is there, and its metadata run is the request id of the run that wrote it")
}

fn unreachable() -> Error {
    Error::new(ErrorKind::ExportUnavailable, "S3 was not reached")
        .because("it did not answer, or the connection was refused, reset or timed out")
        .remedy("A private subnet needs S3's gateway endpoint, in its route table; else try again later")
}

fn overloaded(status: u16, code: &str) -> Error {
    // S3 itself says SlowDown.
    let of_kms = code.ends_with("ThrottlingException");
    let remedy = if of_kms {
        "Try again later; an S3 Bucket Key on the bucket makes fewer requests to KMS"
    } else {
        "Try again later"
    };
    let code = if code.is_empty() { String::new() } else { format!(", {code}") };
    Error::new(ErrorKind::ExportUnavailable, "S3 was not able to take the object")
        .because(format!("it answered {status}{code}, several times"))
        .remedy(remedy)
}

fn no_request() -> Error {
    Error::new(ErrorKind::ExportFailed, "the request to S3 cannot be made")
        .because("the region, the endpoint or the credentials are missing or malformed")
        .remedy("Check AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials")
}

/// The request was not sent. The SDK's texts are not passed on.
fn no_credentials() -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "the request to S3 was not sent")
        .because("no usable AWS credentials were found")
        .remedy("In Lambda, the function's role gives them; elsewhere, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use aws_credential_types::Credentials;
    use aws_credential_types::credential_fn::provide_credentials_fn;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Region};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The meaning of a PUT by the SDK's own client, to this endpoint.
    async fn put(config: Builder, endpoint: &str) -> Failure {
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
        let client = aws_sdk_s3::Client::from_conf(config.build());
        explain(&client.put_object().bucket("b").key("k").send().await.unwrap_err())
    }

    #[tokio::test]
    async fn without_credentials_nothing_was_sent() {
        let none =
            provide_credentials_fn(|| async { Err(CredentialsError::not_loaded("none here")) });
        let config = Builder::new().credentials_provider(none);
        let failure = put(config, "http://127.0.0.1:9").await;
        assert_eq!(failure.error.kind(), ErrorKind::CredentialsUnavailable);
        assert!(!failure.ambiguous);
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_or_garbled_leaves_the_outcome_unknown() {
        for answer in
            ["HTTP/1.1 200 OK\r\nETag: \"0123", "HTTP/1.1 200 OK\r\n\u{1}: x\r\n\r\n", "?"]
        {
            let failure = answered(answer.to_owned()).await;
            assert_eq!(failure.error.kind(), ErrorKind::ExportUnavailable, "{answer}");
            assert!(failure.ambiguous, "{answer}");
        }
    }

    /// The meaning of this answer to a PUT.
    async fn answered(answer: String) -> Failure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 16 * 1024]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        let failure = put(Builder::new().credentials_provider(credentials), &endpoint).await;
        server.await.unwrap();
        failure
    }

    fn refusal(status: u16, headers: &str, code: &str, elements: &str) -> String {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>s3cret</Message>{elements}</Error>"
        );
        let body = if code.is_empty() { String::new() } else { body };
        format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_bucket_in_another_region_is_named() {
        let header = "x-amz-bucket-region: eu-west-1\r\n";
        let region = "<Region>eu-west-1</Region>";
        let endpoint = "<Endpoint>my-bucket.s3.eu-west-1.amazonaws.com</Endpoint>";
        let global = "<Endpoint>my-bucket.s3.amazonaws.com</Endpoint>";
        let (malformed, illegal) =
            ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException");
        for (status, headers, code, elements, named) in [
            (301, header, "PermanentRedirect", endpoint, "is in eu-west-1,"),
            (301, "", "PermanentRedirect", endpoint, "is in eu-west-1,"),
            (301, "", "PermanentRedirect", global, "in another region"),
            (301, header, "", "", "is in eu-west-1,"),
            (307, header, "TemporaryRedirect", endpoint, "is in eu-west-1,"),
            (400, header, malformed, "", "is in eu-west-1,"),
            (400, "", malformed, region, "is in eu-west-1,"),
            (400, "", malformed, "", "its code is AuthorizationHeaderMalformed"),
            (400, header, illegal, "", "is in eu-west-1,"),
            (400, "", illegal, "", "in another region"),
            (400, "x-amz-bucket-region: s3cret\r\n", illegal, "", "in another region"),
        ] {
            let failure = answered(refusal(status, headers, code, elements)).await;
            let told = failure.error.to_string();
            assert_eq!(failure.error.kind(), ErrorKind::ExportFailed, "{status} {code}: {told}");
            assert!(told.contains(named) && !told.contains("s3cret"), "{status} {code}: {told}");
            assert!(!failure.ambiguous && !failure.error.is_transient(), "{told}");
        }
        // The header comes with a refusal that has another reason.
        let failure = answered(refusal(403, header, "AccessDenied", "")).await;
        assert_eq!(failure.error.kind(), ErrorKind::ExportDenied);
    }

    #[tokio::test]
    async fn what_s3_or_kms_throttles_was_not_carried_out() {
        for (status, code) in [
            (400, "ThrottlingException"),
            (400, "KMS.ThrottlingException"),
            (400, "RequestTimeout"),
            (429, "TooManyRequestsException"),
            (429, ""),
            (503, "SlowDown"),
        ] {
            let failure = answered(refusal(status, "", code, "")).await;
            let told = failure.error.to_string();
            assert_eq!(failure.error.kind(), ErrorKind::ExportUnavailable, "{status} {code}");
            assert!(!failure.ambiguous && failure.error.is_transient(), "{status} {code}");
            assert!(told.contains(code) && !told.contains("s3cret"), "{told}");
            assert_eq!(told.contains("requests to KMS"), code.ends_with("ThrottlingException"));
        }
        let failure = answered(refusal(400, "", "KMS.DisabledException", "")).await;
        assert_eq!(failure.error.kind(), ErrorKind::ExportDenied);
    }
}
